//! One file a rule.

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adam_w;
mod adamax;
mod asgd;
mod lamb;
mod lion;
mod moments;
mod n_adam;
mod r_adam;
mod rms_prop;
mod rprop;
mod sgd;

pub use adadelta::{Adadelta, AdadeltaRule};
pub use adafactor::{Adafactor, AdafactorRule};
pub use adagrad::{Adagrad, AdagradRule};
pub use adam::{Adam, AdamRule};
pub use adam_w::{AdamW, AdamWRule};
pub use adamax::{Adamax, AdamaxRule};
pub use asgd::{Asgd, AsgdRule};
pub use lamb::{Lamb, LambRule};
pub use lion::{Lion, LionRule};
pub use n_adam::{NAdam, NAdamRule};
pub use r_adam::{RAdam, RAdamRule};
pub use rms_prop::{RmsProp, RmsPropRule};
pub use rprop::{Rprop, RpropRule};
pub use sgd::{Sgd, SgdRule};

use chainrule_core::ops::update::Real;

/// Builder methods that set hyper-parameters of the same names, on the optimizer for all parameters and on a [`Group`](crate::Group) for some.
macro_rules! settings {
    ($rule:ty { $($(#[$doc:meta])* $name:ident($($field:ident: $type:ty),+);)+ }) => {
        impl crate::Optimizer<$rule> {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $($field: $type),+) -> Self {
                $(self.rule_mut().$field = $field;)+
                self
            })+
        }
        impl crate::Group<$rule> {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $($field: $type),+) -> Self {
                $(self.rule.$field = $field;)+
                self
            })+
        }
    };
}
pub(crate) use settings;

/// -1, 0 or 1.
#[inline(always)]
fn sign<R: Real>(x: R) -> R {
    let side = R::choose(x.above(R::zero()), R::one(), -R::one());
    R::choose(x.equals(R::zero()), R::zero(), side)
}
