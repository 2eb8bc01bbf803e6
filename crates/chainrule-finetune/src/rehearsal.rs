//! Rehearsal: a few old samples, kept and shown again among the new (Vitter 1985, "Random Sampling with a Reservoir"; Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning").
//!
//! Where the old data may not be kept, [`learning_without_forgetting`](crate::learning_without_forgetting) rehearses what the model said.

use chainrule_autograd::Rng;

/// A uniform sample of fixed size from a stream of unknown length: after n samples each is kept with probability `capacity / n`. What it keeps and draws is a function of the seed.
/// ```
/// # use chainrule_finetune::Reservoir;
/// let mut memory = Reservoir::new(20, 7);
/// for sample in 0..1000 {
///     memory.offer(sample); // the first task goes by
/// }
/// assert_eq!((memory.samples().len(), memory.seen()), (20, 1000));
/// let batch = memory.mixed(vec![5000, 5001, 5002], 2); // the second
/// assert_eq!(batch.len(), 5);
/// ```
#[derive(Clone, Debug)]
pub struct Reservoir<T> {
    samples: Vec<T>,
    capacity: usize,
    seen: usize,
    rng: Rng,
}

impl<T> Reservoir<T> {
    /// An empty one, for at most `capacity` samples.
    pub fn new(capacity: usize, seed: u64) -> Reservoir<T> {
        Reservoir { samples: Vec::new(), capacity, seen: 0, rng: Rng::seeded(seed) }
    }

    /// Shows it a sample. Returns what it does not keep: this one, or the one that made place for it.
    pub fn offer(&mut self, sample: T) -> Option<T> {
        self.seen = self.seen.saturating_add(1);
        if self.samples.len() < self.capacity {
            self.samples.push(sample);
            return None;
        }
        let place = self.rng.below(self.seen);
        match self.samples.get_mut(place) {
            Some(kept) => Some(std::mem::replace(kept, sample)),
            None => Some(sample),
        }
    }

    /// What is kept.
    pub fn samples(&self) -> &[T] {
        &self.samples
    }

    /// How many samples it has been shown.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// So many of the kept samples, drawn without repetition; all of them in random order, if there are no more.
    pub fn draw(&mut self, count: usize) -> Vec<&T> {
        let mut order = self.rng.permutation(self.samples.len());
        order.truncate(count);
        order.into_iter().filter_map(|i| self.samples.get(i)).collect()
    }
}

impl<T: Clone> Reservoir<T> {
    /// A batch with so many old samples behind the new ones.
    pub fn mixed(&mut self, mut batch: Vec<T>, old: usize) -> Vec<T> {
        batch.extend(self.draw(old).into_iter().cloned());
        batch
    }
}
