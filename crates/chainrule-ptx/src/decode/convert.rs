//! Conversions between types.
use super::Result;
use super::link::Decoder;
use super::modifiers::Modifiers;
use crate::parse::syntax::Statement;
use crate::program::{Conversion, ConvertRounding, Operation, Rounding};
use crate::types::Type;

impl<'a> Decoder<'a, '_> {
    pub(super) fn convert(&mut self, name: &str, modifiers: &mut Modifiers<'a>, statement: &Statement<'a>) -> Result<Option<Operation>> {
        if name != "cvt" {
            return Ok(None);
        }
        let rounding = modifiers.pick(rounding).unwrap_or(ConvertRounding::Exact);
        let (flush, saturate, relu) = (modifiers.take("ftz"), modifiers.take("sat"), modifiers.take("relu"));
        if modifiers.take("satfinite") {
            return Err("cvt.satfinite is not supported".into());
        }
        let (to_type, from_type) = (modifiers.ty()?, modifiers.ty()?);
        let scope = statement.scope;
        if matches!(to_type, Type::Bf16x2 | Type::F16x2) {
            let ([to, high, low], ConvertRounding::Float(rounding), Type::F32) = (&statement.operands[..], rounding, from_type) else {
                return Err("a conversion to a pair takes two f32 and a rounding".into());
            };
            let to = self.names.target(scope, to, to_type)?;
            let (high, low) = (self.names.source(scope, high, Type::F32)?, self.names.source(scope, low, Type::F32)?);
            return Ok(Some(Operation::ConvertPair { ty: to_type, rounding, relu, to, high, low }));
        }
        let [to, from] = &statement.operands[..] else { return Err("cvt takes two operands".into()) };
        check(to_type, from_type, rounding, relu)?;
        let to = self.names.any_target(scope, to, to_type)?;
        let from = self.names.any_source(scope, from, from_type)?;
        if to.bank == crate::types::Bank::Predicate || from.bank == crate::types::Bank::Predicate {
            return Err("predicates are not converted".into());
        }
        Ok(Some(Operation::Convert(Conversion { to_type, from_type, rounding, flush, saturate, relu, to, from })))
    }
}

fn check(to: Type, from: Type, rounding: ConvertRounding, relu: bool) -> Result<()> {
    let plain = |ty| !matches!(ty, Type::Pred | Type::B8 | Type::B16 | Type::B32 | Type::B64 | Type::B128 | Type::F16x2 | Type::Bf16x2);
    if !plain(to) || !plain(from) || from == Type::Tf32 {
        return Err(format!("no conversion from {from:?} to {to:?}"));
    }
    if relu && !matches!(to, Type::F16 | Type::Bf16 | Type::Tf32) {
        return Err(".relu belongs to half precision".into());
    }
    let narrowing = to.float() && (!from.float() || from.bytes() > to.bytes() || to == Type::Tf32);
    match rounding {
        ConvertRounding::Exact if narrowing || from.float() && !to.float() => Err("the conversion needs a rounding".into()),
        ConvertRounding::Integer(_) if !from.float() => Err("integers need no rounding to integers".into()),
        ConvertRounding::Float(_) if !to.float() => Err("rounding to an integer is .rni, .rzi, .rmi or .rpi".into()),
        ConvertRounding::NearestAway if to != Type::Tf32 => Err(".rna belongs to tf32".into()),
        _ => Ok(()),
    }
}

fn rounding(word: &str) -> Option<ConvertRounding> {
    Some(match word {
        "rn" => ConvertRounding::Float(Rounding::Nearest),
        "rz" => ConvertRounding::Float(Rounding::Zero),
        "rm" => ConvertRounding::Float(Rounding::Down),
        "rp" => ConvertRounding::Float(Rounding::Up),
        "rni" => ConvertRounding::Integer(Rounding::Nearest),
        "rzi" => ConvertRounding::Integer(Rounding::Zero),
        "rmi" => ConvertRounding::Integer(Rounding::Down),
        "rpi" => ConvertRounding::Integer(Rounding::Up),
        "rna" => ConvertRounding::NearestAway,
        _ => return None,
    })
}
