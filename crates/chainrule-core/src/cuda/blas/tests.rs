//! Every tile of our kernels, cut or not, against sums in double precision; on a GPU, or the one made of software.

use super::*;
use crate::array::Array;
use crate::device::Device;
use crate::dtype::DType;
use crate::random::{Rng, normal};

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    normal(&[count], 0.0, 1.0, DType::F32, &mut Rng::seeded(seed)).unwrap().to_vec().unwrap()
}

#[test]
fn every_tile_multiplies_every_layout() {
    let Ok(Device::Cuda(ordinal)) = Device::cuda(0) else { return };
    let gpu = Gpu::get(ordinal).unwrap();
    for (tile, [m, n, k]) in Tile::ALL.into_iter().flat_map(|tile| {
        let [rows, columns, _] = tile.sizes();
        [[rows + 3, columns - 5, 21], [rows, columns, 32]].map(|sizes| (tile, sizes))
    }) {
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        let there = |x: &[f32]| Array::from_slice(x, &[x.len()]).unwrap().to(&Device::Cuda(ordinal)).unwrap();
        let (a_there, b_there, bias_there) = (there(&a), there(&b), there(&bias));
        for layout in 0..4 {
            let steps = |rows: usize, columns: usize, by_rows: bool| if by_rows { (columns as isize, 1) } else { (1, rows as isize) };
            let (a_steps, b_steps) = (steps(m, k, layout & 1 == 0), steps(k, n, layout & 2 == 0));
            let operand = |x: &Array, (row, column)| Operand { address: x.address(), row, column, batch: 0 };
            let parts = 1 + 2 * (layout % 2);
            // Parts are added up in dense results; others may have gaps, which stay as they are.
            let apart = if parts == 1 { n.next_multiple_of(4) } else { n };
            let out = there(&vec![1.0; m * apart]);
            let finish = Finish::NONE.added(layout == 3).biased(BiasSide::PerColumn, Some(bias_there.address())).leaky_relu(0.5);
            let c = operand(&out, (apart as isize, 1));
            let product = Product { sizes: [m, n, k], count: 1, a: operand(&a_there, a_steps), b: operand(&b_there, b_steps), c, finish };
            own::run_tiles(gpu, &product, tile, Cut::into_parts(parts, k, tile.sizes()[2])).unwrap();
            let got = out.to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap();
            assert!((0..m).all(|i| got[i * apart + n..(i + 1) * apart].iter().all(|&gap| gap == 1.0)), "{tile:?} writes beside its results");
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let term = |l: usize| {
                    let at = |(row, column): (isize, isize), i: usize, j: usize| (i as isize * row + j as isize * column) as usize;
                    a[at(a_steps, i, l)] as f64 * b[at(b_steps, l, j)] as f64
                };
                let sum = (0..k).map(term).sum::<f64>() + bias[j] as f64 + if layout == 3 { 1.0 } else { 0.0 };
                let expected = if sum > 0.0 { sum } else { 0.5 * sum };
                let size = 1.0 + (0..k).map(|l| term(l).abs()).sum::<f64>();
                assert!(
                    (got[i * apart + j] as f64 - expected).abs() < 1e-6 * size,
                    "{tile:?} {m} {n} {k} layout {layout} at {i}, {j}: {} {expected}",
                    got[i * apart + j]
                );
            }
        }
    }
}

/// The number of bits behind the point decides which numbers are the same.
#[test]
fn tf32_is_asked_for() {
    let Ok(device @ Device::Cuda(ordinal)) = Device::cuda(0) else { return };
    if has_own_products() || !library::is_present() {
        return;
    }
    let gpu = Gpu::get(ordinal).unwrap();
    let there = |x: &[f32], dims: &[usize]| Array::from_slice(x, dims).unwrap().to(&device).unwrap();
    let (a, b, c) = (there(&[1.0 + f32::powi(2.0, -14); 16], &[16]), there(&[1.0; 16], &[16]), there(&[0.0; 16], &[16]));
    let operand = |x: &Array| Operand { address: x.address(), row: 4, column: 1, batch: 0 };
    let product = Product { sizes: [4; 3], count: 1, a: operand(&a), b: operand(&b), c: operand(&c), finish: Finish::NONE };
    let sum = || {
        product.run("matmul", gpu).unwrap();
        c.to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap()[0]
    };
    assert_eq!(sum(), 4.0 + f32::powi(2.0, -12));
    allow_tf32(true);
    let rounded = sum();
    allow_tf32(false);
    assert_eq!(rounded, 4.0);
    assert_eq!(sum(), 4.0 + f32::powi(2.0, -12));
}
