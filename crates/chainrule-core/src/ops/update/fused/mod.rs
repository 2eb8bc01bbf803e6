//! [`Stepper`]: one optimizer step over all parameters of a model in three launches, with the gradients' norm, clipping and the question whether they are finite. Nothing of it waits for the GPU.

use super::rules::{Fused, Limits, Setting};
use crate::array::Array;
use crate::cuda::{self, Gpu, Grid, Mirror};
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::ops::expect_shape;
use crate::shape::Shape;
use std::sync::OnceLock;

static KERNELS: cuda::Source = cuda::Source::new("fused", include_str!("fused.ptx"));

const OP: &str = "step";
/// As in fused.cu.
const CHUNK: usize = 4096;
const THREADS: u32 = 256;
const SETTINGS: usize = 8;
const CONSTANTS: usize = 10;
const LIMITS: usize = 4;
const STATE: usize = 6;
/// Losses that are kept until they are read.
const LOSSES: usize = 4096;

/// A parameter, its gradient and its states, on one GPU. The step writes value and states in place, whoever else holds them: see [`Array::own`]. They must live as long as the tables are used.
#[derive(Clone, Debug)]
pub struct Part {
    /// The parameter.
    pub value: Array,
    /// Its gradient.
    pub gradient: Array,
    /// What the rule keeps beside it.
    pub states: Vec<Array>,
    /// Which of the settings holds for it.
    pub setting: usize,
}

/// A buffer that becomes `decay · buffer + scale · add` where the step is taken. `add` may be one number on the CPU.
#[derive(Clone, Debug)]
pub struct Following {
    /// What is written.
    pub buffer: Array,
    /// What is kept of it.
    pub decay: f64,
    /// What is taken of the addend.
    pub scale: f64,
    /// The addend.
    pub add: Array,
}

/// The tables of a step on the GPU.
pub struct Stepper {
    gpu: &'static Gpu,
    rows: usize,
    chunks: usize,
    table: Array,
    order: Array,
    sums: Array,
    limits: Array,
    settings: Array,
    constants: Array,
    state: Array,
    /// What captured steps alone need, made when it is first asked for: the ring of losses and how many it has seen, and the mirrored state.
    losses: OnceLock<[Array; 2]>,
    mirror: OnceLock<Mirror>,
}

/// What became of the steps so far.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The norm of all gradients together, before any clipping.
    pub norm: f64,
    /// What the gradients were multiplied by to clip their norm.
    pub clipped: f64,
    /// Steps that were written.
    pub steps: u64,
    /// Steps that were passed over.
    pub passed: u64,
    /// The first part whose gradient was not finite in the last step that was looked at; buffers count behind the parameters.
    pub bad: Option<usize>,
}

impl Stepper {
    /// Lays the tables of these parameters, and of buffers that follow, for `rows` settings.
    ///
    /// # Errors
    /// Arrays that are not dense, not on one GPU, of other shapes or element types; states that no rule keeps.
    pub fn new(parts: &[Part], buffers: &[Following], rows: usize) -> Result<Stepper> {
        let Some(first) = parts.iter().map(|part| &part.value).chain(buffers.iter().map(|follow| &follow.buffer)).next() else {
            return Err(Error::value(OP, "there is no parameter to step"));
        };
        let Device::Cuda(ordinal) = first.device() else { return Err(Error::device(OP, "the parameters stand on the CPU, expected a GPU")) };
        let gpu = Gpu::get(ordinal)?;
        let (mut table, mut order) = (Vec::new(), Vec::new());
        for (place, part) in parts.iter().enumerate() {
            let kind = match part.states.len() {
                0 => 0,
                1 => 1,
                2 => 2,
                3 => 3,
                more => return Err(Error::value(OP, format!("a parameter has {more} states, expected at most 3"))),
            };
            for array in [&part.gradient].into_iter().chain(&part.states) {
                matching(&part.value, array)?;
            }
            if part.value.dtype() != DType::F32 || part.setting >= rows {
                return Err(Error::DType { op: OP, got: part.value.dtype(), expected: "f32 on a GPU" });
            }
            let state = |i: usize| part.states.get(i).map_or(0, Array::address);
            let count = part.value.count();
            table.extend([part.value.address(), part.gradient.address(), state(0), state(1), state(2), count as u64, kind | (part.setting as u64) << 32]);
            order.extend((0..count.div_ceil(CHUNK) as u64).map(|chunk| place as u64 | chunk << 32));
        }
        for (place, Following { buffer, decay, scale, add }) in buffers.iter().enumerate() {
            let kind = match buffer.dtype() {
                DType::F32 => 4,
                DType::I64 => 5,
                got => return Err(Error::DType { op: OP, got, expected: "f32 or i64 for a buffer on a GPU" }),
            };
            // One number of the CPU goes into the table.
            let (from, number) = match add.device() {
                Device::Cpu if add.count() == 1 => (0, add.item()?),
                _ => (matching(buffer, add).map(|()| add.address())?, 0.0),
            };
            if buffer.dtype() == DType::I64 && (*decay, *scale) != (1.0, 1.0) {
                return Err(Error::value(OP, format!("a buffer of whole numbers follows with factors {decay} and {scale}, expected 1 and 1 on a GPU")));
            }
            let factors = u64::from((*decay as f32).to_bits()) | u64::from((*scale as f32).to_bits()) << 32;
            let count = buffer.count();
            table.extend([buffer.address(), from, factors, number.to_bits(), 0, count as u64, kind]);
            order.extend((0..count.div_ceil(CHUNK) as u64).map(|chunk| (parts.len() + place) as u64 | chunk << 32));
        }
        let chunks = order.len();
        let stale = |count: usize, dtype| Array::lasting_on(gpu, Shape::new(&[count.max(1)])?, dtype);
        let stepper = Stepper {
            gpu,
            rows,
            chunks,
            table: uploaded(gpu, &table)?,
            order: uploaded(gpu, &order)?,
            sums: stale(2 * chunks, DType::F64)?,
            limits: stale(LIMITS, DType::F64)?,
            settings: stale(SETTINGS * rows, DType::F64)?,
            constants: stale(CONSTANTS * rows, DType::F32)?,
            state: uploaded(gpu, &[0; STATE])?,
            losses: OnceLock::new(),
            mirror: OnceLock::new(),
        };
        Ok(stepper)
    }

