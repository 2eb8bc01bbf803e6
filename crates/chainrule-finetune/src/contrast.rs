//! Contrastive fine-tuning of embeddings: pairs that belong together come near, the others of the batch go apart. The loss of all of them is [`Tensor::info_nce`], here put to use.

use chainrule_autograd::{DType, Device, Error, Result, Tensor};

/// InfoNCE with in-batch negatives: the mean cross-entropy of finding each anchor's own positive among the positives of all, and among hard negatives where given, by cosine over the temperature (Henderson et al. 2017; sentence-transformers' `MultipleNegativesRankingLoss`, whose scale of 20 is a temperature of 0.05). Anchors and positives `[N, D]`, negatives `[M, D]`.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::multiple_negatives_ranking;
/// let x = Tensor::from_slice(&[1f64, 0.0, 0.0, 1.0], &[2, 2])?;
/// let loss = multiple_negatives_ranking(&x, &x, None, 1.0)?.item()?;
/// assert!((loss - (1.0 + (-1f64).exp()).ln()).abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Shapes that do not fit; a temperature that is not above 0.
pub fn multiple_negatives_ranking(anchors: &Tensor, positives: &Tensor, negatives: Option<&Tensor>, temperature: f64) -> Result<Tensor> {
    if anchors.dims() != positives.dims() {
        let (got, expected) = (positives.shape(), anchors.shape());
        return Err(Error::shape("multiple_negatives_ranking", format!("the positives have shape {got:?}, the anchors {expected:?}, expected the same")));
    }
    match negatives {
        Some(negatives) => anchors.info_nce(&Tensor::concatenate(&[positives, negatives], 0)?, temperature),
        None => anchors.info_nce(positives, temperature),
    }
}

/// The mean of InfoNCE in both directions, for pairs of two kinds such as images and texts: `[N, D]` both (Radford et al. 2021, "CLIP").
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::symmetric_info_nce;
/// let (a, b) = (Tensor::from_slice(&[1f64, 0.0, 0.0, 1.0], &[2, 2])?, Tensor::from_slice(&[1f64, 0.1, 0.0, 1.0], &[2, 2])?);
/// assert_eq!(symmetric_info_nce(&a, &b, 0.1)?.item()?, symmetric_info_nce(&b, &a, 0.1)?.item()?);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// As for [`multiple_negatives_ranking`].
pub fn symmetric_info_nce(a: &Tensor, b: &Tensor, temperature: f64) -> Result<Tensor> {
    let (there, back) = (multiple_negatives_ranking(a, b, None, temperature)?, multiple_negatives_ranking(b, a, None, temperature)?);
    there.add(&back)?.mul_scalar(0.5)
}

/// Unsupervised SimCSE: a sentence's positive is itself under another dropout mask (Gao, Yao and Chen 2021, who take a temperature of 0.05). `encode` gives embeddings `[N, D]` and is called twice.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
/// # use chainrule_finetune::simcse;
/// # use chainrule_nn::{Layer, Linear};
/// let mut rng = Rng::seeded(0);
/// let encoder = Linear::new(4, 8, &mut rng)?;
/// let tape = Tape::training(&mut rng);
/// let x = tape.input(Tensor::normal(&[3, 4], 0.0, 1.0, DType::F32, &mut rng)?);
/// let loss = simcse(&x, 0.05, |x| encoder.forward(&x.dropout(0.1)?))?;
/// assert_eq!(loss.backward()?.len(), 2);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// An input that is not in training mode, where no dropout tells the two apart; those of `encode`; embeddings that are not `[N, D]`; a temperature that is not above 0.
pub fn simcse<E: From<Error>>(x: &Tensor, temperature: f64, mut encode: impl FnMut(&Tensor) -> Result<Tensor, E>) -> Result<Tensor, E> {
    if !x.is_training() {
        return Err(Error::value(
            "simcse",
            "the input is not in training mode, so that both passes are the same; put it on a tape: Tape::training(&mut rng).input(&x)",
        )
        .into());
    }
    let (first, second) = (encode(x)?, encode(x)?);
    Ok(multiple_negatives_ranking(&first, &second, None, temperature)?)
}

/// `max(max_p |a - p| - min_n |a - n| + margin, 0)` in the mean over all anchors a that have both: p are the others of its label, n those of other labels, in the batch `[N, D]` with labels i64 `[N]` (Hermans, Beyer and Leibe 2017, "In Defense of the Triplet Loss": batch hard). Triplets that are given go to [`Tensor::triplet_margin`].
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::batch_hard_triplet;
/// let (x, labels) = (Tensor::from_slice(&[0f64, 1.0, 3.0], &[3, 1])?, Tensor::from_slice(&[0i64, 0, 1], &[3])?);
/// let loss = batch_hard_triplet(&x, &labels, 2.5)?.item()?; // (1 - 3 + 2.5) and (1 - 2 + 2.5)
/// assert!((loss - 1.0).abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Shapes that do not fit; a batch without a triplet.
pub fn batch_hard_triplet(embeddings: &Tensor, labels: &Tensor, margin: f64) -> Result<Tensor> {
    const OP: &str = "batch_hard_triplet";
    let (&[n, _], Ok(label)) = (embeddings.dims(), labels.to_vec::<i64>()) else {
        return Err(Error::shape(OP, format!("got {:?} and labels {} {:?}, expected [N, D] and i64 [N]", embeddings.shape(), labels.dtype(), labels.shape())));
    };
    if labels.dims() != [n] {
        return Err(Error::shape(OP, format!("got labels {:?} for {n} embeddings", labels.shape())));
    }
    // Doubles, which a GPU has no kernels for.
    let numbers = embeddings.detach().to(&Device::Cpu)?.cast(DType::F64)?;
    let distances = numbers.cdist(&numbers, 2.0)?.to_vec::<f64>()?;
    // Which are the hardest is no matter of gradients; the distances to them are.
    let mut triplets: [Vec<i64>; 3] = Default::default();
    for anchor in 0..n {
        let distance = |&other: &usize| distances[anchor * n + other];
        let far = (0..n).filter(|&i| i != anchor && label[i] == label[anchor]).max_by(|a, b| distance(a).total_cmp(&distance(b)));
        let near = (0..n).filter(|&i| label[i] != label[anchor]).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let (Some(far), Some(near)) = (far, near) {
            triplets.iter_mut().zip([anchor, far, near]).for_each(|(list, i)| list.push(i as i64));
        }
    }
    if triplets[0].is_empty() {
        return Err(Error::value(OP, "no sample has both another one of its label and one of another label in this batch"));
    }
    let [anchors, positives, negatives] = triplets.map(|list| embeddings.index_select(0, &Tensor::from_slice(&list, &[list.len()])?.to(&embeddings.device())?));
    let anchors = anchors?;
    let distance = |other: Tensor| anchors.pairwise_distance(&other, 2.0, 0.0);
    distance(positives?)?.sub(&distance(negatives?)?)?.add_scalar(margin)?.relu()?.mean()
}
