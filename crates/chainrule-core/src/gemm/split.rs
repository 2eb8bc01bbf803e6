//! A small C of a long k: k is cut too, each part of it into a C of its own, and those are added up in their order.

use super::plan::Cut;
use super::{Epilogue, Finish, MatrixMut, Number, Product, pack};
use crate::parallel;

/// The fewest steps of k that are worth a C of their own.
const SHORTEST: usize = 2048;

/// In how many parts k is cut so that there are about `wanted` tasks of `blocks` each.
pub(super) fn parts(k: usize, blocks: usize, wanted: usize) -> usize {
    (wanted / blocks).min(k / SHORTEST).max(1)
}

/// Computes the product in `parts` of k.
///
/// # Safety
/// As for [`super::gemm`]; no size of C is zero.
pub(super) unsafe fn run<T: Number>(product: &Product<T>, cut: Cut, parts: usize) {
    let [m, n, k] = product.sizes;
    let mut buffer = pack::Buffer::take::<T>(parts * m * n, pack::Use::Sums);
    let sums = MatrixMut { start: buffer.start::<T>(), row: n as isize, column: 1 };
    let sums = Shared(sums);
    parallel::run(parts * cut.blocks(), |task| {
        let part = task / cut.blocks();
        let (first, end) = (k * part / parts, k * (part + 1) / parts);
        let (a, b, c) = (product.a.from(0, first), product.b.from(first, 0), sums.part(part * m));
        let finish = Finish { beta: T::zero(), epilogue: Epilogue::NONE };
        let product = Product { sizes: [m, n, end - first], a, b, c, finish, pairs: product.pairs };
        // SAFETY: every part has its own matrix in the buffer, and reads A and B along its own stretch of k.
        unsafe { cut.compute(&product, task % cut.blocks()) };
    });
    let sums = sums.part(0);
    let step = m * n;
    for i in 0..m {
        for j in 0..n {
            let at = sums.at(i, j).cast_const();
            // SAFETY: all parts have written their matrices, and the element lies in C.
            unsafe {
                let sum = (1..parts).fold(*at, |sum, part| sum + *at.add(part * step));
                product.finish.element(product.c.at(i, j), i, j, sum);
            }
        }
    }
}

/// The matrices of all parts, one below the other.
struct Shared<T>(MatrixMut<T>);

// SAFETY: an address, through which every task writes its own elements.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn part(&self, row: usize) -> MatrixMut<T> {
        self.0.from(row, 0)
    }
}
