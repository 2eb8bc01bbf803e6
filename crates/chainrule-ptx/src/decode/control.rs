//! Jumps, calls, barriers and other instructions without a result.
use super::Result;
use super::link::Decoder;
use super::modifiers::Modifiers;
use super::names::Meaning;
use crate::parse::syntax::{Number, Operand, Statement};
use crate::program::{Barrier, BarrierKind, NO_JOIN, Operation, Register, Slot, Space};
use crate::types::{Bank, Type};

impl<'a> Decoder<'a, '_> {
    /// Decodes an instruction of this family; none if it belongs to another.
    pub(super) fn control(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        let operands = &statement.operands[..];
        Ok(Some(match (name, operands) {
            ("bra", [Operand::Name(label, 0)]) => {
                modifiers.take("uni");
                Operation::Branch { target: self.label(statement.scope, label)?, join: NO_JOIN }
            }
            ("brx", [index, Operand::Name(table, 0)]) => {
                modifiers.take("uni");
                if !modifiers.take("idx") {
                    return Err("brx needs .idx".into());
                }
                let labels = self.table(statement.scope, table)?;
                let targets = labels.iter().map(|label| self.label(statement.scope, label)).collect::<Result<_>>()?;
                Operation::BranchTable { index: self.names.source(statement.scope, index, Type::U32)?, targets, join: NO_JOIN }
            }
            ("ret", []) => {
                modifiers.take("uni");
                if self.in_entry { Operation::Exit } else { Operation::Branch { target: self.end(), join: NO_JOIN } }
            }
            ("exit", []) => Operation::Exit,
            ("trap", []) => Operation::Trap,
            ("brkpt", []) | ("nanosleep", [_]) => {
                modifiers.take("u32");
                Operation::Nothing
            }
            ("membar", []) => {
                modifiers.ignore(&["gl", "sys", "cta"]);
                Operation::Nothing
            }
            ("fence", []) => {
                modifiers.ignore(&["sc", "acq_rel", "cta", "gpu", "sys", "cluster"]);
                Operation::Nothing
            }
            ("prefetch" | "prefetchu", [Operand::Address(_)]) => {
                modifiers.ignore(&["global", "local", "L1", "L2", "L2::evict_last", "L2::evict_normal"]);
                Operation::Nothing
            }
            ("bar" | "barrier", _) if modifiers.take("warp") => {
                modifiers.ignore(&["sync"]);
                let [mask] = operands else { return Err("bar.warp.sync takes a mask".into()) };
                let mask = self.names.source(statement.scope, mask, Type::B32)?;
                Operation::Collective { mask, op: crate::program::Collective::Barrier }
            }
            ("bar" | "barrier", _) => Operation::Barrier(self.barrier(name, modifiers, statement)?),
            ("call", _) => return Err("a call may not stand here".into()),
            _ => return Ok(None),
        }))
    }

    fn barrier(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Barrier> {
        modifiers.take("cta");
        let aligned = modifiers.take("aligned") || name == "bar";
        let scope = statement.scope;
        let kind = if modifiers.take("sync") {
            BarrierKind::Sync
        } else if modifiers.take("arrive") {
            BarrierKind::Arrive
        } else if modifiers.take("red") {
            modifiers.need("an operation", |word| match word {
                "popc" => Some(BarrierKind::Count),
                "and" => Some(BarrierKind::All),
                "or" => Some(BarrierKind::Any),
                _ => None,
            })?
        } else {
            return Err("unknown kind of barrier".into());
        };
        let mut operands = &statement.operands[..];
        let mut reduction = None;
        if matches!(kind, BarrierKind::Count | BarrierKind::All | BarrierKind::Any) {
            let ty = modifiers.ty()?;
            let ([to, rest @ .., predicate], true) = (operands, operands.len() >= 3) else {
                return Err("bar.red takes a result, a barrier and a predicate".into());
            };
            let (predicate, negated) = self.predicate(scope, predicate)?;
            reduction = Some((self.names.any_target(scope, to, ty)?, predicate, negated));
            operands = rest;
        }
        let (id, count) = match operands {
            [id] => (id, None),
            [id, count] => (id, Some(count)),
            _ => return Err("a barrier takes its number and perhaps a count of threads".into()),
        };
        if kind == BarrierKind::Arrive && count.is_none() {
            return Err("bar.arrive needs a count of threads".into());
        }
        let id = self.names.source(scope, id, Type::U32)?;
        let count = count.map(|count| self.names.source(scope, count, Type::U32)).transpose()?;
        Ok(Barrier { kind, id, count, aligned, reduction })
    }

    /// A predicate operand and whether it is negated. Constants stand for themselves.
    pub(super) fn predicate(&mut self, scope: usize, operand: &Operand<'a>) -> Result<(Register, bool)> {
        match operand {
            Operand::Not(name) => Ok((self.names.source(scope, &Operand::Name(name, 0), Type::Pred)?, true)),
            Operand::Number(Number::Integer(value)) => {
                let bits = if *value != 0 { u32::MAX } else { 0 };
                Ok((self.names.constant(Bank::Predicate, crate::program::Constant::Word(bits)), false))
            }
            other => Ok((self.names.source(scope, other, Type::Pred)?, false)),
        }
    }

    /// `call (results), function, (arguments)`: copies in, the jump, copies out.
    pub(super) fn call(&mut self, statement: &Statement<'a>) -> Result<Vec<Operation>> {
        let (_, mut modifiers) = Modifiers::split(statement.opcode);
        modifiers.take("uni");
        modifiers.finish()?;
        let (results, rest) = match &statement.operands[..] {
            [Operand::Arguments(results), rest @ ..] => (&results[..], rest),
            rest => (&[][..], rest),
        };
        let (callee, arguments) = match rest {
            [Operand::Name(callee, 0)] => (*callee, &[][..]),
            [Operand::Name(callee, 0), Operand::Arguments(arguments)] => (*callee, &arguments[..]),
            _ => return Err("expected call (results), function, (arguments)".into()),
        };
        let callee = self.callee(callee)?;
        if callee.parameters.len() != arguments.len() || callee.returns.len() != results.len() {
            return Err(format!(
                "the call gives {} and takes {} values, the function {} and {}",
                arguments.len(),
                results.len(),
                callee.parameters.len(),
                callee.returns.len()
            ));
        }
        let mut operations = Vec::new();
        for (argument, &(to, bytes)) in arguments.iter().zip(&callee.parameters) {
            let from = self.argument(statement.scope, argument)?;
            operations.push(Operation::CopyLocal { to, from, bytes });
        }
        operations.push(Operation::Call { target: usize::MAX, function: callee.number });
        self.calls.push(self.names.program.instructions.len() + operations.len() - 1);
        for (result, &(from, bytes)) in results.iter().zip(&callee.returns) {
            let to = self.argument(statement.scope, result)?;
            operations.push(Operation::CopyLocal { to, from, bytes });
        }
        Ok(operations)
    }

    fn argument(&mut self, scope: usize, operand: &Operand<'a>) -> Result<usize> {
        match operand {
            Operand::Name(name, 0) => match self.names.meaning(scope, name)? {
                Meaning::Variable(Space::Local, offset) => Ok(offset as usize),
                other => Err(format!("{name} is passed to a function, but is {other:?} instead of a .param")),
            },
            other => Err(format!("{other:?} is passed to a function, but is no .param")),
        }
    }

    /// A scratch or named target of a vector; `_` is none.
    pub(super) fn sink(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<Option<Slot>> {
        if *operand == Operand::Name("_", 0) { Ok(None) } else { self.names.any_target(scope, operand, ty).map(Some) }
    }
}
