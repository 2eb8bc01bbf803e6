//! [`Tape`]: the recording of one training step, in order of creation, so that backward is one reverse scan: no recursion, no sort, no deep drop.
//!
//! The user's `Tape` alone owns the recording; tensors hold the [`Recorder`], a shell that outlives it empty. So no cycle can form, whatever a rule holds.

use crate::checkpoint::Replay;
use crate::pass::{Keep, Pass};
use crate::tensor::Place;
use crate::{Array, DType, Error, Result, Rng, Shape, Tensor, Update};
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// The identity of a parameter or buffer: clones share it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ParamId(u64);

impl ParamId {
    /// An identity that no other parameter of this process has.
    pub fn fresh() -> ParamId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        ParamId(NEXT.fetch_add(1, Relaxed))
    }
}

impl std::fmt::Display for ParamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "parameter #{}", self.0)
    }
}

/// All that belongs to one training step: the recording, the mode, the random streams, the pending buffer updates.
///
/// [`backward`](Tensor::backward) empties it, and so does dropping it.
pub struct Tape {
    recorder: Arc<Recorder>,
}

impl Tape {
    /// A tape in training mode: dropout drops, batch norm uses the statistics of the batch. Takes one number from `rng`, from which all randomness on this tape follows.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// assert!(tape.input(Tensor::from_slice(&[1f32], &[1])?).is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn training(rng: &mut Rng) -> Tape {
        Tape::new(true, rng)
    }

    /// A tape in inference mode, for gradients of a model as it infers.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::inference(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[1f32], &[1])?);
    /// assert!(x.needs_gradient() && !x.is_training());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn inference(rng: &mut Rng) -> Tape {
        Tape::new(false, rng)
    }

    fn new(training: bool, rng: &mut Rng) -> Tape {
        let state = State { recording: Recording::spare(), ..State::default() };
        Tape { recorder: Arc::new(Recorder::new(training, rng.next_u64(), Role::Tape, state)) }
    }

    /// Products (matrix products, linear layers, convolutions, recurrent layers, attention) on this tape round their operands, their results, and on the way back their gradients to a narrower type, and add up in full precision
    /// (PyTorch's `autocast`). All else stays as it is: norms, softmax, losses, and the parameters themselves, which are the master weights. f16 needs a scaled loss.
    /// ```
    /// # use chainrule_autograd::{DType, Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0)).precision(DType::BF16)?;
    /// let x = tape.input(Tensor::from_slice(&[1.001f32], &[1, 1])?); // bf16 has 8 significant bits
    /// assert_eq!(x.matmul(&x)?.item()?, 1.0);
    /// assert!(x.mul(&x)?.item()? > 1.001);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A type other than bf16, f16 and f32 (which rounds f64 only); a tape on which something lies already.
    pub fn precision(mut self, dtype: DType) -> Result<Tape> {
        const OP: &str = "precision";
        if !matches!(dtype, DType::BF16 | DType::F16 | DType::F32) {
            return Err(Error::value(OP, format!("got {dtype}, expected bf16, f16 or f32")));
        }
        match Arc::get_mut(&mut self.recorder) {
            Some(recorder) => recorder.precision = Some(dtype),
            None => return Err(Error::value(OP, "the tape is in use, set its precision before the first input")),
        }
        Ok(self)
    }

    /// Puts data on the tape, as a constant. A tensor from elsewhere (off the tape or of another tape) also comes as a constant.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.input(Tensor::from_slice(&[1f32], &[1])?);
    /// assert!(x.is_on_tape() && !x.needs_gradient());
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn input(&self, x: impl Into<Tensor>) -> Tensor {
        Tensor::on(x.into().array, &self.recorder, None, self.recorder.training)
    }

    /// Puts data on the tape and asks for its gradient: [`Gradients::wrt`](crate::Gradients::wrt). Integers have none and come as constants.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// let x = tape.watch(Tensor::from_slice(&[2f64], &[1])?);
    /// assert_eq!(x.powf(3.0)?.sum()?.backward()?.wrt(&x).unwrap().to_vec::<f64>()?, [12.0]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn watch(&self, x: impl Into<Tensor>) -> Tensor {
        let array = x.into().array;
        let node = self.recorder.lock().leaf("watch", &array, Kind::Watched);
        Tensor::on(array, &self.recorder, node, self.recorder.training)
    }

    /// From here on this tape reads `tensor` in place of a parameter: fast weights (MAML), hyper-networks, weight norm.
    /// ```
    /// # use chainrule_autograd::{ParamId, Rng, Tape, Tensor};
    /// let (tape, id) = (Tape::training(&mut Rng::seeded(0)), ParamId::fresh());
    /// let fast = tape.watch(Tensor::from_slice(&[5f64], &[1])?);
    /// tape.bind(id, &fast)?;
    /// let slow = Tensor::from_slice(&[1f64], &[1])?;
    /// assert_eq!(tape.input(&slow).parameter(id, slow.array(), true)?.item()?, 5.0);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A tensor of another tape, or one that was computed from trainable parameters off the tape.
    pub fn bind(&self, id: ParamId, tensor: &Tensor) -> Result<()> {
        const OP: &str = "bind";
        let node = match &tensor.place {
            Place::Off { trainable: true } => return Err(Error::OffTapeGradient { op: OP }),
            Place::Off { .. } => None,
            Place::On { recorder, .. } if !Arc::ptr_eq(recorder, &self.recorder) => return Err(Error::TwoTapes { op: OP }),
            Place::On { node, .. } => *node,
        };
        self.recorder.bind(id, node, &tensor.array);
        Ok(())
    }

    /// The names of what is recorded, in order: leaves (`parameter`, `watch`) and operations.
    /// ```
    /// # use chainrule_autograd::{Rng, Tape, Tensor};
    /// let tape = Tape::training(&mut Rng::seeded(0));
    /// tape.watch(Tensor::from_slice(&[2f64], &[1])?).square()?;
    /// assert_eq!(tape.operations(), ["watch", "square"]);
    /// # Ok::<(), chainrule_autograd::Error>(())
    /// ```
    pub fn operations(&self) -> Vec<&'static str> {
        self.recorder.lock().recording.nodes.iter().map(|n| n.name).collect()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let mut state = self.recorder.lock();
        let old = std::mem::take(&mut *state);
        state.phase = if old.phase == Phase::Spent { Phase::Spent } else { Phase::Dropped };
        state.streams = old.streams;
        // Rules may hold tensors of this tape, which must not find it locked when they are dropped.
        drop(state);
        let State { recording, .. } = old;
        recording.recycle();
    }
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.recorder.lock();
        f.debug_struct("Tape").field("training", &self.recorder.training).field("phase", &state.phase).field("nodes", &state.recording.nodes.len()).finish()
    }
}

