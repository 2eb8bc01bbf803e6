//! Which block and which warp runs next.
use crate::fault::{Fault, FaultKind, Problem};
use crate::launch::{Launch, Statistics};
use crate::memory::Memory;

pub(crate) fn run(launch: &Launch, _memory: &mut Memory) -> Result<Statistics, Fault> {
    Err(Problem::new(FaultKind::Unsupported, format!("{} cannot run yet", launch.kernel.name())).into())
}
