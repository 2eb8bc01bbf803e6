//! Sums, means and maxima of rows by number: an embedding whose bags are reduced at once.

use crate::{Error, Result, Tensor};

/// What becomes of the rows of a bag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BagMode {
    /// Their sum.
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// The largest number of each column.
    Max,
}

/// Options of [`Tensor::embedding_bag`]; PyTorch's defaults.
/// ```
/// # use chainrule_autograd::{BagMode, EmbeddingBag};
/// assert_eq!(EmbeddingBag::default().mode, BagMode::Mean);
/// ```
#[derive(Clone, Debug, Default)]
pub struct EmbeddingBag {
    /// Sum, mean or maximum.
    pub mode: BagMode,
    /// A factor for each index, of the indices' shape; for sums only (PyTorch's `per_sample_weights`).
    pub weights: Option<Tensor>,
    /// The row that counts for nothing and gets no gradient (PyTorch's `padding_idx`).
    pub padding: Option<usize>,
}

impl Tensor {
    /// Rows of this weight by number, reduced bag by bag: `[V, D]` and indices i64 `[B, L]` give `[B, D]`; or indices `[n]` and where each of B bags starts, `offsets` (PyTorch's `embedding_bag`). A bag without rows gives zeros.
    /// PyTorch's `include_last_offset` is an offset too many: leave it away.
    /// ```
    /// # use chainrule_autograd::{BagMode, EmbeddingBag, Tensor};
    /// let weight = Tensor::from_slice(&[1f32, 10.0, 100.0], &[3, 1])?;
    /// let sum = EmbeddingBag { mode: BagMode::Sum, ..EmbeddingBag::default() };
    /// let y = weight.embedding_bag(&Tensor::from_slice(&[0i64, 2, 1], &[3])?, Some(&[0, 2]), &sum)?;
    /// assert_eq!(y.to_vec::<f32>()?, [101.0, 10.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A weight of other than two dimensions; an index outside `0..V`; indices that are not i64; offsets that do not start at 0, fall, or point beyond the indices; factors of another shape, or for other modes than the sum.
    pub fn embedding_bag(&self, indices: &Tensor, offsets: Option<&[usize]>, options: &EmbeddingBag) -> Result<Tensor> {
        const OP: &str = "embedding_bag";
        let &[rows, width] = self.dims() else {
            return Err(Error::shape(OP, format!("the weight has shape {:?}, expected [V, D]", self.shape())));
        };
        let starts: Vec<usize> = match (indices.dims(), offsets) {
            (&[bags, length], None) => (0..=bags).map(|bag| bag * length).collect(),
            (&[count], Some(offsets)) => {
                if offsets.first().is_some_and(|first| *first != 0) || !offsets.is_sorted() || offsets.last().is_some_and(|last| *last > count) {
                    return Err(Error::value(OP, format!("the offsets are {offsets:?}, expected 0 first, none below the one before, at most {count}")));
                }
                offsets.iter().copied().chain([count]).collect()
            }
            _ => {
                let given = if offsets.is_some() { "with" } else { "without" };
                return Err(Error::shape(OP, format!("the indices have shape {:?} {given} offsets, expected [B, L] without or [n] with", indices.shape())));
            }
        };
        if let Some(weights) = &options.weights {
            if options.mode != BagMode::Sum {
                return Err(Error::value(OP, "factors are for sums only"));
            }
            if weights.dims() != indices.dims() {
                return Err(Error::shape(OP, format!("the factors have shape {:?}, expected {:?}", weights.shape(), indices.shape())));
            }
        }
        let numbers = indices.to_vec::<i64>()?;
        if let Some(number) = numbers.iter().find(|number| !(0..rows as i64).contains(number)) {
            return Err(Error::value(OP, format!("an index is {number}, expected 0 to {rows} - 1")));
        }
        let bags = Bags { starts, numbers, padding: options.padding.map(|row| row as i64) };
        if options.mode == BagMode::Max { bags.maxima(self, width) } else { bags.sums(self, width, options) }
    }
}

/// The rows of each bag.
struct Bags {
    /// Where each bag starts, and where the last one ends.
    starts: Vec<usize>,
    numbers: Vec<i64>,
    padding: Option<i64>,
}

impl Bags {
    /// The numbers of a bag that count, with their places.
    fn of(&self, bag: usize) -> impl Iterator<Item = (usize, i64)> + '_ {
        let range = self.starts[bag]..self.starts[bag + 1];
        range.map(|at| (at, self.numbers[at])).filter(|(_, number)| Some(*number) != self.padding)
    }
    fn count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn sums(&self, weight: &Tensor, width: usize, options: &EmbeddingBag) -> Result<Tensor> {
        // Place, row and bag of each number that counts.
        let members: Vec<[i64; 3]> = (0..self.count()).flat_map(|bag| self.of(bag).map(move |(at, number)| [at as i64, number, bag as i64])).collect();
        let column = |i: usize| Tensor::from_slice(&members.iter().map(|member| member[i]).collect::<Vec<i64>>(), &[members.len()])?.to(&weight.device());
        let mut rows = weight.index_select(0, &column(1)?)?;
        if let Some(weights) = &options.weights {
            rows = rows.mul(&weights.flatten(0, -1)?.index_select(0, &column(0)?)?.unsqueeze(1)?)?;
        }
        let sums = Tensor::from(weight.array.new_full(&[self.count(), width], 0.0)?).index_add(0, &column(2)?, &rows)?;
        if options.mode == BagMode::Sum {
            return Ok(sums);
        }
        let shares: Vec<f64> = (0..self.count()).map(|bag| 1.0 / self.of(bag).count().max(1) as f64).collect();
        sums.mul(&Tensor::from_slice(&shares, &[shares.len(), 1])?.cast(weight.dtype())?.to(&weight.device())?)
    }

    fn maxima(&self, weight: &Tensor, width: usize) -> Result<Tensor> {
        let bags = self.count();
        let longest = (0..bags).map(|bag| self.of(bag).count()).max().unwrap_or(0);
        if longest == 0 {
            // No rows to add up: zeros, which stay on the tape.
            return self.sums(weight, width, &EmbeddingBag { mode: BagMode::Sum, ..EmbeddingBag::default() });
        }
        // Bags padded to one length; places without a row lose against all.
        let (mut picks, mut void) = (vec![0i64; bags * longest], vec![1u8; bags * longest]);
        for bag in 0..bags {
            for (i, (_, number)) in self.of(bag).enumerate() {
                (picks[bag * longest + i], void[bag * longest + i]) = (number, 0);
            }
        }
        let rows = weight.index_select(0, &Tensor::from_slice(&picks, &[bags, longest])?.to(&weight.device())?)?;
        let void = Tensor::from_slice(&void, &[bags, longest, 1])?.to(&weight.device())?;
        let (most, _) = rows.masked_fill(&void, f64::NEG_INFINITY)?.max(1, false)?;
        let empty: Vec<u8> = (0..bags).map(|bag| self.of(bag).next().is_none() as u8).collect();
        most.masked_fill(&Tensor::from_slice(&empty, &[bags, 1])?.to(&weight.device())?, 0.0)
    }
}
