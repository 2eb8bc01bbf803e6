//! Stream capture and graphs: nodes with the nodes they wait for, run in any order that this allows.
use crate::machine::Machine;
use crate::operation::Operation;
use crate::queue::{LEGACY, Streams, Work};
use crate::random::Random;
use crate::status::{Outcome, Status};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;

/// `CUstreamCaptureMode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureMode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// A node of a graph.
pub struct Node {
    pub operation: Operation,
    /// Nodes that come before.
    pub after: Vec<usize>,
}

/// A captured graph.
pub struct Graph {
    /// Its handle as a graph or as an executable.
    pub handle: u64,
    pub nodes: Arc<[Node]>,
}

/// A capture that has not ended.
pub struct Capture {
    pub mode: CaptureMode,
    /// An operation that captures forbid has spoilt it.
    pub invalid: bool,
    thread: ThreadId,
    origin: u64,
    nodes: Vec<Node>,
    /// By stream: the nodes that the next one waits for.
    tips: BTreeMap<u64, Vec<usize>>,
}

/// A launched graph on its way.
pub struct GraphRun {
    graph: Arc<Graph>,
    /// By node: how many nodes it still waits for.
    waiting: Vec<usize>,
    ready: Vec<usize>,
    left: usize,
}

impl GraphRun {
    /// A run of which nothing has been done.
    pub fn new(graph: Arc<Graph>) -> GraphRun {
        let waiting: Vec<usize> = graph.nodes.iter().map(|node| node.after.len()).collect();
        let ready = (0..waiting.len()).filter(|node| waiting[*node] == 0).collect();
        let left = waiting.len();
        GraphRun { graph, waiting, ready, left }
    }

    /// Takes one of the nodes that may be run.
    pub fn next(&mut self, random: &mut Random) -> Option<Operation> {
        if self.ready.is_empty() {
            return None;
        }
        let node = self.ready.swap_remove(random.below(self.ready.len()));
        self.left -= 1;
        // A node follows those it waits for, so the search begins behind it.
        for later in node + 1..self.graph.nodes.len() {
            let waits = self.graph.nodes[later].after.iter().filter(|before| **before == node).count();
            if waits > 0 {
                self.waiting[later] -= waits;
                if self.waiting[later] == 0 {
                    self.ready.push(later);
                }
            }
        }
        Some(self.graph.nodes[node].operation.clone())
    }

    /// Whether every node was run.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Whether other work is a run of the same executable.
    pub fn is_of(&self, other: &Work) -> bool {
        matches!(other, Work::Graph(run) if run.graph.handle == self.graph.handle)
    }
}

impl fmt::Display for GraphRun {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "graph {:#x} of {} nodes", self.graph.handle, self.graph.nodes.len())
    }
}

