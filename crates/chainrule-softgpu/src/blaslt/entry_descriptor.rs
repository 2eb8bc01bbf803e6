//! `cublasLt…Create`, `Init`, `SetAttribute`, `GetAttribute`, `Destroy` of the three descriptors.
use super::descriptor::{Descriptor, Kind, attribute};
use super::entry::answer;
use super::{BlasStatus, Refusal};
use crate::machine::Machine;
use std::ffi::c_void;

impl Machine {
    /// A descriptor of the library's, or one in the caller's memory.
    ///
    /// # Safety
    /// `handle` is one of the library's handles, or null, or leads to memory that an `Init` filled.
    pub unsafe fn descriptor(&self, kind: Kind, handle: u64) -> Result<Descriptor, Refusal> {
        if let Some(known) = self.descriptors.get(&handle) {
            return if known.kind == kind { Ok(*known) } else { Err(Refusal::invalid(format!("a {:?} where a {kind:?} belongs", known.kind))) };
        }
        let words = self.caller_words(kind, handle)?;
        // SAFETY: aligned and no small number, so memory that an `Init` filled, by the contract.
        let words = unsafe { std::slice::from_raw_parts(words, kind.words()) };
        match words {
            [mark, values @ ..] if *mark == kind.mark() => Ok(Descriptor::from_words(kind, values)),
            _ => Err(Refusal::invalid(format!("{handle:#x} is no {kind:?}"))),
        }
    }

    /// Where a descriptor lies in the caller's memory; a destroyed handle is a small number and no such place.
    fn caller_words(&self, kind: Kind, handle: u64) -> Result<*mut u64, Refusal> {
        let words = handle as *mut u64;
        if handle < self.handles_end() || !words.is_aligned() {
            return Err(Refusal::invalid(format!("{handle:#x} is no {kind:?}")));
        }
        Ok(words)
    }

    /// # Safety
    /// As for `descriptor`.
    unsafe fn replace_descriptor(&mut self, handle: u64, descriptor: Descriptor) -> Result<(), Refusal> {
        if let Some(known) = self.descriptors.get_mut(&handle) {
            *known = descriptor;
            return Ok(());
        }
        let words = self.caller_words(descriptor.kind, handle)?;
        let values = descriptor.words();
        // SAFETY: room for the mark and the values, as `Init` checked.
        unsafe {
            words.write(descriptor.kind.mark());
            std::ptr::copy_nonoverlapping(values.as_ptr(), words.add(1), values.len());
        }
        Ok(())
    }
}

/// # Safety
/// `place` is null or good for writing a handle.
unsafe fn create(name: &str, place: *mut u64, descriptor: Descriptor) -> BlasStatus {
    answer(name, |machine| {
        if place.is_null() {
            return Err(Refusal::invalid("no place for the handle"));
        }
        let handle = machine.new_handle();
        machine.descriptors.insert(handle, descriptor);
        // SAFETY: not null, and good for writing by the contract.
        unsafe { place.write(handle) };
        Ok(())
    })
}

/// # Safety
/// `handle` leads to `bytes` bytes of the caller's memory.
unsafe fn init(name: &str, handle: u64, bytes: usize, descriptor: Descriptor) -> BlasStatus {
    answer(name, |machine| {
        if bytes < descriptor.kind.words() * 8 {
            return Err(Refusal::invalid(format!("{bytes} bytes for a {:?}", descriptor.kind)));
        }
        // SAFETY: the caller's memory is large enough.
        unsafe { machine.replace_descriptor(handle, descriptor) }
    })
}

/// # Safety
/// `handle` is a descriptor, `value` is null or good for reading `bytes` bytes.
unsafe fn set(name: &str, kind: Kind, handle: u64, attribute: u32, value: *const c_void, bytes: usize) -> BlasStatus {
    answer(name, |machine| {
        // SAFETY: a descriptor by the contract.
        let mut descriptor = unsafe { machine.descriptor(kind, handle) }?;
        let width = descriptor.width(attribute)?;
        if value.is_null() || bytes != width {
            return Err(Refusal::invalid(format!("{kind:?} attribute {attribute} has {width} bytes, not {bytes}")));
        }
        let mut number = [0; 8];
        // SAFETY: `width` bytes can be read by the contract, and `width` is at most 8.
        unsafe { std::ptr::copy_nonoverlapping(value.cast::<u8>(), number.as_mut_ptr(), width) };
        descriptor.set(attribute, u64::from_le_bytes(number));
        // SAFETY: found above, so there is room for it.
        unsafe { machine.replace_descriptor(handle, descriptor) }
    })
}

