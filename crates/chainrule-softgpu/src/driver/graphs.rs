//! `cuGraph…`.
use crate::call::{Needs, answer, give};
use crate::operation::Operation;
use crate::status::Status;
use std::ffi::{c_uint, c_ulonglong};

/// A node's handle is its graph's, shifted, and its number.
const NODE_SHIFT: u32 = 24;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(executable: *mut u64, graph: u64, _flags: c_ulonglong) -> Status {
    answer("cuGraphInstantiate", Needs::Context, |machine| {
        let handle = machine.instantiate(graph)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(executable, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphUpload(executable: u64, stream: u64) -> Status {
    answer("cuGraphUpload", Needs::Context, |machine| {
        machine.streams.get(stream)?;
        machine.executables.get(&executable).map(|_| ()).ok_or(Status::INVALID_VALUE)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(executable: u64, stream: u64) -> Status {
    answer("cuGraphLaunch", Needs::Context, |machine| machine.launch_graph(executable, stream))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(executable: u64) -> Status {
    answer("cuGraphExecDestroy", Needs::Driver, |machine| machine.executables.remove(&executable).map(|_| ()).ok_or(Status::INVALID_VALUE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: u64) -> Status {
    answer("cuGraphDestroy", Needs::Driver, |machine| machine.graphs.remove(&graph).map(|_| ()).ok_or(Status::INVALID_VALUE))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(graph: u64, nodes: *mut u64, count: *mut usize) -> Status {
    answer("cuGraphGetNodes", Needs::Context, |machine| {
        let found = machine.graphs.get(&graph).ok_or(Status::INVALID_VALUE)?.nodes.len();
        if count.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        if nodes.is_null() {
            // SAFETY: a place for the result, by the driver's contract.
            return unsafe { give(count, found) };
        }
        // SAFETY: not null, and it says how many nodes the caller's array holds.
        let room = unsafe { count.read() };
        for number in 0..found.min(room) {
            // SAFETY: below the array's length.
            unsafe { give(nodes.add(number), graph << NODE_SHIFT | number as u64)? };
        }
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(count, found.min(room)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: u64, kind: *mut c_uint) -> Status {
    answer("cuGraphNodeGetType", Needs::Context, |machine| {
        let graph = machine.graphs.get(&(node >> NODE_SHIFT)).ok_or(Status::INVALID_VALUE)?;
        let node = graph.nodes.get((node & ((1 << NODE_SHIFT) - 1)) as usize).ok_or(Status::INVALID_VALUE)?;
        let number = match node.operation {
            Operation::Launch(_) | Operation::Matmul(_) => 0,
            Operation::CopyIn { .. } | Operation::CopyOut { .. } | Operation::CopyInside { .. } => 1,
            Operation::Fill { .. } => 2,
            Operation::Free(_) => 11,
            Operation::Retire { .. } => 5,
            Operation::Wait { .. } => 6,
            Operation::Record { .. } => 7,
        };
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(kind, number) }
    })
}
