//! Functions of two numbers, comparisons and choices on the GPU.

use super::{Binary, Comparison};
use crate::Device;
use crate::array::strided::Strided;
use crate::array::{Array, bits};
use crate::cuda::{Argument, Gpu, Grid, Source};
use crate::dtype::{DType, with_element};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::shape::Shape;

static KERNELS: Source = Source::new("binary", include_str!("binary.ptx"));

/// The GPU that arrays stand on, if any does. Those of one element may stand on the CPU: their value goes along with the launch.
pub(super) fn common<const K: usize>(op: &'static str, arrays: [(&str, &Array); K]) -> Result<Option<&'static Gpu>> {
    if arrays.iter().all(|(_, x)| x.device() == Device::Cpu) {
        return Ok(None);
    }
    let placed = arrays.map(|(name, x)| (x.device() != Device::Cpu || x.count() != 1).then_some((name, x)));
    match crate::array::common(op, &placed)? {
        Device::Cuda(ordinal) => Gpu::get(ordinal).map(Some),
        Device::Cpu => Ok(None),
    }
}

/// `Operand` of binary.cu: an address, or 0 and the bits of a value.
#[repr(C)]
struct Operand {
    address: u64,
    value: u64,
}
// SAFETY: `repr(C)`; a value of any size lies at the beginning of eight bytes.
unsafe impl Argument for Operand {}

impl Operand {
    fn new(x: &Array) -> Result<Operand> {
        if x.device() != Device::Cpu {
            return Ok(Operand { address: x.address(), value: 0 });
        }
        let x = x.contiguous()?;
        Ok(Operand { address: 0, value: with_element!(x.dtype(), T => bits(x.slice::<T>()[0])) })
    }
    fn is_array(&self) -> bool {
        self.address != 0
    }
}

/// `Steps` of binary.cu.
#[repr(C)]
struct Steps {
    outer: [i64; 2],
    inner: [u32; 2],
}
// SAFETY: `repr(C)`, field by field the struct of binary.cu.
unsafe impl Argument for Steps {}

/// Rows of a dense result, with operands that are dense or constant along each.
struct Rows {
    steps: Steps,
    width: usize,
    /// Whether four numbers can be read at once.
    whole: bool,
}

impl Rows {
    /// `None` if the operands lie otherwise.
    fn new(shape: &Shape, arrays: [&Array; 2], operands: &[Operand; 2]) -> Option<Rows> {
        let layout = Layout::new(shape, arrays.map(|x| x.all_strides()));
        let (rank, width) = (layout.dims().len(), layout.inner());
        if rank > 2 || (rank == 2 && shape.count() > u32::MAX as usize) {
            return None;
        }
        let mut rows = Rows { steps: Steps { outer: [0; 2], inner: [0; 2] }, width, whole: rank < 2 || width.is_multiple_of(4) };
        for k in (0..2).filter(|&k| operands[k].is_array()) {
            let inner = layout.inner_stride(k);
            if inner != 0 && inner != 1 {
                return None;
            }
            let outer = if rank == 2 { layout.strides(k)[0] } else { 0 };
            rows.steps.inner[k] = inner as u32;
            rows.steps.outer[k] = outer as i64;
            rows.whole &= inner == 0 || (arrays[k].is_aligned() && outer % 4 == 0);
        }
        Some(rows)
    }
}

/// `op(a, b)`
pub(super) fn binary(gpu: &'static Gpu, op: Binary, a: &Array, b: &Array, shape: Shape) -> Result<Array> {
    let kernels = match (a.dtype(), op) {
        (DType::F32, op) => float_kernels(op),
        (DType::I64, Binary::Add) => [None, Some("add_i64")],
        (DType::I64, Binary::Sub) => [None, Some("sub_i64")],
        (DType::I64, Binary::Mul) => [None, Some("mul_i64")],
        (DType::I64, Binary::Maximum) => [None, Some("maximum_i64")],
        (DType::I64, Binary::Minimum) => [None, Some("minimum_i64")],
        _ => [None; 2],
    };
    let [by_rows, Some(strided)] = kernels else {
        return Err(Error::DType { op: op.name(), got: a.dtype(), expected: "f32 on the GPU, or i64 for sums, differences, products and extremes" });
    };
    pairs(gpu, op.name(), [by_rows, Some(strided)], [a, b], a.dtype(), shape)
}

/// The kernels over rows, where there is one, and over any strides.
fn float_kernels(op: Binary) -> [Option<&'static str>; 2] {
    let [rows, strided] = match op {
        Binary::Add => ["add_rows", "add_f32"],
        Binary::Sub => ["sub_rows", "sub_f32"],
        Binary::Mul => ["mul_rows", "mul_f32"],
        Binary::Div => ["div_rows", "div_f32"],
        Binary::Maximum => ["maximum_rows", "maximum_f32"],
        Binary::Minimum => ["minimum_rows", "minimum_f32"],
        Binary::Pow => return [None, Some("pow_f32")],
        Binary::Atan2 => return [None, Some("atan2_f32")],
        Binary::Hypot => return [None, Some("hypot_f32")],
        Binary::Fmod => return [None, Some("fmod_f32")],
        Binary::Remainder => return [None, Some("remainder_f32")],
        Binary::LogAddExp => return [None, Some("logaddexp_f32")],
    };
    [Some(rows), Some(strided)]
}

/// `op(a, b)` as u8
pub(super) fn compare(gpu: &'static Gpu, op: Comparison, a: &Array, b: &Array, shape: Shape) -> Result<Array> {
    let kernel = match (op, a.dtype()) {
        // The same from the other side.
        (Comparison::Greater, _) => return compare(gpu, Comparison::Less, b, a, shape),
        (Comparison::GreaterEqual, _) => return compare(gpu, Comparison::LessEqual, b, a, shape),
        (Comparison::Equal, DType::F32) => "equal_f32",
        (Comparison::Equal, DType::I64) => "equal_i64",
        (Comparison::Equal, DType::U8) => "equal_u8",
        (Comparison::NotEqual, DType::F32) => "not_equal_f32",
        (Comparison::NotEqual, DType::I64) => "not_equal_i64",
        (Comparison::NotEqual, DType::U8) => "not_equal_u8",
        (Comparison::Less, DType::F32) => "less_f32",
        (Comparison::Less, DType::I64) => "less_i64",
        (Comparison::Less, DType::U8) => "less_u8",
        (Comparison::LessEqual, DType::F32) => "less_equal_f32",
        (Comparison::LessEqual, DType::I64) => "less_equal_i64",
        (Comparison::LessEqual, DType::U8) => "less_equal_u8",
        (_, got) => return Err(Error::DType { op: op.name(), got, expected: "f32, i64 or u8 on the GPU" }),
    };
    pairs(gpu, op.name(), [None, Some(kernel)], [a, b], DType::U8, shape)
}

fn pairs(gpu: &'static Gpu, op: &'static str, [by_rows, strided]: [Option<&'static str>; 2], [a, b]: [&Array; 2], dtype: DType, shape: Shape) -> Result<Array> {
    let out = Array::stale_on(gpu, shape, dtype)?;
    let count = out.count();
    if count == 0 {
        return Ok(out);
    }
    let (a, b) = (a.broadcast_to(&shape)?, b.broadcast_to(&shape)?);
    let operands = [Operand::new(&a)?, Operand::new(&b)?];
    let [x, y] = &operands;
    if let (Some(kernel), Some(Rows { steps, width, whole })) = (by_rows, Rows::new(&shape, [&a, &b], &operands)) {
        let arguments: [&dyn Argument; 7] = [x, y, &steps, &out.address(), &(count as u64), &(width as u64), &(whole as u32)];
        KERNELS.launch(gpu, kernel, Grid::over(count, 4), &arguments)?;
    } else if let Some(kernel) = strided {
        KERNELS.launch(gpu, kernel, Grid::over(count, 1), &[&Strided::new(op, [&a, &b])?, x, y, &out.address(), &(count as u32)])?;
    }
    Ok(out)
}

/// `condition ? a : b`
pub(super) fn select(gpu: &'static Gpu, op: &'static str, [condition, a, b]: [&Array; 3], shape: Shape) -> Result<Array> {
    let out = Array::stale_on(gpu, shape, a.dtype())?;
    let count = out.count();
    if count == 0 {
        return Ok(out);
    }
    let (condition, a, b) = (condition.broadcast_to(&shape)?, a.broadcast_to(&shape)?, b.broadcast_to(&shape)?);
    let kernel = match a.dtype().size() {
        1 => "where_1",
        2 => "where_2",
        4 => "where_4",
        _ => "where_8",
    };
    let layout = Strided::new(op, [&condition, &a, &b])?;
    let arguments: [&dyn Argument; 6] = [&layout, &Operand::new(&condition)?, &Operand::new(&a)?, &Operand::new(&b)?, &out.address(), &(count as u32)];
    KERNELS.launch(gpu, kernel, Grid::over(count, 1), &arguments)?;
    Ok(out)
}
