//! One file a rule.

mod adam;
mod adam_w;
mod sgd;

pub use adam::{Adam, AdamRule};
pub use adam_w::{AdamW, AdamWRule};
pub use sgd::{Sgd, SgdRule};

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
