//! Floating-point arithmetic.
use super::Result;
use super::link::Decoder;
use super::modifiers::Modifiers;
use crate::parse::syntax::Statement;
use crate::program::{FloatBinary, FloatMode, FloatTest, FloatUnary, Operation, Rounding};
use crate::types::Type;

impl<'a> Decoder<'a, '_> {
    /// Decodes an instruction on floating-point numbers; none if it is none, or if its type is no floating-point type.
    pub(super) fn float(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        let is_float = ["f32", "f64", "f16", "bf16", "f16x2", "bf16x2"].iter().any(|ty| modifiers.has(ty));
        if !is_float {
            return Ok(None);
        }
        if name == "testp" {
            return self.test(modifiers, statement).map(Some);
        }
        if let Some(op) = unary(name) {
            let approximate = modifiers.take("approx");
            modifiers.take("full");
            let mode = modifiers.float_mode();
            let ty = modifiers.ty()?;
            let plain = matches!(op, FloatUnary::Negate | FloatUnary::Absolute);
            let transcendental = !plain && !matches!(op, FloatUnary::Reciprocal | FloatUnary::SquareRoot);
            if transcendental && !approximate {
                return Err(format!("{name} exists only as .approx"));
            }
            let half = !matches!(ty, Type::F32 | Type::F64);
            if half && !plain && !matches!(op, FloatUnary::Exp2 | FloatUnary::Tanh) {
                return Err(format!("no {name} for {ty:?}"));
            }
            let [to, a] = self.same(statement, ty)?;
            return Ok(Some(Operation::FloatUnary { op, ty, mode, to, a }));
        }
        if let Some(op) = binary(name, modifiers) {
            modifiers.ignore(if op == FloatBinary::Divide { &["approx", "full"] } else { &[] });
            let mode = modifiers.float_mode();
            let ty = modifiers.ty()?;
            let half = !matches!(ty, Type::F32 | Type::F64);
            if half && matches!(op, FloatBinary::Divide | FloatBinary::CopySign) {
                return Err(format!("no {name} for {ty:?}"));
            }
            check_mode(ty, mode)?;
            let [to, a, b] = self.same(statement, ty)?;
            return Ok(Some(Operation::FloatBinary { op, ty, mode, to, a, b }));
        }
        if name == "fma" || name == "mad" {
            let mode = modifiers.float_mode();
            let ty = modifiers.ty()?;
            check_mode(ty, mode)?;
            let [to, a, b, c] = self.same(statement, ty)?;
            return Ok(Some(Operation::Fma { ty, mode, to, a, b, c }));
        }
        Ok(None)
    }

    fn test(&mut self, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Operation> {
        let test = modifiers.need("a property", |word| {
            Some(match word {
                "finite" => FloatTest::Finite,
                "infinite" => FloatTest::Infinite,
                "number" => FloatTest::Number,
                "notanumber" => FloatTest::NotANumber,
                "normal" => FloatTest::Normal,
                "subnormal" => FloatTest::Subnormal,
                _ => return None,
            })
        })?;
        let ty = modifiers.ty()?;
        let ([to, a], Type::F32 | Type::F64) = (&statement.operands[..], ty) else { return Err("testp takes a predicate and an f32 or f64".into()) };
        Ok(Operation::Test { test, ty, to: self.names.target(statement.scope, to, Type::Pred)?, a: self.names.source(statement.scope, a, ty)? })
    }
}

/// Half precision is only rounded to nearest, double precision never saturates.
fn check_mode(ty: Type, mode: FloatMode) -> Result<()> {
    match ty {
        Type::F64 if mode.saturate || mode.flush => Err("f64 has no .sat and no .ftz".into()),
        Type::F32 | Type::F64 if mode.relu => Err(".relu belongs to half precision".into()),
        Type::F32 | Type::F64 => Ok(()),
        _ if mode.rounding != Rounding::Nearest => Err("half precision is rounded to nearest".into()),
        _ => Ok(()),
    }
}

fn unary(name: &str) -> Option<FloatUnary> {
    Some(match name {
        "neg" => FloatUnary::Negate,
        "abs" => FloatUnary::Absolute,
        "rcp" => FloatUnary::Reciprocal,
        "sqrt" => FloatUnary::SquareRoot,
        "rsqrt" => FloatUnary::ReciprocalRoot,
        "ex2" => FloatUnary::Exp2,
        "lg2" => FloatUnary::Log2,
        "sin" => FloatUnary::Sine,
        "cos" => FloatUnary::Cosine,
        "tanh" => FloatUnary::Tanh,
        _ => return None,
    })
}

fn binary(name: &str, modifiers: &mut Modifiers) -> Option<FloatBinary> {
    Some(match name {
        "add" => FloatBinary::Add,
        "sub" => FloatBinary::Subtract,
        "mul" => FloatBinary::Multiply,
        "div" => FloatBinary::Divide,
        "min" if modifiers.take("NaN") => FloatBinary::MinimumNan,
        "min" => FloatBinary::Minimum,
        "max" if modifiers.take("NaN") => FloatBinary::MaximumNan,
        "max" => FloatBinary::Maximum,
        "copysign" => FloatBinary::CopySign,
        _ => return None,
    })
}
