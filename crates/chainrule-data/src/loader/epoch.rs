//! One epoch's batches, made when asked for or ahead on a thread.

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use chainrule_autograd::Rng;
use std::any::Any;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// The batches of one epoch: made by [`Loader::epoch`](crate::Loader::epoch) and [`Loader::in_order`](crate::Loader::in_order).
///
/// A batch that could not be made is an `Err` in its place; the next one follows. A panic of the data set is such an error too.
/// Dropped early, it stops its thread and waits for it: as long as the batch in the making takes, at most.
pub struct Epoch<D: Dataset> {
    source: Source<D>,
}

enum Source<D: Dataset> {
    OnDemand(Maker<D>),
    Ahead(Ahead<D::Batch>),
}

/// Makes an epoch's batches one after the other.
struct Maker<D> {
    data: Arc<D>,
    order: Arc<Vec<usize>>,
    batch_size: usize,
    made: usize,
    batches: usize,
    rng: Rng,
}

/// Batches that another thread makes.
struct Ahead<B> {
    /// `None` once the thread is to stop.
    ready: Option<Receiver<Result<B>>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl<D: Dataset + 'static> Epoch<D> {
    pub(super) fn new(data: Arc<D>, order: Vec<usize>, batch_size: usize, batches: usize, rng: Rng, prefetch: usize) -> Epoch<D> {
        let maker = Maker { data, order: Arc::new(order), batch_size, made: 0, batches, rng };
        let ahead = if prefetch > 0 && batches > 0 { Ahead::start(maker.clone(), prefetch.min(batches)) } else { None };
        Epoch { source: ahead.map_or(Source::OnDemand(maker), Source::Ahead) }
    }
}

impl<D: Dataset> Maker<D> {
    fn make(&mut self) -> Option<Result<D::Batch>> {
        if self.made == self.batches {
            return None;
        }
        let start = self.made * self.batch_size;
        let end = self.order.len().min(start.saturating_add(self.batch_size));
        self.made += 1;
        let mut rng = self.rng.split();
        let indices = &self.order[start..end];
        let batch = catch_unwind(AssertUnwindSafe(|| self.data.batch(indices, &mut rng)));
        Some(batch.unwrap_or_else(|payload| Err(Error::Panic { message: said(payload.as_ref()) })))
    }
}

impl<D> Clone for Maker<D> {
    fn clone(&self) -> Maker<D> {
        Maker { data: self.data.clone(), order: self.order.clone(), rng: self.rng.clone(), ..*self }
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

impl<B: Send + 'static> Ahead<B> {
    /// `None` when the system gives no thread: then batches are made on demand, and are the same.
    fn start<D: Dataset<Batch = B> + 'static>(mut maker: Maker<D>, most: usize) -> Option<Ahead<B>> {
        let left = maker.batches;
        // One batch is in the maker's hand, the others wait in the channel.
        let (sender, ready) = sync_channel(most - 1);
        let work = move || {
            while let Some(batch) = maker.make() {
                if sender.send(batch).is_err() {
                    break;
                }
            }
        };
        let thread = Builder::new().name("chainrule-data".into()).spawn(work).ok()?;
        Some(Ahead { ready: Some(ready), thread: Some(thread), left })
    }
}

impl<B> Ahead<B> {
    fn take(&mut self) -> Option<Result<B>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let received = self.ready.as_ref().and_then(|ready| ready.recv().ok());
        Some(received.unwrap_or_else(|| Err(Error::Panic { message: "the thread that makes batches is gone".into() })))
    }
}

impl<B> Drop for Ahead<B> {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, which ends it.
        self.ready = None;
        if let Some(thread) = self.thread.take() {
            // It catches the panics of data sets; one outside has reached the caller as errors.
            let _ = thread.join();
        }
    }
}

impl<D: Dataset> Iterator for Epoch<D> {
    type Item = Result<D::Batch>;

    fn next(&mut self) -> Option<Result<D::Batch>> {
        match &mut self.source {
            Source::OnDemand(maker) => maker.make(),
            Source::Ahead(ahead) => ahead.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.source {
            Source::OnDemand(maker) => maker.batches - maker.made,
            Source::Ahead(ahead) => ahead.left,
        };
        (left, Some(left))
    }
}

impl<D: Dataset> ExactSizeIterator for Epoch<D> {}
impl<D: Dataset> FusedIterator for Epoch<D> {}

impl<D: Dataset> std::fmt::Debug for Epoch<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epoch({} batches left)", self.len())
    }
}
