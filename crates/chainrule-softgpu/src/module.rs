//! Loaded modules and their functions.
use crate::machine::Machine;
use crate::operation::{KernelLaunch, Operation};
use crate::status::{Outcome, Status};
use chainrule_ptx::{Kernel, Module};
use std::sync::Arc;

/// Shared memory a block has without asking for more.
pub const SHARED: usize = 48 << 10;
/// The most shared memory that a function may be given on request.
pub const SHARED_ON_REQUEST: usize = 163 << 10;
/// Threads a block has at most.
pub const THREADS: u32 = 1024;
/// Threads that a multiprocessor holds.
pub const RESIDENT_THREADS: u32 = 2048;
/// Shared memory of a multiprocessor.
pub const RESIDENT_SHARED: usize = 164 << 10;
/// Shared memory that the system takes of each block's.
pub const RESERVED_SHARED: usize = 1 << 10;
/// Blocks that a multiprocessor holds.
pub const RESIDENT_BLOCKS: u32 = 32;
const LONGEST_BLOCK: [u32; 3] = [1024, 1024, 64];
const LONGEST_GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];

/// A module on the device.
pub struct LoadedModule {
    pub module: Module,
    /// Handles of the functions given out so far.
    pub functions: Vec<u64>,
}

/// A kernel as a module gives it out.
pub struct Function {
    pub kernel: Arc<Kernel>,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
    pub dynamic_shared: usize,
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`.
    pub carveout: i32,
}

impl Function {
    /// The largest block the kernel may have.
    pub fn most_threads(&self) -> u32 {
        self.kernel.max_threads().min(THREADS)
    }

    /// How many blocks of this size a multiprocessor holds at a time.
    pub fn resident_blocks(&self, threads: u32, dynamic_shared: usize) -> u32 {
        let shared = self.kernel.shared_bytes() + dynamic_shared;
        if threads == 0 || threads > self.most_threads() || shared > SHARED_ON_REQUEST {
            return 0;
        }
        let by_threads = RESIDENT_THREADS / threads.next_multiple_of(32);
        let by_shared = (RESIDENT_SHARED / (shared + RESERVED_SHARED)) as u32;
        by_threads.min(by_shared).min(RESIDENT_BLOCKS)
    }
}

impl Machine {
    /// Parses PTX and lays its variables into memory.
    pub fn load_module(&mut self, text: &str) -> Outcome<u64> {
        let module = match chainrule_ptx::parse(text) {
            Ok(module) => module,
            Err(error) => {
                self.report(format!("PTX: {error}"));
                return Err(Status::INVALID_PTX);
            }
        };
        if let Err(fault) = module.load(&mut self.memory.bytes) {
            self.report(format!("variables of a module: {fault}"));
            return Err(Status::OUT_OF_MEMORY);
        }
        let handle = self.new_handle();
        self.modules.insert(handle, LoadedModule { module, functions: Vec::new() });
        Ok(handle)
    }

    /// Unloads a module after the work that is queued.
    pub fn unload_module(&mut self, handle: u64) -> Outcome {
        if !self.modules.contains_key(&handle) {
            return Err(Status::INVALID_HANDLE);
        }
        self.finish_all();
        let Some(module) = self.modules.remove(&handle) else { return Err(Status::INVALID_HANDLE) };
        for function in &module.functions {
            self.functions.remove(function);
        }
        if let Err(fault) = module.module.unload(&mut self.memory.bytes) {
            self.report(format!("variables of a module: {fault}"));
        }
        self.health()
    }

    /// The function of a name; asked twice, the same handle.
    pub fn find_function(&mut self, module: u64, name: &str) -> Outcome<u64> {
        let loaded = self.modules.get(&module).ok_or(Status::INVALID_HANDLE)?;
        let kernel = loaded.module.kernel(name).ok_or(Status::NOT_FOUND)?;
        if let Some(known) = loaded.functions.iter().find(|known| self.functions.get(*known).is_some_and(|function| function.kernel.name() == name)) {
            return Ok(*known);
        }
        let handle = self.new_handle();
        let dynamic_shared = SHARED.saturating_sub(kernel.shared_bytes());
        self.functions.insert(handle, Function { kernel, dynamic_shared, carveout: -1 });
        if let Some(loaded) = self.modules.get_mut(&module) {
            loaded.functions.push(handle);
        }
        Ok(handle)
    }

    /// The function of a handle.
    pub fn function(&mut self, handle: u64) -> Outcome<&mut Function> {
        self.functions.get_mut(&handle).ok_or(Status::INVALID_HANDLE)
    }

    /// Queues a launch whose sizes the device can hold.
    pub fn launch(&mut self, function: u64, grid: [u32; 3], block: [u32; 3], dynamic_shared: u32, parameters: Vec<u8>, stream: u64) -> Outcome {
        let function = self.function(function)?;
        let fits = (0..3).all(|axis| (1..=LONGEST_GRID[axis]).contains(&grid[axis]) && (1..=LONGEST_BLOCK[axis]).contains(&block[axis]));
        let threads = block.iter().map(|extent| u64::from(*extent)).product::<u64>();
        if !fits || threads > u64::from(THREADS) || dynamic_shared as usize > function.dynamic_shared {
            let text = format!(
                "launch of {}: grid {grid:?}, block {block:?}, dynamic shared {dynamic_shared} (at most {})",
                function.kernel.name(),
                function.dynamic_shared
            );
            self.trace(|| text);
            return Err(Status::INVALID_VALUE);
        }
        if threads > u64::from(function.most_threads()) {
            return Err(Status::INVALID_VALUE);
        }
        let shared_limit = (function.kernel.shared_bytes() + function.dynamic_shared) as u32;
        let launch = KernelLaunch { kernel: function.kernel.clone(), shared_limit, grid, block, dynamic_shared, parameters };
        let captured = self.streams.get(stream)?.capture.is_some();
        self.enqueue(stream, Operation::Launch(Arc::new(launch)))?;
        self.counters.kernel_launches += u64::from(!captured);
        Ok(())
    }
}
