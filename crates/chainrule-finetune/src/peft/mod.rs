//! Adapters as files, as Python's PEFT writes and reads them: `adapter_config.json` and `adapter_model.safetensors` in a folder.
//!
//! | method | `peft_type` |
//! |---|---|
//! | LoRA, DoRA, rsLoRA, LoRA+ | `LORA` |
//! | VeRA | `VERA` |
//! | (IA)³ | `IA3` |
//! | layer-norm tuning | `LN_TUNING` |
//! | prompt tuning, P-tuning, prefix tuning | `PROMPT_TUNING`, `P_TUNING`, `PREFIX_TUNING`: what the network makes, not the network |
//! | BitFit, bottleneck adapters | `CHAINRULE_BITFIT`, `CHAINRULE_BOTTLENECK`, which PEFT does not know and refuses |
//!
//! Of a configuration, entries without a value are passed over, those that are not known are kept and warned of, and those that would change what the model gives and are not supported are errors that name them.

mod config;
mod folder;
mod given;
mod layout;
mod names;
mod read;
mod twister;
pub(crate) mod write;

pub use config::{Config, Setting};

use crate::parts::{Parts, parent};
use crate::{Adapted, Error, Result, Selection, Targets};
use chainrule_autograd::Rng;
use chainrule_nn::safetensors::Safetensors;
use chainrule_nn::source::Source;
use chainrule_nn::{LoadReport, Loading, Module, Pattern, buffers, load_from};
use config::Reader;
use folder::{CONFIG, NUMBERS};
use given::{Bounded, Given};
use layout::Layout;
use names::{Cleaned, Named, Names, is_within};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Types that PEFT does not have.
pub(crate) const BITFIT: &str = "CHAINRULE_BITFIT";
pub(crate) const BOTTLENECK: &str = "CHAINRULE_BOTTLENECK";

/// What came of loading an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct AdapterReport {
    /// Which names were loaded.
    pub numbers: LoadReport,
    /// What the configuration says that is not known here, or means nothing in this model.
    pub warnings: Vec<String>,
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.numbers.fmt(f)?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  {warning}"))
    }
}

impl<M: Module + Clone> Adapted<M> {
    /// Saves an adapter for Python's PEFT and for [`load`](Adapted::load): a folder with two files, which replace those that are there. Numbers keep their element types.
    ///
    /// Modules that the method saves whole are in it; a file without a head that was made anew would be of no use, so saving refuses where the base has one.
    /// ```
    /// use chainrule_autograd::{DType, Rng, Tensor};
    /// use chainrule_finetune::{Adapted, Lora};
    /// use chainrule_nn::{Layer, Linear, Relu, Sequential};
    /// # let folder = std::env::temp_dir().join(format!("chainrule-adapter-{}", std::process::id()));
    /// let rng = &mut Rng::seeded(0);
    /// let base = Sequential::new().add(Linear::new(8, 16, rng)?).add(Relu).add(Linear::new(16, 2, rng)?);
    /// let mut model = Adapted::new(base.clone());
    /// model.add("reviews", Lora::rank(4).targets(["0"]).saving(["2"]), rng)?;
    /// model.annotate("reviews", "base_model_name_or_path", "somebody/small")?;
    /// model.save("reviews", &folder)?;
    ///
    /// let mut other = Adapted::new(base);
    /// let report = other.load("mine", &folder)?;
    /// assert_eq!(report.numbers.loaded.len(), 4);
    /// assert_eq!(report.numbers.loaded[0], "base_model.model.0.lora_A.weight");
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), chainrule_finetune::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that is not there; a method that has no form in files; parameters of the base that are new or trained and would be lost; a folder that cannot be written to. What was there stays then.
    pub fn save(&self, name: &str, folder: impl AsRef<Path>) -> Result<()> {
        self.member("save", name)?;
        let mut own = self.clone();
        own.deactivate();
        let Adapted { model, mut members, .. } = own;
        let Some(mut member) = members.remove(name) else { return self.member("save", name).map(drop) };
        let layout = Layout::of(&model);
        layout.expect_nothing_lost(&member.parts.params)?;

        let selection = member.method.selection();
        let config = described(&*member.method, &member.parts, &layout)?;
        let names = Names::new(config.text("peft_type").unwrap_or_default(), !member.parts.prompts.is_empty(), &selection.save);
        let mut tensors = Named { parts: &mut member.parts, names: &names }.tensors()?;
        if config.has("save_projection") {
            tensors.extend(member.method.shared().into_iter().map(|(name, array)| (name.to_string(), array)));
        }
        folder::write(folder.as_ref(), &config, &tensors)
    }
}

