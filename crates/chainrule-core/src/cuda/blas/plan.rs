//! What cuBLASLt needs to know of a product, made once for products of one form.
//!
//! The library thinks in columns: a row-major result `C = A·B` is for it `Cᵀ = Bᵀ·Aᵀ`, whose operands lie as ours do. So our B is its first operand, and a bias along our columns is its bias.

use super::{BiasSide, Product};
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasLtMatmulDescAttributes_t as Desc, cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayoutAttribute_t as Layout,
};
use std::ffi::c_void;

/// The form of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// m, n, k
    sizes: [usize; 3],
    count: usize,
    /// Of A, B and C.
    forms: [Form; 3],
    epilogue: u32,
    tf32: bool,
}

/// How matrices lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Form {
    by_rows: bool,
    leading: i64,
    batch: i64,
    /// Bytes that the address is a multiple of, at most 16.
    alignment: u32,
}

impl Key {
    /// None for products that the library does not take as they are.
    pub fn of(product: &Product, tf32: bool) -> Option<Key> {
        let Product { sizes: [m, n, k], count, a, b, c, finish } = *product;
        let form = |x: super::Operand, rows, columns| {
            let (by_rows, leading) = x.leading(rows, columns)?;
            let batch = if count == 1 { 0 } else { x.batch as i64 };
            Some(Form { by_rows, leading, batch, alignment: 1 << x.address.trailing_zeros().min(4) })
        };
        // The library chooses for a bias that begins on 16 bytes, and does not ask.
        if finish.side != BiasSide::None && !finish.bias.is_multiple_of(16) {
            return None;
        }
        let forms = [form(a, m, k)?, form(b, k, n)?, form(c, m, n)?];
        use sys::cublasLtEpilogue_t::*;
        let epilogue = match (finish.side, finish.activation == 1) {
            (BiasSide::None, false) => CUBLASLT_EPILOGUE_DEFAULT,
            (BiasSide::None, true) => CUBLASLT_EPILOGUE_RELU,
            (BiasSide::PerColumn, false) => CUBLASLT_EPILOGUE_BIAS,
            (BiasSide::PerColumn, true) => CUBLASLT_EPILOGUE_RELU_BIAS,
            (BiasSide::PerRow, _) => return None,
        };
        (k > 0 && forms[2].by_rows).then_some(Key { sizes: [m, n, k], count, forms, epilogue: epilogue as u32, tf32 })
    }
}

/// The library's descriptors of a product, and the algorithm that it advises.
pub(super) struct Plan {
    product: sys::cublasLtMatmulDesc_t,
    /// Of B, A and C.
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: the library's descriptors are plain memory; a plan is used under a lock.
unsafe impl Send for Plan {}

fn bytes<T>(value: &T) -> (*const c_void, usize) {
    (std::ptr::from_ref(value).cast(), size_of::<T>())
}

impl Plan {
    /// The plan for a form, with so many bytes of workspace.
    pub fn new(library: sys::cublasLtHandle_t, key: &Key, workspace: usize) -> Result<Plan, CublasError> {
        use sys::{cublasComputeType_t::*, cudaDataType_t::CUDA_R_32F};
        let [m, n, k] = key.sizes;
        let compute = if key.tf32 { CUBLAS_COMPUTE_32F_FAST_TF32 } else { CUBLAS_COMPUTE_32F };
        let mut plan = Plan {
            product: result::create_matmul_desc(compute, CUDA_R_32F)?,
            layouts: [std::ptr::null_mut(); 3],
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let [a, b, c] = key.forms;
        for (place, (form, [rows, columns])) in [(b, [k, n]), (a, [m, k]), (c, [m, n])].into_iter().enumerate() {
            // What lies by rows is the transposed matrix by columns.
            let [rows, columns] = if form.by_rows { [columns, rows] } else { [rows, columns] };
            let layout = result::create_matrix_layout(CUDA_R_32F, rows as u64, columns as u64, form.leading)?;
            plan.layouts[place] = layout;
            if key.count > 1 {
                let (count, batch) = (key.count as i32, form.batch);
                for (attribute, (value, size)) in
                    [(Layout::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, bytes(&count)), (Layout::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, bytes(&batch))]
                {
                    // SAFETY: the layout is alive, and the value as large as said.
                    unsafe { result::set_matrix_layout_attribute(layout, attribute, value, size) }?;
                }
            }
        }
        // cublasOperation_t: 0 takes the matrix as it is, 1 transposed.
        let operation = |by_rows: bool| i32::from(!by_rows);
        plan.set(Desc::CUBLASLT_MATMUL_DESC_TRANSA, &operation(b.by_rows))?;
        plan.set(Desc::CUBLASLT_MATMUL_DESC_TRANSB, &operation(a.by_rows))?;
        plan.set(Desc::CUBLASLT_MATMUL_DESC_EPILOGUE, &key.epilogue)?;
        plan.algorithm = plan.advice(library, key, workspace)?;
        Ok(plan)
    }

    fn set<T>(&self, attribute: Desc, value: &T) -> Result<(), CublasError> {
        let (value, size) = bytes(value);
        // SAFETY: the descriptor is alive, and the value as large as said.
        unsafe { result::set_matmul_desc_attribute(self.product, attribute, value, size) }
    }

    fn advice(&self, library: sys::cublasLtHandle_t, key: &Key, workspace: usize) -> Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        let preference = result::create_matmul_pref()?;
        let advice = (|| {
            let set = |attribute, (value, size)| {
                // SAFETY: the preference is alive, and the value as large as said.
                unsafe { result::set_matmul_pref_attribute(preference, attribute, value, size) }
            };
            let [a, b, c] = key.forms.map(|form| form.alignment);
            set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes(&workspace))?;
            set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes(&b))?;
            set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes(&a))?;
            set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes(&c))?;
            set(Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes(&c))?;
            let [b, a, c] = self.layouts;
            // SAFETY: all descriptors are alive.
            unsafe { result::get_matmul_algo_heuristic(library, self.product, b, a, c, c, preference) }
        })();
        // SAFETY: made above, and used no more.
        unsafe { result::destroy_matmul_pref(preference) }?;
        Ok(advice?.algo)
    }

    /// Launches a product of the plan's form.
    ///
    /// # Safety
    /// The workspace is as large as it was for [`Plan::new`] and nothing but the stream's work uses it; the stream is alive.
    pub unsafe fn run(
        &self,
        library: sys::cublasLtHandle_t,
        product: &Product,
        (workspace, size): (u64, usize),
        stream: sys::cudaStream_t,
    ) -> Result<(), CublasError> {
        if product.finish.side != BiasSide::None {
            self.set(Desc::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &product.finish.bias)?;
        }
        let pointer = |address: u64| std::ptr::without_provenance_mut::<c_void>(address as usize);
        let ([b, a, c], finish) = (self.layouts, &product.finish);
        // SAFETY: all descriptors are alive and describe what stands at the addresses; the factors are read before the call returns.
        unsafe {
            result::matmul(
                library,
                self.product,
                bytes(&finish.alpha).0,
                bytes(&finish.beta).0,
                pointer(product.b.address),
                b,
                pointer(product.a.address),
                a,
                pointer(product.c.address),
                c,
                pointer(product.c.address),
                c,
                &self.algorithm,
                pointer(workspace),
                size,
                stream,
            )
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and used no more; a layout that was never made is null. An error leaves a few bytes behind.
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.product);
        }
    }
}
