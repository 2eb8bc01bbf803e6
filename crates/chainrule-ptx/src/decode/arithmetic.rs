//! Integers, bits, predicates, comparisons and selections.
use super::Result;
use super::link::Decoder;
use super::modifiers::Modifiers;
use crate::parse::syntax::{Operand, Statement};
use crate::program::{Binary, Carried, Comparison, Joined, Logic, Operation, Permute, Relation, Slot, Ternary, Unary};
use crate::types::{Bank, Type};

/// The integer types that most instructions take.
fn integer(ty: Type) -> Result<Type> {
    use Type::*;
    match ty {
        U16 | U32 | U64 | S16 | S32 | S64 => Ok(ty),
        other => Err(format!("no integer instruction for {other:?}")),
    }
}

fn bits(ty: Type) -> Result<Type> {
    use Type::*;
    match ty {
        B16 | B32 | B64 => Ok(ty),
        other => Err(format!("no bit instruction for {other:?}")),
    }
}

impl<'a> Decoder<'a, '_> {
    /// The registers of `to, a, b, …`, all of one type.
    pub(super) fn same<const N: usize>(&mut self, statement: &Statement<'a>, ty: Type) -> Result<[u32; N]> {
        if statement.operands.len() != N {
            return Err(format!("{} takes {N} operands, got {}", statement.opcode, statement.operands.len()));
        }
        let mut registers = [0; N];
        registers[0] = self.names.target(statement.scope, &statement.operands[0], ty)?;
        for (register, operand) in registers[1..].iter_mut().zip(&statement.operands[1..]) {
            *register = self.names.source(statement.scope, operand, ty)?;
        }
        Ok(registers)
    }

    fn unary(&mut self, op: Unary, statement: &Statement<'a>, ty: Type) -> Result<Operation> {
        let [to, a] = self.same(statement, ty)?;
        Ok(Operation::Unary { op, ty, to, a })
    }

    fn binary(&mut self, op: Binary, statement: &Statement<'a>, ty: Type) -> Result<Operation> {
        let [to, a, b] = self.same(statement, ty)?;
        Ok(Operation::Binary { op, ty, to, a, b })
    }

    fn ternary(&mut self, op: Ternary, statement: &Statement<'a>, ty: Type) -> Result<Operation> {
        let [to, a, b, c] = self.same(statement, ty)?;
        Ok(Operation::Ternary { op, ty, to, a, b, c })
    }

    pub(super) fn arithmetic(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        let scope = statement.scope;
        Ok(Some(match name {
            "add" | "sub" | "addc" | "subc" | "madc" => return self.sum(name, modifiers, statement).map(Some),
            "mul" | "mad" => return self.product(name, modifiers, statement).map(Some),
            "mul24" | "mad24" => {
                let high = modifiers.take("hi");
                modifiers.take("lo");
                let ty = integer(modifiers.ty()?)?;
                match (name, high) {
                    ("mul24", false) => self.binary(Binary::Multiply24, statement, ty)?,
                    ("mul24", true) => self.binary(Binary::Multiply24High, statement, ty)?,
                    (_, false) => self.ternary(Ternary::Multiply24Add, statement, ty)?,
                    (_, true) => self.ternary(Ternary::Multiply24HighAdd, statement, ty)?,
                }
            }
            "div" | "rem" | "min" | "max" => {
                let op = match name {
                    "div" => Binary::Divide,
                    "rem" => Binary::Remainder,
                    "min" => Binary::Minimum,
                    _ => Binary::Maximum,
                };
                let ty = integer(modifiers.ty()?)?;
                self.binary(op, statement, ty)?
            }
            "neg" | "abs" => {
                let ty = integer(modifiers.ty()?)?;
                self.unary(if name == "neg" { Unary::Negate } else { Unary::Absolute }, statement, ty)?
            }
            "sad" => {
                let ty = integer(modifiers.ty()?)?;
                self.ternary(Ternary::AbsoluteDifference, statement, ty)?
            }
            "and" | "or" | "xor" | "not" => return self.logic(name, modifiers, statement).map(Some),
            "popc" | "clz" | "bfind" => {
                let op = match name {
                    "popc" => Unary::CountOnes,
                    "clz" => Unary::LeadingZeros,
                    _ => Unary::FindHigh(modifiers.take("shiftamt")),
                };
                let ty = modifiers.ty()?;
                let [to, a] = &statement.operands[..] else { return Err("expected two operands".into()) };
                // The result is a word whatever the source is.
                Operation::Unary { op, ty, to: self.names.target(scope, to, Type::U32)?, a: self.names.source(scope, a, ty)? }
            }
            "brev" => {
                let ty = bits(modifiers.ty()?)?;
                self.unary(Unary::Reverse, statement, ty)?
            }
            "shl" | "shr" => {
                let ty = modifiers.ty()?;
                if ty.float() {
                    return Err("shifts take integers".into());
                }
                let [to, a, amount] = &statement.operands[..] else { return Err("a shift takes three operands".into()) };
                let to = self.names.target(scope, to, ty)?;
                let a = self.names.source(scope, a, ty)?;
                let b = self.names.source(scope, amount, Type::U32)?;
                Operation::Binary { op: if name == "shl" { Binary::ShiftLeft } else { Binary::ShiftRight }, ty, to, a, b }
            }
            "shf" => {
                let left = modifiers.need("a direction", |word| match word {
                    "l" => Some(true),
                    "r" => Some(false),
                    _ => None,
                })?;
                let clamp = modifiers.take("clamp");
                modifiers.take("wrap");
                let ty = modifiers.ty()?;
                self.ternary(if left { Ternary::FunnelLeft(clamp) } else { Ternary::FunnelRight(clamp) }, statement, ty)?
            }
            "bfe" => {
                let ty = integer(modifiers.ty()?)?;
                let [to, a, start, length] = &statement.operands[..] else { return Err("bfe takes four operands".into()) };
                let to = self.names.target(scope, to, ty)?;
                let a = self.names.source(scope, a, ty)?;
                let b = self.names.source(scope, start, Type::U32)?;
                Operation::Ternary { op: Ternary::ExtractBits, ty, to, a, b, c: self.names.source(scope, length, Type::U32)? }
            }
            "bfi" => {
                let ty = bits(modifiers.ty()?)?;
                let [to, a, b, start, length] = &statement.operands[..] else { return Err("bfi takes five operands".into()) };
                let to = self.names.target(scope, to, ty)?;
                let a = self.names.source(scope, a, ty)?;
                let b = self.names.source(scope, b, ty)?;
                let start = self.names.source(scope, start, Type::U32)?;
                Operation::InsertBits { ty, to, a, b, start, length: self.names.source(scope, length, Type::U32)? }
            }
            "prmt" => {
                let ty = bits(modifiers.ty()?)?;
                let mode = modifiers.pick(permute).unwrap_or(Permute::Generic);
                self.ternary(Ternary::Permute(mode), statement, ty)?
            }
            "lop3" => {
                let ty = bits(modifiers.ty()?)?;
                let [to, a, b, c, table] = &statement.operands[..] else { return Err("lop3 takes five operands".into()) };
                let Operand::Number(crate::parse::syntax::Number::Integer(table)) = table else { return Err("the table of lop3 must be a number".into()) };
                let to = self.names.target(scope, to, ty)?;
                let [a, b, c] = [a, b, c].map(|operand| self.names.source(scope, operand, ty));
                Operation::Ternary { op: Ternary::Logic(*table as u8), ty, to, a: a?, b: b?, c: c? }
            }
            "dp4a" => {
                let (a_type, b_type) = (modifiers.ty()?, modifiers.ty()?);
                let op = Ternary::Dot4 { a_signed: a_type.signed(), b_signed: b_type.signed() };
                self.ternary(op, statement, Type::U32)?
            }
            "setp" | "set" => return self.comparison(name, modifiers, statement).map(Some),
            "selp" => {
                let ty = modifiers.ty()?;
                let [to, a, b, predicate] = &statement.operands[..] else { return Err("selp takes four operands".into()) };
                let to = self.names.target(scope, to, ty)?;
                let (a, b) = (self.names.source(scope, a, ty)?, self.names.source(scope, b, ty)?);
                let (predicate, negated) = self.predicate(scope, predicate)?;
                let (a, b) = if negated { (b, a) } else { (a, b) };
                Operation::Select { wide: ty.bank() == Bank::Double, to, a, b, predicate }
            }
            "slct" => {
                modifiers.take("ftz");
                let (ty, sign) = (modifiers.ty()?, modifiers.ty()?);
                let [to, a, b, c] = &statement.operands[..] else { return Err("slct takes four operands".into()) };
                let to = self.names.target(scope, to, ty)?;
                let (a, b) = (self.names.source(scope, a, ty)?, self.names.source(scope, b, ty)?);
                Operation::SelectSign { wide: ty.bank() == Bank::Double, float: sign == Type::F32, to, a, b, c: self.names.source(scope, c, sign)? }
            }
            _ => return Ok(None),
        }))
    }

    fn sum(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let carry_out = modifiers.take("cc");
        let high = modifiers.take("hi");
        modifiers.take("lo");
        let saturate = modifiers.take("sat");
        let ty = integer(modifiers.ty()?)?;
        let carry_in = name.ends_with('c');
        if name == "madc" {
            let [to, a, b, c] = self.same(statement, ty)?;
            let op = if high { Carried::MultiplyAddHigh } else { Carried::MultiplyAddLow };
            return Ok(Operation::Carry { op, ty, to, a, b, c: Some(c), carry_in, carry_out });
        }
        let subtract = name.starts_with("sub");
        if carry_in || carry_out {
            let [to, a, b] = self.same(statement, ty)?;
            return Ok(Operation::Carry { op: if subtract { Carried::Subtract } else { Carried::Add }, ty, to, a, b, c: None, carry_in, carry_out });
        }
        if saturate && ty != Type::S32 {
            return Err("only .s32 saturates".into());
        }
        let op = match (subtract, saturate) {
            (false, false) => Binary::Add,
            (false, true) => Binary::AddSaturating,
            (true, false) => Binary::Subtract,
            (true, true) => Binary::SubtractSaturating,
        };
        self.binary(op, statement, ty)
    }

    fn product(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let scope = statement.scope;
        let carry_out = modifiers.take("cc");
        let part = modifiers.need(".lo, .hi or .wide", |word| ["lo", "hi", "wide"].into_iter().find(|part| *part == word))?;
        let ty = integer(modifiers.ty()?)?;
        if part == "wide" {
            let wide = match ty {
                Type::U16 => Type::U32,
                Type::S16 => Type::S32,
                Type::U32 => Type::U64,
                Type::S32 => Type::S64,
                other => return Err(format!("no wide product of {other:?}")),
            };
            let (to, a, b, addend) = match (name, &statement.operands[..]) {
                ("mul", [to, a, b]) => (to, a, b, None),
                ("mad", [to, a, b, c]) => (to, a, b, Some(self.names.source(scope, c, wide)?)),
                _ => return Err("wrong number of operands".into()),
            };
            let to = Slot { bank: wide.bank(), index: self.names.target(scope, to, wide)? };
            return Ok(Operation::Widening { ty, to, a: self.names.source(scope, a, ty)?, b: self.names.source(scope, b, ty)?, addend });
        }
        let high = part == "hi";
        if carry_out && name == "mad" {
            let [to, a, b, c] = self.same(statement, ty)?;
            let op = if high { Carried::MultiplyAddHigh } else { Carried::MultiplyAddLow };
            return Ok(Operation::Carry { op, ty, to, a, b, c: Some(c), carry_in: false, carry_out });
        }
        match (name, high) {
            ("mul", false) => self.binary(Binary::Multiply, statement, ty),
            ("mul", true) => self.binary(Binary::MultiplyHigh, statement, ty),
            (_, false) => self.ternary(Ternary::MultiplyAdd, statement, ty),
            (_, true) => self.ternary(Ternary::MultiplyHighAdd, statement, ty),
        }
    }

    fn logic(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let ty = modifiers.ty()?;
        if ty == Type::Pred {
            if name == "not" {
                let [to, a] = self.same(statement, ty)?;
                return Ok(Operation::PredicateNot { to, a });
            }
            let [to, a, b] = self.same(statement, ty)?;
            let logic = match name {
                "and" => Logic::And,
                "or" => Logic::Or,
                _ => Logic::Xor,
            };
            return Ok(Operation::PredicateLogic { logic, to, a, b });
        }
        let ty = bits(ty)?;
        match name {
            "not" => self.unary(Unary::Not, statement, ty),
            "and" => self.binary(Binary::And, statement, ty),
            "or" => self.binary(Binary::Or, statement, ty),
            _ => self.binary(Binary::Xor, statement, ty),
        }
    }

    fn comparison(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let scope = statement.scope;
        let named = modifiers.need("a comparison", relation)?;
        let logic = modifiers.pick(|word| match word {
            "and" => Some(Logic::And),
            "or" => Some(Logic::Or),
            "xor" => Some(Logic::Xor),
            _ => None,
        });
        let flush = modifiers.take("ftz");
        let result = if name == "set" { Some(modifiers.ty()?) } else { None };
        let ty = modifiers.ty()?;
        let (relation, or_unordered, unsigned) = named;
        // lo, ls, hi and hs compare without sign whatever the type.
        let ty = match (unsigned, ty) {
            (true, Type::S16) => Type::U16,
            (true, Type::S32) => Type::U32,
            (true, Type::S64) => Type::U64,
            _ => ty,
        };
        let (to, a, b, joined) = match (logic, &statement.operands[..]) {
            (None, [to, a, b]) => (to, a, b, None),
            (Some(logic), [to, a, b, c]) => {
                let (predicate, negated) = self.predicate(scope, c)?;
                (to, a, b, Some(Joined { logic, predicate, negated }))
            }
            _ => return Err("wrong number of operands".into()),
        };
        let a = self.names.source(scope, a, ty)?;
        let b = self.names.source(scope, b, ty)?;
        let comparison = Comparison { relation, or_unordered, ty, flush, a, b, joined };
        if let Some(result) = result {
            return Ok(Operation::Set { comparison, to: self.names.target(scope, to, result)?, float: result == Type::F32 });
        }
        let (to, complement) = match to {
            Operand::Pair(to, complement) => {
                let complement = self.names.target(scope, &Operand::Name(complement, 0), Type::Pred)?;
                (self.names.target(scope, &Operand::Name(to, 0), Type::Pred)?, Some(complement))
            }
            to => (self.names.target(scope, to, Type::Pred)?, None),
        };
        Ok(Operation::Compare { comparison, to, complement })
    }
}

