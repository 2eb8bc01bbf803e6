//! What a PTX text says, before names are resolved.
use std::collections::HashMap;

use crate::types::Type;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// Two's complement.
    Integer(u64),
    Single(f32),
    Double(f64),
}

impl Number {
    pub fn parse(text: &str) -> Option<Number> {
        let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
        let lower = text.as_bytes().get(1).map(u8::to_ascii_lowercase);
        if text.starts_with('0') && text.len() > 2 {
            match lower {
                Some(b'f') => return Some(Number::Single(f32::from_bits(radix(&text[2..], 16)? as u32))),
                Some(b'd') => return Some(Number::Double(f64::from_bits(radix(&text[2..], 16)?))),
                Some(b'x') => return Some(Number::Integer(radix(text[2..].trim_end_matches('U'), 16)?)),
                Some(b'b') => return Some(Number::Integer(radix(text[2..].trim_end_matches('U'), 2)?)),
                _ => {}
            }
        }
        if text.contains('.') {
            return text.parse().ok().map(Number::Double);
        }
        Some(Number::Integer(text.trim_end_matches('U').parse().ok()?))
    }

    pub fn negated(self) -> Number {
        match self {
            Number::Integer(value) => Number::Integer(value.wrapping_neg()),
            Number::Single(value) => Number::Single(-value),
            Number::Double(value) => Number::Double(-value),
        }
    }

    /// The bits that stand for the number in a value of type `ty`.
    pub fn bits(self, ty: Type) -> u64 {
        let bits = match (self, ty) {
            (Number::Integer(value), Type::F32) => (value as i64 as f32).to_bits() as u64,
            (Number::Integer(value), Type::F64) => (value as i64 as f64).to_bits(),
            (Number::Integer(value), _) => value,
            (Number::Single(value), Type::F64) => (value as f64).to_bits(),
            (Number::Single(value), _) => value.to_bits() as u64,
            (Number::Double(value), Type::F32) => (value as f32).to_bits() as u64,
            (Number::Double(value), _) => value.to_bits(),
        };
        if ty.bytes() >= 8 { bits } else { bits & ((1 << ty.bits()) - 1) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand<'a> {
    /// A register, variable, label or function, with an offset where a plus follows.
    Name(&'a str, i64),
    /// `!name`.
    Not(&'a str),
    Number(Number),
    /// `[base + offset]`.
    Address(Box<Operand<'a>>),
    /// `{a, b}`.
    Vector(Vec<Operand<'a>>),
    /// `(a, b)`.
    Arguments(Vec<Operand<'a>>),
    /// `a|b`.
    Pair(&'a str, &'a str),
}

#[derive(Clone, Debug)]
pub(crate) struct Statement<'a> {
    pub line: u32,
    pub scope: usize,
    /// Predicate and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariableSpace {
    Global,
    Shared,
    Local,
    Parameter,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Initial<'a> {
    Number(Number),
    /// The address of a variable plus an offset.
    Address(&'a str, i64),
}

/// A variable or parameter.
#[derive(Clone, Debug)]
pub(crate) struct Declaration<'a> {
    pub line: u32,
    pub space: VariableSpace,
    pub name: &'a str,
    pub ty: Type,
    pub align: usize,
    pub bytes: usize,
    /// `extern .shared`: the size is the launch's.
    pub dynamic: bool,
    pub initial: Vec<Initial<'a>>,
}

#[derive(Clone, Debug)]
pub(crate) struct RegisterDeclaration<'a> {
    pub ty: Type,
    pub name: &'a str,
    /// `name<count>`.
    pub count: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Scope<'a> {
    pub parent: Option<usize>,
    pub registers: Vec<RegisterDeclaration<'a>>,
    pub variables: Vec<Declaration<'a>>,
    /// The statement that each label stands before.
    pub labels: HashMap<&'a str, usize>,
    /// `.branchtargets` lists.
    pub tables: HashMap<&'a str, Vec<&'a str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Function<'a> {
    pub line: u32,
    pub name: &'a str,
    pub entry: bool,
    pub returns: Vec<Declaration<'a>>,
    pub parameters: Vec<Declaration<'a>>,
    pub max_threads: u32,
    /// The first is the body itself; none for functions that are only declared.
    pub scopes: Vec<Scope<'a>>,
    pub statements: Vec<Statement<'a>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File<'a> {
    pub version: (u32, u32),
    pub variables: Vec<Declaration<'a>>,
    pub functions: Vec<Function<'a>>,
}
