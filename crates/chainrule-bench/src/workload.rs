//! [`Workload`]: a name and how to make its step.

use chainrule::{Array, Result, Rng};

/// Is shown what a step has computed: outputs, gradients, losses.
pub type Show<'a> = &'a mut dyn FnMut(&Array);

/// What is timed: it ends when its results have been shown and dropped.
pub type Step = Box<dyn FnMut(Show) -> Result<()>>;

/// Makes a step, its model and data drawn from the generator.
pub type Make = fn(&mut Rng) -> Result<Step>;

/// One measured piece of work.
pub struct Workload {
    /// Kind and shape.
    pub name: &'static str,
    /// Makes its step.
    pub make: Make,
}

impl Workload {
    /// A workload of this name.
    pub const fn new(name: &'static str, make: Make) -> Workload {
        Workload { name, make }
    }
}