fn permute(word: &str) -> Option<Permute> {
    Some(match word {
        "f4e" => Permute::Forward4,
        "b4e" => Permute::Backward4,
        "rc8" => Permute::Replicate8,
        "ecl" => Permute::EdgeLeft,
        "ecr" => Permute::EdgeRight,
        "rc16" => Permute::Replicate16,
        _ => return None,
    })
}

/// The relation, whether it holds between unordered numbers, and whether it ignores signs.
fn relation(word: &str) -> Option<(Relation, bool, bool)> {
    use Relation::*;
    Some(match word {
        "eq" => (Equal, false, false),
        "ne" => (NotEqual, false, false),
        "lt" => (Less, false, false),
        "le" => (LessEqual, false, false),
        "gt" => (Greater, false, false),
        "ge" => (GreaterEqual, false, false),
        "lo" => (Less, false, true),
        "ls" => (LessEqual, false, true),
        "hi" => (Greater, false, true),
        "hs" => (GreaterEqual, false, true),
        "equ" => (Equal, true, false),
        "neu" => (NotEqual, true, false),
        "ltu" => (Less, true, false),
        "leu" => (LessEqual, true, false),
        "gtu" => (Greater, true, false),
        "geu" => (GreaterEqual, true, false),
        "num" => (Ordered, false, false),
        "nan" => (Unordered, false, false),
        _ => return None,
    })
}
