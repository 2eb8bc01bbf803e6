//! Where an array's numbers stand.

use crate::error::{Error, Result};
use crate::memory::{Pool, Statistics};

/// A place for arrays and the computations on them.
///
/// ```
/// use chainrule_core::{Array, DType, Device};
/// let device = Device::best();
/// let x = Array::ones(&[2, 3], DType::F32)?.to(&device)?;
/// assert_eq!(x.device(), device);
/// # Ok::<(), chainrule_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor and its memory.
    #[default]
    Cpu,
    /// The GPU of this number, counted from 0 as the driver counts; made by [`Device::cuda`].
    #[non_exhaustive]
    Cuda(usize),
}

impl Device {
    /// The GPU of this number, started if it was not in use.
    ///
    /// # Errors
    /// A build without the feature `cuda`; a machine without driver or without that GPU; a driver that fails. The message says what is missing.
    pub fn cuda(ordinal: usize) -> Result<Device> {
        #[cfg(feature = "cuda")]
        return crate::cuda::Gpu::get(ordinal).map(|_| Device::Cuda(ordinal));
        #[cfg(not(feature = "cuda"))]
        Err(Error::device("cuda", format!("GPU {ordinal} cannot be used, because chainrule was built without it; build with the feature `cuda`")))
    }

    /// The first GPU where there is one that works, else the CPU.
    pub fn best() -> Device {
        Device::cuda(0).unwrap_or_default()
    }

    /// The number of the GPU; 0 for the CPU.
    pub fn ordinal(self) -> usize {
        match self {
            Device::Cpu => 0,
            Device::Cuda(ordinal) => ordinal,
        }
    }

    /// Whether this is a GPU.
    pub fn is_cuda(self) -> bool {
        matches!(self, Device::Cuda(_))
    }

    /// What arrays on this device hold of its memory; captured steps have memory of their own.
    ///
    /// # Errors
    /// A device that is missing or failed.
    pub fn memory(self) -> Result<Statistics> {
        Ok(self.pool()?.statistics())
    }

    /// The most bytes that arrays on this device may ask for; beyond it operations return [`Error::Memory`]. `None`: no limit but the device's own.
    ///
    /// # Errors
    /// A device that is missing or failed.
    pub fn set_memory_limit(self, bytes: Option<usize>) -> Result<()> {
        self.pool()?.set_limit(bytes);
        Ok(())
    }

    /// Gives memory that is kept for reuse back to the system or the driver.
    ///
    /// # Errors
    /// A device that is missing or failed.
    pub fn release_cached(self) -> Result<()> {
        self.pool()?.release_cached();
        Ok(())
    }

    fn pool(self) -> Result<&'static Pool> {
        match self {
            Device::Cpu => Ok(crate::memory::cpu()),
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => Ok(crate::cuda::Gpu::get(ordinal)?.shared_pool()),
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => Device::cuda(0).map(|_| crate::memory::cpu()),
        }
    }

    /// Waits until all that was asked of the device is done. Nothing on the CPU.
    ///
    /// # Errors
    /// What a kernel did wrong since the last wait.
    pub fn synchronize(self) -> Result<()> {
        match self {
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => crate::cuda::Gpu::get(ordinal)?.synchronize(),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl std::str::FromStr for Device {
    type Err = Error;
    /// `cpu`, `cuda`, `cuda:1` or `best`.
    fn from_str(text: &str) -> Result<Device> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("cpu", "0") => Ok(Device::Cpu),
            ("best", "0") => Ok(Device::best()),
            ("cuda", ordinal) if ordinal.parse::<usize>().is_ok() => Device::cuda(ordinal.parse().unwrap_or_default()),
            _ => Err(Error::value("device", format!("got {text:?}, expected cpu, cuda, cuda:1 or best"))),
        }
    }
}
