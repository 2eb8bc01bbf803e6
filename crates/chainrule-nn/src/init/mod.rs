//! Initialisers: how a parameter's numbers are drawn. Definitions and names are PyTorch's (`torch.nn.init`).
//!
//! A weight `[Out, In, ..]` has fan-in `In · k` and fan-out `Out · k`, k being the product of the extents that follow.

mod orthogonal;

use crate::{Module, Param, Pattern, params, params_mut};
use chainrule_autograd::{Array, DType, Error, Result, Rng, Shape};
use chainrule_core::random;

/// A way of drawing a parameter's first numbers.
/// ```
/// # use chainrule_autograd::{DType, Rng};
/// # use chainrule_nn::init::{Fan, Init, Nonlinearity};
/// let kaiming = Init::KaimingNormal { fan: Fan::In, nonlinearity: Nonlinearity::Relu };
/// let weight = kaiming.array(&[64, 128], DType::F32, &mut Rng::seeded(0))?;
/// assert_eq!(weight.dims(), [64, 128]);
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same: `constant_`, `zeros_`, `ones_`.
    Constant(f64),
    /// Uniform in `low..high`: `uniform_`.
    Uniform {
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Normal: `normal_`.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
    },
    /// Normal, drawn again while outside `low..high`: `trunc_normal_`.
    TruncatedNormal {
        /// The mean before the cut.
        mean: f64,
        /// The standard deviation before the cut.
        deviation: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Uniform with standard deviation `gain · sqrt(2 / (fan_in + fan_out))` (Glorot and Bengio 2010): `xavier_uniform_`.
    XavierUniform {
        /// See [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Normal with that standard deviation: `xavier_normal_`.
    XavierNormal {
        /// See [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Uniform with standard deviation `gain / sqrt(fan)` (He et al. 2015): `kaiming_uniform_`.
    KaimingUniform {
        /// Which fan.
        fan: Fan,
        /// What follows the layer, which determines the gain.
        nonlinearity: Nonlinearity,
    },
    /// Normal with that standard deviation: `kaiming_normal_`.
    KaimingNormal {
        /// Which fan.
        fan: Fan,
        /// What follows the layer, which determines the gain.
        nonlinearity: Nonlinearity,
    },
    /// Rows (or columns, if there are more rows) that are orthonormal, times the gain (Saxe et al. 2013): `orthogonal_`. All dimensions but the first are taken together.
    Orthogonal {
        /// See [`Nonlinearity::gain`].
        gain: f64,
    },
    /// Normal with mean 0, and in each column the given part of the numbers 0 (Martens 2010): `sparse_`. For matrices.
    Sparse {
        /// The part that is 0.
        sparsity: f64,
        /// The standard deviation of the others.
        deviation: f64,
    },
    /// Ones on the diagonal: `eye_`. For matrices.
    Identity,
    /// A convolution that passes its input on: in each group, output channel i has a one in the middle of input channel i: `dirac_`.
    Dirac {
        /// The groups of the convolution.
        groups: usize,
    },
}

/// Whether variances are kept on the way forward or on the way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Forward.
    #[default]
    In,
    /// Back.
    Out,
}

/// What follows a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// Nothing, or a convolution.
    Linear,
    /// The logistic function.
    Sigmoid,
    /// tanh
    Tanh,
    /// max(x, 0)
    Relu,
    /// With this slope below 0.
    LeakyRelu(f64),
    /// Self-normalising.
    Selu,
}

impl Nonlinearity {
    /// By how much weights must be larger so that variances are kept (PyTorch's `calculate_gain`).
    /// ```
    /// # use chainrule_nn::init::Nonlinearity;
    /// assert_eq!(Nonlinearity::Relu.gain(), 2f64.sqrt());
    /// ```
    pub fn gain(self) -> f64 {
        match self {
            Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
            Nonlinearity::Tanh => 5.0 / 3.0,
            Nonlinearity::Relu => 2f64.sqrt(),
            Nonlinearity::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Nonlinearity::Selu => 0.75,
        }
    }
}

