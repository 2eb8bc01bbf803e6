//! Streams and the order in which their work is run: nothing runs before something waits for it, and streams that no event orders are interleaved by
//! the seed.
use crate::graph::GraphRun;
use crate::machine::Machine;
use crate::operation::Operation;
use crate::status::{Outcome, Status};
use std::collections::{BTreeMap, HashSet, VecDeque};

/// The legacy stream: handles 0 and 1. It and the blocking streams wait for each other.
pub const LEGACY: u64 = 1;
/// The default stream of a thread; here one for all threads.
const PER_THREAD: u64 = 2;
/// `CU_STREAM_NON_BLOCKING`.
pub const NON_BLOCKING: u32 = 1;
/// The longest queue before work is run although nothing waits for it.
const LONGEST: usize = 192;

/// What a queue holds.
pub enum Work {
    /// One operation.
    One(Operation),
    /// A launched graph, run node by node.
    Graph(GraphRun),
}

struct Item {
    /// Place in the order of all calls.
    ticket: u64,
    work: Work,
}

/// A stream.
pub struct Stream {
    /// As given at creation.
    pub flags: u32,
    /// As given at creation.
    pub priority: i32,
    /// The capture it takes part in.
    pub capture: Option<u64>,
    queue: VecDeque<Item>,
    /// Length of the queue from which work is run.
    bound: usize,
}

impl Stream {
    fn new(flags: u32, priority: i32, bound: usize) -> Stream {
        Stream { flags, priority, capture: None, queue: VecDeque::new(), bound }
    }

    /// Whether it and the legacy stream wait for each other.
    pub fn is_blocking(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }

    /// Whether everything it was given has been run.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    fn front(&self) -> Option<u64> {
        self.queue.front().map(|item| item.ticket)
    }
}

/// All streams by handle.
pub struct Streams {
    by_handle: BTreeMap<u64, Stream>,
    /// Records of events that have not been run.
    pub pending_records: HashSet<u64>,
    next_ticket: u64,
}

impl Default for Streams {
    fn default() -> Streams {
        let by_handle = [LEGACY, PER_THREAD].map(|handle| (handle, Stream::new(0, 0, LONGEST))).into();
        Streams { by_handle, pending_records: HashSet::new(), next_ticket: 0 }
    }
}

impl Streams {
    /// The handle under which a stream is known: the caller's 0 and 1 both mean the legacy stream.
    pub fn known(handle: u64) -> u64 {
        handle.max(LEGACY)
    }

    /// The stream of a handle.
    pub fn get(&mut self, handle: u64) -> Outcome<&mut Stream> {
        self.by_handle.get_mut(&Streams::known(handle)).ok_or(Status::INVALID_HANDLE)
    }

    /// All streams.
    pub fn all(&mut self) -> impl Iterator<Item = (&u64, &mut Stream)> {
        self.by_handle.iter_mut()
    }

    /// Pieces of work in all queues.
    pub fn pending(&self) -> u64 {
        self.by_handle.values().map(|stream| stream.queue.len() as u64).sum()
    }

    /// The next place in the order of all calls.
    pub fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Forgets all that was queued.
    pub fn drop_work(&mut self) {
        self.by_handle.values_mut().for_each(|stream| stream.queue.clear());
        self.pending_records.clear();
    }

    fn may_run(&self, handle: u64) -> bool {
        let Some(stream) = self.by_handle.get(&handle) else { return false };
        let Some(item) = stream.queue.front() else { return false };
        let legacy_waits =
            handle == LEGACY && self.by_handle.values().any(|other| other.is_blocking() && other.front().is_some_and(|front| front < item.ticket));
        let waits_for_legacy = stream.is_blocking() && self.by_handle[&LEGACY].front().is_some_and(|front| front < item.ticket);
        if legacy_waits || waits_for_legacy {
            return false;
        }
        match &item.work {
            Work::One(Operation::Wait { ticket }) => !self.pending_records.contains(ticket),
            Work::One(_) => true,
            // One executable graph never runs beside itself.
            Work::Graph(run) => !self.by_handle.values().flat_map(|other| &other.queue).any(|other| other.ticket < item.ticket && run.is_of(&other.work)),
        }
    }
}

impl Machine {
    /// A new stream.
    pub fn create_stream(&mut self, flags: u32, priority: i32) -> u64 {
        let handle = self.new_handle();
        let bound = 1 + self.random.below(LONGEST);
        self.streams.by_handle.insert(handle, Stream::new(flags, priority, bound));
        handle
    }

    /// Ends a stream after the work it holds.
    pub fn destroy_stream(&mut self, handle: u64) -> Outcome {
        if handle <= PER_THREAD {
            return Err(Status::INVALID_HANDLE);
        }
        self.abandon_capture(handle);
        self.finish_stream(handle)?;
        self.streams.by_handle.remove(&handle);
        Ok(())
    }

    /// Gives a stream work, which becomes a node where the stream is being captured.
    pub fn enqueue(&mut self, stream: u64, operation: Operation) -> Outcome {
        if self.streams.get(stream)?.capture.is_some() {
            return self.capture_node(stream, operation);
        }
        self.guard_legacy(stream)?;
        self.push(stream, Work::One(operation))
    }

    /// Puts work at a queue's end; a queue that is too long is shortened.
    pub fn push(&mut self, stream: u64, work: Work) -> Outcome {
        let ticket = self.streams.ticket();
        self.trace(|| match &work {
            Work::One(operation) => format!("stream {stream:#x}: queued {operation}"),
            Work::Graph(run) => format!("stream {stream:#x}: queued {run}"),
        });
        let target = self.streams.get(stream)?;
        target.queue.push_back(Item { ticket, work });
        let bound = target.bound;
        while self.streams.get(stream)?.queue.len() > bound {
            if !self.step(None) {
                break;
            }
        }
        Ok(())
    }

    /// Runs one operation of a stream that may go on; `false` where none may. A wanted stream is taken every second time that it may go on.
    pub fn step(&mut self, wanted: Option<u64>) -> bool {
        let ready: Vec<u64> = self.streams.by_handle.keys().copied().filter(|handle| self.streams.may_run(*handle)).collect();
        if ready.is_empty() {
            return false;
        }
        let wanted = wanted.filter(|handle| ready.contains(handle) && self.random.bits() & 1 == 0);
        let handle = wanted.unwrap_or_else(|| ready[self.random.below(ready.len())]);
        let Some(stream) = self.streams.by_handle.get_mut(&handle) else { return false };
        let Some(mut item) = stream.queue.pop_front() else { return false };
        match &mut item.work {
            Work::One(operation) => self.execute(handle, operation, false),
            Work::Graph(run) => {
                if let Some(operation) = run.next(&mut self.random) {
                    self.execute(handle, &operation, true);
                }
                if !run.is_done()
                    && self.sticky.is_none()
                    && let Some(stream) = self.streams.by_handle.get_mut(&handle)
                {
                    stream.queue.push_front(item);
                }
            }
        }
        true
    }

    /// Runs work until a stream has nothing left; other streams may come along.
    pub fn finish_stream(&mut self, handle: u64) -> Outcome {
        while !self.streams.get(handle)?.is_idle() {
            if !self.step(Some(Streams::known(handle))) {
                break;
            }
        }
        self.health()
    }

    /// Runs everything.
    pub fn finish_all(&mut self) {
        while self.step(None) {}
    }

    /// What a query lets happen: a little work of any stream.
    pub fn run_a_little(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            self.step(None);
        }
    }
}
