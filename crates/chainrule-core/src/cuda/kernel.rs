//! PTX that is compiled for the GPU at hand when a kernel of it is first launched, and launches.

use super::Gpu;
use super::driver::{self, During};
use super::gpu::MOST;
use crate::error::{Error, Result};
use cudarc::driver::{result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{OnceLock, RwLock};

/// A file of kernels, embedded as PTX.
pub(crate) struct Source {
    name: &'static str,
    ptx: &'static str,
    modules: [OnceLock<Module>; MOST],
}

/// A file of kernels as the driver has compiled it, and its functions.
struct Module {
    handle: sys::CUmodule,
    functions: RwLock<HashMap<&'static str, Function>>,
}
// SAFETY: the driver lets any thread use the handle, which is never unloaded.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Its number in the list of all names, for messages.
    number: usize,
    /// The dynamic shared memory that it may use, in bytes.
    shared: u32,
}
// SAFETY: as for `Module`.
unsafe impl Send for Function {}
// SAFETY: as for `Module`.
unsafe impl Sync for Function {}

/// Shared memory that a block has without asking for more.
const SHARED: u32 = 48 << 10;

/// Names of all kernels that were launched.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// The name of a kernel by its number.
pub(super) fn name(number: usize) -> &'static str {
    NAMES.read().unwrap_or_else(|p| p.into_inner()).get(number).copied().unwrap_or("none")
}

/// A new number in that list.
pub(super) fn number(name: &'static str) -> usize {
    let mut names = NAMES.write().unwrap_or_else(|p| p.into_inner());
    names.push(name);
    names.len() - 1
}

/// The extents of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub(crate) shared: u32,
}

impl Grid {
    /// Threads of a block where nothing speaks for another number.
    pub(crate) const THREADS: u32 = 256;

    /// Enough blocks for `count` items, `each` a thread; kernels walk on in steps of the whole grid, so that any count will do.
    pub(crate) fn over(count: usize, each: usize) -> Grid {
        let blocks = count.div_ceil(each * Grid::THREADS as usize).clamp(1, most_blocks());
        Grid::blocks(blocks as u32, Grid::THREADS)
    }

    /// So many blocks in a row.
    pub(crate) fn blocks(blocks: u32, threads: u32) -> Grid {
        Grid { blocks: [blocks, 1, 1], threads: [threads, 1, 1], shared: 0 }
    }
}

/// Blocks of [`Grid::over`]: 2^16 of 256 threads fill every GPU many times. `CHAINRULE_CUDA_BLOCKS` sets fewer, for tests: so few numbers make a kernel walk on.
fn most_blocks() -> usize {
    static MOST_BLOCKS: OnceLock<usize> = OnceLock::new();
    *MOST_BLOCKS
        .get_or_init(|| std::env::var("CHAINRULE_CUDA_BLOCKS").ok().and_then(|blocks| blocks.parse().ok()).filter(|blocks| *blocks > 0).unwrap_or(1 << 16))
}

/// A value that a kernel takes as it is.
///
/// # Safety
/// The type is laid out as the kernel's parameter.
pub(crate) unsafe trait Argument {}
macro_rules! arguments {
    ($($type:ty)*) => { $(
        // SAFETY: the same size and alignment in CUDA C.
        unsafe impl Argument for $type {}
    )* };
}
arguments!(u8 u32 i32 u64 i64 f32 f64);

/// The most parameters of a kernel.
const PARAMETERS: usize = 32;

impl Source {
    pub(crate) const fn new(name: &'static str, ptx: &'static str) -> Source {
        Source { name, ptx, modules: [const { OnceLock::new() }; MOST] }
    }

    fn module(&self, gpu: &Gpu) -> Result<&Module> {
        let load = || {
            let failed = |message: String| Error::device("cuda", format!("the kernels of {}: {message}", self.name));
            // For work on kernels: what stands in that folder goes before what was built in.
            let tried = std::env::var_os("CHAINRULE_CUDA_PTX")
                .and_then(|folder| std::fs::read_to_string(std::path::Path::new(&folder).join(format!("{}.ptx", self.name))).ok());
            let text = CString::new(tried.as_deref().unwrap_or(self.ptx)).map_err(|e| failed(e.to_string()))?;
            let compile = || {
                // SAFETY: the text ends in a zero byte and is read before the call returns.
                unsafe { result::module::load_data(text.as_ptr().cast()) }
            };
            // Memory that is kept for arrays may be what is missing.
            let handle = compile().or_else(|_| {
                super::release_cached(gpu.ordinal());
                compile()
            });
            let handle = handle.map_err(|error| failed(format!("{}; drivers from R530 on (CUDA 12.1) can read them", driver::text(error))))?;
            Ok(Module { handle, functions: RwLock::default() })
        };
        let place = &self.modules[gpu.ordinal()];
        match place.get() {
            Some(module) => Ok(module),
            // Not kept where it fails. Two threads may both load; one module stays.
            None => load().map(|module| place.get_or_init(|| module)),
        }
    }

    fn function(&self, gpu: &Gpu, name: &'static str, shared: u32) -> Result<Function> {
        let module = self.module(gpu)?;
        let known = module.functions.read().unwrap_or_else(|p| p.into_inner()).get(name).copied();
        if let Some(function) = known.filter(|function| function.shared >= shared) {
            return Ok(function);
        }
        let c_name = CString::new(name).map_err(|e| Error::device("cuda", e.to_string()))?;
        // SAFETY: the module is loaded.
        let handle = unsafe { result::module::get_function(module.handle, c_name) }
            .map_err(|error| Error::device("cuda", format!("kernel {name} of {}: {}", self.name, driver::text(error))))?;
        if shared > SHARED {
            let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is loaded.
            unsafe { result::function::set_function_attribute(handle, which, shared as i32) }.during("cuda")?;
        }
        let number = known.map_or_else(|| number(name), |function| function.number);
        let function = Function { handle, number, shared: shared.max(SHARED) };
        module.functions.write().unwrap_or_else(|p| p.into_inner()).insert(name, function);
        Ok(function)
    }

    /// Launches a kernel of this file. It runs later, after all that was launched before.
    ///
    /// A kernel touches memory of the GPU alone, to which no reference of this program points; so a wrong one can spoil numbers, or end the GPU's work with an error, but not the program.
    ///
    /// # Errors
    /// No such kernel; a GPU that failed before.
    pub(crate) fn launch(&self, gpu: &'static Gpu, kernel: &'static str, grid: Grid, arguments: &[&dyn Argument]) -> Result<()> {
        gpu.enter()?;
        let function = self.function(gpu, kernel, grid.shared)?;
        let mut pointers = [std::ptr::null_mut::<c_void>(); PARAMETERS];
        if arguments.len() > PARAMETERS || grid.blocks.contains(&0) {
            return Err(Error::device("cuda", format!("kernel {kernel}: {} arguments over blocks {:?}", arguments.len(), grid.blocks)));
        }
        for (pointer, argument) in pointers.iter_mut().zip(arguments) {
            *pointer = std::ptr::from_ref::<dyn Argument>(*argument).cast::<c_void>().cast_mut();
        }
        let ([x, y, z], [a, b, c]) = (grid.blocks, grid.threads);
        // SAFETY: the function is loaded; the driver copies the arguments, which are laid out as its parameters, before the call returns.
        unsafe { result::launch_kernel(function.handle, (x, y, z), (a, b, c), grid.shared, gpu.stream(), &mut pointers[..arguments.len()]) }
            .map_err(|error| Error::device("cuda", format!("kernel {kernel} over {grid:?}: {}", driver::text(error))))?;
        gpu.launched("cuda", function.number)
    }
}
