//! [`Recorder`]: what tensors know of their tape, and all that changes while one is written.

use crate::pass::Keep;
use crate::recording::{Kind, Node, NodeId, ParamId, Recording, Rule};
use crate::{Array, DType, Error, Result, Stream, Tensor, Update};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// How far a tape has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Open,
    /// A pass has the recording in its hands; what is recorded meanwhile follows it.
    Scanning,
    Spent,
    Dropped,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The lengths of the part that a pass has in its hands.
    base: [usize; 3],
    recording: Recording,
    leaves: HashMap<ParamId, (Option<NodeId>, Array)>,
    bound: HashMap<ParamId, (Option<NodeId>, Array)>,
    streams: u64,
    updates: BTreeMap<ParamId, Update>,
    /// Inside a checkpoint: what has been read of the outer tape's parameters, in order of use.
    used: Vec<(ParamId, Tensor)>,
}

impl State {
    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Spent | Phase::Dropped)
    }

    fn leaf(&mut self, name: &'static str, value: &Array, kind: Kind) -> Option<NodeId> {
        if self.is_closed() || !value.dtype().is_float() { None } else { self.push(name, &[], Keep::NONE, false, value, kind) }
    }

    #[inline]
    fn push(&mut self, name: &'static str, inputs: &[&Tensor], keep: Keep, broadcasts: bool, output: &Array, kind: Kind) -> Option<NodeId> {
        let id = NodeId::new(self.base[0] + self.recording.nodes.len())?;
        let there = if inputs.len() < 31 { (1 << inputs.len()) - 1 } else { Keep::INPUTS.0 };
        let keep = Keep(keep.0 & (there | Keep::OUTPUT.0));
        let Recording { nodes, sources, kept, .. } = &mut self.recording;
        let (first_source, first_kept) = (self.base[1] + sources.len(), self.base[2] + kept.len());
        for (i, input) in inputs.iter().enumerate() {
            sources.push(input.node());
            if keep.has_input(i) {
                kept.push(input.array.clone());
            }
        }
        if keep.has_output() {
            kept.push(output.clone());
        }
        nodes.push(Node { name, kind, shape: *output.shape(), dtype: output.dtype(), broadcasts, keep, inputs: inputs.len() as u32, first_source, first_kept });
        Some(id)
    }
}

/// Recorders whose tapes are gone, with the memory of their lists, which so cost no allocation in steady state. A tensor that is left may still hold one.
static SPARE: Mutex<Vec<Arc<Recorder>>> = Mutex::new(Vec::new());
const MOST_SPARE: usize = 8;

/// What tensors know of their tape.
pub(crate) struct Recorder {
    /// Which tape: unlike an address, never used again.
    pub(crate) serial: u64,
    pub(crate) training: bool,
    /// What products round to.
    pub(crate) precision: Option<DType>,
    key: u64,
    role: Role,
    state: Mutex<State>,
}

enum Role {
    Tape,
    /// The first run of a checkpoint of this tape, to which parameters, random streams and buffer updates go.
    Inside(Arc<Recorder>),
    /// A checkpoint's second run: its buffer updates have been made.
    Replay,
}

