"""Adapters of many configurations by Python's `peft`, with the logits that each gives: cases to replay beside the golden ones.

Usage: python more.py OUT        (needs torch, transformers, peft, safetensors)

OUT/GROUP/base/model.safetensors (config.json)      the base: `sequence` and `token` are small BERTs with a head, `image` a convolutional network
OUT/GROUP/CASE/adapter_config.json, adapter_model.safetensors      an adapter as save_pretrained writes it
OUT/GROUP/logits.safetensors                        input, base, CASE, and merged.CASE where the method can be merged
OUT/refused/CASE                                    adapters for the base of `sequence` that are to be refused by name
Numbers are drawn from a seed; trained parameters are moved away from where they begin.
"""
import os, shutil, sys, warnings
import torch
import transformers as tf
import peft
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
tf.logging.set_verbosity_error()
BERT = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=40,
            num_labels=3, attn_implementation="eager")


class Net(torch.nn.Module):
    """[N, 3, 8, 8] -> [N, 3]"""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.conv2 = torch.nn.Conv2d(8, 12, 3, stride=2, bias=False)
        self.conv3 = torch.nn.Conv1d(12, 6, 2)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.conv1(x)).relu()
        x = self.conv2(x).relu().flatten(2)
        return self.head(self.conv3(x).relu().mean(2))


def seeded(make, scale=1.0):
    torch.manual_seed(5)
    model = make()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * scale * (p.numel() / p.shape[0]) ** -0.5)
        for name, b in model.named_buffers():
            if "running" in name:
                b.add_(0.2 * torch.rand_like(b))
    return model.eval()


def sequence():
    return seeded(lambda: tf.BertForSequenceClassification(tf.BertConfig(**BERT)))


def token():
    return seeded(lambda: tf.BertForTokenClassification(tf.BertConfig(**BERT)))


def image():
    return seeded(Net)


S, T = dict(task_type="SEQ_CLS"), dict(task_type="TOKEN_CLS")
lora, ia3 = peft.LoraConfig, peft.IA3Config
SEQUENCE = {
    "all_linear": lora(r=3, lora_alpha=5, target_modules="all-linear", **S),
    "regex_groups": lora(r=2, target_modules=r"bert\.encoder\.layer\.(0|1)\.(attention\.self\.(query|key)|(intermediate|output)\.dense)", **S),
    "regex_class": lora(r=2, target_modules=r".*\.layer\.[01]\..*(?:que|val)\w+$", **S),
    "regex_look": lora(r=2, target_modules=r"^(?!.*pooler).*layer\.(?=1).*(?<!intermediate)\.(key|dense)", **S),
    "exclude_list": lora(r=2, target_modules=["query", "value", "dense"], exclude_modules=["pooler.dense", "bert.encoder.layer.0.output.dense"], **S),
    "exclude_regex": lora(r=2, target_modules="all-linear", exclude_modules=r".*\.layer\.0\..*", **S),
    "layers_to_transform": lora(r=2, target_modules=["query", "value"], layers_to_transform=[1], **S),
    "layers_pattern": lora(r=2, target_modules=["key", "dense"], layers_to_transform=0, layers_pattern="layer", **S),
    "rank_alpha_patterns": lora(r=4, lora_alpha=6, target_modules=["query", "value", "key"], rank_pattern={r"layer\.0\..*\.(query|value)": 2, "key": 3},
                                alpha_pattern={r"0\..*value": 9, r"^bert\.encoder\.layer\.1\.attention\.self\.key": 1}, **S),
    "rslora_rank_pattern": lora(r=4, lora_alpha=6, use_rslora=True, target_modules=["query", "value"], rank_pattern={"value": 9}, lora_dropout=0.1, **S),
    "bias_all": lora(r=2, target_modules=["query"], bias="all", **S),
    "bias_lora_only": lora(r=2, target_modules=["query", "dense"], bias="lora_only", **S),
    "rslora_dora": lora(r=4, lora_alpha=6, use_rslora=True, use_dora=True, target_modules=["query", "output.dense"], **S),
    "dora_all_linear": lora(r=3, use_dora=True, target_modules="all-linear", **S),
    "dora_embedding": lora(r=3, use_dora=True, target_modules=["word_embeddings", "position_embeddings", "key"], **S),
    "embeddings": lora(r=3, lora_alpha=7, target_modules=["word_embeddings", "position_embeddings", "token_type_embeddings"], **S),
    "lora_bias": lora(r=3, lora_alpha=7, lora_bias=True, target_modules=["query", "value"], **S),
    "modules_to_save": lora(r=2, target_modules=["query"], modules_to_save=["pooler", "classifier"], **S),
    "modules_to_save_norms": lora(r=2, target_modules=["query", "dense"], modules_to_save=["LayerNorm", "layer.1.output.dense"], **S),
    "no_task": lora(r=2, target_modules=["query"]),
    "head_adapted": lora(r=2, target_modules=["query", "classifier"]),
    "half": lora(r=2, target_modules=["query", "value"], **S),
    "bfloat": lora(r=2, target_modules=["query", "value"], **S),
    "ia3_other": ia3(target_modules=["query", "intermediate.dense", "attention.output.dense"], feedforward_modules=["intermediate.dense"], **S),
    "ia3_regex": ia3(target_modules=r".*\.(key|value|dense)", feedforward_modules=r".*\.output\.dense", **S),
    "ia3_no_feedforward": ia3(target_modules=["value"], feedforward_modules=[], **S),
    "ln_part": peft.LNTuningConfig(target_modules=["attention.output.LayerNorm"], **S),
    "ln_regex": peft.LNTuningConfig(target_modules=r".*layer\.1\..*LayerNorm", modules_to_save=["pooler"], **S),
    "ln_exclude": peft.LNTuningConfig(target_modules=["LayerNorm"], exclude_modules=["embeddings.LayerNorm"], **S),
    "vera": peft.VeraConfig(r=8, target_modules=["query", "intermediate.dense", "output.dense"], **S),
    "vera_key": peft.VeraConfig(r=8, target_modules=["query", "output.dense"], save_projection=False, projection_prng_key=11, **S),
    "vera_bias": peft.VeraConfig(r=8, target_modules=["value"], bias="vera_only", d_initial=0.3, **S),
    "prompt": peft.PromptTuningConfig(num_virtual_tokens=3, **S),
    "prefix": peft.PrefixTuningConfig(num_virtual_tokens=4, **S),
    "prefix_projection": peft.PrefixTuningConfig(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=20, **S),
    "p_tuning_mlp": peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=20, **S),
    "p_tuning_lstm": peft.PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=20, encoder_reparameterization_type="LSTM", **S),
}
TOKEN = {
    "token_lora": lora(r=2, target_modules=["query", "value"], **T),
    "token_prompt": peft.PromptTuningConfig(num_virtual_tokens=3, **T),
    "token_prefix": peft.PrefixTuningConfig(num_virtual_tokens=3, **T),
}
IMAGE = {
    "conv_lora": lora(r=2, lora_alpha=3, target_modules=["conv1", "conv2", "conv3", "head"]),
    "conv_dora": lora(r=2, lora_alpha=3, use_dora=True, target_modules=["conv1", "conv2", "conv3"]),
    "conv_ia3": ia3(target_modules=["conv1", "conv2", "head"], feedforward_modules=["conv2"]),
    "conv_saved_norm": lora(r=2, target_modules=["conv2"], modules_to_save=["norm", "head"]),
    "conv_ln": peft.LNTuningConfig(target_modules=["norm"]),
    "conv_bias_all": lora(r=2, target_modules=["conv2", "head"], bias="all"),
}
REFUSED = {
    "adalora": peft.AdaLoraConfig(target_modules=["query"], total_step=10, **S),
    "loha": peft.LoHaConfig(r=2, target_modules=["query"], **S),
    "lokr": peft.LoKrConfig(r=2, target_modules=["query"], **S),
    "oft": peft.OFTConfig(oft_block_size=4, target_modules=["query"], **S),
    "trainable_tokens": lora(r=2, target_modules=["query"], trainable_token_indices={"word_embeddings": [1, 2]}, **S),
    "target_parameters": lora(r=2, target_modules=["query"], target_parameters=["bert.embeddings.position_embeddings.weight"], **S),
    "pissa": lora(r=2, target_modules=["query"], init_lora_weights="pissa", **S),
    "olora": lora(r=2, target_modules=["query"], init_lora_weights="olora", **S),
}


