//! What L-BFGS remembers, as named arrays.

use super::problem::dot;
use super::{Change, Lbfgs, Memory};
use crate::step::describe;
use crate::{Error, Result};
use chainrule_core::{Array, DType};
use std::collections::BTreeMap;

impl Lbfgs {
    /// All that a later run needs to go on with the same bits: `iterations`, `evaluations`, `step`, `diagonal`, and over all trainable parameters as one vector `direction`, `gradient` and the rows of `y` and `s`, the oldest first.
    ///
    /// # Errors
    /// No memory.
    pub fn state(&self) -> chainrule_core::Result<BTreeMap<String, Array>> {
        let Memory { iterations, evaluations, direction, step, gradient, changes, diagonal } = &self.memory;
        let (m, n) = (changes.len(), direction.len());
        let rows = |of: fn(&Change) -> &[f64]| changes.iter().flat_map(|change| of(change).iter().copied()).collect::<Vec<f64>>();
        let arrays = [
            ("iterations", Array::from_slice(&[*iterations as i64], &[])?),
            ("evaluations", Array::from_slice(&[*evaluations as i64], &[])?),
            ("step", Array::scalar(*step, DType::F64)?),
            ("diagonal", Array::scalar(*diagonal, DType::F64)?),
            ("direction", Array::from_slice(direction, &[n])?),
            ("gradient", Array::from_slice(gradient, &[n])?),
            ("y", Array::from_slice(&rows(|change| &change.y), &[m, n])?),
            ("s", Array::from_slice(&rows(|change| &change.s), &[m, n])?),
        ];
        Ok(arrays.into_iter().map(|(name, array)| (name.to_string(), array)).collect())
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// Arrays that are missing, of other shapes than each other, or of other element types than [`state`](Lbfgs::state) makes. Nothing has changed then.
    pub fn load_state(&mut self, arrays: &BTreeMap<String, Array>) -> Result<()> {
        let array = |name: &str, dtype: DType, expected: &str, fits: &dyn Fn(&[usize]) -> bool| {
            let found = arrays.get(name).filter(|array| array.dtype() == dtype && fits(array.dims()));
            let got = || arrays.get(name).map_or("missing".to_string(), describe);
            found.ok_or_else(|| Error::State(format!("lbfgs: \"{name}\" is {}, expected {expected}", got())))
        };
        let count = |name: &str| -> Result<u64> {
            let number = array(name, DType::I64, "one i64", &<[usize]>::is_empty)?.to_vec::<i64>().unwrap_or_default();
            number
                .first()
                .and_then(|n| u64::try_from(*n).ok())
                .ok_or_else(|| Error::State(format!("lbfgs: \"{name}\" is {number:?}, expected a count of at least 0")))
        };
        let numbers = |array: &Array| array.to_vec::<f64>().map_err(|error| Error::State(format!("lbfgs: {error}")));
        let number = |name: &str| Ok::<_, Error>(numbers(array(name, DType::F64, "one f64", &<[usize]>::is_empty)?)?[0]);

        let direction = array("direction", DType::F64, "an f64 vector", &|dims| dims.len() == 1)?;
        let n = direction.count();
        let gradient = array("gradient", DType::F64, &format!("f64 [{n}]"), &|dims| dims == [n])?;
        let ys = array("y", DType::F64, &format!("f64 [m, {n}]"), &|dims| matches!(dims, [_, columns] if *columns == n))?;
        let m = ys.dims()[0];
        let ss = array("s", DType::F64, &format!("f64 [{m}, {n}]"), &|dims| dims == [m, n])?;
        let (ys, ss) = (numbers(ys)?, numbers(ss)?);
        let changes = ys.chunks(n.max(1)).zip(ss.chunks(n.max(1))).map(|(y, s)| Change { y: y.into(), s: s.into(), rho: 1.0 / dot(y, s) }).collect();
        self.memory = Memory {
            iterations: count("iterations")?,
            evaluations: count("evaluations")?,
            direction: numbers(direction)?,
            step: number("step")?,
            gradient: numbers(gradient)?,
            changes,
            diagonal: number("diagonal")?,
        };
        Ok(())
    }
}
