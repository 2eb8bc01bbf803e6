//! The running means of the gradient and of its square, which Adam and its relatives keep.

use crate::rule::check_fraction;
use chainrule_core::ops::update::Real;

/// `m += (1 - beta1) (g - m)`, `v = beta2 v + (1 - beta2) g²`
#[derive(Clone, Copy)]
pub(super) struct Moments {
    pub(super) beta1: f64,
    pub(super) beta2: f64,
}

impl Moments {
    pub(super) fn check(self) -> Result<(), String> {
        check_fraction("beta1", self.beta1).and(check_fraction("beta2", self.beta2))
    }

    #[inline(always)]
    pub(super) fn next<R: Real>(self, g: R, [m, v]: [R; 2]) -> [R; 2] {
        let Moments { beta1, beta2 } = self;
        let m = R::of(1.0 - beta1).mul_add(g - m, m);
        let v = (R::of(1.0 - beta2) * g).mul_add(g, v * R::of(beta2));
        [m, v]
    }
}
