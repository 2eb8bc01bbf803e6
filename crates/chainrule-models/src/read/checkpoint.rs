//! [`Checkpoint`]: an open file of weights whose names are made to be the model's.

use super::stars::Stars;
use chainrule_autograd::{Array, DType};
use chainrule_nn::source::{Entry, Source};
use chainrule_nn::{Error, LoadReport, Loading, Module, Pattern, Result, StateDict, load_from, nearest_name};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An open file of weights: what it holds is known, the numbers are read when they are asked for, one array at a time.
///
/// Methods that change names take effect in the order in which they are called. What is asked for and matches nothing is an error with near misses.
/// ```
/// use chainrule_autograd::{DType, Rng};
/// use chainrule_models::read::Checkpoint;
/// use chainrule_nn::{Linear, Module, Param};
/// #[derive(Module)]
/// struct Net { encoder: Linear, norm: Param }
/// let rng = &mut Rng::seeded(0);
/// let mut net = Net { encoder: Linear::new(3, 2, rng)?, norm: Linear::new(2, 2, rng)?.weight };
///
/// # let folder = std::env::temp_dir().join(format!("chainrule-checkpoint-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let file = folder.join("weights.safetensors");
/// # let array = |dims: &[usize]| chainrule_autograd::Array::ones(dims, DType::F16);
/// # let published = [("module.encoder.weight", array(&[2, 3])?), ("module.encoder.bias", array(&[2])?), ("module.norm.gamma", array(&[2, 2])?), ("step", array(&[])?)];
/// # let published = published.into_iter().map(|(name, array)| (name.to_string(), array)).collect();
/// # chainrule_nn::safetensors::write(&file, &published, &Default::default())?;
/// // The file holds, as f16, "module.encoder.weight", "module.encoder.bias", "module.norm.gamma" and "step".
/// let report = Checkpoint::open(&file)?.strip_prefix("module.")?.rename("*.gamma", "*")?.ignore("step")?.load(&mut net)?;
/// assert_eq!(report.to_string(), "3 loaded, 0 missing, 0 unexpected, 0 of the wrong shape, 1 ignored");
/// assert_eq!(net.norm.value.to_vec::<f32>()?, [1.0; 4]);
///
/// let error = Checkpoint::open(&file)?.strip_prefix("modul.").unwrap_err().to_string();
/// assert!(error.contains("\"modul.*\" matches no name") && error.contains("module"), "{error}");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub struct Checkpoint {
    path: PathBuf,
    source: Box<dyn Source + Send>,
    /// What is shown, by the new names, and the name of each in the file.
    contents: BTreeMap<String, Entry>,
    names: BTreeMap<String, String>,
    ignored: Vec<String>,
    may_lack: Vec<Pattern>,
}