impl Recorder {
    fn new(training: bool, precision: Option<DType>, key: u64, role: Role) -> Arc<Recorder> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Relaxed);
        // Nobody closes the first run of a checkpoint.
        let mut spare = if matches!(role, Role::Inside(_)) { None } else { spares().pop() };
        let known = spare.as_mut().and_then(Arc::get_mut);
        let mut state = known.map_or_else(State::default, |known| std::mem::take(known.state.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())));
        (state.phase, state.base, state.streams) = (Phase::Open, [0; 3], 0);
        let recorder = Recorder { serial, training, precision, key, role, state: Mutex::new(state) };
        if let Some(mut spare) = spare
            && let Some(place) = Arc::get_mut(&mut spare)
        {
            *place = recorder;
            return spare;
        }
        Arc::new(recorder)
    }

    /// The `Tape` is dropped, and its recording with it.
    pub(crate) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.phase != Phase::Spent {
            state.phase = Phase::Dropped;
        }
        state.leaves.clear();
        state.bound.clear();
        state.updates.clear();
        let mut recording = std::mem::take(&mut state.recording);
        // Rules may hold tensors of this tape, which must not find it locked when they are dropped.
        drop(state);
        recording.clear();
        self.lock().recording = recording;
        let mut spare = spares();
        if spare.len() < MOST_SPARE {
            spare.push(self.clone());
        }
    }

    /// For a `Tape`.
    pub(crate) fn of_tape(training: bool, key: u64) -> Arc<Recorder> {
        Recorder::new(training, None, key, Role::Tape)
    }

    /// A leaf whose gradient is asked for.
    pub(crate) fn watch(&self, value: &Array) -> Option<NodeId> {
        self.lock().leaf("watch", value, Kind::Watched)
    }

    /// The names of what is recorded.
    pub(crate) fn operations(&self) -> Vec<&'static str> {
        self.lock().recording.nodes.iter().map(|n| n.name).collect()
    }

    /// For the first run of a checkpoint.
    pub(crate) fn inside(outer: &Arc<Recorder>) -> Arc<Recorder> {
        Recorder::new(outer.training, outer.precision, outer.key, Role::Inside(outer.clone()))
    }

    /// For the second.
    pub(crate) fn replaying((key, streams): (u64, u64), training: bool, precision: Option<DType>) -> Arc<Recorder> {
        let recorder = Recorder::new(training, precision, key, Role::Replay);
        recorder.lock().streams = streams;
        recorder
    }

    /// What a first run has read of the outer tape.
    pub(crate) fn used(&self) -> Vec<(ParamId, Tensor)> {
        std::mem::take(&mut self.lock().used)
    }

    /// A leaf whose gradient stays in its slot.
    pub(crate) fn checkpoint_input(&self, value: &Array) -> Option<NodeId> {
        self.lock().leaf("input", value, Kind::Input)
    }

    pub(crate) fn bind(&self, id: ParamId, node: Option<NodeId>, value: &Array) {
        self.lock().bound.insert(id, (node, value.clone()));
    }

    /// The key and number of the streams so far.
    pub(crate) fn streams(&self) -> (u64, u64) {
        match &self.role {
            Role::Inside(outer) => outer.streams(),
            _ => (self.key, self.lock().streams),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No foreign code runs while it is locked, so the state is whole even if a thread died here.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Appends an operation; `None` on a tape that is spent: the result is a constant.
    pub(crate) fn record(&self, name: &'static str, inputs: &[&Tensor], keep: Keep, broadcasts: bool, output: &Array, rule: Rule) -> Result<Option<NodeId>> {
        let mut state = self.lock();
        if state.is_closed() {
            drop(state);
            return Ok(None);
        }
        match state.push(name, inputs, keep, broadcasts, output, Kind::Operation(rule)) {
            Some(id) => Ok(Some(id)),
            None => Err(full(name)),
        }
    }

    /// Appends an operation of several outputs and a node for each; none on a tape that is spent.
    pub(crate) fn record_outputs(&self, name: &'static str, inputs: &[&Tensor], keep: Keep, outputs: &[Array], kind: Kind) -> Result<Vec<Option<NodeId>>> {
        let mut state = self.lock();
        let Some(first) = outputs.first().filter(|_| !state.is_closed()) else {
            drop(state);
            return Ok(vec![None; outputs.len()]);
        };
        // What is pushed before the tape is found full does no harm: nothing leads to it.
        state.push(name, inputs, keep, false, first, kind).ok_or_else(|| full(name))?;
        let mut push = |output: &Array| match state.push(name, &[], Keep::NONE, false, output, Kind::Output) {
            Some(id) => Ok(output.dtype().is_float().then_some(id)),
            None => Err(full(name)),
        };
        outputs.iter().map(&mut push).collect()
    }

    pub(crate) fn parameter(self: &Arc<Self>, id: ParamId, value: &Array, trainable: bool, training: bool) -> Result<Tensor> {
        if let Role::Inside(outer) = &self.role {
            let tensor = outer.parameter(id, value, trainable, training)?;
            let constant = Tensor::on(tensor.array.clone(), self, None, training);
            let mut state = self.lock();
            // Also constants: what is bound in a parameter's place must be found again.
            if state.used.iter().all(|(used, _)| *used != id) {
                state.used.push((id, tensor));
            }
            return Ok(constant);
        }
        let mut state = self.lock();
        if let Some((node, bound)) = state.bound.get(&id) {
            return Ok(Tensor::on(bound.clone(), self, *node, training));
        }
        if !trainable || state.is_closed() {
            return Ok(Tensor::on(value.clone(), self, None, training));
        }
        if let Some((node, known)) = state.leaves.get(&id) {
            if !known.is_same(value) {
                return Err(Error::TwoValues { id });
            }
            return Ok(Tensor::on(value.clone(), self, *node, training));
        }
        let node = state.leaf("parameter", value, Kind::Parameter(id));
        state.leaves.insert(id, (node, value.clone()));
        Ok(Tensor::on(value.clone(), self, node, training))
    }

    pub(crate) fn update(&self, id: ParamId, update: Update) -> Result<()> {
        match &self.role {
            Role::Tape => {}
            Role::Inside(outer) => return outer.update(id, update),
            Role::Replay => return Ok(()),
        }
        let mut state = self.lock();
        if state.is_closed() {
            return Ok(());
        }
        let update = match state.updates.get(&id) {
            Some(earlier) => earlier.then(&update)?,
            None => update,
        };
        state.updates.insert(id, update);
        Ok(())
    }

    pub(crate) fn stream(&self) -> Stream {
        if let Role::Inside(outer) = &self.role {
            return outer.stream();
        }
        let mut state = self.lock();
        state.streams += 1;
        Stream { key: self.key, number: state.streams }
    }

    /// Hands the recording to a pass, with the buffer updates so far. A releasing pass leaves the tape spent.
    pub(crate) fn take(&self, op: &'static str, release: bool) -> Result<(Recording, BTreeMap<ParamId, Update>)> {
        let mut state = self.lock();
        match state.phase {
            Phase::Open => {}
            Phase::Scanning => return Err(Error::Running { op }),
            Phase::Spent => return Err(Error::Spent { op }),
            Phase::Dropped => return Err(Error::Dropped { op }),
        }
        let recording = std::mem::take(&mut state.recording);
        if release {
            state.phase = Phase::Spent;
            // An optimizer writes parameters in place where nobody else holds them.
            state.leaves.clear();
            state.bound.clear();
            return Ok((recording, std::mem::take(&mut state.updates)));
        }
        state.phase = Phase::Scanning;
        state.base = [recording.nodes.len(), recording.sources.len(), recording.kept.len()];
        Ok((recording, state.updates.clone()))
    }

    /// An error as [`take`](Recorder::take) would give.
    pub(crate) fn check_open(&self, op: &'static str) -> Result<()> {
        match self.lock().phase {
            Phase::Open => Ok(()),
            Phase::Scanning => Err(Error::Running { op }),
            Phase::Spent => Err(Error::Spent { op }),
            Phase::Dropped => Err(Error::Dropped { op }),
        }
    }

    /// Takes the recording back; what was recorded meanwhile follows it. That of a tape which is closed is emptied.
    pub(crate) fn restore(&self, mut recording: Recording) {
        let mut state = self.lock();
        if state.phase != Phase::Scanning {
            drop(state);
            recording.clear();
            self.lock().recording = recording;
            return;
        }
        let mut later = std::mem::take(&mut state.recording);
        recording.nodes.append(&mut later.nodes);
        recording.sources.append(&mut later.sources);
        recording.kept.append(&mut later.kept);
        state.recording = recording;
        (state.phase, state.base) = (Phase::Open, [0; 3]);
    }
}

fn spares() -> MutexGuard<'static, Vec<Arc<Recorder>>> {
    SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn full(op: &'static str) -> Error {
    Error::value(op, "the tape holds 2^32 operations, no more are possible")
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Recorder").field("training", &self.training).field("phase", &state.phase).field("nodes", &state.recording.nodes.len()).finish()
    }
}
