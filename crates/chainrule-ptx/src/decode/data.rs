//! Moves, loads, stores, atomics and asynchronous copies.
use super::Result;
use super::link::Decoder;
use super::modifiers::Modifiers;
use crate::parse::syntax::{Number, Operand, Statement};
use crate::program::{Atomic, AtomicKind, Operation, Place, Slot, Space};
use crate::types::{Bank, Type};

/// Words that say where data are cached; they change no result.
const CACHES: &[&str] = &[
    "ca",
    "cg",
    "cs",
    "lu",
    "cv",
    "wb",
    "wt",
    "nc",
    "L1::no_allocate",
    "L1::evict_first",
    "L1::evict_last",
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L2::evict_first",
    "L2::evict_last",
    "L2::evict_normal",
    "L2::64B",
    "L2::128B",
    "L2::256B",
    "weak",
];
const STRENGTHS: &[&str] = &["volatile", "relaxed", "acquire", "release", "acq_rel"];
const REACHES: &[&str] = &["cta", "gpu", "sys", "cluster"];

impl<'a> Decoder<'a, '_> {
    pub(super) fn data(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        Ok(Some(match name {
            "mov" => self.moving(modifiers, statement)?,
            "cvta" => self.window(modifiers, statement)?,
            "isspacep" => {
                let space = modifiers.space();
                let [to, a] = &statement.operands[..] else { return Err("isspacep takes two operands".into()) };
                Operation::IsSpace { space, to: self.names.target(statement.scope, to, Type::Pred)?, a: self.names.source(statement.scope, a, Type::U64)? }
            }
            "ld" | "ldu" | "st" => self.access(name, modifiers, statement)?,
            "atom" | "red" => self.atomic(name, modifiers, statement)?,
            "cp" => self.copy(modifiers, statement)?,
            _ => return Ok(None),
        }))
    }

    fn moving(&mut self, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let scope = statement.scope;
        let ty = modifiers.ty()?;
        let [to, from] = &statement.operands[..] else { return Err("mov takes two operands".into()) };
        let part = |count: usize| match ty.bytes() / count.max(1) {
            1 => Ok(Type::B8),
            2 => Ok(Type::B16),
            4 => Ok(Type::B32),
            _ => Err("the parts of a vector must fill its type".to_string()),
        };
        if let Operand::Vector(parts) = from {
            let part = part(parts.len())?;
            let from = parts.iter().map(|operand| self.names.source(scope, operand, part)).collect::<Result<_>>()?;
            let to = Slot { bank: ty.bank(), index: self.names.target(scope, to, ty)? };
            return Ok(Operation::Pack { part, to, from });
        }
        if let Operand::Vector(parts) = to {
            let part = part(parts.len())?;
            let to = parts.iter().map(|operand| Ok(self.sink(scope, operand, part)?.map(|slot| slot.index))).collect::<Result<_>>()?;
            return Ok(Operation::Unpack { part, to, from: Slot { bank: ty.bank(), index: self.names.source(scope, from, ty)? } });
        }
        if let Operand::Name("%clock" | "%clock64" | "%clock_hi" | "%globaltimer" | "%globaltimer_lo", 0) = from {
            return Ok(Operation::Clock { to: self.names.any_target(scope, to, ty)? });
        }
        let target = self.names.target(scope, to, ty)?;
        if ty == Type::Pred {
            let (a, negated) = self.predicate(scope, from)?;
            return Ok(if negated { Operation::PredicateNot { to: target, a } } else { Operation::PredicateMove { to: target, a } });
        }
        let a = self.names.source(scope, from, ty)?;
        Ok(Operation::Move { wide: ty.bank() == Bank::Double, to: target, a })
    }

    fn window(&mut self, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let to_space = modifiers.take("to");
        let space = modifiers.space();
        let ty = modifiers.ty()?;
        let [to, a] = &statement.operands[..] else { return Err("cvta takes two operands".into()) };
        let to = Slot { bank: ty.bank(), index: self.names.target(statement.scope, to, ty)? };
        let a = Slot { bank: ty.bank(), index: self.names.source(statement.scope, a, ty)? };
        Ok(if to_space { Operation::FromGeneric { space, to, a } } else { Operation::ToGeneric { space, to, a } })
    }

    /// The narrowest access decides how fine the race checks look.
    fn granule(&mut self, space: Space, bytes: usize) {
        let shift = bytes.trailing_zeros();
        if matches!(space, Space::Generic | Space::Shared) {
            self.names.program.shared_granule = self.names.program.shared_granule.min(shift);
        }
        if matches!(space, Space::Generic | Space::Global) {
            self.names.program.global_granule = self.names.program.global_granule.min(shift);
        }
    }

    fn access(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let scope = statement.scope;
        let strong = STRENGTHS.iter().any(|word| modifiers.has(word));
        modifiers.ignore(STRENGTHS);
        modifiers.ignore(REACHES);
        modifiers.ignore(CACHES);
        let space = modifiers.space();
        let count = modifiers.pick(|word| match word {
            "v2" => Some(2),
            "v4" => Some(4),
            _ => None,
        });
        let ty = modifiers.ty()?;
        if matches!(ty, Type::Pred | Type::B128) || ty.bytes() * count.unwrap_or(1) > 16 {
            return Err(format!("no access of this size with {ty:?}"));
        }
        let [first, second] = &statement.operands[..] else { return Err(format!("{name} takes two operands")) };
        let (address, value) = if name == "st" { (first, second) } else { (second, first) };
        let place = self.names.place(scope, address, space)?;
        if name == "st" && place.space == Space::Parameter {
            return Err("parameters of a kernel are not written".into());
        }
        self.granule(place.space, ty.bytes());
        let values = match (value, count) {
            (Operand::Vector(values), Some(count)) if values.len() == count => &values[..],
            (Operand::Vector(values), None) if values.len() == 1 => &values[..],
            (value, None) => std::slice::from_ref(value),
            _ => return Err("the vector does not have the size that the modifier says".into()),
        };
        if name == "st" {
            let from = values.iter().map(|value| self.names.any_source(scope, value, ty)).collect::<Result<Vec<Slot>>>()?;
            if from.iter().any(|slot| slot.bank == Bank::Predicate || slot.bank == Bank::Word && ty.bytes() == 8) {
                return Err("the register is narrower than what is stored".into());
            }
            return Ok(Operation::Store { place, ty, from, strong });
        }
        let to = values.iter().map(|value| self.sink(scope, value, ty)).collect::<Result<Vec<Option<Slot>>>>()?;
        if to.iter().flatten().any(|slot| slot.bank == Bank::Predicate || slot.bank == Bank::Word && ty.bytes() == 8) {
            return Err("the register is narrower than what is loaded".into());
        }
        Ok(Operation::Load { place, ty, to, strong })
    }

    fn atomic(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let scope = statement.scope;
        modifiers.ignore(STRENGTHS);
        modifiers.ignore(REACHES);
        modifiers.take("noftz");
        let space = modifiers.space();
        let kind = modifiers.need("an operation", atomic_kind)?;
        let ty = modifiers.ty()?;
        let float_ok = kind == AtomicKind::Add && matches!(ty, Type::F32 | Type::F64 | Type::F16x2 | Type::Bf16x2 | Type::F16 | Type::Bf16);
        let swap_ok = ty == Type::B16 && kind == AtomicKind::CompareAndSwap;
        if ty.float() && !float_ok || ty.bytes() < 4 && !float_ok && !swap_ok || ty.bytes() > 8 {
            return Err(format!("no atomic {kind:?} of {ty:?}"));
        }
        let (to, rest) = match (name, &statement.operands[..]) {
            ("red", rest) => (None, rest),
            (_, [to, rest @ ..]) => (self.sink(scope, to, ty)?, rest),
            _ => return Err("atom takes a result".into()),
        };
        let (address, b, c) = match (kind, rest) {
            (AtomicKind::CompareAndSwap, [address, b, c]) => (address, b, Some(self.names.source(scope, c, ty)?)),
            (AtomicKind::CompareAndSwap, _) => return Err("cas takes two values".into()),
            (_, [address, b]) => (address, b, None),
            _ => return Err("wrong number of operands".into()),
        };
        if to.is_some_and(|to| to.bank != ty.bank()) {
            return Err("the result does not have the size of the operation".into());
        }
        let place = self.names.place(scope, address, space)?;
        if matches!(place.space, Space::Local | Space::Parameter) {
            return Err("atomics work on global and shared memory".into());
        }
        self.granule(place.space, ty.bytes());
        let b = self.names.source(scope, b, ty)?;
        Ok(Operation::Atomic(Atomic { kind, ty, place, to: to.map(|to| to.index), b, c }))
    }

    fn copy(&mut self, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        if !modifiers.take("async") {
            return Err("only cp.async is supported".into());
        }
        match &statement.operands[..] {
            [] if modifiers.take("commit_group") => return Ok(Operation::CommitCopies),
            [] if modifiers.take("wait_all") => return Ok(Operation::WaitCopies { pending: None }),
            [Operand::Number(Number::Integer(pending))] if modifiers.take("wait_group") => {
                return Ok(Operation::WaitCopies { pending: Some(*pending as usize) });
            }
            _ => {}
        }
        if !(modifiers.take("shared") || modifiers.take("shared::cta")) || !modifiers.take("global") {
            return Err("cp.async copies from global to shared memory".into());
        }
        modifiers.ignore(CACHES);
        let scope = statement.scope;
        let [to, from, Operand::Number(Number::Integer(bytes @ (4 | 8 | 16))), rest @ ..] = &statement.operands[..] else {
            return Err("cp.async takes two addresses and 4, 8 or 16 bytes".into());
        };
        let to: Place = self.names.place(scope, to, Space::Shared)?;
        let from = self.names.place(scope, from, Space::Global)?;
        let (mut source_bytes, mut ignore) = (None, None);
        match rest {
            [] => {}
            [Operand::Not(_)] => return Err("the predicate of cp.async takes no `!`".into()),
            [last] => match self.names.any_source(scope, last, Type::U32)? {
                Slot { bank: Bank::Predicate, index } => ignore = Some(index),
                Slot { bank: Bank::Word, index } => source_bytes = Some(index),
                _ => return Err("the source size is a word".into()),
            },
            _ => return Err("cp.async takes at most four operands".into()),
        }
        Ok(Operation::CopyAsync { to, from, bytes: *bytes as usize, source_bytes, ignore })
    }
}

pub(super) fn atomic_kind(word: &str) -> Option<AtomicKind> {
    Some(match word {
        "add" => AtomicKind::Add,
        "min" => AtomicKind::Minimum,
        "max" => AtomicKind::Maximum,
        "and" => AtomicKind::And,
        "or" => AtomicKind::Or,
        "xor" => AtomicKind::Xor,
        "exch" => AtomicKind::Exchange,
        "cas" => AtomicKind::CompareAndSwap,
        "inc" => AtomicKind::Increment,
        "dec" => AtomicKind::Decrement,
        _ => return None,
    })
}
