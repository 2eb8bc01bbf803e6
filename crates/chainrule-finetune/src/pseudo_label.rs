//! Pseudo-labels: what a model is sure of serves as label (Lee 2013, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method"; with class balance as in Zou et al. 2018, "Class-Balanced Self-Training").

use chainrule_autograd::{DType, Device, Error, Result, Tensor};

/// How sure a model must be, and how many samples of a class are taken: those with `max_c softmax(z)_c ≥ threshold`, the surest first.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::PseudoLabels;
/// let logits = Tensor::from_slice(&[4f32, 0.0, 0.1, 0.0, 0.0, 3.0, 5.0, 0.0], &[4, 2])?;
/// let sure = PseudoLabels::above(0.9).select(&logits)?;
/// assert_eq!((sure.indices.to_vec::<i64>()?, sure.labels.to_vec::<i64>()?), (vec![0, 2, 3], vec![0, 1, 0]));
/// let even = PseudoLabels::above(0.9).balanced().select(&logits)?;
/// assert_eq!(even.indices.to_vec::<i64>()?, [2, 3]);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PseudoLabels {
    /// The least probability of the most probable class.
    pub threshold: f64,
    /// The most samples of a class.
    pub most_per_class: Option<usize>,
    /// Whether of every class that occurs as many are taken as of the rarest.
    pub balanced: bool,
}

/// The samples that got a label, in their order.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Which rows: i64 `[n]`, for `index_select(0, …)`.
    pub indices: Tensor,
    /// Their labels: i64 `[n]`.
    pub labels: Tensor,
    /// How sure the model is of them.
    pub confidence: Vec<f64>,
}

impl PseudoLabels {
    /// All that the model is so sure of.
    pub fn above(threshold: f64) -> PseudoLabels {
        PseudoLabels { threshold, most_per_class: None, balanced: false }
    }
    /// At most so many of a class.
    #[must_use]
    pub fn most_per_class(self, count: usize) -> PseudoLabels {
        PseudoLabels { most_per_class: Some(count), ..self }
    }
    /// As many of every class that occurs.
    #[must_use]
    pub fn balanced(self) -> PseudoLabels {
        PseudoLabels { balanced: true, ..self }
    }

    /// Chooses among logits `[N, C]`. Rows with NaN are never chosen; of equally sure ones the earlier comes first.
    ///
    /// # Errors
    /// Logits that are not `[N, C]`; a threshold outside `0 ..= 1`.
    pub fn select(&self, logits: &Tensor) -> Result<Labelled> {
        const OP: &str = "pseudo_labels";
        let &[rows, classes] = logits.dims() else { return Err(Error::shape(OP, format!("got logits {:?}, expected [N, C]", logits.shape()))) };
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::value(OP, format!("the threshold is {}, expected 0 to 1", self.threshold)));
        }
        // Doubles, which a GPU has no kernels for.
        let probabilities = logits.detach().to(&Device::Cpu)?.cast(DType::F64)?.softmax(1)?.to_vec::<f64>()?;
        // For every class: confidence and row, the surest first.
        let mut chosen: Vec<Vec<(f64, usize)>> = vec![Vec::new(); classes.min(probabilities.len())];
        for row in 0..rows {
            let of_row = probabilities.iter().skip(row * classes).take(classes).copied().enumerate();
            let best = of_row.fold(None, |best: Option<(usize, f64)>, (class, p)| if best.is_none_or(|(_, most)| p > most) { Some((class, p)) } else { best });
            if let Some((class, confidence)) = best.filter(|(_, p)| *p >= self.threshold) {
                chosen[class].push((confidence, row));
            }
        }
        let rarest = chosen.iter().map(Vec::len).filter(|count| *count > 0).min().unwrap_or(0);
        let most = self.most_per_class.unwrap_or(usize::MAX).min(if self.balanced { rarest } else { usize::MAX });
        let mut all: Vec<(usize, i64, f64)> = Vec::new();
        for (class, mut samples) in chosen.into_iter().enumerate() {
            samples.sort_by(|a, b| b.0.total_cmp(&a.0));
            all.extend(samples.into_iter().take(most).map(|(confidence, row)| (row, class as i64, confidence)));
        }
        all.sort_by_key(|(row, ..)| *row);
        let column = |of: fn(&(usize, i64, f64)) -> i64| Tensor::from_slice(&all.iter().map(of).collect::<Vec<_>>(), &[all.len()])?.to(&logits.device());
        Ok(Labelled { indices: column(|x| x.0 as i64)?, labels: column(|x| x.1)?, confidence: all.iter().map(|x| x.2).collect() })
    }
}