/// A node's place on its tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NodeId(NonZeroU32);

impl NodeId {
    pub(crate) fn new(index: usize) -> Option<NodeId> {
        u32::try_from(index + 1).ok().and_then(NonZeroU32::new).map(NodeId)
    }
    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Writes the gradients of an operation's inputs into the slots.
pub(crate) type Rule = Box<dyn Fn(&Pass, &mut [Option<Tensor>]) -> Result<()> + Send + Sync>;

pub(crate) enum Kind {
    Parameter(ParamId),
    Watched,
    Operation(Rule),
    /// An operation of several outputs, which stand behind it as this many [`Output`](Kind::Output)s.
    Several(Rule, u32),
    /// One of several outputs; its gradient waits for the operation.
    Output,
    /// A part that is run again in the backward pass, with so many [`Output`](Kind::Output)s behind it.
    Checkpoint(Box<Replay>, u32),
    /// In such a run, what comes from outside; its gradient stays in its slot.
    Input,
}

/// An entry of the recording. What it reads stands in the recording's other lists, one after the other.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Of the output.
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    /// Whether inputs were broadcast, so that their gradients are summed to their shapes.
    pub(crate) broadcasts: bool,
    pub(crate) keep: Keep,
    pub(crate) inputs: u32,
    pub(crate) first_source: usize,
    pub(crate) first_kept: usize,
}