    /// Sets what holds for the next step; does not wait.
    ///
    /// # Errors
    /// Other than the settings that the tables were laid for.
    pub fn set(&self, settings: &[Setting], limits: &Limits) -> Result<()> {
        if settings.len() != self.rows {
            return Err(Error::value(OP, format!("got {} settings, expected {}", settings.len(), self.rows)));
        }
        let most = |limit: Option<f64>| limit.unwrap_or(f64::INFINITY).to_bits();
        let sign = if limits.maximize { -1f64 } else { 1.0 };
        let head = [most(limits.clip_norm), most(limits.clip_value), sign.to_bits(), limits.skip_non_finite as u64];
        self.gpu.upload(&bytes(&head), self.limits.address())?;
        let rows = settings.iter().flat_map(|Setting { rule, learning_rate, weight_decay, number }| {
            let (name, own) = match *rule {
                Fused::Sgd { momentum, dampening, nesterov } => (0.0, [momentum, dampening, nesterov as u8 as f64, 0.0]),
                Fused::Adam { beta1, beta2, eps, decoupled } => (1.0, [beta1, beta2, eps, decoupled as u8 as f64]),
            };
            [name, *learning_rate, *weight_decay, *number as f64, own[0], own[1], own[2], own[3]].map(f64::to_bits)
        });
        self.gpu.upload(&bytes(&rows.collect::<Vec<_>>()), self.settings.address())
    }

    /// Launches the questions: norm, clipping, finiteness; and the constants of the settings.
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn measure(&self) -> Result<()> {
        let (table, order, limits, sums) = (self.table.address(), self.order.address(), self.limits.address(), self.sums.address());
        if self.chunks > 0 {
            KERNELS.launch(self.gpu, "measure", Grid::blocks(self.chunks as u32, THREADS), &[&table, &order, &limits, &sums])?;
        }
        let (settings, state, constants) = (self.settings.address(), self.state.address(), self.constants.address());
        let arguments: [&dyn cuda::Argument; 8] = [&order, &(self.chunks as u32), &sums, &limits, &settings, &(self.rows as u32), &state, &constants];
        KERNELS.launch(self.gpu, "conclude", Grid::blocks(1, THREADS), &arguments)
    }

    /// Launches the step itself, which writes nothing where a gradient was not finite.
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn write(&self) -> Result<()> {
        if self.chunks == 0 {
            return Ok(());
        }
        let (table, order, limits) = (self.table.address(), self.order.address(), self.limits.address());
        let (state, constants) = (self.state.address(), self.constants.address());
        KERNELS.launch(self.gpu, "write", Grid::blocks(self.chunks as u32, THREADS), &[&table, &order, &limits, &state, &constants])
    }

