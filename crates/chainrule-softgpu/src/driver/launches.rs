//! `cuLaunchKernel`.
use crate::call::{Needs, answer};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use std::ffi::{c_uint, c_void};

impl Machine {
    /// The block of parameters that the caller's pointers lead to.
    ///
    /// # Safety
    /// `pointers` is null or holds a pointer for each of the function's parameters, good for reading that many bytes.
    unsafe fn gather(&mut self, function: u64, pointers: *mut *mut c_void) -> Outcome<Vec<u8>> {
        let kernel = self.function(function)?.kernel.clone();
        if pointers.is_null() && !kernel.parameters().is_empty() {
            return Err(Status::INVALID_VALUE);
        }
        let mut block = vec![0; kernel.parameter_bytes()];
        for (number, parameter) in kernel.parameters().iter().enumerate() {
            // SAFETY: the list is as long as the parameters, by the contract.
            let value = unsafe { pointers.add(number).read() };
            if value.is_null() {
                return Err(Status::INVALID_VALUE);
            }
            let place = &mut block[parameter.offset..][..parameter.bytes];
            // SAFETY: the caller's value has the parameter's size, by the contract; the block is new.
            unsafe { std::ptr::copy_nonoverlapping(value.cast::<u8>(), place.as_mut_ptr(), place.len()) };
        }
        Ok(block)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_shared: c_uint,
    stream: u64,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    answer("cuLaunchKernel", Needs::Context, |machine| {
        if !extra.is_null() {
            return Err(Status::NOT_SUPPORTED);
        }
        // SAFETY: one pointer a parameter, by the driver's contract.
        let parameters = unsafe { machine.gather(function, parameters) }?;
        machine.launch(function, [grid_x, grid_y, grid_z], [block_x, block_y, block_z], dynamic_shared, parameters, stream)
    })
}
