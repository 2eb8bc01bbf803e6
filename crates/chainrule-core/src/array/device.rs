//! Arrays on devices: where they stand, how they move, and who may work together.

use crate::array::Array;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::Source;

#[cfg(feature = "cuda")]
use super::strided::Strided;
#[cfg(feature = "cuda")]
use crate::cuda::{self, Gpu, Grid};
#[cfg(feature = "cuda")]
use crate::dtype::{DType, Element, with_element};
#[cfg(feature = "cuda")]
use crate::shape::Shape;

impl Array {
    /// Where the numbers stand.
    #[inline]
    pub fn device(&self) -> Device {
        match self.block.source() {
            Source::System => Device::Cpu,
            #[cfg(feature = "cuda")]
            Source::Cuda(ordinal) => Device::Cuda(ordinal),
        }
    }

    /// The same numbers on that device; the array itself where they stand there already. A copy to a GPU of up to 4 MiB does not wait, a larger one and one from a GPU do.
    ///
    /// # Errors
    /// A device that is missing or failed; no memory there.
    pub fn to(&self, device: &Device) -> Result<Array> {
        match (self.device(), *device) {
            (from, to) if from == to => Ok(self.clone()),
            #[cfg(feature = "cuda")]
            (Device::Cpu, Device::Cuda(ordinal)) => {
                let (gpu, dense) = (Gpu::get(ordinal)?, self.contiguous()?);
                // A replay would find whatever stands there by then.
                gpu.expect_not_capturing("to", "numbers from the CPU would be those of this step forever; pass them as inputs of the step")?;
                let out = Array::stale_on(gpu, *self.shape(), self.dtype())?;
                gpu.upload(dense.bytes(), out.address())?;
                Ok(out)
            }
            #[cfg(feature = "cuda")]
            (Device::Cuda(ordinal), Device::Cpu) => {
                let (gpu, dense) = (Gpu::get(ordinal)?, self.contiguous()?);
                let mut out = Array::stale(*self.shape(), self.dtype())?;
                gpu.download(dense.address(), out.bytes_mut())?;
                Ok(out)
            }
            _ => self.to(&Device::Cpu)?.to(device),
        }
    }

    /// An error unless the numbers stand in the processor's memory.
    pub(crate) fn expect_cpu(&self, op: &'static str) -> Result<()> {
        match self.device() {
            Device::Cpu => Ok(()),
            device => {
                Err(Error::device(op, format!("the {} array {:?} stands on {device}, expected cpu; copy it with to(&Device::Cpu)", self.dtype(), self.shape())))
            }
        }
    }

    /// The last line before a GPU's address would be followed here. Operations ask [`on_device!`](crate::ops::on_device) or [`on_cpu!`](crate::ops::on_cpu) first, so that callers get an error instead; a test holds every operation to that.
    #[inline]
    pub(crate) fn expect_host(&self) {
        assert!(
            self.block.source() == Source::System,
            "an operation without a CUDA kernel reads numbers on a GPU; this is a mistake in chainrule, please report it"
        );
    }
}

/// The device that all arrays stand on; those that are `None` stand nowhere.
///
/// # Errors
/// Several devices; the message says which array stands where.
#[cfg(feature = "cuda")]
pub(crate) fn common(op: &'static str, arrays: &[Option<(&str, &Array)>]) -> Result<Device> {
    let present = || arrays.iter().flatten();
    let device = present().next().map_or(Device::Cpu, |(_, array)| array.device());
    if present().all(|(_, array)| array.device() == device) {
        return Ok(device);
    }
    let places: Vec<String> = present().map(|(name, array)| format!("{name} {:?} on {}", array.shape(), array.device())).collect();
    Err(Error::device(op, format!("the arrays stand on different devices: {}; move them to one with to(&device)", places.join(", "))))
}

/// An error that names what has no kernel on the device.
#[cfg(feature = "cuda")]
#[cold]
pub(crate) fn no_kernel(op: &'static str, device: Device) -> Error {
    Error::device(op, format!("there is no kernel for {device} yet; compute it on the CPU, with to(&Device::Cpu)"))
}

