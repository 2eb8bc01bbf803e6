//! [`Workload`]: a name and how to make its step.

use chainrule::{Result, Rng};

/// What is timed: it ends when its results are there and dropped.
pub type Step = Box<dyn FnMut() -> Result<()>>;

/// Makes a step, its data drawn from the generator.
pub type Make = fn(&mut Rng) -> Result<Step>;

/// One measured piece of work.
pub struct Workload {
    /// Kind and shape.
    pub name: &'static str,
    /// `None` where the library lacks an operation of it.
    pub make: Option<Make>,
}

impl Workload {
    /// A workload of operations the library has.
    pub const fn new(name: &'static str, make: Make) -> Workload {
        Workload { name, make: Some(make) }
    }

    /// A workload that needs an operation the library lacks.
    pub const fn unsupported(name: &'static str) -> Workload {
        Workload { name, make: None }
    }
}
