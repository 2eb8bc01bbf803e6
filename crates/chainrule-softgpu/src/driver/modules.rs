//! `cuModule…`: images are PTX texts.
use crate::call::{Needs, RELAXED, answer, give};
use crate::status::{Outcome, Status};
use std::ffi::{CStr, c_char, c_uint, c_void};

/// A caller's text.
///
/// # Safety
/// `text` is null or a string that ends in a zero.
unsafe fn text_of<'a>(text: *const c_char) -> Outcome<&'a str> {
    if text.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: not null, and zero-terminated by the contract.
    unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| Status::INVALID_VALUE)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut u64, image: *const c_void) -> Status {
    answer("cuModuleLoadData", Needs::Context, |machine| {
        // SAFETY: PTX is given as a text that ends in a zero, by the driver's contract.
        let text = unsafe { text_of(image.cast()) }?;
        machine.guard_unsafe_call(RELAXED.get())?;
        let handle = machine.load_module(text)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(module, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut u64,
    image: *const c_void,
    _option_count: c_uint,
    _options: *mut c_uint,
    _values: *mut *mut c_void,
) -> Status {
    // SAFETY: the same contract; options steer the compiler, which is not here.
    unsafe { cuModuleLoadData(module, image) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(module: *mut u64, path: *const c_char) -> Status {
    answer("cuModuleLoad", Needs::Context, |machine| {
        // SAFETY: a path that ends in a zero, by the driver's contract.
        let path = unsafe { text_of(path) }?;
        let text = std::fs::read_to_string(path).map_err(|_| Status::FILE_NOT_FOUND)?;
        machine.guard_unsafe_call(RELAXED.get())?;
        let handle = machine.load_module(&text)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(module, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: u64) -> Status {
    answer("cuModuleUnload", Needs::Context, |machine| {
        machine.guard_unsafe_call(RELAXED.get())?;
        machine.unload_module(module)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(function: *mut u64, module: u64, name: *const c_char) -> Status {
    answer("cuModuleGetFunction", Needs::Context, |machine| {
        // SAFETY: a name that ends in a zero, by the driver's contract.
        let handle = machine.find_function(module, unsafe { text_of(name) }?)?;
        // SAFETY: a place for the result, by the driver's contract.
        unsafe { give(function, handle) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(address: *mut u64, bytes: *mut usize, module: u64, name: *const c_char) -> Status {
    answer("cuModuleGetGlobal", Needs::Context, |machine| {
        // SAFETY: a name that ends in a zero, by the driver's contract.
        let name = unsafe { text_of(name) }?;
        let loaded = machine.modules.get(&module).ok_or(Status::INVALID_HANDLE)?;
        let (first, size) = loaded.module.variable(name, &machine.memory.bytes).ok_or(Status::NOT_FOUND)?;
        // SAFETY: each place is skipped where it is null, as the driver's contract allows.
        unsafe {
            if !address.is_null() {
                give(address, first)?;
            }
            if bytes.is_null() { Ok(()) } else { give(bytes, size) }
        }
    })
}
