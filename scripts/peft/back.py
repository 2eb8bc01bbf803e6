"""Adapters that chainrule saved, read by Python's `peft`: names that are missing or not expected, and the largest difference of the logits.

    python scripts/peft/more.py CASES
    CHAINRULE_PEFT=CASES CHAINRULE_PEFT_OUT=OUT cargo test --release -p chainrule --test peft -- --nocapture
    python scripts/peft/back.py OUT CASES GOLDEN [MINILM GOLDEN_MINILM]

OUT/GROUP holds what was saved and `logits.safetensors`, chainrule's own logits; the bases lie in CASES and in the golden cases.
Prints a line an adapter, and ends with an error if one does not fit.
"""
import datetime, json, os, platform, sys, warnings
import torch
import transformers as tf
import peft
from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file
import more

TOLERANCE = 1e-4
tf.logging.set_verbosity_error()


def bert(folder):
    classes = {"BertForSequenceClassification": tf.BertForSequenceClassification, "BertForTokenClassification": tf.BertForTokenClassification}
    config = json.load(open(os.path.join(folder, "config.json"), encoding="utf-8"))
    return classes[config["architectures"][0]].from_pretrained(folder, attn_implementation="eager")


def net(folder):
    model = more.Net()
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")))
    return model


def minilm(folder, head):
    config = tf.BertConfig.from_pretrained(folder, num_labels=2)
    model = tf.BertForSequenceClassification(config)
    weights = {k if k.startswith("bert.") else "bert." + k: v.float() for k, v in load_file(os.path.join(folder, "model_f16.safetensors")).items()}
    weights |= load_file(head)
    lacking, surplus = model.load_state_dict(weights, strict=False)
    assert all("position_ids" in name or "token_type_ids" in name for name in [*lacking, *surplus]), (lacking, surplus)
    return model


def read(make, folder, x, mask):
    """The largest difference to chainrule's logits in that folder's parent, and what PEFT says of the names."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(make(), folder).eval()
        # Once more by hand, for what it returns.
        weights = load_peft_weights(folder, device="cpu")
        result = set_peft_model_state_dict(model, weights)
    # A prompt goes another way, and is not expected here from files of peft's own either.
    said += [f"not expected: {name}" for name in result.unexpected_keys if name != "prompt_embeddings"]
    own = [name for name, p in model.named_parameters() if any(part in name for part in ("lora_", "ia3_", "ln_tuning_layers", "vera_lambda", "modules_to_save"))]
    said += [f"missing: {name}" for name in result.missing_keys if name in own]
    said += [f"warned: {w.message}" for w in caught if any(word in str(w.message) for word in ("missing", "unexpected", "Unexpected", "not initialized"))]
    if len(said) == 0 and len(weights) == 0:
        said.append("the file is empty")
    y = model(x, **({} if mask is None else {"attention_mask": mask}))
    y = getattr(y, "logits", y).detach()[:, -x.shape[1] :]
    return y, said


def group(name, out, make, wrong):
    logits = load_file(os.path.join(out, "logits.safetensors"))
    x, mask = logits.pop("input"), logits.pop("mask", None)
    if mask is None and x.dtype == torch.long:
        mask = torch.ones_like(x)
    for case, ours in sorted(logits.items()):
        try:
            y, said = read(make, os.path.join(out, case), x, None if mask is None else mask.long())
            off = (y - ours).abs().max().item()
        except Exception as error:
            off, said = float("nan"), [repr(error)[:300]]
        fine = not said and off <= TOLERANCE
        wrong += [] if fine else [case]
        print(f"{name + '/' + case:44} off by {off:.1e}  {'no name missing or not expected' if not said else '; '.join(said)[:400]}")


def main(out, cases, golden, *mini):
    print(f"{datetime.date.today()}, {platform.machine()}: torch {torch.__version__.split('+')[0]}, transformers {tf.__version__}, peft {peft.__version__}")
    print("Adapters that chainrule read and saved again, or made and trained (own), read by peft: the largest difference of logits\n")
    wrong = []
    bases = {"golden": golden, "own": golden, "sequence": os.path.join(cases, "sequence"), "token": os.path.join(cases, "token")}
    for name, folder in bases.items():
        group(name, os.path.join(out, name), lambda: bert(os.path.join(folder, "base")), wrong)
    group("image", os.path.join(out, "image"), lambda: net(os.path.join(cases, "image", "base")), wrong)
    if mini:
        group("minilm", os.path.join(out, "minilm"), lambda: minilm(mini[0], os.path.join(mini[1], "base_classifier_seed7.safetensors")), wrong)
    print(f"\n{len(wrong)} wrong{': ' + ', '.join(wrong) if wrong else ''}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
