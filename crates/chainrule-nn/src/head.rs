//! [`replace_head`]: a new last layer for other classes.

use crate::{AnyLayer, Conv1d, Conv2d, Conv3d, Linear, Param, Sequential, count, to_device, to_dtype};
use chainrule_autograd::{Error, Result, Rng};
use std::any::Any;

/// A layer that can stand at the end of a model, with as many outputs as there are classes.
pub trait Head: Sized {
    /// A new one of the same form with so many outputs: newly drawn numbers, new identities, trainable, without adapter.
    ///
    /// # Errors
    /// No outputs, or a number of them that does not fit; no memory.
    fn with_outputs(&self, outputs: usize, rng: &mut Rng) -> Result<Self>;
}

/// Puts a new head in the place of the old, for other classes: it has the same inputs and form, and begins untrained and trainable.
///
/// Heads are [`Linear`], the convolutions, and a [`Sequential`], of which the last layer that holds parameters is replaced.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Dropout, Layer, Linear, Sequential, freeze, replace_head};
/// let rng = &mut Rng::seeded(0);
/// let mut classifier = Sequential::new().add(Dropout::new(0.2)).add(Linear::new(1280, 1000, rng)?);
/// freeze(&mut classifier, "*")?;
/// replace_head(&mut classifier, 10, rng)?;
/// assert_eq!(classifier.run(&Tensor::ones(&[1, 1280], DType::F32)?)?.dims(), [1, 10]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// No outputs; groups of a convolution that do not divide them; a `Sequential` without a layer that could be replaced; no memory. The head is as before then.
pub fn replace_head(head: &mut impl Head, outputs: usize, rng: &mut Rng) -> Result<()> {
    *head = head.with_outputs(outputs, rng)?;
    Ok(())
}

const OP: &str = "replace_head";

fn expect_outputs(outputs: usize) -> Result<()> {
    if outputs == 0 { Err(Error::value(OP, "got 0 outputs, expected at least 1")) } else { Ok(()) }
}

/// The other extents of a weight `[outputs, ..]`.
fn inner<const N: usize>(weight: &Param) -> Result<[usize; N]> {
    let dims = weight.value.dims();
    let inner = dims.get(1..).and_then(|inner| inner.try_into().ok());
    inner.ok_or_else(|| Error::shape(OP, format!("the weight has shape {dims:?}, expected {} dimensions", N + 1)))
}

/// Layers are drawn in f32 and on the CPU; this one comes to stand in the place of an old one.
fn like<L: AnyLayer>(old: &Param, mut layer: L) -> Result<L> {
    let moved = to_dtype(&mut layer, old.value.dtype()).and_then(|()| to_device(&mut layer, &old.value.device()));
    moved.map_err(|error| Error::value(OP, error.to_string()))?;
    Ok(layer)
}

impl Head for Linear {
    fn with_outputs(&self, outputs: usize, rng: &mut Rng) -> Result<Linear> {
        expect_outputs(outputs)?;
        let [inputs] = inner(&self.weight)?;
        let new = Linear::new(inputs, outputs, rng)?;
        like(&self.weight, if self.bias.is_some() { new } else { new.without_bias() })
    }
}

macro_rules! convolutions {
    ($($layer:ident $n:literal),*) => { $(
        impl Head for $layer {
            fn with_outputs(&self, outputs: usize, rng: &mut Rng) -> Result<$layer> {
                expect_outputs(outputs)?;
                let [channels, kernel @ ..]: [usize; $n + 1] = inner(&self.weight)?;
                let groups = self.window.groups;
                let new = $layer::grouped(channels.saturating_mul(groups), outputs, kernel, groups, rng)?;
                let new = $layer { window: self.window, padding_mode: self.padding_mode, same: self.same, ..new };
                like(&self.weight, if self.bias.is_some() { new } else { new.without_bias() })
            }
        }
    )* };
}
convolutions!(Conv1d 1, Conv2d 2, Conv3d 3);

impl Head for Sequential {
    fn with_outputs(&self, outputs: usize, rng: &mut Rng) -> Result<Sequential> {
        let Some(last) = self.layers.iter().rposition(|layer| count(layer).all > 0) else {
            return Err(Error::value(OP, format!("none of the {} layers holds parameters", self.layers.len())));
        };
        let mut new = self.clone();
        let layer = &mut *new.layers[last];
        macro_rules! replaced {
            ($($head:ident),*) => {
                $(if let Some(head) = (layer as &mut dyn Any).downcast_mut::<$head>() {
                    replace_head(head, outputs, rng)?;
                    return Ok(new);
                })*
            };
        }
        replaced!(Linear, Conv1d, Conv2d, Conv3d, Sequential);
        Err(Error::value(
            OP,
            format!(
                "the last layer with parameters, {last}, is none of Linear, Conv1d, Conv2d, Conv3d and Sequential; put a new one there: model.layers[{last}] = Box::new(…)"
            ),
        ))
    }
}