impl Node {
    pub(crate) fn kept_inputs(&self) -> usize {
        (self.keep.0 & Keep::INPUTS.0).count_ones() as usize
    }
}

/// The Wengert list.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) nodes: Vec<Node>,
    /// The nodes that inputs come from; constants come from none.
    pub(crate) sources: Vec<Option<NodeId>>,
    pub(crate) kept: Vec<Array>,
}

/// Emptied recordings, so that a training step in steady state asks the system for nothing.
static SPARE: Mutex<Vec<Recording>> = Mutex::new(Vec::new());
const MOST_SPARE: usize = 8;
const LARGEST_SPARE: usize = 1 << 14;

impl Recording {
    fn spare() -> Recording {
        SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop().unwrap_or_default()
    }

    /// Frees what it holds and keeps its vectors for another tape.
    pub(crate) fn recycle(mut self) {
        self.nodes.clear();
        self.sources.clear();
        self.kept.clear();
        if self.nodes.capacity().max(self.sources.capacity()).max(self.kept.capacity()) <= LARGEST_SPARE {
            let mut spare = SPARE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if spare.len() < MOST_SPARE {
                spare.push(self);
            }
        }
    }

    /// Frees all from node `index` on.
    pub(crate) fn truncate(&mut self, index: usize) {
        if let Some(node) = self.nodes.get(index) {
            let (sources, kept) = (node.first_source, node.first_kept);
            self.nodes.truncate(index);
            self.sources.truncate(sources);
            self.kept.truncate(kept);
        }
    }
}

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
    /// Inside a checkpoint: the outer tape's parameters that need a gradient, in order of use.
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
        let Recording { nodes, sources, kept } = &mut self.recording;
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
    fn new(training: bool, key: u64, role: Role, state: State) -> Recorder {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Recorder { serial: SERIAL.fetch_add(1, Relaxed), training, precision: None, key, role, state: Mutex::new(state) }
    }

    /// For the first run of a checkpoint.
    pub(crate) fn inside(outer: &Arc<Recorder>) -> Arc<Recorder> {
        let recorder = Recorder::new(outer.training, outer.key, Role::Inside(outer.clone()), State::default());
        Arc::new(Recorder { precision: outer.precision, ..recorder })
    }

    /// For the second.
    pub(crate) fn replaying((key, streams): (u64, u64), training: bool, precision: Option<DType>) -> Recorder {
        let state = State { recording: Recording::spare(), streams, ..State::default() };
        Recorder { precision, ..Recorder::new(training, key, Role::Replay, state) }
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
            if tensor.needs_gradient() && state.used.iter().all(|(used, _)| *used != id) {
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

    pub(crate) fn stream(&self) -> u64 {
        if let Role::Inside(outer) = &self.role {
            return outer.stream();
        }
        let mut state = self.lock();
        state.streams += 1;
        mix(self.key, state.streams)
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
            let old = std::mem::take(&mut *state);
            (state.phase, state.streams) = (Phase::Spent, old.streams);
            drop(state);
            return Ok((recording, old.updates));
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

    /// Takes the recording back; what was recorded meanwhile follows it.
    pub(crate) fn restore(&self, mut recording: Recording) {
        let mut state = self.lock();
        if state.phase != Phase::Scanning {
            drop(state);
            return recording.recycle();
        }
        let mut later = std::mem::take(&mut state.recording);
        recording.nodes.append(&mut later.nodes);
        recording.sources.append(&mut later.sources);
        recording.kept.append(&mut later.kept);
        state.recording = recording;
        (state.phase, state.base) = (Phase::Open, [0; 3]);
    }
}

fn full(op: &'static str) -> Error {
    Error::value(op, "the tape holds 2^32 operations, no more are possible")
}

/// The key of stream `n`: two rounds of SplitMix64's finaliser (Steele, Lea and Flood 2014).
fn mix(key: u64, n: u64) -> u64 {
    let round = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    round(key ^ round(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}
