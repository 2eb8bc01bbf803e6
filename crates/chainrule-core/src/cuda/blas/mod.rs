//! Matrix products on the GPU: cuBLASLt where it is found, kernels of ours elsewhere.

mod cut;
mod library;
mod own;
mod plan;

pub(crate) use cut::{Cut, Tile};

use super::{Argument, Gpu};
use crate::error::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static TF32: AtomicBool = AtomicBool::new(false);
static OWN: AtomicBool = AtomicBool::new(false);

/// Whether cuBLASLt may round f32 operands of matrix products to TF32 (10 bits behind the point instead of 23), for which tensor cores are several times faster. It may not unless this is called; kernels of ours never do.
pub fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Relaxed);
}

/// Whether matrix products go to the kernels of chainrule even where cuBLASLt is found: for tests, and to compare the two. The environment variable `CHAINRULE_CUBLAS=0` asks for the same.
pub fn set_own_products(own: bool) {
    OWN.store(own, Relaxed);
}

fn has_own_products() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    OWN.load(Relaxed) || *ASKED.get_or_init(|| std::env::var_os("CHAINRULE_CUBLAS").is_some_and(|value| value == "0"))
}

/// Matrices of f32: element (i, j) of number `b` stands at `address + 4 (i row + j column + b batch)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub address: u64,
    pub row: isize,
    pub column: isize,
    pub batch: isize,
}

impl Operand {
    fn transposed(self) -> Operand {
        Operand { row: self.column, column: self.row, ..self }
    }

    /// Whether the matrices have a side along which elements are neighbours, and rows (or columns) that do not overlap: what libraries take.
    pub(crate) fn is_plain(&self, rows: usize, columns: usize) -> bool {
        self.leading(rows, columns).is_some()
    }

    /// Whether rows are the runs of neighbours (else columns are), and the distance between the runs.
    fn leading(&self, rows: usize, columns: usize) -> Option<(bool, i64)> {
        let run = |neighbours: usize, step: isize, runs: usize, apart: isize| {
            let apart = if runs == 1 { neighbours as isize } else { apart };
            ((step == 1 || neighbours == 1) && apart >= neighbours as isize).then_some(apart as i64)
        };
        run(columns, self.column, rows, self.row)
            .map(|leading| (true, leading))
            .or_else(|| run(rows, self.row, columns, self.column).map(|leading| (false, leading)))
    }

    /// Whether four neighbours stand together on 16 bytes, with these steps between the fours.
    fn is_in_fours(&self, steps: [isize; 2]) -> bool {
        self.address.is_multiple_of(16) && steps.iter().all(|step| step % 4 == 0)
    }
}

/// Which side of the result the bias runs along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum BiasSide {
    None,
    PerColumn,
    PerRow,
}

/// What makes a result of a sum: `activation(alpha sum + beta result + bias)`. `Finish` of `tile.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finish {
    bias: u64,
    side: BiasSide,
    activation: u32,
    alpha: f32,
    beta: f32,
    slope: f32,
    unused: u32,
}

// SAFETY: `repr(C)`, field by field the struct of `tile.cuh`.
unsafe impl Argument for Finish {}

impl Finish {
    /// The sum itself.
    pub(crate) const NONE: Finish = Finish { bias: 0, side: BiasSide::None, activation: 0, alpha: 1.0, beta: 0.0, slope: 0.0, unused: 0 };

    /// With a number for each column or row, which stand densely at the address.
    pub(crate) fn biased(self, side: BiasSide, bias: Option<u64>) -> Finish {
        bias.map_or(self, |bias| Finish { bias, side, ..self })
    }

    /// With what is below 0 made 0.
    pub(crate) fn relu(self) -> Finish {
        Finish { activation: 1, ..self }
    }

    /// With what is below 0 times the slope.
    pub(crate) fn leaky_relu(self, slope: f32) -> Finish {
        Finish { activation: 2, slope, ..self }
    }

    /// Added to what stands there.
    pub(crate) fn added(self, adds: bool) -> Finish {
        Finish { beta: if adds { 1.0 } else { 0.0 }, ..self }
    }

    fn transposed(self) -> Finish {
        let side = match self.side {
            BiasSide::None => BiasSide::None,
            BiasSide::PerColumn => BiasSide::PerRow,
            BiasSide::PerRow => BiasSide::PerColumn,
        };
        Finish { side, ..self }
    }
}

/// `count` products `[m, k] · [k, n] -> [m, n]` of f32; results do not overlap one another or the operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// m, n, k
    pub sizes: [usize; 3],
    pub count: usize,
    pub a: Operand,
    pub b: Operand,
    pub c: Operand,
    pub finish: Finish,
}

impl Product {
    fn transposed(self) -> Product {
        let [m, n, k] = self.sizes;
        Product { sizes: [n, m, k], a: self.b.transposed(), b: self.a.transposed(), c: self.c.transposed(), finish: self.finish.transposed(), ..self }
    }

    /// Whether the results are one dense array.
    fn is_dense(&self) -> bool {
        let [m, n, _] = self.sizes;
        self.c.column == 1 && (m == 1 || self.c.row == n as isize) && (self.count == 1 || self.c.batch == (m * n) as isize)
    }

    /// All products, on the GPU's stream.
    ///
    /// # Errors
    /// Sizes beyond 2^31; a GPU that failed; no memory for a workspace.
    pub(crate) fn run(&self, op: &'static str, gpu: &'static Gpu) -> Result<()> {
        let [m, n, k] = self.sizes;
        if m == 0 || n == 0 || self.count == 0 {
            return Ok(());
        }
        let strides = [self.a, self.b, self.c].into_iter().flat_map(|x| [x.row, x.column]);
        if self.sizes.iter().any(|&size| i32::try_from(size).is_err()) || strides.into_iter().any(|step| i32::try_from(step).is_err()) {
            return Err(Error::shape(
                op,
                format!("a product [{m}, {k}] · [{k}, {n}] is larger than the GPU's kernels count (2^31 - 1 a side); cut it in parts"),
            ));
        }
        if !has_own_products() && library::run(op, gpu, self)? {
            return Ok(());
        }
        own::run(gpu, self)
    }
}

#[cfg(test)]
mod tests;