impl<M: Module> Adapted<M> {
    /// Loads an adapter that Python's PEFT or [`save`](Adapted::save) has written, under a name of your choice. It is active then, and not trained until [`train`](Adapted::train) says so. All or nothing.
    ///
    /// f16 and bf16 become the element type of the layers. Modules that are saved whole replace the base's while the adapter is active.
    ///
    /// # Errors
    /// A name that is taken; files that cannot be read or are damaged; a configuration of another method, or with settings that are not supported; names or shapes that do not fit.
    pub fn load(&mut self, name: &str, folder: impl AsRef<Path>) -> Result<AdapterReport> {
        let (file, numbers) = (folder.as_ref().join(CONFIG), folder.as_ref().join(NUMBERS));
        if !numbers.exists() && folder.as_ref().join("adapter_model.bin").exists() {
            let reason = "is missing; adapter_model.bin beside it is an old format, which PEFT writes anew with safe_serialization";
            return Err(chainrule_nn::Error::file(&numbers, reason).into());
        }
        let config = Config::open(&file)?;
        let mut source = Safetensors::open(&numbers)?;
        self.add_made("load", name, false, |model| {
            let mut source = Cleaned::of(&mut source);
            let mut reader = Reader::new(&file, &config);
            let layout = Layout::of(model);
            let described = read::read(&mut reader, &mut source, &layout)?;
            let with_prompt = source.contents().contains_key("prompt_embeddings");
            let contents = source.contents().clone();
            let mut names = Names::new(config.text("peft_type").unwrap_or_default(), with_prompt, &[]);
            let selection = resolved(described.method.selection(), &layout, &mut reader, |path| contents.contains_key(&names.at(path)))?;
            names.saved = selection.save.clone();
            let bounded =
                Bounded { method: &*described.method, selection, expected: described.expected, contents: &contents, names: &names, unfit: Mutex::default() };
            // The numbers that this draws are replaced by the file's.
            let made = Parts::made(model, &bounded, &mut Rng::seeded(0));
            let unfit = bounded.unfit.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            if !unfit.is_complete() {
                return Err(chainrule_nn::Error::Load(Box::new(unfit)).into());
            }
            let mut parts = made?;
            let mut named = Named { parts: &mut parts, names: &names };
            let mut lacking = Vec::new();
            // PEFT leaves running statistics out where only a bias is trained.
            buffers(&named, |name, _| lacking.extend((!contents.contains_key(name)).then(|| Pattern::new(name))));
            let loading = Loading { may_lack: lacking.into_iter().collect::<chainrule_nn::Result<_>>()?, ..Loading::default() };
            let numbers = load_from(&mut named, &mut source, &loading)?;
            let report = AdapterReport { numbers, warnings: reader.finish() };
            Ok((parts, Arc::new(Given { method: described.method, config: config.clone(), complete: true }), report))
        })
    }

    /// Sets an entry of the adapter's `adapter_config.json`, such as `base_model_name_or_path`, or `task_type`, without which PEFT does not run prompts.
    ///
    /// # Errors
    /// A name that is not there; an entry that says how the adapter's numbers are meant, which is the method's.
    pub fn annotate(&mut self, name: &str, key: &str, value: impl Into<Setting>) -> Result<()> {
        self.member("annotate", name)?;
        if read::SETTINGS.contains(&key) {
            let message = format!(
                "\"{key}\" says how the adapter's numbers are meant, and cannot be set; expected an entry that says where it comes from, such as \"task_type\""
            );
            return Err(Error::adapter("annotate", message));
        }
        if let Some(member) = self.members.get_mut(name) {
            let mut config = Config::new();
            config.set(key, value);
            member.method = Arc::new(Given { method: member.method.clone(), config, complete: false });
        }
        Ok(())
    }
}

