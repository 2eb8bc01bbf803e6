//! The product itself: `[m, k] · [k, n] -> [m, n]`, all column by column without gaps.
use super::element::Real;

/// Rows of a tile; a tile's sums stay in the first cache.
const TILE_ROWS: usize = 256;
const TILE_COLUMNS: usize = 4;
/// Products that are summed before they join the rest, which keeps the rounding errors of long sums small.
const RUN: usize = 64;

/// `a · b`.
pub fn product<R: Real>(m: usize, n: usize, k: usize, a: &[R], b: &[R]) -> Vec<R> {
    let mut c = vec![R::ZERO; m * n];
    for column in (0..n).step_by(TILE_COLUMNS) {
        let columns = TILE_COLUMNS.min(n - column);
        for row in (0..m).step_by(TILE_ROWS) {
            let rows = TILE_ROWS.min(m - row);
            for first in (0..k).step_by(RUN) {
                let mut sums = [[R::ZERO; TILE_ROWS]; TILE_COLUMNS];
                for inner in first..k.min(first + RUN) {
                    let factors: [R; TILE_COLUMNS] = std::array::from_fn(|j| if j < columns { b[(column + j) * k + inner] } else { R::ZERO });
                    add_multiples(&mut sums, &a[inner * m + row..][..rows], factors);
                }
                for (j, sum) in sums.iter().enumerate().take(columns) {
                    let target = &mut c[(column + j) * m + row..][..rows];
                    target.iter_mut().zip(sum).for_each(|(target, sum)| *target += *sum);
                }
            }
        }
    }
    c
}

#[inline]
fn add_multiples<R: Real>(sums: &mut [[R; TILE_ROWS]; TILE_COLUMNS], line: &[R], factors: [R; TILE_COLUMNS]) {
    let [s0, s1, s2, s3] = sums;
    let sums = s0.iter_mut().zip(s1).zip(s2).zip(s3);
    for ((((s0, s1), s2), s3), value) in sums.zip(line) {
        *s0 += *value * factors[0];
        *s1 += *value * factors[1];
        *s2 += *value * factors[2];
        *s3 += *value * factors[3];
    }
}
