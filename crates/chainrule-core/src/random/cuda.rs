//! Random numbers and dropout on the GPU: the CPU's numbers. Kernels know the stream by its key and number, or find the key where a captured step keeps it.

use super::{GROUP, Stream, threshold_and_scale};
use crate::array::Array;
use crate::cuda::{Argument, Gpu, Grid, Source, lane};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Shape;

static KERNELS: Source = Source::new("random", include_str!("random.ptx"));

/// `Stream` of `philox.cuh`.
#[repr(C)]
pub(crate) struct StreamOnDevice {
    /// The address of a captured step's key, which then takes the place of `key`; else 0.
    cell: u64,
    key: u64,
    number: u64,
}
// SAFETY: `repr(C)`, field by field the struct of `philox.cuh`.
unsafe impl Argument for StreamOnDevice {}

impl StreamOnDevice {
    /// The stream as kernels of this thread take it now.
    pub(crate) fn new(gpu: &Gpu, stream: Stream) -> StreamOnDevice {
        StreamOnDevice { cell: lane::key(gpu.ordinal()).unwrap_or(0), key: stream.key, number: stream.number }
    }
}

/// As [`super::dropout`]: one launch.
pub(super) fn dropout(gpu: &'static Gpu, op: &'static str, x: &Array, rate: f64, stream: Stream) -> Result<Array> {
    if x.dtype() != DType::F32 {
        return Err(Error::DType { op, got: x.dtype(), expected: "f32 on a GPU" });
    }
    let x = x.contiguous()?;
    let out = Array::stale_on(gpu, *x.shape(), x.dtype())?;
    if x.count() > 0 {
        let (threshold, scale) = threshold_and_scale(rate);
        let kernel = if x.is_aligned() && out.is_aligned() { "dropout_wide" } else { "dropout" };
        KERNELS.launch(
            gpu,
            kernel,
            Grid::over(x.count().div_ceil(GROUP) * 4, 1),
            &[&x.address(), &out.address(), &(x.count() as u64), &StreamOnDevice::new(gpu, stream), &threshold, &(scale as f32)],
        )?;
    }
    Ok(out)
}

/// Numbers of the distribution that the kernel is named after, with its two parameters: one launch.
pub(super) fn fill(gpu: &'static Gpu, kernel: &'static str, shape: Shape, key: u64, parameters: [f64; 2]) -> Result<Array> {
    let out = Array::stale_on(gpu, shape, DType::F32)?;
    if out.count() > 0 {
        let counters = out.count().div_ceil(GROUP) * 16;
        KERNELS.launch(gpu, kernel, Grid::over(counters, 1), &[&out.address(), &(out.count() as u64), &key, &parameters[0], &parameters[1]])?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::cuda::lane::Lane;

    #[test]
    fn a_key_in_the_gpus_memory_drops_what_the_same_key_of_a_call_drops() {
        let Ok(device) = Device::cuda(0) else { return println!("SKIPPED: no GPU") };
        let gpu = Gpu::get(0).unwrap();
        let x = Array::ones(&[1000], DType::F32).unwrap();
        let (there, cell) = (x.to(&device).unwrap(), Array::from_slice(&[0x0123_4567_89ab_cdefi64], &[1]).unwrap().to(&device).unwrap());
        let numbers = |y: Array| y.to(&Device::Cpu).unwrap().to_vec::<f32>().unwrap();
        for number in [1, 2] {
            let want = super::super::dropout(&x, 0.4, Stream { key: 0x0123_4567_89ab_cdef, number }).unwrap();
            let lane = Lane { ordinal: 0, pool: gpu.shared_pool(), recording: None, key: Some(cell.address()) };
            let got = lane::on(lane, || super::super::dropout(&there, 0.4, Stream { key: 5, number })).unwrap();
            assert_eq!(numbers(got), numbers(want));
        }
        // A stream that is a word of its own has no key to replace.
        let lane = Lane { ordinal: 0, pool: gpu.shared_pool(), recording: None, key: Some(cell.address()) };
        let got = lane::on(lane, || super::super::dropout(&there, 0.4, 99)).unwrap();
        assert_eq!(numbers(got), numbers(super::super::dropout(&x, 0.4, 99).unwrap()));
    }
}
