//! [`Tokens`]: a batch of token sequences, as models of text read them.

use chainrule_autograd::{Error, Result, Tape, Tensor};

/// Sequences of N rows and T tokens: ids, which of them are real, and optionally their types and positions.
/// ```
/// # use chainrule_models::Tokens;
/// let tokens = Tokens::padded(&[vec![101, 7, 102], vec![101, 102]], 0)?;
/// assert_eq!(tokens.ids.to_vec::<i64>()?, [101, 7, 102, 101, 102, 0]);
/// assert_eq!(tokens.mask.unwrap().to_vec::<u8>()?, [1, 1, 1, 1, 1, 0]);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokens {
    /// i64 `[N, T]`
    pub ids: Tensor,
    /// `[N, T]`: not 0 for a real token, 0 for padding. Without it all are real.
    pub mask: Option<Tensor>,
    /// i64 `[N, T]`: which of two texts a token is of. Without them all are of the first.
    pub types: Option<Tensor>,
    /// i64 `[N, T]`; 0, 1, … unless given.
    pub positions: Option<Tensor>,
}

impl Tokens {
    /// Sequences without padding.
    pub fn new(ids: impl Into<Tensor>) -> Tokens {
        Tokens { ids: ids.into(), mask: None, types: None, positions: None }
    }
    /// Which tokens are real.
    pub fn mask(self, mask: impl Into<Tensor>) -> Tokens {
        Tokens { mask: Some(mask.into()), ..self }
    }
    /// Which of two texts a token is of.
    pub fn types(self, types: impl Into<Tensor>) -> Tokens {
        Tokens { types: Some(types.into()), ..self }
    }
    /// Where a token stands.
    pub fn positions(self, positions: impl Into<Tensor>) -> Tokens {
        Tokens { positions: Some(positions.into()), ..self }
    }

    /// Sequences of several lengths, filled up with `padding` to the longest.
    ///
    /// # Errors
    /// No sequences; no memory.
    pub fn padded<S: AsRef<[i64]>>(sequences: &[S], padding: i64) -> Result<Tokens> {
        let (rows, longest) = (sequences.len(), sequences.iter().map(|s| s.as_ref().len()).max().unwrap_or(0));
        if longest == 0 {
            return Err(Error::value("tokens", format!("got {rows} sequences without a token, expected at least one token")));
        }
        let mut ids = vec![padding; rows * longest];
        let mut mask = vec![0u8; rows * longest];
        for (row, sequence) in sequences.iter().enumerate() {
            let (sequence, from) = (sequence.as_ref(), row * longest);
            ids[from..from + sequence.len()].copy_from_slice(sequence);
            mask[from..from + sequence.len()].fill(1);
        }
        let dims = [rows, longest];
        Ok(Tokens::new(Tensor::from_slice(&ids, &dims)?).mask(Tensor::from_slice(&mask, &dims)?))
    }

    /// The same on a tape, as constants.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape};
    /// # use chainrule_models::Tokens;
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// assert!(Tokens::padded(&[[1, 2]], 0)?.on(&tape).ids.is_on_tape());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn on(&self, tape: &Tape) -> Tokens {
        let put = |x: &Option<Tensor>| x.as_ref().map(|x| tape.input(x));
        Tokens { ids: tape.input(&self.ids), mask: put(&self.mask), types: put(&self.types), positions: put(&self.positions) }
    }

    /// N and T.
    ///
    /// # Errors
    /// Ids that are not `[N, T]`.
    pub fn extents(&self) -> Result<[usize; 2]> {
        match *self.ids.dims() {
            [rows, length] => Ok([rows, length]),
            _ => Err(Error::shape("tokens", format!("the ids have shape {:?}, expected [N, T]", self.ids.shape()))),
        }
    }
}

impl From<Tensor> for Tokens {
    fn from(ids: Tensor) -> Tokens {
        Tokens::new(ids)
    }
}
impl From<&Tensor> for Tokens {
    fn from(ids: &Tensor) -> Tokens {
        Tokens::new(ids.clone())
    }
}
