//! The words between the dots of an opcode. Each is taken by whoever understands it; what is left over is an error.
use super::Result;
use crate::program::{FloatMode, Rounding, Space};
use crate::types::Type;

pub(super) struct Modifiers<'a> {
    opcode: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    /// The first word of an opcode and its modifiers.
    pub fn split(opcode: &'a str) -> (&'a str, Modifiers<'a>) {
        let mut words = opcode.split('.');
        let name = words.next().unwrap_or_default();
        (name, Modifiers { opcode, rest: words.collect() })
    }

    pub fn has(&self, name: &str) -> bool {
        self.rest.contains(&name)
    }

    /// Takes the modifier if it is there.
    pub fn take(&mut self, name: &str) -> bool {
        let found = self.rest.iter().position(|word| *word == name);
        if let Some(at) = found {
            self.rest.remove(at);
        }
        found.is_some()
    }

    /// Takes the first modifier for which `meaning` has an answer.
    pub fn pick<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, found) = self.rest.iter().enumerate().find_map(|(at, word)| Some((at, meaning(word)?)))?;
        self.rest.remove(at);
        Some(found)
    }

    pub fn need<T>(&mut self, what: &str, meaning: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.pick(meaning).ok_or_else(|| format!("{} lacks {what}", self.opcode))
    }

    pub fn ignore(&mut self, names: &[&str]) {
        self.rest.retain(|word| !names.contains(word));
    }

    pub fn ty(&mut self) -> Result<Type> {
        self.need("a type", Type::parse)
    }

    pub fn rounding(&mut self) -> Option<Rounding> {
        self.pick(|word| {
            Some(match word {
                "rn" => Rounding::Nearest,
                "rz" => Rounding::Zero,
                "rm" => Rounding::Down,
                "rp" => Rounding::Up,
                _ => return None,
            })
        })
    }

    pub fn float_mode(&mut self) -> FloatMode {
        FloatMode { rounding: self.rounding().unwrap_or(Rounding::Nearest), flush: self.take("ftz"), saturate: self.take("sat"), relu: self.take("relu") }
    }

    /// The state space; generic if none is named.
    pub fn space(&mut self) -> Space {
        self.pick(|word| {
            Some(match word {
                "global" | "const" => Space::Global,
                "shared" | "shared::cta" => Space::Shared,
                "local" => Space::Local,
                "param" | "param::entry" | "param::func" => Space::Parameter,
                _ => return None,
            })
        })
        .unwrap_or(Space::Generic)
    }

    /// That every modifier was understood.
    pub fn finish(self) -> Result<()> {
        match self.rest.first() {
            None => Ok(()),
            Some(word) => Err(format!("unknown modifier .{word} of {}", self.opcode)),
        }
    }
}
