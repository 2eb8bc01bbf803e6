//! Losses on distances and angles between vectors: pairs, triplets, and each against all others.

use crate::rules::losses::{Reduction, expect_same_shape, losses};
use crate::{CrossEntropy, DType, Error, Result, Tensor};

/// Options of [`Tensor::triplet_margin_with`]; PyTorch's defaults.
/// ```
/// # use chainrule_autograd::Triplet;
/// assert_eq!(Triplet { swap: true, ..Triplet::default() }.margin, 1.0);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Triplet {
    /// How much farther the negative is to be.
    pub margin: f64,
    /// Of the p-norm that measures distances.
    pub p: f64,
    /// Added to each difference.
    pub eps: f64,
    /// Whether the distance from positive to negative counts where it is the smaller one (Balntas et al. 2016).
    pub swap: bool,
    /// What becomes of the losses of the triplets.
    pub reduction: Reduction,
}

impl Default for Triplet {
    fn default() -> Triplet {
        Triplet { margin: 1.0, p: 2.0, eps: 1e-6, swap: false, reduction: Reduction::Mean }
    }
}

impl Tensor {
    /// The mean of `max(|x - p| - |x - n| + margin, 0)` with Euclidean distances over the last dimension (PyTorch's `triplet_margin_loss`, whose margin is 1 unless given; 1e-6 is added to differences as there).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let point = |x: f64| Tensor::from_slice(&[x], &[1, 1]);
    /// assert!((point(0.0)?.triplet_margin(&point(1.0)?, &point(0.5)?, 1.0)?.item()? - 1.5).abs() < 1e-5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pairwise_distance`](Tensor::pairwise_distance).
    pub fn triplet_margin(&self, positive: &Tensor, negative: &Tensor, margin: f64) -> Result<Tensor> {
        self.triplet_margin_with(positive, negative, &Triplet { margin, ..Triplet::default() })
    }

    /// [`triplet_margin`](Tensor::triplet_margin) with options.
    /// ```
    /// # use chainrule_autograd::{Reduction, Tensor, Triplet};
    /// let point = |x: f64| Tensor::from_slice(&[x, 0.0], &[1, 2]);
    /// let options = Triplet { margin: 2.0, reduction: Reduction::None, ..Triplet::default() };
    /// let loss = point(0.0)?.triplet_margin_with(&point(1.0)?, &point(-2.0)?, &options)?; // 1 - 2 + margin
    /// assert!((loss.to_vec::<f64>()?[0] - 1.0).abs() < 1e-5);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`pairwise_distance`](Tensor::pairwise_distance).
    pub fn triplet_margin_with(&self, positive: &Tensor, negative: &Tensor, options: &Triplet) -> Result<Tensor> {
        let distance = |a: &Tensor, b: &Tensor| a.pairwise_distance(b, options.p, options.eps);
        let mut far = distance(self, negative)?;
        if options.swap {
            far = far.minimum(&distance(positive, negative)?)?;
        }
        options.reduction.apply(&distance(self, positive)?.sub(&far)?.add_scalar(options.margin)?.relu()?)
    }
}

losses! {
    /// The mean of `1 - cos` where y is 1, of `max(cos - margin, 0)` where y is -1, cos being the cosine of the angle between the vectors: `[N, D]` twice and `[N]`, or `[D]` twice and `[]` (PyTorch's `cosine_embedding_loss`, whose margin is 0 unless given; 1e-12 is added to squared lengths as there).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[1f64, 0.0], &[1, 2])?, Tensor::from_slice(&[0f64, 2.0], &[1, 2])?);
    /// assert_eq!(a.cosine_embedding(&b, &Tensor::from_slice(&[1f64], &[1])?, 0.0)?.item()?, 1.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    cosine_embedding / cosine_embedding_with(a, other: &Tensor, target: &Tensor, margin: f64) {
        expect_same_shape("cosine_embedding", a, other)?;
        let square = |x: &Tensor| x.square()?.sum_over(&[-1], false)?.add_scalar(1e-12);
        let cosine = a.mul(other)?.sum_over(&[-1], false)?.div(&square(a)?.mul(&square(other)?)?.sqrt()?)?;
        expect_same_shape("cosine_embedding", &cosine, target)?;
        let alike = target.greater(&Tensor::scalar(0.0, target.dtype())?)?;
        alike.where_(&cosine.affine(-1.0, 1.0)?, &cosine.add_scalar(-margin)?.relu()?)
    }

    /// The mean of `d² / 2` for pairs that belong together (y is 1), of `max(margin - d, 0)² / 2` for others (y is 0), d being their Euclidean distance: `[N, D]` twice and `[N]` (Hadsell, Chopra and LeCun 2006).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (a, b) = (Tensor::from_slice(&[0f64, 0.0], &[2, 1])?, Tensor::from_slice(&[2f64, 0.5], &[2, 1])?);
    /// let loss = a.contrastive(&b, &Tensor::from_slice(&[1f64, 0.0], &[2])?, 1.0)?;
    /// assert_eq!(loss.item()?, (2.0 + 0.125) / 2.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    contrastive / contrastive_with(a, other: &Tensor, target: &Tensor, margin: f64) {
        expect_same_shape("contrastive", a, other)?;
        let distance = a.pairwise_distance(other, 2.0, 0.0)?;
        expect_same_shape("contrastive", &distance, target)?;
        let apart = distance.affine(-1.0, margin)?.relu()?.square()?;
        distance.square()?.mul(target)?.add(&apart.mul(&target.affine(-1.0, 1.0)?)?)?.mul_scalar(0.5)
    }

    /// The mean cross-entropy of finding each query's own key among all keys, by cosine over `temperature`: queries `[N, D]`, keys `[M, D]`, M at least N, key i belonging to query i (InfoNCE: van den Oord, Li and Vinyals 2018; NT-Xent in SimCLR).
    /// ```
    /// # use chainrule_autograd::Tensor;
    /// let (queries, keys) = (Tensor::from_slice(&[1f64, 0.0], &[1, 2])?, Tensor::from_slice(&[2f64, 0.0, 3.0, 0.0], &[2, 2])?);
    /// assert!((queries.info_nce(&keys, 0.1)?.item()? - 2f64.ln()).abs() < 1e-12); // both keys lie alike
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    info_nce / info_nce_with(queries, keys: &Tensor, temperature: f64) {
        const OP: &str = "info_nce";
        let fits = queries.rank() == 2 && keys.rank() == 2 && queries.dims()[1] == keys.dims()[1] && queries.dims()[0] <= keys.dims()[0];
        if !fits {
            return Err(Error::shape(OP, format!("queries {:?} and keys {:?}, expected [N, D] and [M, D] with M at least N", queries.shape(), keys.shape())));
        }
        if temperature.is_nan() || temperature <= 0.0 {
            return Err(Error::value(OP, format!("the temperature is {temperature}, expected above 0")));
        }
        let unit = |x: &Tensor| x.normalize(2.0, &[1], 1e-12);
        let scores = unit(queries)?.matmul(&unit(keys)?.transpose(0, 1)?)?.mul_scalar(1.0 / temperature)?;
        let own = Tensor::arange(0.0, queries.dims()[0] as f64, 1.0, DType::I64)?.to(&queries.device())?;
        scores.cross_entropy_with(&own, &CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() })
    }
}