impl Checkpoint {
    /// Opens a file of any format that [`read`](super) knows, by its first bytes.
    ///
    /// # Errors
    /// A file that cannot be read, is of no known format, is damaged, or asks for more than tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        Ok(Checkpoint::of(path, super::format::open(path)?))
    }

    fn of(path: &Path, source: Box<dyn Source + Send>) -> Checkpoint {
        let contents = source.contents().clone();
        let names = contents.keys().map(|name| (name.clone(), name.clone())).collect();
        Checkpoint { path: path.to_path_buf(), source, contents, names, ignored: vec![], may_lack: vec![] }
    }

    /// The names, with element types and shapes, in the names' order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.contents.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Whether there is an array by this name.
    pub fn contains(&self, name: &str) -> bool {
        self.contents.contains_key(name)
    }

    /// Keeps what stands in this dict alone, by the names it has there: `within("state_dict")` of a training's checkpoint.
    ///
    /// # Errors
    /// Nothing stands there.
    pub fn within(self, dict: &str) -> Result<Checkpoint> {
        let prefix = format!("{dict}.");
        self.check("within", &Pattern::prefix(&prefix))?;
        self.mapped(|name| name.strip_prefix(&prefix).map(str::to_string))
    }

    /// Takes the prefix from all names that have it.
    ///
    /// # Errors
    /// No name has it; two names become one.
    pub fn strip_prefix(self, prefix: &str) -> Result<Checkpoint> {
        self.check("strip_prefix", &Pattern::prefix(prefix))?;
        self.strip_prefix_if_present(prefix)
    }

    /// The same where it is no mistake that no name has it.
    ///
    /// # Errors
    /// Two names become one.
    pub fn strip_prefix_if_present(self, prefix: &str) -> Result<Checkpoint> {
        self.rename_with(|name| name.strip_prefix(prefix).unwrap_or(name).to_string())
    }

    /// Puts a prefix before all names.
    ///
    /// # Errors
    /// None: names that differ stay different.
    pub fn add_prefix(self, prefix: &str) -> Result<Checkpoint> {
        self.rename_with(|name| format!("{prefix}{name}"))
    }

    /// Renames what matches `from`, in which `*` stands for any run of characters; the stars of `to` stand for the same:
    /// `rename("*.gamma", "*.weight")`, `rename("bert.*", "encoder.*")`, `rename("fc.bias", "head.bias")`.
    ///
    /// # Errors
    /// Nothing matches; two names become one; stars that do not pair.
    pub fn rename(self, from: &str, to: &str) -> Result<Checkpoint> {
        let stars = Stars::new(from, to)?;
        self.check("rename", &stars.from)?;
        self.rename_if_present(from, to)
    }

    /// The same where it is no mistake that nothing matches.
    ///
    /// # Errors
    /// Two names become one; stars that do not pair.
    pub fn rename_if_present(self, from: &str, to: &str) -> Result<Checkpoint> {
        let stars = Stars::new(from, to)?;
        self.rename_with(|name| stars.apply(name).unwrap_or_else(|| name.to_string()))
    }

    /// Renames by a function, which gives the new name of every name.
    ///
    /// # Errors
    /// Two names become one.
    pub fn rename_with(self, rename: impl Fn(&str) -> String) -> Result<Checkpoint> {
        self.mapped(|name| Some(rename(name)))
    }

    /// Leaves out what matches a [`Pattern`]; the report counts it.
    ///
    /// # Errors
    /// Nothing matches; a pattern that cannot be read.
    pub fn ignore(self, pattern: &str) -> Result<Checkpoint> {
        self.check("ignore", &Pattern::new(pattern)?)?;
        self.ignore_if_present(pattern)
    }

    /// The same where it is no mistake that nothing matches.
    ///
    /// # Errors
    /// A pattern that cannot be read.
    pub fn ignore_if_present(mut self, pattern: &str) -> Result<Checkpoint> {
        let pattern = Pattern::new(pattern)?;
        self.ignored.extend(self.contents.keys().filter(|name| pattern.matches(name)).cloned());
        self.mapped(|name| (!pattern.matches(name)).then(|| name.to_string()))
    }

    /// Lets the file lack the model's paths that match a [`Pattern`], as a new head's; [`load`](Checkpoint::load) leaves their numbers as they are.
    ///
    /// # Errors
    /// A pattern that cannot be read. One that matches no path of the model is an error of [`load`](Checkpoint::load).
    pub fn allow_missing(mut self, pattern: &str) -> Result<Checkpoint> {
        self.may_lack.push(Pattern::new(pattern)?);
        Ok(self)
    }

    /// Loads all of it into the model, converted to the model's element types. All or nothing: after an error the model is as it was.
    ///
    /// # Errors
    /// Paths that the file lacks, names that the model lacks, wrong shapes: the error holds the [`LoadReport`]. Numbers that cannot be read.
    pub fn load(&mut self, model: &mut dyn Module) -> Result<LoadReport> {
        self.load_as(model, false)
    }

    /// Loads what fits, and reports the rest.
    ///
    /// # Errors
    /// Numbers that cannot be read; then nothing was changed.
    pub fn load_partly(&mut self, model: &mut dyn Module) -> Result<LoadReport> {
        self.load_as(model, true)
    }

    fn load_as(&mut self, model: &mut dyn Module, partly: bool) -> Result<LoadReport> {
        let loading = Loading { partly, may_lack: self.may_lack.clone() };
        let mut loaded = load_from(model, self, &loading);
        match &mut loaded {
            Ok(report) => report.ignored = self.ignored.clone(),
            Err(Error::Load(report)) => report.ignored = self.ignored.clone(),
            Err(_) => {}
        }
        loaded
    }

    /// Reads one array in its own element type (small integers become i64, truth values u8).
    ///
    /// # Errors
    /// A name that is not there; an element type that cannot be read; more than 8 dimensions; a file that changed or is damaged.
    pub fn read(&mut self, name: &str) -> Result<Array> {
        let own = self.contents.get(name).and_then(Entry::dtype);
        Source::read(self, name, own.unwrap_or(DType::F32))
    }

    /// Reads one array converted to an element type.
    ///
    /// # Errors
    /// As for [`read`](Checkpoint::read).
    pub fn read_as(&mut self, name: &str, dtype: DType) -> Result<Array> {
        Source::read(self, name, dtype)
    }

    /// Reads all arrays.
    ///
    /// # Errors
    /// As for [`read`](Checkpoint::read).
    pub fn state_dict(&mut self) -> Result<StateDict> {
        let names: Vec<String> = self.contents.keys().cloned().collect();
        names.into_iter().map(|name| self.read(&name).map(|array| (name, array))).collect()
    }

    fn check(&self, op: &'static str, pattern: &Pattern) -> Result<()> {
        pattern.check_matches(op, "name in the file", self.contents.keys())
    }

    /// The same file under other names; `None` leaves an entry out.
    fn mapped(mut self, rename: impl Fn(&str) -> Option<String>) -> Result<Checkpoint> {
        let (mut contents, mut names) = (BTreeMap::new(), BTreeMap::<String, String>::new());
        for (old, entry) in self.contents {
            let (Some(new), Some(file)) = (rename(&old), self.names.remove(&old)) else { continue };
            if let Some(other) = names.get(&new) {
                return Err(Error::file(&self.path, format!("would have two arrays by the name \"{new}\": \"{other}\" and \"{file}\"")));
            }
            names.insert(new.clone(), file);
            contents.insert(new, entry);
        }
        Ok(Checkpoint { contents, names, ..self })
    }
}

impl Source for Checkpoint {
    fn contents(&self) -> &BTreeMap<String, Entry> {
        &self.contents
    }

    fn read(&mut self, name: &str, dtype: DType) -> Result<Array> {
        match self.names.get(name) {
            Some(name) => self.source.read(name, dtype),
            None => {
                let near = nearest_name(name, self.contents.keys().map(String::as_str)).map(|near| format!("; near it is \"{near}\""));
                Err(Error::file(&self.path, format!("has no array \"{name}\"{}", near.unwrap_or_default())))
            }
        }
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({}, {} arrays)", self.path.display(), self.contents.len())
    }
}