/// # Safety
/// `handle` is a descriptor, `value` is null or good for writing `bytes` bytes, `written` is null or good for a number.
unsafe fn get(name: &str, kind: Kind, handle: u64, attribute: u32, value: *mut c_void, bytes: usize, written: *mut usize) -> BlasStatus {
    answer(name, |machine| {
        // SAFETY: a descriptor by the contract.
        let descriptor = unsafe { machine.descriptor(kind, handle) }?;
        let width = descriptor.width(attribute)?;
        if !written.is_null() {
            // SAFETY: not null, and good for writing by the contract.
            unsafe { written.write(width) };
        }
        if bytes == 0 {
            return Ok(());
        }
        if value.is_null() || bytes != width {
            return Err(Refusal::invalid(format!("{kind:?} attribute {attribute} has {width} bytes, not {bytes}")));
        }
        let number = descriptor.get(attribute).to_le_bytes();
        // SAFETY: `width` bytes can be written by the contract.
        unsafe { std::ptr::copy_nonoverlapping(number.as_ptr(), value.cast::<u8>(), width) };
        Ok(())
    })
}

fn destroy(name: &str, handle: u64) -> BlasStatus {
    answer(name, |machine| machine.descriptors.remove(&handle).map(|_| ()).ok_or_else(|| Refusal::invalid(format!("{handle:#x} is no descriptor"))))
}

fn matmul(compute: u32, scale: u32) -> Descriptor {
    let mut descriptor = Descriptor::new(Kind::Matmul);
    descriptor.set(attribute::COMPUTE_TYPE, compute.into());
    descriptor.set(attribute::SCALE_TYPE, scale.into());
    descriptor
}

fn layout(element: u32, rows: u64, columns: u64, leading: i64) -> Descriptor {
    let mut descriptor = Descriptor::new(Kind::Layout);
    descriptor.set(attribute::LAYOUT_TYPE, element.into());
    descriptor.set(attribute::LAYOUT_ROWS, rows);
    descriptor.set(attribute::LAYOUT_COLS, columns);
    descriptor.set(attribute::LAYOUT_LD, leading as u64);
    descriptor
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescCreate(place: *mut u64, compute: u32, scale: u32) -> BlasStatus {
    // SAFETY: the library's contract is that of `create`.
    unsafe { create("cublasLtMatmulDescCreate", place, matmul(compute, scale)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescInit_internal(handle: u64, bytes: usize, compute: u32, scale: u32) -> BlasStatus {
    // SAFETY: the library's contract is that of `init`.
    unsafe { init("cublasLtMatmulDescInit", handle, bytes, matmul(compute, scale)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutCreate(place: *mut u64, element: u32, rows: u64, columns: u64, leading: i64) -> BlasStatus {
    // SAFETY: the library's contract is that of `create`.
    unsafe { create("cublasLtMatrixLayoutCreate", place, layout(element, rows, columns, leading)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutInit_internal(handle: u64, bytes: usize, element: u32, rows: u64, columns: u64, leading: i64) -> BlasStatus {
    // SAFETY: the library's contract is that of `init`.
    unsafe { init("cublasLtMatrixLayoutInit", handle, bytes, layout(element, rows, columns, leading)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceCreate(place: *mut u64) -> BlasStatus {
    // SAFETY: the library's contract is that of `create`.
    unsafe { create("cublasLtMatmulPreferenceCreate", place, Descriptor::new(Kind::Preference)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceInit_internal(handle: u64, bytes: usize) -> BlasStatus {
    // SAFETY: the library's contract is that of `init`.
    unsafe { init("cublasLtMatmulPreferenceInit", handle, bytes, Descriptor::new(Kind::Preference)) }
}

macro_rules! attributes {
    ($($kind:ident: $set:ident, $get:ident, $destroy:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $set(handle: u64, attribute: u32, value: *const c_void, bytes: usize) -> BlasStatus {
            // SAFETY: the library's contract is that of `set`.
            unsafe { set(stringify!($set), Kind::$kind, handle, attribute, value, bytes) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $get(handle: u64, attribute: u32, value: *mut c_void, bytes: usize, written: *mut usize) -> BlasStatus {
            // SAFETY: the library's contract is that of `get`.
            unsafe { get(stringify!($get), Kind::$kind, handle, attribute, value, bytes, written) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $destroy(handle: u64) -> BlasStatus {
            destroy(stringify!($destroy), handle)
        }
    )*};
}

attributes! {
    Matmul: cublasLtMatmulDescSetAttribute, cublasLtMatmulDescGetAttribute, cublasLtMatmulDescDestroy;
    Layout: cublasLtMatrixLayoutSetAttribute, cublasLtMatrixLayoutGetAttribute, cublasLtMatrixLayoutDestroy;
    Preference: cublasLtMatmulPreferenceSetAttribute, cublasLtMatmulPreferenceGetAttribute, cublasLtMatmulPreferenceDestroy;
}