/// An error unless the array holds f32, the only floats that kernels of a GPU compute with.
#[cfg(feature = "cuda")]
pub(crate) fn expect_f32_on_device(op: &'static str, x: &Array) -> Result<()> {
    if x.dtype() == DType::F32 { Ok(()) } else { Err(Error::DType { op, got: x.dtype(), expected: "f32 on a GPU" }) }
}

#[cfg(feature = "cuda")]
impl Array {
    /// A dense array on a GPU of unspecified contents, to be overwritten.
    pub(crate) fn stale_on(gpu: &'static Gpu, shape: Shape, dtype: DType) -> Result<Array> {
        Ok(Array::in_block(gpu.pool().allocate(shape.count() * dtype.size())?, shape, dtype))
    }

    /// The same outside the memory of a step that is being captured, all of whose memory is written anew at each replay.
    pub(crate) fn lasting_on(gpu: &'static Gpu, shape: Shape, dtype: DType) -> Result<Array> {
        Ok(Array::in_block(gpu.shared_pool().allocate(shape.count() * dtype.size())?, shape, dtype))
    }

    /// Where index 0 stands in the GPU's memory.
    pub fn address(&self) -> u64 {
        self.block.start().addr() as u64 + (self.offset * self.dtype().size()) as u64
    }

    /// Copies the numbers of `from`, of the same shape and element type, over this dense array, whoever holds it.
    ///
    /// # Errors
    /// Another shape or element type; a GPU that failed.
    pub fn overwrite(&self, from: &Array) -> Result<()> {
        const OP: &str = "overwrite";
        if (self.dims(), self.dtype()) != (from.dims(), from.dtype()) || !self.is_contiguous() {
            return Err(Error::shape(OP, format!("got {} {:?}, expected {} {:?}", from.dtype(), from.shape(), self.dtype(), self.shape())));
        }
        match (self.device(), from.device()) {
            (Device::Cuda(ordinal), Device::Cpu) => Gpu::get(ordinal)?.upload(from.contiguous()?.bytes(), self.address()),
            (Device::Cuda(ordinal), Device::Cuda(other)) if ordinal == other => write_into(Gpu::get(ordinal)?, from, self),
            (to, from) => Err(Error::device(OP, format!("from {from} to {to}, expected a GPU as the target"))),
        }
    }

    /// Whether it begins on a multiple of 16 bytes, so that kernels may read four numbers at once.
    pub(crate) fn is_aligned(&self) -> bool {
        self.address().is_multiple_of(16)
    }

    /// The bytes of a dense array on the CPU.
    fn bytes(&self) -> &[u8] {
        debug_assert!(self.is_contiguous());
        self.expect_host();
        // SAFETY: a dense array of initialised numbers starts here, borrowed as long as the bytes.
        unsafe { std::slice::from_raw_parts(self.block.start().add(self.offset * self.dtype().size()), self.count() * self.dtype().size()) }
    }

    /// The same for writing; the array is its block's only owner, and any bytes are numbers of its type.
    fn bytes_mut(&mut self) -> &mut [u8] {
        debug_assert!(self.is_contiguous() && self.block.is_unique());
        self.expect_host();
        // SAFETY: as in `bytes`; the only handle is borrowed mutably. Every element type takes any bits.
        unsafe { std::slice::from_raw_parts_mut(self.block.start().add(self.offset * self.dtype().size()), self.count() * self.dtype().size()) }
    }
}

#[cfg(feature = "cuda")]
static KERNELS: cuda::Source = cuda::Source::new("copy", include_str!("copy.ptx"));