/// The configuration of an adapter.
fn described(method: &dyn crate::Method, parts: &Parts, layout: &Layout) -> Result<Config> {
    let selection = method.selection();
    let mut config = Config::new();
    for key in ["auto_mapping", "base_model_name_or_path", "revision", "task_type"] {
        config.set(key, ());
    }
    match selection.save.is_empty() {
        true => config.set("modules_to_save", ()),
        false => config.set("modules_to_save", layout.saving(&selection.save)?),
    }
    let layers: Vec<_> = layout.layers.iter().filter(|(path, _)| parts.slots.iter().any(|(slot, _)| slot == path)).cloned().collect();
    let mut meant: Vec<String> = layers.iter().map(|(path, _)| path.clone()).collect();
    if meant.is_empty() {
        meant.extend(parts.params.iter().filter(|(path, _)| !is_within(path, &selection.save)).map(|(path, _)| parent(path).to_string()));
        meant.dedup();
    }
    if let Some(targets) = &selection.targets {
        config.set("target_modules", layout.targets(targets, &meant));
    }
    if let Some(site) = layout.prompt.filter(|_| !parts.prompts.is_empty()) {
        config.set("num_layers", site.layers);
        config.set("num_attention_heads", site.heads);
        config.set("token_dim", site.features);
        config.set("num_transformer_submodules", 1usize);
    }
    method.to_peft(&layers, &mut config)?;
    config.set("inference_mode", true);
    // PEFT saves these whole for such tasks, whether the list has them or not.
    let heads = ["classifier", "score"].into_iter().filter(|head| layout.modules.contains(*head));
    let task = config.text("task_type").unwrap_or_default();
    for head in heads.filter(|_| ["SEQ_CLS", "TOKEN_CLS"].contains(&task)) {
        if !parts.params.iter().any(|(path, _)| parent(path) == head) {
            let message = format!("for the task {task} PEFT expects the module \"{head}\" in the file; make the adapter with .saving([\"{head}\"])");
            return Err(Error::adapter("save", message));
        }
    }
    Ok(config)
}

/// What a configuration's names mean in this model, by PEFT's rules, which let names mean nothing.
/// `held` says of which parameters of the base the file has numbers.
fn resolved(selection: &Selection, layout: &Layout, reader: &mut Reader, held: impl Fn(&str) -> bool) -> Result<Selection> {
    let mut save: Vec<String> = selection.save.iter().flat_map(|name| layout.saved_by(name, &held)).collect();
    save.sort();
    save.dedup();
    let Some(Targets::Names(names) | Targets::InLayers { names, .. }) = &selection.targets else {
        return Ok(Selection { save, ..selection.clone() });
    };
    let excluded = |path: &str| selection.exclude.as_ref().map_or(Ok(false), |targets| targets.match_path(path, None));
    let mut kept = Vec::new();
    let (mut one, mut used) = (selection.targets.clone(), BTreeSet::new());
    for name in names {
        if let Some(Targets::Names(names) | Targets::InLayers { names, .. }) = &mut one {
            *names = vec![name.clone()];
        }
        let (mut means, mut left) = (false, false);
        for path in &layout.modules {
            let meant = one.as_ref().map_or(Ok(false), |one| one.match_path(path, None))?;
            means |= meant;
            if meant && !is_within(&format!("{path}."), &save) && !excluded(path)? {
                left = true;
                used.insert(path);
            }
        }
        if left {
            kept.push(name.clone());
        } else if !means {
            reader.warn(format!("\"target_modules\" names \"{name}\", which this model has not"));
        }
    }
    // If none means anything, the error for the first says what is near.
    let names = if kept.is_empty() { names.clone() } else { kept };
    let targets = match &selection.targets {
        Some(Targets::InLayers { layers, lists, .. }) => {
            let absent = Targets::absent(layers, lists, used)?;
            if !absent.is_empty() {
                let (shown, more) = (&absent[..absent.len().min(4)], if absent.len() > 4 { " and more" } else { "" });
                reader.warn(format!("\"layers_to_transform\" has {shown:?}{more}, where this model has nothing that is meant"));
            }
            let layers = layers.iter().copied().filter(|layer| absent.binary_search(layer).is_err()).collect();
            Targets::InLayers { names, layers, lists: lists.clone() }
        }
        _ => Targets::Names(names),
    };
    Ok(Selection { targets: Some(targets), exclude: selection.exclude.clone(), save })
}
