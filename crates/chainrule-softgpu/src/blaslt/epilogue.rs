//! Epilogues: what happens to `alpha a·b + beta c` before it becomes `d`.
//!
//! The GELU is the one with tanh, as cuBLASLt's: `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))`.
use super::Refusal;
use super::descriptor::{BIAS_TYPE_UNSET, Descriptor, attribute};
use super::element::{Element, Real};
use super::operand::Operand;
use chainrule_ptx::{Fault, Memory};

const DEFAULT: u32 = 1;
const RELU: u32 = 2;
const BIAS: u32 = 4;
const BACKWARD_RELU: u32 = 8;
const BIAS_GRADIENT: u32 = 16;
const GELU: u32 = 32;
const BACKWARD_GELU: u32 = 64;
const AUXILIARY: u32 = 128;
const GRADIENT_A: u32 = 256;
const GRADIENT_B: u32 = 512;

/// All epilogues of the library: sums of the flags above.
const KNOWN: [u32; 16] = [1, 2, 130, 4, 6, 134, 136, 152, 32, 160, 36, 164, 192, 208, 256, 512];

/// An epilogue with its pointers.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue {
    flags: u32,
    bias: u64,
    bias_type: Element,
    bias_stride: i64,
    auxiliary: u64,
    auxiliary_leading: usize,
    auxiliary_stride: i64,
}

impl Epilogue {
    /// The epilogue of a description, for a product whose result is `d`.
    pub fn new(description: &Descriptor, d: &Operand) -> Result<Epilogue, Refusal> {
        let flags = description.get(attribute::EPILOGUE) as u32;
        if !KNOWN.contains(&flags) {
            return Err(Refusal::invalid(format!("epilogue {flags}")));
        }
        let flags = if flags == DEFAULT { 0 } else { flags };
        if flags != 0 && d.row_major {
            return Err(Refusal::unsupported("an epilogue with row-major D"));
        }
        let bias_type = match description.get(attribute::BIAS_DATA_TYPE) {
            BIAS_TYPE_UNSET => d.element,
            number => Element::of(number)?,
        };
        if bias_type != d.element && !(bias_type == Element::F32 && d.element != Element::F64) {
            return Err(Refusal::unsupported(format!("bias of {bias_type:?} with D of {:?}", d.element)));
        }
        Ok(Epilogue {
            flags,
            bias: description.get(attribute::BIAS_POINTER),
            bias_type,
            bias_stride: description.get(attribute::BIAS_BATCH_STRIDE) as i64,
            auxiliary: description.get(attribute::AUX_POINTER),
            auxiliary_leading: usize::try_from(description.get(attribute::AUX_LD)).unwrap_or(0),
            auxiliary_stride: description.get(attribute::AUX_BATCH_STRIDE) as i64,
        })
    }

