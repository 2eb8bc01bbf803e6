//! The registers of a level, for kernels that plan their registers by hand.

/// One register of `LANES` numbers.
///
/// # Safety
/// Every method may only be called in code that [`super::run`] compiled for the register's level, and pointers must be valid for the lanes that the method names.
/// All methods are `#[inline(always)]`: they become single instructions of the kernel that calls them.
pub(crate) trait Vector: Copy {
    type Element: Copy;
    const LANES: usize;
    /// Rows of the tile of C that a matrix-product kernel holds in registers; with `TILE_VECTORS` columns of registers it leaves room for operands.
    const TILE_ROWS: usize;
    const TILE_VECTORS: usize;

    unsafe fn splat(value: Self::Element) -> Self;
    /// All lanes from `at` on, at any alignment.
    unsafe fn load(at: *const Self::Element) -> Self;
    /// The first `count <= LANES` lanes; the others are zero and not read.
    unsafe fn load_first(at: *const Self::Element, count: usize) -> Self;
    unsafe fn store(self, at: *mut Self::Element);
    /// The first `count <= LANES` lanes; the others are not written.
    unsafe fn store_first(self, at: *mut Self::Element, count: usize);
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self * other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the level has fused multiply-add.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `addend` plus what a matrix product makes of two places along k: their product, or in registers of pairs (see [`super::run_pairs`]) both products of the pair.
    #[inline(always)]
    unsafe fn dot(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.mul_add(factor, addend) }
    }
    /// The larger lane by lane; a NaN in `self` yields `other`.
    unsafe fn max(self, other: Self) -> Self;
    /// Asks for the cache line of `at`, which may be any address; nothing where the level has no such instruction.
    #[inline(always)]
    fn prefetch(at: *const Self::Element) {
        let _ = at;
    }
    /// The lanes of both in turn, `self`'s first: the lower half of that sequence and the upper.
    unsafe fn zip(self, other: Self) -> (Self, Self);
    /// The sum over all lanes, as a fixed tree: halves are added until one lane is left.
    unsafe fn sum(self) -> Self::Element;
    /// The lanes `at[0]`, `at[2]`, …, `at[2 * LANES - 2]`; nothing is read after the last.
    #[inline(always)]
    unsafe fn load_alternate(at: *const Self::Element) -> Self {
        // SAFETY: the caller's promise; the lanes are plain numbers in memory.
        unsafe {
            let mut lanes = Self::splat(*at);
            let to = (&raw mut lanes).cast::<Self::Element>();
            for i in 1..Self::LANES {
                *to.add(i) = *at.add(2 * i);
            }
            lanes
        }
    }
    /// Transposes a block: `to[c * LANES + r] = from[r * stride + c]` for `r < rows` and `c < columns`, both at most LANES.
    /// Lanes from `rows` on are zero; the vectors of `to` from `columns` on may be overwritten by anything.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Element, stride: usize, rows: usize, columns: usize, to: *mut Self::Element) {
        // SAFETY: the caller's promise; N is the number of lanes.
        unsafe {
            match Self::LANES {
                16 => transpose::<Self, 16>(from, stride, rows, columns, to),
                8 => transpose::<Self, 8>(from, stride, rows, columns, to),
                4 => transpose::<Self, 4>(from, stride, rows, columns, to),
                _ => transpose::<Self, 2>(from, stride, rows, columns, to),
            }
        }
    }
}

/// # Safety
/// As for [`Vector::transpose`]; N is the number of lanes.
#[inline(always)]
unsafe fn transpose<V: Vector, const N: usize>(from: *const V::Element, stride: usize, rows: usize, columns: usize, to: *mut V::Element) {
    // SAFETY: the caller's promise; a load of no lanes reads nothing.
    unsafe {
        let mut square = [V::load_first(from, 0); N];
        for (r, row) in square.iter_mut().enumerate() {
            if r < rows {
                *row = V::load_first(from.add(r * stride), columns);
            }
        }
        for (c, column) in transposed(square).into_iter().enumerate() {
            column.store(to.add(c * N));
        }
    }
}

/// Rows and columns of a square exchanged in registers: a perfect shuffle of all rows, as often as N has halves.
///
/// # Safety
/// The level of V must be checked, and N must be its number of lanes.
#[inline(always)]
pub(crate) unsafe fn transposed<V: Vector, const N: usize>(mut square: [V; N]) -> [V; N] {
    let mut done = 1;
    while done < N {
        let before = square;
        for i in 0..N / 2 {
            // SAFETY: the caller's promise.
            (square[2 * i], square[2 * i + 1]) = unsafe { before[i].zip(before[i + N / 2]) };
        }
        done *= 2;
    }
    square
}
