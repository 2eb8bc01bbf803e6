//! Keys and values of earlier steps, kept while a model generates.

use chainrule_autograd::{Array, Error, Result, Tensor};
use chainrule_core::ops::join;

/// The keys and values `[.., H, S, E]` that attention has made so far, so that a new step computes only its own.
///
/// Room is doubled when it runs out, so a step copies its own keys and values only.
/// ```
/// # use chainrule_autograd::{DType, Tensor};
/// # use chainrule_nn::KeyValueCache;
/// let mut cache = KeyValueCache::new();
/// let step = Tensor::ones(&[1, 2, 3, 4], DType::F32)?;
/// cache.append(&step, &step)?;
/// let (keys, values) = cache.append(&step, &step)?;
/// assert_eq!((keys.dims(), cache.len()), (&[1, 2, 6, 4][..], 6));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyValueCache {
    /// Keys and values, with room for more steps than there are.
    kept: Option<[Array; 2]>,
    length: usize,
}

/// The fewest steps that room is made for.
const LEAST: usize = 16;

impl KeyValueCache {
    /// Without steps.
    pub fn new() -> KeyValueCache {
        KeyValueCache::default()
    }
    /// How many steps are kept.
    pub fn len(&self) -> usize {
        self.length
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Forgets all steps but the first `length`; the room stays.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Adds steps `[.., H, T, E]`, and returns all keys and values there are. Drop what is returned before the next call, which otherwise copies it.
    ///
    /// # Errors
    /// Keys or values of another shape or element type than those before; such as need a gradient, which would be lost: the cache then stays as it was. No memory: it is empty then.
    pub fn append(&mut self, key: &Tensor, value: &Tensor) -> Result<(Tensor, Tensor)> {
        const OP: &str = "key_value_cache";
        if key.needs_gradient() || value.needs_gradient() {
            return Err(Error::value(OP, "got keys or values that need a gradient, which a cache does not carry; generate off the tape, or in a frozen model"));
        }
        if key.rank() < 2 || key.rank() != value.rank() || key.dims()[..key.rank() - 1] != value.dims()[..key.rank() - 1] {
            return Err(Error::shape(OP, format!("keys {:?} and values {:?} do not belong together, expected [.., H, T, E] each", key.shape(), value.shape())));
        }
        let at = key.rank() - 2;
        let (steps, length) = (key.dims()[at], self.length);
        let end = length.checked_add(steps).ok_or_else(|| Error::value(OP, "more steps than can be counted"))?;
        for (new, kept) in [key, value].into_iter().zip(self.kept.iter().flatten()) {
            if new.dtype() != kept.dtype() || *new.shape() != kept.shape().with(at, steps) {
                let (got, expected) = ((new.dtype(), new.shape()), (kept.dtype(), kept.shape().with(at, steps)));
                return Err(Error::shape(OP, format!("got {} {:?} after {length} steps, expected {} {:?}", got.0, got.1, expected.0, expected.1)));
            }
        }
        let room = self.kept.as_ref().map_or(0, |[key, _]| key.dims()[at]);
        if end > room {
            let room = end.max(2 * room).max(LEAST);
            let grown = |new: &Tensor, old: Option<&Array>| -> Result<Array> {
                let all = new.array().new_full(&new.shape().with(at, room), 0.0)?;
                match old {
                    Some(old) => Ok(join::place(all, &old.narrow(at as isize, 0, length)?, &vec![0; at + 2])?),
                    None => Ok(all),
                }
            };
            let [old_key, old_value] = [0, 1].map(|i| self.kept.as_ref().map(|kept| &kept[i]));
            self.kept = Some([grown(key, old_key)?, grown(value, old_value)?]);
        }
        let Some([keys, values]) = self.kept.take() else { return Ok((key.clone(), value.clone())) };
        let mut starts = vec![0; at + 2];
        starts[at] = length;
        // Until both are written there is nothing to fall back on: an error leaves the cache empty.
        self.length = 0;
        let (keys, values) = (join::place(keys, key.array(), &starts)?, join::place(values, value.array(), &starts)?);
        let all = |kept: &Array| kept.narrow(at as isize, 0, end).map(Tensor::from);
        let result = (all(&keys)?, all(&values)?);
        self.kept = Some([keys, values]);
        self.length = end;
        Ok(result)
    }
}