    /// Checks the pointers, which the search for an algorithm does not know yet.
    pub fn expect_pointers(&self, d: &Operand) -> Result<(), Refusal> {
        let uses_bias = self.has(BIAS | BIAS_GRADIENT | GRADIENT_A | GRADIENT_B);
        if uses_bias && (self.bias == 0 || !self.bias.is_multiple_of(self.bias_type.bytes() as u64)) {
            return Err(Refusal::invalid(format!("bias pointer {:#x}", self.bias)));
        }
        if self.has(AUXILIARY) {
            let (step, kind) = if self.has(GELU | BACKWARD_GELU) { (8, "GELU") } else { (128, "ReLU") };
            if self.auxiliary == 0 || !self.auxiliary.is_multiple_of(16) {
                return Err(Refusal::invalid(format!("auxiliary pointer {:#x}, which must be a multiple of 16", self.auxiliary)));
            }
            if self.auxiliary_leading < d.rows || !self.auxiliary_leading.is_multiple_of(step) {
                return Err(Refusal::invalid(format!(
                    "auxiliary leading dimension {} of {kind}: a multiple of {step}, at least {}",
                    self.auxiliary_leading, d.rows
                )));
            }
        }
        Ok(())
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Changes `values`, the product of a batch's matrices column by column, and writes what the epilogue writes beside it.
    pub fn apply<R: Real>(&self, memory: &mut Memory, d: &Operand, batch: usize, values: &mut [R]) -> Result<(), Fault> {
        let rows = d.rows;
        if self.has(BIAS) {
            let bias: Vec<R> = self.bias_operand(rows).read(memory, batch, false)?;
            values.chunks_exact_mut(rows).for_each(|column| column.iter_mut().zip(&bias).for_each(|(value, bias)| *value += *bias));
        }
        if self.has(AUXILIARY) {
            self.exchange_auxiliary(memory, d, batch, values)?;
        }
        if self.has(RELU) {
            // A NaN stays one.
            values.iter_mut().filter(|value| value.double() < 0.0).for_each(|value| *value = R::ZERO);
        }
        if self.has(GELU) {
            values.iter_mut().for_each(|value| *value = R::from_double(gelu(value.double())));
        }
        if self.has(BIAS_GRADIENT) {
            self.write_bias(memory, batch, &row_sums(values, rows))?;
        }
        Ok(())
    }

    /// Writes the bias gradient that sums an operand over `k`: `a` is `[m, k]` and `b` is `[k, n]`, column by column.
    pub fn reduce_operands<R: Real>(&self, memory: &mut Memory, batch: usize, (m, k): (usize, usize), a: &[R], b: &[R]) -> Result<(), Fault> {
        if self.has(GRADIENT_A) {
            self.write_bias(memory, batch, &row_sums(a, m))?;
        }
        if self.has(GRADIENT_B) {
            let sums: Vec<R> = b.chunks_exact(k).map(|column| sum(column.iter())).collect();
            self.write_bias(memory, batch, &sums)?;
        }
        Ok(())
    }

    /// Forward epilogues save what their backward twins read: the sign of each value as a bit, or the value itself.
    fn exchange_auxiliary<R: Real>(&self, memory: &mut Memory, d: &Operand, batch: usize, values: &mut [R]) -> Result<(), Fault> {
        if self.has(GELU | BACKWARD_GELU) {
            let saved = Operand { address: self.auxiliary, leading: self.auxiliary_leading, stride: self.auxiliary_stride, ..*d };
            if self.has(GELU) {
                return saved.write(memory, batch, values);
            }
            let inputs: Vec<R> = saved.read(memory, batch, false)?;
            values.iter_mut().zip(inputs).for_each(|(value, input)| *value = R::from_double(value.double() * gelu_slope(input.double())));
            return Ok(());
        }
        let first = self.auxiliary.wrapping_add_signed(self.auxiliary_stride * batch as i64 / 8);
        let mut bits = vec![0; d.rows.div_ceil(8)];
        for (number, column) in values.chunks_exact_mut(d.rows).enumerate() {
            let address = first + (number * self.auxiliary_leading / 8) as u64;
            if self.has(RELU) {
                bits.fill(0);
                column.iter().enumerate().filter(|(_, value)| value.double() > 0.0).for_each(|(row, _)| bits[row / 8] |= 1 << (row % 8));
                memory.write(address, &bits)?;
            } else if self.has(BACKWARD_RELU) {
                memory.read(address, &mut bits)?;
                column.iter_mut().enumerate().filter(|(row, _)| bits[row / 8] >> (row % 8) & 1 == 0).for_each(|(_, value)| *value = R::ZERO);
            }
        }
        Ok(())
    }

    fn bias_operand(&self, length: usize) -> Operand {
        let (address, element, stride) = (self.bias, self.bias_type, self.bias_stride);
        Operand { address, element, rows: length, columns: 1, leading: length, row_major: false, batch: 1, stride }
    }

    fn write_bias<R: Real>(&self, memory: &mut Memory, batch: usize, values: &[R]) -> Result<(), Fault> {
        self.bias_operand(values.len()).write(memory, batch, values)
    }
}

fn sum<'a, R: Real + 'a>(values: impl Iterator<Item = &'a R>) -> R {
    R::from_double(values.map(|value| value.double()).sum())
}

fn row_sums<R: Real>(values: &[R], rows: usize) -> Vec<R> {
    (0..rows).map(|row| sum(values[row..].iter().step_by(rows))).collect()
}

const ROOT_TWO_OVER_PI: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + (ROOT_TWO_OVER_PI * (x + CUBIC * x * x * x)).tanh())
}

fn gelu_slope(x: f64) -> f64 {
    let tanh = (ROOT_TWO_OVER_PI * (x + CUBIC * x * x * x)).tanh();
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * ROOT_TWO_OVER_PI * (1.0 + 3.0 * CUBIC * x * x)
}
