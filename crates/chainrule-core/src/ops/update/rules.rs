//! The rules that a GPU steps over all parameters at once, as data.

/// What one number of a parameter and its states become: the formula by its name in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fused {
    /// `SGD`; one state (the momentum's buffer), or none where the momentum is 0.
    Sgd {
        /// What is kept of the buffer.
        momentum: f64,
        /// What is not taken of the gradient.
        dampening: f64,
        /// Whether the step looks ahead.
        nesterov: bool,
    },
    /// `Adam` and `AdamW`; two states, or three for AMSGrad.
    Adam {
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the root.
        eps: f64,
        /// Whether weight decay shrinks the parameter and is no part of the gradient.
        decoupled: bool,
    },
}

/// A rule with its hyper-parameters for one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The formula.
    pub rule: Fused,
    /// The step's length.
    pub learning_rate: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// How many steps its parameters have taken, this one included.
    pub number: u64,
}

/// What holds for all parameters of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most that the norm of all gradients may be; the others are scaled down.
    pub clip_norm: Option<f64>,
    /// The most that a gradient's number may be, either way.
    pub clip_value: Option<f64>,
    /// Whether the step climbs.
    pub maximize: bool,
    /// Whether a step with a gradient that is not finite is passed over; otherwise it ends all writing.
    pub skip_non_finite: bool,
}