impl Init {
    /// What layers draw their weights with unless told otherwise: uniform within `±1/sqrt(fan_in)`, which PyTorch writes as Kaiming with a = √5.
    pub fn layer_default() -> Init {
        Init::KaimingUniform { fan: Fan::In, nonlinearity: Nonlinearity::LeakyRelu(5f64.sqrt()) }
    }

    /// New numbers of this shape and floating-point type.
    ///
    /// # Errors
    /// A shape that the method is not for; settings out of range; no memory.
    pub fn array(self, dims: &[usize], dtype: DType, rng: &mut Rng) -> Result<Array> {
        Shape::new(dims)?;
        match dtype {
            DType::F32 | DType::F64 => self.draw(dims, dtype, rng),
            _ if dtype.is_float() => Ok(self.draw(dims, DType::F32, rng)?.cast(dtype)?),
            _ => Err(Error::value("init", format!("got {dtype}, expected a floating-point type"))),
        }
    }

    fn draw(self, dims: &[usize], dtype: DType, rng: &mut Rng) -> Result<Array> {
        let uniform = |bound: f64, rng: &mut Rng| Ok(random::uniform(dims, -bound, bound, dtype, rng)?);
        let normal = |deviation: f64, rng: &mut Rng| Ok(random::normal(dims, 0.0, deviation, dtype, rng)?);
        let xavier = |gain: f64| fans(dims).map(|(fan_in, fan_out)| gain * (2.0 / (fan_in + fan_out).max(1.0)).sqrt());
        let kaiming = |fan: Fan, nonlinearity: Nonlinearity| {
            let chosen = fans(dims).map(|(fan_in, fan_out)| if fan == Fan::In { fan_in } else { fan_out });
            // A fan of 0 belongs to a weight without numbers.
            chosen.map(|fan| nonlinearity.gain() / fan.max(1.0).sqrt())
        };
        // A uniform distribution within ±b has the standard deviation b / √3.
        let root = 3f64.sqrt();
        match self {
            Init::Constant(value) => Ok(Array::full(dims, value, dtype)?),
            Init::Uniform { low, high } => Ok(random::uniform(dims, low, high, dtype, rng)?),
            Init::Normal { mean, deviation } => Ok(random::normal(dims, mean, deviation, dtype, rng)?),
            Init::XavierUniform { gain } => uniform(root * xavier(gain)?, rng),
            Init::XavierNormal { gain } => normal(xavier(gain)?, rng),
            Init::KaimingUniform { fan, nonlinearity } => uniform(root * kaiming(fan, nonlinearity)?, rng),
            Init::KaimingNormal { fan, nonlinearity } => normal(kaiming(fan, nonlinearity)?, rng),
            Init::TruncatedNormal { mean, deviation, low, high } => truncated(dims, [mean, deviation, low, high], dtype, rng),
            Init::Orthogonal { gain } => orthogonal::orthogonal(dims, gain, dtype, rng),
            Init::Sparse { sparsity, deviation } => sparse(dims, sparsity, deviation, dtype, rng),
            Init::Identity => {
                let [_, columns] = matrix("identity", dims)?;
                Ok(Array::from_index(dims, dtype, |i| (i / columns == i % columns) as u8 as f64)?)
            }
            Init::Dirac { groups } => dirac(dims, groups, dtype),
        }
    }
}

impl Param {
    /// Draws the parameter's numbers anew; shape, element type and identity stay.
    /// ```
    /// # use chainrule_autograd::Rng;
    /// # use chainrule_nn::{Linear, init::Init};
    /// let mut rng = Rng::seeded(0);
    /// let mut linear = Linear::new(4, 4, &mut rng)?;
    /// linear.weight.initialise(Init::Orthogonal { gain: 1.0 }, &mut rng)?;
    /// # Ok::<(), chainrule_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Init::array`]; the numbers stay as they are then.
    pub fn initialise(&mut self, init: Init, rng: &mut Rng) -> Result<()> {
        self.value = init.array(self.value.dims(), self.value.dtype(), rng)?.to(&self.value.device())?;
        Ok(())
    }
}