    /// Launches the keeping of a loss, to be read by [`loss`](Stepper::loss).
    ///
    /// # Errors
    /// A loss of more or fewer numbers than one, or of another type than f32, or elsewhere.
    pub fn keep_loss(&self, loss: &Array) -> Result<()> {
        if loss.count() != 1 {
            return Err(Error::shape(OP, format!("the loss has shape {:?}, expected one number", loss.shape())));
        }
        if loss.dtype() != DType::F32 || loss.device() != self.state.device() {
            return Err(Error::device(OP, format!("the loss is {} on {}, expected f32 on {}", loss.dtype(), loss.device(), self.state.device())));
        }
        if self.losses.get().is_none() {
            let made = [Array::lasting_on(self.gpu, Shape::new(&[LOSSES])?, DType::F32)?, uploaded(self.gpu, &[0])?];
            self.losses.get_or_init(|| made);
        }
        let Some([losses, turn]) = self.losses.get() else { return Ok(()) };
        KERNELS.launch(self.gpu, "keep_loss", Grid::blocks(1, 1), &[&loss.address(), &losses.address(), &(LOSSES as u32), &turn.address()])
    }

    /// The loss of the `turn`-th step that was kept, counted from 0; waits.
    ///
    /// # Errors
    /// One that is not kept yet, or no more; a GPU that failed.
    pub fn loss(&self, turn: u64) -> Result<f64> {
        let Some([losses, turns]) = self.losses.get() else { return Err(Error::value("item", "no loss was kept")) };
        let turns = turns.item()? as u64;
        if turn >= turns || turns - turn > LOSSES as u64 {
            return Err(Error::value("item", format!("the loss of step {turn} of {turns} is not there, only those of the last {LOSSES} are")));
        }
        losses.narrow(0, (turn % LOSSES as u64) as usize, 1)?.item()
    }

    /// What became of the steps so far; waits.
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn status(&self) -> Result<Status> {
        Ok(Status::of(&self.state.to_vec::<i64>()?.into_iter().map(|word| word as u64).collect::<Vec<_>>()))
    }

    /// Launches the report for [`seen`](Stepper::seen).
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn report(&self) -> Result<()> {
        if self.mirror.get().is_none() {
            let made = Mirror::new(self.gpu, STATE)?;
            self.mirror.get_or_init(|| made);
        }
        self.mirror.get().map_or(Ok(()), |mirror| mirror.follow(self.state.address()))
    }

    /// The latest report that has arrived; does not wait, and may be some steps old.
    pub fn seen(&self) -> Status {
        Status::of(&self.mirror.get().map_or_else(Vec::new, Mirror::read))
    }

    /// Lets steps be written again after one that was not finite.
    ///
    /// # Errors
    /// A GPU that failed.
    pub fn resume(&self) -> Result<()> {
        // `bad` and `stopped`, the last words of the state.
        self.gpu.upload(&bytes(&[0; 2]), self.state.address() + 8 * (STATE as u64 - 2))
    }
}

impl Status {
    fn of(words: &[u64]) -> Status {
        let at = |i: usize| words.get(i).copied().unwrap_or_default();
        Status { norm: f64::from_bits(at(0)), clipped: f64::from_bits(at(1)), steps: at(2), passed: at(3), bad: (at(4) as usize).checked_sub(1) }
    }
}

/// sum x², in double; waits.
pub(super) fn sum_of_squares(gpu: &'static Gpu, x: &Array) -> Result<f64> {
    if x.dtype() != DType::F32 {
        return Err(Error::DType { op: "sum_of_squares", got: x.dtype(), expected: "f32 on a GPU" });
    }
    let (x, chunks) = (x.contiguous()?, x.count().div_ceil(CHUNK));
    if chunks == 0 {
        return Ok(0.0);
    }
    let sums = Array::stale_on(gpu, Shape::new(&[chunks])?, DType::F64)?;
    KERNELS.launch(gpu, "squares", Grid::blocks(chunks as u32, THREADS), &[&x.address(), &(x.count() as u64), &sums.address()])?;
    Ok(sums.to_vec::<f64>()?.iter().sum())
}

fn matching(value: &Array, other: &Array) -> Result<()> {
    expect_shape(OP, "an array", other, value.dims())?;
    if (value.dtype(), value.device()) != (other.dtype(), other.device()) {
        let (got, expected) = ((other.dtype(), other.device()), (value.dtype(), value.device()));
        return Err(Error::device(OP, format!("an array is {} on {}, expected {} on {} as its parameter", got.0, got.1, expected.0, expected.1)));
    }
    if !(value.is_contiguous() && other.is_contiguous()) {
        return Err(Error::shape(OP, "an array is a strided view, expected a dense one; call contiguous first"));
    }
    Ok(())
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Words on the GPU, put there at once even while a step is captured.
fn uploaded(gpu: &'static Gpu, words: &[u64]) -> Result<Array> {
    let out = Array::lasting_on(gpu, Shape::new(&[words.len().max(1)])?, DType::I64)?;
    gpu.upload(&bytes(words), out.address())?;
    Ok(out)
}
