//! Knowledge distillation: a student learns from what a teacher says, and from what it sees.
//!
//! Outputs: Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network". Features: Romero et al. 2015, "FitNets". Attention maps: Zagoruyko and Komodakis 2017, "Paying More Attention to Attention".
//! The teacher's tensors are constants here, whatever they were computed from.

use chainrule_autograd::{Error, Reduction, Result, Tensor};

/// `T² KL(softmax(t / T) || softmax(s / T))` in the mean over rows: logits `[.., C]` of the student s and the teacher t at the temperature T. T² keeps the gradient's size.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::distillation;
/// let (student, teacher) = (Tensor::from_slice(&[0f64, 0.0], &[1, 2])?, Tensor::from_slice(&[0f64, 2.0], &[1, 2])?);
/// assert!(distillation(&student, &teacher, 2.0)?.item()? > 0.0);
/// assert!(distillation(&teacher, &teacher, 2.0)?.item()?.abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Logits of different shapes, or none; a temperature that is not above 0.
pub fn distillation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Result<Tensor> {
    const OP: &str = "distillation";
    expect_temperature(OP, temperature)?;
    let (student, teacher) = (rows(OP, student)?, rows(OP, &teacher.detach())?);
    let log = |logits: &Tensor| logits.mul_scalar(1.0 / temperature)?.log_softmax(1);
    log(&student)?.kl_div_of_logs_with(&log(&teacher)?, Reduction::BatchMean)?.mul_scalar(temperature * temperature)
}

/// `weight · distillation + (1 - weight) · cross-entropy`: logits `[.., C]` of both and labels i64 `[..]`.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::distillation_with_labels;
/// let logits = Tensor::from_slice(&[0f64, 0.0], &[1, 2])?;
/// let loss = distillation_with_labels(&logits, &logits, &Tensor::from_slice(&[1i64], &[1])?, 4.0, 0.75)?;
/// assert!((loss.item()? - 0.25 * 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// As for [`distillation`]; labels that do not fit; a weight outside `0 ..= 1`.
pub fn distillation_with_labels(student: &Tensor, teacher: &Tensor, labels: &Tensor, temperature: f64, weight: f64) -> Result<Tensor> {
    const OP: &str = "distillation";
    if !(0.0..=1.0).contains(&weight) {
        return Err(Error::value(OP, format!("the weight is {weight}, expected 0 to 1")));
    }
    let hard = rows(OP, student)?.cross_entropy(&labels.reshape(&[labels.count()])?)?;
    distillation(student, teacher, temperature)?.mul_scalar(weight)?.add(&hard.mul_scalar(1.0 - weight)?)
}

/// `½ (s - t)²` in the mean over all numbers: features of a layer of the student and of one of the teacher (FitNets' hints). Where their widths differ, a layer of the student's that is trained with it, a [`Linear`](chainrule_nn::Linear) or a 1x1 convolution, brings its features to the teacher's shape.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::hint;
/// let (student, teacher) = (Tensor::from_slice(&[1f64, 2.0], &[1, 2])?, Tensor::from_slice(&[1f64, 4.0], &[1, 2])?);
/// assert_eq!(hint(&student, &teacher)?.item()?, 1.0);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Features of different shapes.
pub fn hint(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    if student.dims() != teacher.dims() {
        let (got, expected) = (student.shape(), teacher.shape());
        return Err(Error::shape(
            "hint",
            format!("the student's features are {got:?}, the teacher's {expected:?}; bring them to one shape by a trained layer"),
        ));
    }
    student.mse(&teacher.detach())?.mul_scalar(0.5)
}

/// `(q(s) / |q(s)| - q(t) / |q(t)|)²` in the mean over all numbers, where `q = Σ_c x_c²` is where a layer looks: activations `[N, C, ..]` of both, in which the numbers of channels may differ.
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::attention_transfer;
/// let (student, teacher) = (Tensor::from_slice(&[1f64, 2.0], &[1, 1, 2])?, Tensor::from_slice(&[3f64, 6.0], &[1, 1, 2])?);
/// assert!(attention_transfer(&student, &teacher)?.item()? < 1e-12); // they look at the same places
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Activations without places, or with different ones.
pub fn attention_transfer(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    const OP: &str = "attention_transfer";
    let places = |x: &Tensor| [x.dims().get(..1), x.dims().get(2..)].map(|part| part.unwrap_or(&[]).to_vec());
    if student.rank() < 3 || teacher.rank() < 3 || places(student) != places(teacher) {
        let (got, expected) = (student.shape(), teacher.shape());
        return Err(Error::shape(
            OP,
            format!("the student's activations are {got:?}, the teacher's {expected:?}, expected [N, C, ..] of equal extents but for C"),
        ));
    }
    let map = |x: &Tensor| x.square()?.sum_over(&[1], false)?.flatten(1, -1)?.normalize(2.0, &[1], 1e-12);
    map(student)?.mse(&map(&teacher.detach())?)
}

/// The cross-entropy between what the old head says now and what it said before training, both softened by T: `-Σ_c softmax(r / T)_c ln softmax(o / T)_c` in the mean over rows, for its logits o and the recorded ones r, `[.., C]` both (Li and Hoiem 2016, "Learning without Forgetting", who take T = 2).
///
/// Added to the loss of a new task on the new task's inputs, it rehearses the old one without its data. Inputs may also be drawn at random, with the old model's outputs as their labels (Robins 1995, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal").
/// ```
/// # use chainrule_autograd::Tensor;
/// # use chainrule_finetune::learning_without_forgetting;
/// let logits = Tensor::from_slice(&[0f64, 0.0], &[1, 2])?;
/// assert!((learning_without_forgetting(&logits, &logits, 2.0)?.item()? - 2f64.ln()).abs() < 1e-12);
/// # Ok::<(), chainrule_autograd::Error>(())
/// ```
///
/// # Errors
/// Logits of different shapes, or none; a temperature that is not above 0.
pub fn learning_without_forgetting(old: &Tensor, recorded: &Tensor, temperature: f64) -> Result<Tensor> {
    const OP: &str = "learning_without_forgetting";
    expect_temperature(OP, temperature)?;
    let soft = rows(OP, &recorded.detach())?.mul_scalar(1.0 / temperature)?.softmax(1)?;
    rows(OP, old)?.mul_scalar(1.0 / temperature)?.cross_entropy(&soft)
}

fn expect_temperature(op: &'static str, temperature: f64) -> Result<()> {
    if temperature > 0.0 && temperature.is_finite() {
        return Ok(());
    }
    Err(Error::value(op, format!("the temperature is {temperature}, expected a number above 0")))
}

/// `[.., C] -> [rows, C]`
fn rows(op: &'static str, logits: &Tensor) -> Result<Tensor> {
    match logits.dims().last() {
        Some(&classes) if logits.count() > 0 => logits.reshape(&[logits.count() / classes, classes]),
        _ => Err(Error::shape(op, format!("got logits {:?}, expected [.., C] with at least one row", logits.shape()))),
    }
}
