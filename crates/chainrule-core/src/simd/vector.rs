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
    /// Transposes a block: `to[c * LANES + r] = from[r * stride + c]` for `r < rows` and `c < columns`, both at most LANES.
    /// Lanes from `rows` on are zero; the vectors of `to` from `columns` on may be overwritten by anything.
    #[inline(always)]
    unsafe fn transpose(from: *const Self::Element, stride: usize, rows: usize, columns: usize, to: *mut Self::Element) {
        for c in 0..columns {
            // SAFETY: the caller's pointers are valid for the block; `load_first` of nothing reads nothing.
            unsafe {
                Self::load_first(from, 0).store(to.add(c * Self::LANES));
                for r in 0..rows {
                    *to.add(c * Self::LANES + r) = *from.add(r * stride + c);
                }
            }
        }
    }
}
