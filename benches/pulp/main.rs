//! exp of 8192 numbers on one thread: our loops against the same polynomial in `pulp` (there without denormals, infinities and NaN).
//!
//!     cargo run --release --manifest-path benches/pulp/Cargo.toml

use chainrule_core::{
    Array, DType, Result,
    ops::elementwise::{Unary, unary},
    parallel,
};
use pulp::{Arch, Simd, WithSimd};
use std::time::Instant;
struct Exp<'a>(&'a [f32], &'a mut [f32]);
impl WithSimd for Exp<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (x, xt) = S::as_simd_f32s(self.0);
        let (y, yt) = S::as_mut_simd_f32s(self.1);
        let c = |v: f32| s.splat_f32s(v);
        let one = |x: S::f32s| {
            let x = s.min_f32s(s.max_f32s(x, c(-87.0)), c(88.0));
            let t = s.mul_add_e_f32s(x, c(std::f32::consts::LOG2_E), c(12582912.0));
            let n = s.wrapping_dyn_shl_u32s(s.sub_u32s(s.transmute_u32s_f32s(t), s.splat_u32s(12582912.0f32.to_bits())), s.splat_u32s(23));
            let k = s.sub_f32s(t, c(12582912.0));
            let r = s.mul_add_e_f32s(k, c(-0.693359375), x);
            let r = s.mul_add_e_f32s(k, c(2.1219444e-4), r);
            let mut p = c(0.0013950488);
            for q in [0.008368888, 0.041666206, 0.16666519, 0.5] {
                p = s.mul_add_e_f32s(p, r, c(q));
            }
            let v = s.add_f32s(s.mul_add_e_f32s(s.mul_f32s(p, r), r, r), c(1.0));
            s.mul_f32s(v, s.transmute_f32s_u32s(s.add_u32s(n, s.splat_u32s(127 << 23))))
        };
        for (y, x) in y.iter_mut().zip(x) {
            *y = one(*x);
        }
        for (y, x) in yt.iter_mut().zip(xt) {
            *y = x.exp();
        }
    }
}
fn main() -> Result<()> {
    parallel::set_threads(1);
    let x = Array::from_index(&[8192], DType::F32, |i| (i as f64 - 4096.0) / 60.0)?;
    let xs: Vec<f32> = x.to_vec()?;
    let mut ys = vec![0f32; 8192];
    let arch = Arch::new();
    let (mut a, mut b) = (f64::MAX, f64::MAX);
    for _ in 0..3000 {
        let t = Instant::now();
        arch.dispatch(Exp(&xs, &mut ys));
        a = a.min(t.elapsed().as_secs_f64());
        let t = Instant::now();
        let y = unary(Unary::Exp {}, &x)?;
        b = b.min(t.elapsed().as_secs_f64());
        std::hint::black_box((&ys, &y));
    }
    let y: Vec<f32> = unary(Unary::Exp {}, &x)?.to_vec()?;
    let worst = y.iter().zip(&ys).map(|(a, b)| ((a - b) / a).abs()).fold(0f32, f32::max);
    println!("exp of 8192 f32, one thread: pulp {:.2} us, ours {:.2} us, largest relative difference {worst:e}", a * 1e6, b * 1e6);
    Ok(())
}
