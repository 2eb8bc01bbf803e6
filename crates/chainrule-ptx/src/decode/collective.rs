//! Instructions that the lanes of a warp execute together.
use super::Result;
use super::data::atomic_kind;
use super::link::Decoder;
use super::modifiers::Modifiers;
use crate::parse::syntax::{Number, Operand, Statement};
use crate::program::{AtomicKind, Collective, MatrixType, Operation, Register, ShuffleMode, Slot, Space, VoteMode};
use crate::types::Type;

impl<'a> Decoder<'a, '_> {
    pub(super) fn collective(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        let scope = statement.scope;
        let operands = &statement.operands[..];
        if name == "activemask" {
            modifiers.ty()?;
            let [to] = operands else { return Err("activemask takes one operand".into()) };
            return Ok(Some(Operation::ActiveMask { to: self.names.target(scope, to, Type::B32)? }));
        }
        if !matches!(name, "shfl" | "vote" | "match" | "redux" | "elect" | "ldmatrix" | "mma") {
            return Ok(None);
        }
        if !modifiers.take("sync") {
            return Err(format!("{name} without .sync is not supported"));
        }
        let every = self.names.literal(Number::Integer(u32::MAX as u64), Type::B32).index;
        let (mask, op) = match (name, operands) {
            ("shfl", [to, a, b, c, mask]) => {
                let mode = modifiers.need("a mode", |word| {
                    Some(match word {
                        "up" => ShuffleMode::Up,
                        "down" => ShuffleMode::Down,
                        "bfly" => ShuffleMode::Butterfly,
                        "idx" => ShuffleMode::Index,
                        _ => return None,
                    })
                })?;
                modifiers.ty()?;
                let (to, valid) = self.with_predicate(scope, to, Type::B32)?;
                let [a, b, c] = [a, b, c].map(|operand| self.names.source(scope, operand, Type::B32));
                (self.names.source(scope, mask, Type::B32)?, Collective::Shuffle { mode, to, valid, a: a?, b: b?, c: c? })
            }
            ("vote", [to, a, mask]) => {
                let (mode, ty) = modifiers.need("a mode", |word| {
                    Some(match word {
                        "all" => (VoteMode::All, Type::Pred),
                        "any" => (VoteMode::Any, Type::Pred),
                        "uni" => (VoteMode::Uniform, Type::Pred),
                        "ballot" => (VoteMode::Ballot, Type::B32),
                        _ => return None,
                    })
                })?;
                modifiers.ty()?;
                let to = Slot { bank: ty.bank(), index: self.names.target(scope, to, ty)? };
                let (a, negated) = self.predicate(scope, a)?;
                (self.names.source(scope, mask, Type::B32)?, Collective::Vote { mode, to, a, negated })
            }
            ("match", [to, a, mask]) => {
                let all = modifiers.take("all");
                if !all && !modifiers.take("any") {
                    return Err("match needs .any or .all".into());
                }
                let ty = modifiers.ty()?;
                let (to, valid) = self.with_predicate(scope, to, Type::B32)?;
                let a = self.names.source(scope, a, ty)?;
                (self.names.source(scope, mask, Type::B32)?, Collective::Match { all, ty, to, valid, a })
            }
            ("redux", [to, a, mask]) => {
                let kind = modifiers.need("an operation", atomic_kind)?;
                if matches!(kind, AtomicKind::Exchange | AtomicKind::CompareAndSwap | AtomicKind::Increment | AtomicKind::Decrement) {
                    return Err(format!("no reduction by {kind:?}"));
                }
                let ty = modifiers.ty()?;
                let (to, a) = (self.names.target(scope, to, ty)?, self.names.source(scope, a, ty)?);
                (self.names.source(scope, mask, Type::B32)?, Collective::Reduce { kind, ty, to, a })
            }
            ("elect", [Operand::Pair(to, elected), mask]) => {
                let to = self.names.target(scope, &Operand::Name(to, 0), Type::B32)?;
                let elected = self.names.target(scope, &Operand::Name(elected, 0), Type::Pred)?;
                (self.names.source(scope, mask, Type::B32)?, Collective::Elect { to, elected })
            }
            ("ldmatrix", [Operand::Vector(to), address]) => {
                modifiers.ignore(&["aligned", "m8n8"]);
                let count = modifiers.need("a count", |word| match word {
                    "x1" => Some(1),
                    "x2" => Some(2),
                    "x4" => Some(4),
                    _ => None,
                })?;
                let transposed = modifiers.take("trans");
                let space = modifiers.space();
                if modifiers.ty()? != Type::B16 || count != to.len() || !matches!(space, Space::Shared | Space::Generic) {
                    return Err("ldmatrix loads .b16 from shared memory, one register a matrix".into());
                }
                let place = self.names.place(scope, address, space)?;
                self.names.program.shared_granule = self.names.program.shared_granule.min(2);
                (every, Collective::LoadMatrix { to: self.fragment(scope, to, true)?, place, transposed })
            }
            ("mma", [to, a, b, c]) => (every, self.product_of_matrices(modifiers, scope, [to, a, b, c])?),
            _ => return Err(format!("{name} does not take {} operands", operands.len())),
        };
        Ok(Some(Operation::Collective { mask, op }))
    }

    fn with_predicate(&mut self, scope: usize, operand: &Operand<'a>, ty: Type) -> Result<(Register, Option<Register>)> {
        match operand {
            Operand::Pair(to, valid) => {
                let valid = self.names.target(scope, &Operand::Name(valid, 0), Type::Pred)?;
                Ok((self.names.target(scope, &Operand::Name(to, 0), ty)?, Some(valid)))
            }
            to => Ok((self.names.target(scope, to, ty)?, None)),
        }
    }

    fn fragment(&mut self, scope: usize, operands: &[Operand<'a>], target: bool) -> Result<Vec<Register>> {
        let word = |operand| if target { self.names.target(scope, operand, Type::B32) } else { self.names.source(scope, operand, Type::B32) };
        operands.iter().map(word).collect()
    }

    fn product_of_matrices(&mut self, modifiers: &mut Modifiers<'a>, scope: usize, operands: [&Operand<'a>; 4]) -> Result<Collective> {
        modifiers.take("aligned");
        let k = modifiers.need("a shape that is supported", |word| match word {
            "m16n8k4" => Some(4),
            "m16n8k8" => Some(8),
            "m16n8k16" => Some(16),
            _ => None,
        })?;
        if !modifiers.take("row") || !modifiers.take("col") {
            return Err("mma multiplies .row by .col".into());
        }
        let types = [modifiers.ty()?, modifiers.ty()?, modifiers.ty()?, modifiers.ty()?];
        let ty = match types[1] {
            Type::F16 => MatrixType::F16,
            Type::Bf16 => MatrixType::Bf16,
            Type::Tf32 => MatrixType::Tf32,
            other => return Err(format!("no mma of {other:?}")),
        };
        let half_sum = types[0] == Type::F16;
        if types[1] != types[2] || types[0] != types[3] || !(types[0] == Type::F32 || half_sum && ty == MatrixType::F16) {
            return Err(format!("no mma of the types {types:?}"));
        }
        // A holds 16 k values and B 8 k, 32 lanes share them, two to a register in half precision.
        let packed = if ty == MatrixType::Tf32 { 1 } else { 2 };
        if !(matches!((ty, k), (MatrixType::Tf32, 4 | 8)) || ty != MatrixType::Tf32 && k >= 8) {
            return Err(format!("no mma of {ty:?} with k = {k}"));
        }
        let sums = if half_sum { 2 } else { 4 };
        let sizes = [sums, k / 2 / packed, k / 4 / packed, sums];
        let mut fragments = Vec::new();
        for (position, (operand, size)) in operands.into_iter().zip(sizes).enumerate() {
            let registers = match operand {
                Operand::Vector(registers) => &registers[..],
                single => std::slice::from_ref(single),
            };
            if registers.len() != size {
                return Err(format!("the fragment has {} registers instead of {size}", registers.len()));
            }
            fragments.push(self.fragment(scope, registers, position == 0)?);
        }
        let [to, a, b, c] = <[Vec<Register>; 4]>::try_from(fragments).map_err(|_| "four fragments".to_string())?;
        Ok(Collective::MultiplyMatrix { ty, k, half_sum, to, a, b, c })
    }
}
