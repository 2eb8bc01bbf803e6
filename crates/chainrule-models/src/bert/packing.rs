//! A batch without its padding: what stands token by token is computed for real tokens only, `[1, M, D]` in place of `[N, T, D]`; attention alone sees sequences apart.

use super::embeddings::beside;
use crate::Tokens;
use chainrule_autograd::{Array, Result, Tensor};

/// Below this share of real tokens it pays to leave the others out.
const WORTH: f64 = 0.9;

/// Where the real tokens of a batch stand.
pub(super) struct Packing {
    /// i64 `[M]`, places among `N T`.
    rows: Tensor,
    /// N and T.
    extents: [usize; 2],
}

impl Packing {
    /// `None` for a batch with little padding, or without a mask.
    pub(super) fn of(tokens: &Tokens) -> Result<Option<Packing>> {
        let (extents, Some(mask)) = (tokens.extents()?, &tokens.mask) else { return Ok(None) };
        let real = mask.truth()?.to_vec::<u8>()?;
        let rows: Vec<i64> = real.iter().zip(0..).filter(|(real, _)| **real != 0).map(|(_, row)| row).collect();
        if mask.dims() != extents || rows.is_empty() || rows.len() as f64 > WORTH * real.len() as f64 {
            return Ok(None);
        }
        Ok(Some(Packing { rows: Tensor::from_slice(&rows, &[rows.len()])?, extents }))
    }

    /// The real tokens as one sequence, each with its own place: `[1, M]`.
    pub(super) fn tokens(&self, tokens: &Tokens) -> Result<Tokens> {
        let taken = |x: &Tensor| x.flatten(0, 1)?.index_select(0, &self.rows)?.unsqueeze(0);
        let positions = match &tokens.positions {
            Some(positions) => taken(positions)?,
            None => {
                let places: Vec<i64> = self.rows.to_vec::<i64>()?.iter().map(|row| row % self.extents[1] as i64).collect();
                beside(&tokens.ids, Array::from_slice(&places, &[1, places.len()])?)?
            }
        };
        Ok(Tokens { ids: taken(&tokens.ids)?, mask: None, types: tokens.types.as_ref().map(taken).transpose()?, positions: Some(positions) })
    }

    /// `[1, M, D] -> [N, T, D]`, zeros where the padding is.
    pub(super) fn apart(&self, x: &Tensor) -> Result<Tensor> {
        let ([rows, length], features) = (self.extents, x.dims().last().copied().unwrap_or(0));
        let zeros = Tensor::zeros(&[rows * length, features], x.dtype())?;
        zeros.index_add(0, &self.rows, &x.squeeze(0)?)?.reshape(&[rows, length, features])
    }

    /// `[N, T, D] -> [1, M, D]`
    pub(super) fn together(&self, x: &Tensor) -> Result<Tensor> {
        x.flatten(0, 1)?.index_select(0, &self.rows)?.unsqueeze(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chainrule_autograd::DType;

    #[test]
    fn there_and_back() -> Result<()> {
        let tokens = Tokens::padded(&[vec![5, 6, 7, 8], vec![9], vec![1, 2]], 0)?;
        let Some(packing) = Packing::of(&tokens)? else { panic!("five of twelve tokens are padding") };
        let packed = packing.tokens(&tokens)?;
        assert_eq!(packed.ids.to_vec::<i64>()?, [5, 6, 7, 8, 9, 1, 2]);
        assert_eq!(packed.positions.as_ref().map(|p| p.to_vec::<i64>()).transpose()?, Some(vec![0, 1, 2, 3, 0, 0, 1]));
        let x = Tensor::arange(1.0, 15.0, 1.0, DType::F32)?.reshape(&[1, 7, 2])?;
        let apart = packing.apart(&x)?;
        assert_eq!(apart.select(0, 1)?.to_vec::<f32>()?, [9.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(packing.together(&apart)?.to_vec::<f32>()?, x.to_vec::<f32>()?);
        assert!(Packing::of(&Tokens::padded(&[[1, 2], [3, 4]], 0)?)?.is_none());
        Ok(())
    }
}
