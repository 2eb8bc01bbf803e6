//! A parsed PTX file: kernels and module variables.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{Fault, FaultKind, ParseError, Problem};
use crate::memory::Memory;
use crate::program::{Constant, Program};

/// Reads a PTX text (version 8.1 or lower). An instruction or modifier that this machine does not know is an error with its line.
///
/// ```
/// let module = chainrule_ptx::parse(
///     ".version 8.1
///      .target sm_80
///      .address_size 64
///      .visible .entry nothing(.param .u32 n) { ret; }",
/// )?;
/// assert_eq!(module.kernel("nothing").unwrap().parameters()[0].bytes, 4);
/// # Ok::<(), chainrule_ptx::ParseError>(())
/// ```
pub fn parse(text: &str) -> Result<Module, ParseError> {
    crate::parse::module(text)
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// First byte in the parameter block.
    pub offset: usize,
    /// Size.
    pub bytes: usize,
    /// Alignment.
    pub align: usize,
}

/// A kernel, ready to run.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) program: Program,
}

impl Kernel {
    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The size of the parameter block.
    pub fn parameter_bytes(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.offset + last.bytes)
    }

    /// Shared memory that every block has, without the dynamic part.
    pub fn shared_bytes(&self) -> usize {
        self.program.shared_bytes
    }

    /// Local memory of a thread.
    pub fn local_bytes(&self) -> usize {
        self.program.local_bytes
    }

    /// Whether it works with variables of the module.
    pub(crate) fn names_variables(&self) -> bool {
        self.program.constants.iter().any(|(_, constant)| matches!(constant, Constant::Variable(..)))
    }

    /// The most threads of a block: 1024, or what `.maxntid` says.
    pub fn max_threads(&self) -> u32 {
        self.program.max_threads
    }
}

/// A variable of the module, `.global` or `.const`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub name: String,
    /// Zero where the text gives nothing.
    pub initial: Vec<u8>,
    /// Where the address of a variable (by number) plus an offset stands in the initial bytes.
    pub pointers: Vec<(usize, usize, u64)>,
}

/// A parsed PTX file.
#[derive(Debug)]
pub struct Module {
    pub(crate) id: u64,
    pub(crate) version: (u32, u32),
    pub(crate) variables: Vec<Variable>,
    pub(crate) kernels: BTreeMap<String, Arc<Kernel>>,
}

impl Module {
    /// A number that no other module of this process has.
    pub(crate) fn next_id() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Option<Arc<Kernel>> {
        self.kernels.get(name).cloned()
    }

    /// All kernels, by name.
    pub fn kernels(&self) -> impl Iterator<Item = &Arc<Kernel>> {
        self.kernels.values()
    }

    /// Major and minor version of the PTX language that the text asks for.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Lays the module's variables into memory. Kernels that name variables run only after this.
    pub fn load(&self, memory: &mut Memory) -> Result<(), Fault> {
        let mut addresses = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            let size = variable.initial.len();
            let place = memory.allocate(size.max(1));
            addresses.push(place.ok_or_else(|| Problem::new(FaultKind::BadLaunch, format!("no memory for the variable {} of {size} bytes", variable.name)))?);
        }
        for (variable, &address) in self.variables.iter().zip(&addresses) {
            let mut bytes = variable.initial.clone();
            for &(offset, target, addend) in &variable.pointers {
                bytes[offset..offset + 8].copy_from_slice(&addresses[target].wrapping_add(addend).to_le_bytes());
            }
            memory.write(address, &bytes)?;
        }
        memory.place_variables(self.id, addresses);
        Ok(())
    }

    /// Gives the memory of the module's variables back.
    pub fn unload(&self, memory: &mut Memory) -> Result<(), Fault> {
        memory.remove_variables(self.id).into_iter().try_for_each(|address| memory.free(address))
    }

    /// Address and size of a variable, once the module is loaded.
    pub fn variable(&self, name: &str, memory: &Memory) -> Option<(u64, usize)> {
        let index = self.variables.iter().position(|variable| variable.name == name)?;
        Some((*memory.variables(self.id)?.get(index)?, self.variables[index].initial.len()))
    }
}
