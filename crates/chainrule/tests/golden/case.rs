//! Reading golden files.

use chainrule::{Array, DType};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One case: its arguments and its tensors by the part of the name after the slash.
pub struct Case {
    pub name: String,
    pub op: String,
    pub arguments: Value,
    pub tensors: BTreeMap<String, Array>,
}

impl Case {
    /// All cases of a family, in order of name.
    pub fn read(path: &Path) -> Vec<Case> {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let mut cases: BTreeMap<String, Case> = BTreeMap::new();
        for (name, text) in header.metadata().as_ref().expect("metadata") {
            let arguments: Value = serde_json::from_str(text).expect("JSON arguments");
            let op = arguments["op"].as_str().expect("an operation").to_string();
            cases.insert(name.clone(), Case { name: name.clone(), op, arguments, tensors: BTreeMap::new() });
        }
        for (name, view) in file.tensors() {
            let (case, part) = name.split_once('/').expect("CASE/PART");
            let numbers = view.data().as_chunks::<8>().0;
            let array = match view.dtype() {
                Dtype::F64 => Array::from_slice(&numbers.iter().map(|b| f64::from_le_bytes(*b)).collect::<Vec<_>>(), view.shape()),
                Dtype::I64 => Array::from_slice(&numbers.iter().map(|b| i64::from_le_bytes(*b)).collect::<Vec<_>>(), view.shape()),
                other => panic!("{name}: {other:?}"),
            };
            cases.get_mut(case).expect("a case with metadata").tensors.insert(part.to_string(), array.expect("an array"));
        }
        cases.into_values().collect()
    }

    /// `in.0, in.1, …` (or out, grad_out, grad), those that are there, by number.
    pub fn numbered(&self, kind: &str) -> BTreeMap<usize, &Array> {
        let parts = self.tensors.iter().filter_map(|(part, array)| Some((part.strip_prefix(kind)?.strip_prefix('.')?.parse().ok()?, array)));
        parts.collect()
    }

    pub fn has(&self, key: &str) -> bool {
        !self.arguments[key].is_null()
    }
    pub fn float(&self, key: &str) -> f64 {
        self.arguments[key].as_f64().unwrap_or_else(|| panic!("{}: {key}", self.name))
    }
    pub fn float_or(&self, key: &str, default: f64) -> f64 {
        self.arguments[key].as_f64().unwrap_or(default)
    }
    pub fn int(&self, key: &str) -> isize {
        self.arguments[key].as_i64().unwrap_or_else(|| panic!("{}: {key}", self.name)) as isize
    }
    pub fn size(&self, key: &str) -> usize {
        self.int(key) as usize
    }
    pub fn flag(&self, key: &str) -> bool {
        self.arguments[key].as_bool().unwrap_or(false)
    }
    pub fn text(&self, key: &str) -> &str {
        self.arguments[key].as_str().unwrap_or("")
    }
    /// A list, or a single number as a list of one.
    pub fn ints(&self, key: &str) -> Vec<isize> {
        match &self.arguments[key] {
            Value::Array(list) => list.iter().map(|v| v.as_i64().expect("an integer") as isize).collect(),
            Value::Number(n) => vec![n.as_i64().expect("an integer") as isize],
            other => panic!("{}: {key} is {other}", self.name),
        }
    }
    pub fn sizes(&self, key: &str) -> Vec<usize> {
        self.ints(key).into_iter().map(|i| i as usize).collect()
    }
}

/// max |ours - golden| / (1 + max |golden|); infinite where the shapes differ, or a NaN or an infinity is on one side only.
pub fn error(ours: &Array, golden: &Array) -> f64 {
    if ours.dims() != golden.dims() {
        return f64::INFINITY;
    }
    let doubles = |a: &Array| a.cast(DType::F64).and_then(|a| a.to_vec::<f64>()).expect("numbers");
    let (ours, golden) = (doubles(ours), doubles(golden));
    let largest = golden.iter().filter(|g| g.is_finite()).fold(0f64, |m, g| m.max(g.abs()));
    let worst = ours.iter().zip(&golden).fold(0f64, |m, (o, g)| {
        let same = o == g || o.is_nan() && g.is_nan();
        let difference = (o - g).abs();
        m.max(if same {
            0.0
        } else if difference.is_finite() {
            difference
        } else {
            f64::INFINITY
        })
    });
    worst / (1.0 + largest)
}