/// Draws the numbers of all matching parameters anew. Returns how many there are.
///
/// # Errors
/// A [`Pattern`] that matches no parameter; as for [`Init::array`]. Nothing was changed then.
pub fn initialise(model: &mut dyn Module, pattern: &str, init: Init, rng: &mut Rng) -> crate::Result<usize> {
    let pattern = Pattern::new(pattern)?;
    let (mut drawn, mut paths, mut failed) = (Vec::new(), Vec::new(), None);
    params(model, |path, param| {
        paths.push(path.to_string());
        if failed.is_none() && pattern.matches(path) {
            match init.array(param.value.dims(), param.value.dtype(), rng).and_then(|array| Ok(array.to(&param.value.device())?)) {
                Ok(array) => drawn.push(array),
                Err(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    if drawn.is_empty() {
        return Err(pattern.no_match("initialise", "parameter", &paths));
    }
    let count = drawn.len();
    let mut drawn = drawn.into_iter();
    params_mut(model, |path, param| {
        if pattern.matches(path) {
            param.value = drawn.next().unwrap_or_else(|| param.value.clone());
        }
    });
    Ok(count)
}

/// Fan-in and fan-out.
fn fans(dims: &[usize]) -> Result<(f64, f64)> {
    let [outputs, inputs, window @ ..] = dims else {
        return Err(Error::shape("init", format!("shape {dims:?} has no fan-in and fan-out, expected [Out, In, ..]")));
    };
    let window: f64 = window.iter().map(|&d| d as f64).product();
    Ok((*inputs as f64 * window, *outputs as f64 * window))
}

fn matrix(what: &str, dims: &[usize]) -> Result<[usize; 2]> {
    match dims {
        &[rows, columns] => Ok([rows, columns]),
        _ => Err(Error::shape("init", format!("{what}: got shape {dims:?}, expected a matrix [Out, In]"))),
    }
}

fn from_numbers(numbers: &[f64], dims: &[usize], dtype: DType) -> Result<Array> {
    Ok(Array::from_slice(numbers, dims)?.cast(dtype)?)
}

fn truncated(dims: &[usize], [mean, deviation, low, high]: [f64; 4], dtype: DType, rng: &mut Rng) -> Result<Array> {
    let reach = (low - mean).max(mean - high);
    if !(low < high && deviation > 0.0 && reach <= 5.0 * deviation) {
        let message = format!("truncated normal: {low}..{high} must hold numbers that a normal distribution of mean {mean} and deviation {deviation} reaches");
        return Err(Error::value("init", message));
    }
    let mut numbers = vec![0.0; Shape::new(dims)?.count()];
    for x in &mut numbers {
        *x = loop {
            let drawn = mean + deviation * rng.normal();
            if (low..=high).contains(&drawn) {
                break drawn;
            }
        };
    }
    from_numbers(&numbers, dims, dtype)
}

fn sparse(dims: &[usize], sparsity: f64, deviation: f64, dtype: DType, rng: &mut Rng) -> Result<Array> {
    let [rows, columns] = matrix("sparse", dims)?;
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::value("init", format!("sparse: the sparsity is {sparsity}, expected 0 to 1")));
    }
    let zeros = (sparsity * rows as f64).ceil() as usize;
    let mut numbers: Vec<f64> = (0..rows * columns).map(|_| deviation * rng.normal()).collect();
    for column in 0..columns {
        for row in rng.permutation(rows).into_iter().take(zeros) {
            numbers[row * columns + column] = 0.0;
        }
    }
    from_numbers(&numbers, dims, dtype)
}

fn dirac(dims: &[usize], groups: usize, dtype: DType) -> Result<Array> {
    let [outputs, inputs, window @ ..] = dims else {
        return Err(Error::shape("init", format!("dirac: got shape {dims:?}, expected [Out, In, ..] of a convolution")));
    };
    if groups == 0 || !outputs.is_multiple_of(groups) || window.is_empty() {
        return Err(Error::shape("init", format!("dirac: shape {dims:?} is none of a convolution with {groups} groups")));
    }
    let size: usize = window.iter().product();
    let middle = window.iter().fold(0, |at, &d| at * d + d / 2);
    let group = (outputs / groups).max(1);
    Ok(Array::from_index(dims, dtype, |i| {
        let (channel, at) = (i / size, i % size);
        let (output, input) = (channel / inputs, channel % inputs);
        (at == middle && output % group == input) as u8 as f64
    })?)
}
