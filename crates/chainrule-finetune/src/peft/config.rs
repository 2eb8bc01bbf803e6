//! `adapter_config.json`: what PEFT says of an adapter beside its numbers.

use crate::{Result, Targets};
use chainrule_nn::Error;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read; real ones have a few kilobytes.
const LARGEST: u64 = 1 << 20;
/// The longest name, or pattern of a layer; real ones have some tens of bytes.
const LONGEST: usize = 4 << 10;

/// The entries of an `adapter_config.json`, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    entries: Map<String, Value>,
}

impl Config {
    /// Without entries.
    pub fn new() -> Config {
        Config::default()
    }

    /// Sets an entry.
    pub fn set(&mut self, key: &str, value: impl Into<Setting>) {
        self.entries.insert(key.to_string(), value.into().0);
    }

    /// Whether there is an entry, and it is not null, false or empty.
    pub fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| !is_empty(value))
    }

    /// The entry, if it is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.as_str()
    }

    /// All entries of another in place of those here.
    pub(super) fn extend(&mut self, other: &Config) {
        self.entries.extend(other.entries.clone());
    }

    /// As PEFT writes it: sorted, a line an entry.
    pub(super) fn json(&self) -> String {
        format!("{:#}", Value::Object(self.entries.clone()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is too large, or is not an object of JSON.
    pub(super) fn open(file: &Path) -> Result<Config> {
        let fail = |reason: String| Error::file(file, reason);
        let mut text = Vec::new();
        let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
        read.map_err(|error| fail(format!("cannot be read: {error}")))?;
        if text.len() as u64 > LARGEST {
            return Err(fail(format!("has more than {LARGEST} bytes, which no configuration of an adapter has")).into());
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(entries)) => Ok(Config { entries }),
            Ok(other) => Err(fail(format!("holds {}, expected an object with \"peft_type\"", shown(&other))).into()),
            Err(error) => Err(fail(format!("is not JSON: {error}")).into()),
        }
    }
}

/// A value of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting(Value);

macro_rules! settings {
    ($($kind:ty)*) => { $(
        impl From<$kind> for Setting {
            fn from(value: $kind) -> Setting {
                Setting(value.into())
            }
        }
    )* };
}
settings! { &str String bool usize Vec<String> Vec<usize> }

/// Whole numbers are written as such: 8, not 8.0.
impl From<f64> for Setting {
    fn from(value: f64) -> Setting {
        let whole = value.fract() == 0.0 && value.abs() < 1e15;
        Setting(if whole { (value as i64).into() } else { value.into() })
    }
}

impl<T: Into<Setting>> From<Vec<(String, T)>> for Setting {
    fn from(entries: Vec<(String, T)>) -> Setting {
        Setting(Value::Object(entries.into_iter().map(|(key, value)| (key, value.into().0)).collect()))
    }
}

/// No value.
impl From<()> for Setting {
    fn from((): ()) -> Setting {
        Setting(Value::Null)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((cut, _)) => format!("{} …", &text[..cut]),
        None => text,
    }
}

/// Asks a configuration for what a method wants to know; what nobody asked for is found at the end.
pub(super) struct Reader<'a> {
    file: &'a Path,
    config: &'a Config,
    asked: BTreeSet<&'static str>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, config: &'a Config) -> Reader<'a> {
        Reader { file, config, asked: BTreeSet::new(), warnings: Vec::new() }
    }

    /// The entry, unless it is null.
    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.insert(key);
        self.config.entries.get(key).filter(|value| !value.is_null())
    }

    /// The error that an entry is not what it must be.
    pub fn wrong(&self, key: &str, expected: &str) -> crate::Error {
        let got = self.config.entries.get(key).map_or_else(|| format!("has no \"{key}\""), |value| format!("has \"{key}\": {}", shown(value)));
        Error::file(self.file, format!("{got}, expected {expected}")).into()
    }

    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Whether there is an entry with a value.
    pub fn has(&self, key: &str) -> bool {
        self.config.has(key)
    }

    /// A whole number; 0 unless it is there.
    pub fn key(&mut self, key: &'static str) -> Result<u64> {
        self.value(key).map_or(Some(0), Value::as_u64).ok_or_else(|| self.wrong(key, "a whole number"))
    }

    /// A whole number above 0.
    pub fn count(&mut self, key: &'static str, default: Option<usize>) -> Result<usize> {
        let count = self.value(key).map_or(default, |value| value.as_u64().and_then(|count| usize::try_from(count).ok()));
        count.filter(|&count| count > 0).ok_or_else(|| self.wrong(key, "a whole number above 0"))
    }

    pub fn number(&mut self, key: &'static str, default: f64) -> Result<f64> {
        let number = self.value(key).map_or(Some(default), Value::as_f64);
        number.filter(|number| number.is_finite()).ok_or_else(|| self.wrong(key, "a finite number"))
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool> {
        self.value(key).map_or(Some(default), Value::as_bool).ok_or_else(|| self.wrong(key, "true or false"))
    }

    /// One of these words; the first unless the entry is there.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Result<&'static str> {
        let found = match self.value(key) {
            None => words.first(),
            Some(value) => words.iter().find(|word| value.as_str() == Some(word)),
        };
        found.copied().ok_or_else(|| self.wrong(key, &format!("one of {words:?}")))
    }

    /// A list of texts, or one of them alone.
    pub fn names(&mut self, key: &'static str) -> Result<Vec<String>> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::String(name)) => Ok(vec![self.bounded(key, name)?]),
            Some(value) => self.texts(key, value, "a list of names"),
        }
    }

    fn texts(&self, key: &str, value: &Value, expected: &str) -> Result<Vec<String>> {
        let name = |name: &Value| self.bounded(key, name.as_str().ok_or_else(|| self.wrong(key, expected))?);
        value.as_array().ok_or_else(|| self.wrong(key, expected))?.iter().map(name).collect()
    }

    /// A name that is not too long.
    fn bounded(&self, key: &str, name: &str) -> Result<String> {
        if name.len() > LONGEST { Err(self.wrong(key, &format!("names of at most {LONGEST} bytes"))) } else { Ok(name.to_string()) }
    }

    /// A list of names, or a regular expression of whole paths. `None` where it is empty.
    pub fn targets(&mut self, key: &'static str) -> Result<Option<Targets>> {
        let value = self.value(key).filter(|value| !is_empty(value));
        Ok(match value {
            None => None,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Some(Targets::AllLinear),
            Some(Value::String(expression)) => Some(Targets::Paths(format!("regex:{expression}"))),
            Some(value) => Some(Targets::Names(self.texts(key, value, "a list of names, or a regular expression")?)),
        })
    }

    /// The layers' numbers, one or several.
    pub fn counts(&mut self, key: &'static str) -> Result<Option<Vec<usize>>> {
        let one = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        match self.value(key) {
            None => Ok(None),
            Some(value) => {
                let numbers = value.as_array().map_or_else(|| one(value).map(|number| vec![number]), |list| list.iter().map(one).collect());
                numbers.map(Some).ok_or_else(|| self.wrong(key, "a whole number, or a list of them"))
            }
        }
    }

    /// Numbers by regular expressions of paths, in the keys' order.
    pub fn patterns(&mut self, key: &'static str) -> Result<Vec<(String, f64)>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let all = value
            .as_object()
            .filter(|all| all.keys().all(|pattern| pattern.len() <= LONGEST))
            .and_then(|all| all.iter().map(|(pattern, number)| Some((pattern.clone(), number.as_f64()?))).collect());
        all.ok_or_else(|| self.wrong(key, &format!("an object of numbers by patterns of at most {LONGEST} bytes")))
    }

    /// Entries that change nothing of what the model gives.
    pub fn pass_over(&mut self, keys: &[&'static str]) {
        self.asked.extend(keys);
    }

    /// Entries that would change what the model gives in a way that is not known here.
    pub fn refuse(&mut self, keys: &[&'static str]) -> Result<()> {
        self.asked.extend(keys);
        match keys.iter().find(|key| self.config.has(key)) {
            Some(key) => Err(self.wrong(key, "none: it changes what the model gives, and is not supported")),
            None => Ok(()),
        }
    }

    /// The warnings: an entry that nobody asked for is kept if it says anything.
    pub fn finish(mut self) -> Vec<String> {
        let unknown = self.config.entries.iter().filter(|(key, value)| !self.asked.contains(key.as_str()) && !is_empty(value));
        let warnings: Vec<String> =
            unknown.map(|(key, value)| format!("the entry \"{key}\": {} is not known here; it is kept, and changes nothing", shown(value))).collect();
        self.warnings.extend(warnings);
        self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, f: impl Fn(&mut Reader) -> Result<()>) -> String {
        let Value::Object(entries) = serde_json::from_str(json).unwrap() else { panic!("{json}") };
        let config = Config { entries };
        let mut reader = Reader::new(Path::new("here.json"), &config);
        match f(&mut reader) {
            Ok(()) => reader.finish().join("|"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn entries_of_the_wrong_kind_are_named() {
        type Ask = fn(&mut Reader) -> Result<()>;
        let long = format!(r#"{{"r": ["{0}"]}}"#, "a".repeat(5000));
        let cases: [(&str, Ask); 11] = [
            (&long, |r| r.targets("r").map(drop)),
            (&long.replace(['[', ']'], "").replace("\"}", "\": 1}}").replace(": \"a", ": {\"a"), |r| r.patterns("r").map(drop)),
            (r#"{"r": "eight"}"#, |r| r.count("r", Some(8)).map(drop)),
            (r#"{"r": 0}"#, |r| r.count("r", Some(8)).map(drop)),
            (r#"{"r": -1}"#, |r| r.count("r", Some(8)).map(drop)),
            (r#"{"r": 1e999999}"#, |r| r.count("r", Some(8)).map(drop)),
            (r#"{"r": true}"#, |r| r.number("r", 1.0).map(drop)),
            (r#"{"r": 1}"#, |r| r.flag("r", false).map(drop)),
            (r#"{"r": ["a", 1]}"#, |r| r.targets("r").map(drop)),
            (r#"{"r": [1, -2]}"#, |r| r.counts("r").map(drop)),
            (r#"{"r": {"a": "b"}}"#, |r| r.patterns("r").map(drop)),
        ];
        for (json, ask) in cases.iter().filter(|(json, _)| serde_json::from_str::<Value>(json).is_ok()) {
            let message = read(json, *ask);
            assert!(message.starts_with("here.json has \"r\": ") && message.contains(", expected "), "{json}: {message}");
        }
        assert_eq!(read("{}", |r| r.count("r", None).map(drop)), "here.json has no \"r\", expected a whole number above 0");
    }

    #[test]
    fn unknown_entries_are_warned_of_unless_they_say_nothing() {
        let json = r#"{"a": null, "b": false, "c": [], "d": {}, "e": "", "f": 3, "g": true, "known": 1}"#;
        let warnings = read(json, |r| {
            r.pass_over(&["known"]);
            Ok(())
        });
        assert_eq!(warnings.split('|').count(), 2);
        assert!(warnings.contains("\"f\": 3") && warnings.contains("\"g\": true"), "{warnings}");
        assert!(read(json, |r| r.refuse(&["a", "g"])).contains("has \"g\": true"));
    }

    #[test]
    fn written_as_pythons_json_is() {
        let mut config = Config::new();
        config.set("r", 8usize);
        config.set("lora_alpha", 16.0);
        config.set("lora_dropout", 0.5);
        config.set("bias", "none");
        config.set("revision", ());
        config.set("rank_pattern", vec![("query".to_string(), 4usize)]);
        let expected = "{\n  \"bias\": \"none\",\n  \"lora_alpha\": 16,\n  \"lora_dropout\": 0.5,\n  \"r\": 8,\n  \"rank_pattern\": {\n    \"query\": 4\n  },\n  \"revision\": null\n}";
        assert_eq!(config.json(), expected);
    }
}
