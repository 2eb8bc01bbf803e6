//! Which tensors a pickle's value holds, by name: keys of dicts and places in lists, joined by dots.

use super::{Machine, Reason, Value, shown};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The name of a tensor that was saved by itself.
const ALONE: &str = "tensor";
const DEEPEST: usize = 64;

/// The tensors in a value, as indices into the machine's views.
pub(in crate::read) fn tensors(machine: &Machine, root: Value) -> Result<BTreeMap<String, u32>, Reason> {
    // A dict may stand in several places. Names that are together many times longer than the pickle come of a few dicts that hold each other.
    let budget = machine.bytes.taken().saturating_mul(16).saturating_add(1 << 16);
    let mut walk = Walk { machine, name: String::new(), budget, found: BTreeMap::new() };
    walk.at(root, 0)?;
    Ok(walk.found)
}

struct Walk<'a, 'b> {
    machine: &'a Machine<'b>,
    name: String,
    budget: usize,
    found: BTreeMap<String, u32>,
}

impl Walk<'_, '_> {
    fn at(&mut self, value: Value, depth: usize) -> Result<(), Reason> {
        self.spend(1)?;
        match value {
            Value::Tensor(tensor) => {
                let name = if self.name.is_empty() { ALONE } else { &self.name };
                if self.found.insert(name.to_string(), tensor).is_some() {
                    return Err(format!("has two tensors by the name \"{}\"", shown(&self.name)));
                }
                self.spend(self.name.len())
            }
            Value::Tuple(_) | Value::List(_) | Value::Dict(_) if depth == DEEPEST => {
                Err(format!("has a pickle of more than {DEEPEST} dicts within each other"))
            }
            Value::Tuple(node) | Value::List(node) => {
                let machine = self.machine;
                machine.items(node).iter().enumerate().try_for_each(|(i, &item)| self.within(format_args!("{i}"), item, depth))
            }
            Value::Dict(node) => {
                let machine = self.machine;
                machine.items(node).as_chunks::<2>().0.iter().try_for_each(|&[key, item]| match key {
                    Value::Text(key) => {
                        self.spend(key.length as usize)?;
                        self.within(format_args!("{}", machine.bytes.of(key)), item, depth)
                    }
                    Value::Int(key) => self.within(format_args!("{key}"), item, depth),
                    // Such keys make no names; what they stand for is not looked at unless it could be a tensor.
                    other if matches!(item, Value::Tensor(_) | Value::Tuple(_) | Value::List(_) | Value::Dict(_)) => {
                        Err(format!("has a dict with {} as key, expected a text or an integer", machine.describe(other)))
                    }
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        }
    }

    fn within(&mut self, key: std::fmt::Arguments, item: Value, depth: usize) -> Result<(), Reason> {
        let before = self.name.len();
        if before > 0 {
            self.name.push('.');
        }
        // Writing to a string does not fail.
        let _ = self.name.write_fmt(key);
        let result = self.at(item, depth + 1);
        self.name.truncate(before);
        result
    }

    fn spend(&mut self, cost: usize) -> Result<(), Reason> {
        self.budget = self.budget.checked_sub(cost).ok_or("has a pickle whose dicts hold each other so often that there is no end of names")?;
        Ok(())
    }
}