def move(model):
    """Away from where training begins, by numbers of a seed."""
    torch.manual_seed(9)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.add_(0.3 * torch.randn_like(p) * (1 if p.dim() == 1 or "ia3_" in name or "prompt_encoder" in name else (p.numel() / p.shape[0]) ** -0.5))


def write(out, make, x, cases):
    base = os.path.join(out, "base")
    os.makedirs(base, exist_ok=True)
    if hasattr(make(), "save_pretrained"):
        make().save_pretrained(base)
    else:
        save_file(make().state_dict(), os.path.join(base, "model.safetensors"))

    def run(model, **mask):
        y = model(x, **mask)
        # Of the tokens alone, where a prompt has outputs too.
        return getattr(y, "logits", y).detach()[:, -x.shape[1] :].contiguous()

    logits = {"input": x, "base": run(make())}
    for name, config in cases.items():
        folder = os.path.join(out, name)
        try:
            model = peft.get_peft_model(make(), config).eval()
            move(model)
            model.eval()
            model.save_pretrained(folder)
            if name in ("half", "bfloat"):
                file = os.path.join(folder, "adapter_model.safetensors")
                save_file({k: v.to(torch.float16 if name == "half" else torch.bfloat16) for k, v in load_file(file).items()}, file, {"format": "pt"})
            # What is read again counts: a prompt is saved without what made it.
            model = peft.PeftModel.from_pretrained(make(), folder).eval()
            mask = {"attention_mask": torch.ones_like(x)} if x.dtype == torch.long else {}
            logits[name] = run(model, **mask)
            if isinstance(config, (lora, ia3, peft.VeraConfig)):
                try:
                    logits["merged." + name] = run(model.merge_and_unload())
                except Exception as error:
                    print("not merged:", name, error)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            print("left out:", name, repr(error)[:200])
            continue
        print(f"{name:24} {(logits[name] - logits['base']).abs().max():.4f} from the base, {len(load_file(os.path.join(folder, 'adapter_model.safetensors')))} tensors")
    save_file(logits, os.path.join(out, "logits.safetensors"))


def main(out):
    torch.manual_seed(1)
    x = torch.randint(0, 100, (2, 9))
    write(os.path.join(out, "sequence"), sequence, x, SEQUENCE)
    write(os.path.join(out, "token"), token, x, TOKEN)
    write(os.path.join(out, "image"), image, torch.randn(2, 3, 8, 8), IMAGE)
    for name, config in REFUSED.items():
        try:
            peft.get_peft_model(sequence(), config).save_pretrained(os.path.join(out, "refused", name))
        except Exception as error:
            print("left out:", name, repr(error)[:200])
    for d, _, files in os.walk(out):
        if "README.md" in files:
            os.remove(os.path.join(d, "README.md"))


if __name__ == "__main__":
    main(sys.argv[1])