impl Machine {
    /// Begins a capture on a stream.
    pub fn begin_capture(&mut self, stream: u64, mode: CaptureMode) -> Outcome {
        let origin = Streams::known(stream);
        if origin == LEGACY {
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        if self.streams.get(origin)?.capture.is_some() {
            return Err(Status::ILLEGAL_STATE);
        }
        let capture = self.new_handle();
        self.streams.get(origin)?.capture = Some(capture);
        let tips = BTreeMap::from([(origin, Vec::new())]);
        self.captures.insert(capture, Capture { mode, invalid: false, thread: std::thread::current().id(), origin, nodes: Vec::new(), tips });
        Ok(())
    }

    /// Ends a capture; the graph's handle.
    pub fn end_capture(&mut self, stream: u64) -> Outcome<u64> {
        let handle = self.streams.get(stream)?.capture.ok_or(Status::ILLEGAL_STATE)?;
        let capture = self.captures.get(&handle).ok_or(Status::ILLEGAL_STATE)?;
        if capture.origin != Streams::known(stream) {
            self.invalidate(handle);
            return Err(Status::STREAM_CAPTURE_UNMATCHED);
        }
        if capture.mode != CaptureMode::Relaxed && capture.thread != std::thread::current().id() {
            return Err(Status::STREAM_CAPTURE_WRONG_THREAD);
        }
        let capture = self.take_capture(handle).ok_or(Status::ILLEGAL_STATE)?;
        if capture.invalid {
            return Err(Status::STREAM_CAPTURE_INVALIDATED);
        }
        if !capture.is_joined() {
            return Err(Status::STREAM_CAPTURE_UNJOINED);
        }
        let graph = self.new_handle();
        self.graphs.insert(graph, Arc::new(Graph { handle: graph, nodes: capture.nodes.into() }));
        Ok(graph)
    }

    /// Lets go of a capture and of its streams.
    fn take_capture(&mut self, handle: u64) -> Option<Capture> {
        for (_, stream) in self.streams.all() {
            stream.capture = stream.capture.filter(|taken| *taken != handle);
        }
        self.captures.remove(&handle)
    }

    /// A stream goes in the middle of a capture: with the stream that began goes the capture, with another its success.
    pub fn abandon_capture(&mut self, stream: u64) {
        let Ok(Some(handle)) = self.streams.get(stream).map(|stream| stream.capture) else { return };
        self.invalidate(handle);
        if self.captures.get(&handle).is_some_and(|capture| capture.origin == stream) {
            self.take_capture(handle);
        }
    }

    /// Adds a node behind what the stream has captured.
    pub fn capture_node(&mut self, stream: u64, operation: Operation) -> Outcome {
        if matches!(operation, Operation::CopyIn { source: crate::operation::HostSource::Snapshot(_), .. } | Operation::Free(_)) {
            self.spoil(stream);
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        self.trace(|| format!("stream {stream:#x}: captured {operation}"));
        let capture = self.capture_of(stream)?;
        let tips = capture.tips.entry(Streams::known(stream)).or_default();
        let after = std::mem::replace(tips, vec![capture.nodes.len()]);
        capture.nodes.push(Node { operation, after });
        Ok(())
    }

    /// Records an event in a captured stream.
    pub fn capture_record(&mut self, stream: u64, event: u64) -> Outcome {
        let known = Streams::known(stream);
        let handle = self.streams.get(stream)?.capture.ok_or(Status::ILLEGAL_STATE)?;
        let tips = self.capture_of(stream)?.tips.get(&known).cloned().unwrap_or_default();
        self.event(event)?.captured = Some((handle, tips));
        Ok(())
    }

    /// Lets a stream wait for an event where one of them belongs to a capture; `false` where neither does.
    pub fn capture_wait(&mut self, stream: u64, event: u64) -> Outcome<bool> {
        let known = Streams::known(stream);
        let own = self.streams.get(stream)?.capture;
        let captured = self.event(event)?.captured.clone();
        let (handle, nodes) = match (own, captured) {
            (None, None) => return Ok(false),
            (Some(own), None) => {
                self.invalidate(own);
                return Err(Status::STREAM_CAPTURE_ISOLATION);
            }
            (Some(own), Some((handle, _))) if own != handle => {
                self.invalidate(own);
                self.invalidate(handle);
                return Err(Status::STREAM_CAPTURE_MERGE);
            }
            (_, Some(captured)) => captured,
        };
        if !self.captures.contains_key(&handle) {
            return Err(Status::CAPTURED_EVENT);
        }
        self.streams.get(stream)?.capture = Some(handle);
        let tips = self.capture_of(stream)?.tips.entry(known).or_default();
        tips.extend(nodes);
        tips.sort_unstable();
        tips.dedup();
        Ok(true)
    }

    fn capture_of(&mut self, stream: u64) -> Outcome<&mut Capture> {
        let handle = self.streams.get(stream)?.capture.ok_or(Status::ILLEGAL_STATE)?;
        let capture = self.captures.get_mut(&handle).ok_or(Status::ILLEGAL_STATE)?;
        if capture.invalid { Err(Status::STREAM_CAPTURE_INVALIDATED) } else { Ok(capture) }
    }

    /// Makes a capture end in an error.
    pub fn invalidate(&mut self, capture: u64) {
        if let Some(capture) = self.captures.get_mut(&capture) {
            capture.invalid = true;
        }
    }

    /// Makes the capture of a stream, if it is in one, end in an error.
    pub fn spoil(&mut self, stream: u64) {
        if let Ok(Some(capture)) = self.streams.get(stream).map(|stream| stream.capture) {
            self.invalidate(capture);
        }
    }

    /// Work of the legacy stream would order itself against captured blocking streams, which spoils their captures.
    pub fn guard_legacy(&mut self, stream: u64) -> Outcome {
        if Streams::known(stream) != LEGACY {
            return Ok(());
        }
        let caught: Vec<u64> = self.streams.all().filter(|(_, other)| other.is_blocking()).filter_map(|(_, other)| other.capture).collect();
        caught.iter().for_each(|capture| self.invalidate(*capture));
        if caught.is_empty() { Ok(()) } else { Err(Status::STREAM_CAPTURE_IMPLICIT) }
    }

    /// A call that is unsafe beside captures: it fails, and spoils those whose mode forbids it.
    pub fn guard_unsafe_call(&mut self, thread_is_relaxed: bool) -> Outcome {
        if thread_is_relaxed {
            return Ok(());
        }
        let here = std::thread::current().id();
        self.guard(|capture| match capture.mode {
            CaptureMode::Global => true,
            CaptureMode::ThreadLocal => capture.thread == here,
            CaptureMode::Relaxed => false,
        })
    }

    /// A wait for the whole device spoils every capture.
    pub fn guard_whole_device(&mut self) -> Outcome {
        self.guard(|_| true)
    }

    fn guard(&mut self, forbids: impl Fn(&Capture) -> bool) -> Outcome {
        let mut free = true;
        for capture in self.captures.values_mut().filter(|capture| forbids(capture)) {
            capture.invalid = true;
            free = false;
        }
        if free { Ok(()) } else { Err(Status::STREAM_CAPTURE_UNSUPPORTED) }
    }

    /// Makes a graph ready to launch.
    pub fn instantiate(&mut self, graph: u64) -> Outcome<u64> {
        let nodes = self.graphs.get(&graph).ok_or(Status::INVALID_VALUE)?.nodes.clone();
        let handle = self.new_handle();
        self.executables.insert(handle, Arc::new(Graph { handle, nodes }));
        Ok(handle)
    }

    /// Launches an executable graph on a stream.
    pub fn launch_graph(&mut self, executable: u64, stream: u64) -> Outcome {
        let graph = self.executables.get(&executable).ok_or(Status::INVALID_VALUE)?.clone();
        if self.streams.get(stream)?.capture.is_some() {
            self.spoil(stream);
            return Err(Status::STREAM_CAPTURE_UNSUPPORTED);
        }
        self.guard_legacy(stream)?;
        self.counters.graph_launches += 1;
        self.push(stream, Work::Graph(GraphRun::new(graph)))
    }
}

impl Capture {
    /// Whether every node comes before the end of the stream that began.
    fn is_joined(&self) -> bool {
        let mut reached = vec![false; self.nodes.len()];
        let mut open = self.tips.get(&self.origin).cloned().unwrap_or_default();
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut reached[node], true) {
                open.extend(&self.nodes[node].after);
            }
        }
        reached.into_iter().all(|node| node)
    }
}