/// An array of one value, rounded to the element type.
#[cfg(feature = "cuda")]
pub(crate) fn filled(gpu: &'static Gpu, shape: Shape, value: f64, dtype: DType) -> Result<Array> {
    let out = Array::stale_on(gpu, shape, dtype)?;
    let (to, count) = (out.address(), out.count());
    // The value's bits, repeated to fill a word; only 8-byte elements have more.
    let bits = with_element!(dtype, T => bits(T::from_f64(value)));
    let same_words = bits as u32 == (bits >> 32) as u32;
    match dtype.size() {
        _ if count == 0 => {}
        _ if bits == 0 => gpu.clear(to, count * dtype.size())?,
        4 => gpu.fill_words(to, bits as u32, count)?,
        8 if same_words => gpu.fill_words(to, bits as u32, 2 * count)?,
        1 => KERNELS.launch(gpu, "fill_1", Grid::over(count, 4), &[&to, &(bits as u8), &(count as u64)])?,
        2 => KERNELS.launch(gpu, "fill_2", Grid::over(count, 4), &[&to, &(bits as u32), &(count as u64)])?,
        _ => KERNELS.launch(gpu, "fill_8", Grid::over(count, 4), &[&to, &bits, &(count as u64)])?,
    }
    Ok(out)
}

/// The bits of a number, zeros above.
#[cfg(feature = "cuda")]
pub(crate) fn bits<T: Element>(value: T) -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: an element is at most 8 bytes of plain bits.
    unsafe { std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), bytes.as_mut_ptr(), size_of::<T>()) };
    u64::from_le_bytes(bytes)
}

/// A dense copy of any view.
#[cfg(feature = "cuda")]
pub(super) fn dense(gpu: &'static Gpu, x: &Array) -> Result<Array> {
    let out = Array::stale_on(gpu, *x.shape(), x.dtype())?;
    write_into(gpu, x, &out)?;
    Ok(out)
}

/// Copies `x` over `out`, a view of the same shape and element type whose elements do not overlap.
#[cfg(feature = "cuda")]
pub(crate) fn write_into(gpu: &'static Gpu, x: &Array, out: &Array) -> Result<()> {
    let (count, size) = (x.count(), x.dtype().size());
    if count == 0 {
        return Ok(());
    }
    if x.is_contiguous() && out.is_contiguous() {
        return gpu.copy(x.address(), out.address(), count * size);
    }
    let kernel = match size {
        1 => "copy_strided_1",
        2 => "copy_strided_2",
        4 => "copy_strided_4",
        _ => "copy_strided_8",
    };
    KERNELS.launch(gpu, kernel, Grid::over(count, 1), &[&Strided::new("copy", [x, out])?, &x.address(), &out.address(), &(count as u32)])
}

/// Every element converted to `dtype`, as on the CPU.
#[cfg(feature = "cuda")]
pub(super) fn cast(gpu: &'static Gpu, x: &Array, dtype: DType) -> Result<Array> {
    use DType::*;
    let kernel = match (x.dtype(), dtype) {
        (F32, F64) => "cast_f32_f64",
        (F32, I64) => "cast_f32_i64",
        (F32, U8) => "cast_f32_u8",
        (F64, F32) => "cast_f64_f32",
        (F64, I64) => "cast_f64_i64",
        (F64, U8) => "cast_f64_u8",
        (I64, F32) => "cast_i64_f32",
        (I64, F64) => "cast_i64_f64",
        (I64, U8) => "cast_i64_u8",
        (U8, F32) => "cast_u8_f32",
        (U8, F64) => "cast_u8_f64",
        (U8, I64) => "cast_u8_i64",
        (F32, BF16) => "cast_f32_bf16",
        (BF16, F32) => "cast_bf16_f32",
        (F32, F16) => "cast_f32_f16",
        (F16, F32) => "cast_f16_f32",
        _ => return x.cast(F32)?.cast(dtype),
    };
    let x = x.contiguous()?;
    let out = Array::stale_on(gpu, *x.shape(), dtype)?;
    if x.count() > 0 {
        KERNELS.launch(gpu, kernel, Grid::over(x.count(), 4), &[&x.address(), &out.address(), &(x.count() as u64)])?;
    }
    Ok(out)
}
