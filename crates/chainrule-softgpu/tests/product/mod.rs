//! A product for cuBLASLt by cudarc's raw calls, and the same by naive loops in f64.
#![allow(dead_code, reason = "each test file uses a part")]
use crate::client::{allocate, download, finish, good, status, stream, upload};
use cudarc::cublaslt::sys::{self, cublasStatus_t};
use half::{bf16, f16};
use std::ffi::c_void;

pub const F32: u32 = 0;
pub const F64: u32 = 1;
pub const F16: u32 = 2;
pub const BF16: u32 = 14;

/// Writes values in an element type.
pub fn encode(element: u32, values: &[f64]) -> Vec<u8> {
    let bytes = values.iter().map(|value| match element {
        F64 => value.to_le_bytes().to_vec(),
        F16 => f16::from_f64(*value).to_le_bytes().to_vec(),
        BF16 => bf16::from_f64(*value).to_le_bytes().to_vec(),
        _ => (*value as f32).to_le_bytes().to_vec(),
    });
    bytes.collect::<Vec<_>>().concat()
}

/// Reads values of an element type.
pub fn decode(element: u32, bytes: &[u8]) -> Vec<f64> {
    match element {
        F64 => bytes.chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap())).collect(),
        F16 => bytes.chunks_exact(2).map(|chunk| f16::from_le_bytes(chunk.try_into().unwrap()).to_f64()).collect(),
        BF16 => bytes.chunks_exact(2).map(|chunk| bf16::from_le_bytes(chunk.try_into().unwrap()).to_f64()).collect(),
        _ => bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()).into()).collect(),
    }
}

pub fn width(element: u32) -> usize {
    encode(element, &[0.0]).len()
}

/// Small numbers that all element types hold exactly, so that only the order of sums rounds.
pub fn values(count: usize, salt: usize) -> Vec<f64> {
    (0..count).map(|index| ((index * 37 + salt * 11) % 17) as f64 / 8.0 - 1.0).collect()
}

/// A matrix or a batch of them: layout, and values in the order of memory, gaps included.
#[derive(Clone)]
pub struct Matrix {
    pub element: u32,
    pub rows: usize,
    pub columns: usize,
    pub leading: usize,
    pub row_major: bool,
    pub batch: usize,
    pub stride: usize,
    pub values: Vec<f64>,
}

impl Matrix {
    /// With gaps behind the lines and between the matrices.
    pub fn new(element: u32, rows: usize, columns: usize, row_major: bool, batch: usize, salt: usize) -> Matrix {
        let (line, lines) = if row_major { (columns, rows) } else { (rows, columns) };
        let leading = line + 3;
        let stride = leading * lines + 5;
        Matrix { element, rows, columns, leading, row_major, batch, stride, values: values(stride * batch, salt) }
    }

    pub fn at(&self, batch: usize, row: usize, column: usize) -> usize {
        batch * self.stride + if self.row_major { row * self.leading + column } else { column * self.leading + row }
    }

    pub fn get(&self, batch: usize, row: usize, column: usize, transposed: bool) -> f64 {
        self.values[if transposed { self.at(batch, column, row) } else { self.at(batch, row, column) }]
    }

    /// In device memory; gaps stay unwritten, so that reading them would be found.
    pub fn upload(&self) -> u64 {
        let address = allocate(self.values.len() * width(self.element));
        for batch in 0..self.batch {
            for row in 0..self.rows {
                for column in 0..self.columns {
                    let at = self.at(batch, row, column);
                    let bytes = encode(self.element, &self.values[at..at + 1]);
                    good!(cudarc::driver::sys::cuMemcpyHtoD_v2(address + (at * bytes.len()) as u64, bytes.as_ptr().cast(), bytes.len()));
                }
            }
        }
        address
    }

    /// One matrix of device memory, row by row.
    pub fn download(&self, address: u64, batch: usize) -> Vec<f64> {
        let mut all = Vec::new();
        for row in 0..self.rows {
            for column in 0..self.columns {
                let at = (self.at(batch, row, column) * width(self.element)) as u64;
                all.extend(decode(self.element, &download::<u8>(address + at, width(self.element))));
            }
        }
        all
    }

    pub fn layout(&self) -> sys::cublasLtMatrixLayout_t {
        let mut layout = std::ptr::null_mut();
        // SAFETY: every value of the element types above is one of cudarc's enumeration.
        let element: sys::cudaDataType = unsafe { std::mem::transmute(self.element) };
        good!(sys::cublasLtMatrixLayoutCreate(&mut layout, element, self.rows as u64, self.columns as u64, self.leading as i64));
        use sys::cublasLtMatrixLayoutAttribute_t as attribute;
        let set = |attribute, value: &[u8]| good!(sys::cublasLtMatrixLayoutSetAttribute(layout, attribute, value.as_ptr().cast(), value.len()));
        set(attribute::CUBLASLT_MATRIX_LAYOUT_ORDER, &u32::from(self.row_major).to_le_bytes());
        set(attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &(self.batch as i32).to_le_bytes());
        set(attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &(self.stride as i64).to_le_bytes());
        layout
    }
}

/// A product.
pub struct Product {
    pub a: Matrix,
    pub b: Matrix,
    pub c: Matrix,
    pub d: Matrix,
    pub transpose_a: bool,
    pub transpose_b: bool,
    pub alpha: f64,
    pub beta: f64,
    pub compute: u32,
    pub epilogue: u32,
    pub bias: u64,
    pub auxiliary: u64,
    pub auxiliary_leading: usize,
    /// Elements of the bias and of the auxiliary matrix from one product of the batch to the next.
    pub strides: (i64, i64),
    pub bias_type: u32,
    pub workspace: usize,
    pub alignment: u32,
}

impl Product {
    /// `[m, k] · [k, n]`, column by column.
    pub fn new(element: u32, result: u32, (m, n, k): (usize, usize, usize), (transpose_a, transpose_b): (bool, bool), batch: usize) -> Product {
        let (a, b) = (if transpose_a { (k, m) } else { (m, k) }, if transpose_b { (n, k) } else { (k, n) });
        Product {
            a: Matrix::new(element, a.0, a.1, false, batch, 1),
            b: Matrix::new(element, b.0, b.1, false, batch, 2),
            c: Matrix::new(result, m, n, false, batch, 3),
            d: Matrix::new(result, m, n, false, batch, 4),
            transpose_a,
            transpose_b,
            alpha: 1.0,
            beta: 0.0,
            compute: if element == F64 { 70 } else { 68 },
            epilogue: 1,
            bias: 0,
            auxiliary: 0,
            auxiliary_leading: 0,
            strides: (0, 0),
            bias_type: result,
            workspace: 0,
            alignment: 256,
        }
    }

    fn description(&self) -> sys::cublasLtMatmulDesc_t {
        let mut description = std::ptr::null_mut();
        let scale = if self.a.element == F64 { sys::cudaDataType::CUDA_R_64F } else { sys::cudaDataType::CUDA_R_32F };
        // SAFETY: the compute types of the tests are of cudarc's enumeration.
        let compute: sys::cublasComputeType_t = unsafe { std::mem::transmute(self.compute) };
        good!(sys::cublasLtMatmulDescCreate(&mut description, compute, scale));
        use sys::cublasLtMatmulDescAttributes_t as attribute;
        let set = |attribute, value: &[u8]| good!(sys::cublasLtMatmulDescSetAttribute(description, attribute, value.as_ptr().cast(), value.len()));
        set(attribute::CUBLASLT_MATMUL_DESC_TRANSA, &u32::from(self.transpose_a).to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_TRANSB, &u32::from(self.transpose_b).to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &self.epilogue.to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &self.bias.to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &self.auxiliary.to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &(self.auxiliary_leading as i64).to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &self.strides.0.to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, &self.strides.1.to_le_bytes());
        set(attribute::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &self.bias_type.to_le_bytes());
        description
    }

    /// Queues the product over these addresses; that of its workspace, which was written before. The search must succeed first.
    pub fn launch(&self, addresses: [u64; 4], stream: cudarc::driver::sys::CUstream) -> Result<u64, cublasStatus_t> {
        let (mut handle, mut preference) = (std::ptr::null_mut(), std::ptr::null_mut());
        good!(sys::cublasLtCreate(&mut handle));
        good!(sys::cublasLtMatmulPreferenceCreate(&mut preference));
        use sys::cublasLtMatmulPreferenceAttributes_t as wish;
        let set = |attribute, value: &[u8]| good!(sys::cublasLtMatmulPreferenceSetAttribute(preference, attribute, value.as_ptr().cast(), value.len()));
        set(wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &(1_u64 << 20).to_le_bytes());
        for operand in [
            wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            set(operand, &self.alignment.to_le_bytes());
        }
        let (description, layouts) = (self.description(), [&self.a, &self.b, &self.c, &self.d].map(Matrix::layout));
        let [a, b, c, d] = layouts;
        // SAFETY: a plain structure of numbers, for which zero is good.
        let mut found: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        let mut count = 0;
        check(status!(sys::cublasLtMatmulAlgoGetHeuristic(handle, description, a, b, c, d, preference, 1, &mut found, &mut count)))?;
        assert_eq!(count, 1);
        let workspace = if self.workspace > 0 { self.workspace } else { found.workspaceSize };
        let place = allocate(workspace.max(16));
        good!(cudarc::driver::sys::cuMemsetD8Async(place, 0, workspace.max(16), stream));
        let (singles, doubles) = ([self.alpha as f32, self.beta as f32], [self.alpha, self.beta]);
        let factor =
            |number: usize| -> *const c_void { if self.a.element == F64 { (&raw const doubles[number]).cast() } else { (&raw const singles[number]).cast() } };
        let pointers = addresses.map(|address| address as *mut c_void);
        let [pa, pb, pc, pd] = pointers;
        let (alpha, beta) = (factor(0), factor(1));
        let queued = status!(sys::cublasLtMatmul(
            handle,
            description,
            alpha,
            pa,
            a,
            pb,
            b,
            beta,
            pc,
            c,
            pd,
            d,
            &found.algo,
            place as *mut c_void,
            workspace,
            stream.cast()
        ));
        good!(sys::cublasLtMatmulDescDestroy(description));
        layouts.iter().for_each(|layout| good!(sys::cublasLtMatrixLayoutDestroy(*layout)));
        good!(sys::cublasLtMatmulPreferenceDestroy(preference));
        good!(sys::cublasLtDestroy(handle));
        check(queued).map(|()| place)
    }

    /// Uploads, multiplies, and downloads the batch's results row by row.
    pub fn run(&self) -> Result<Vec<Vec<f64>>, cublasStatus_t> {
        let d = allocate(self.d.values.len() * width(self.d.element));
        let stream = stream();
        self.launch([self.a.upload(), self.b.upload(), self.c.upload(), d], stream)?;
        finish(stream);
        Ok((0..self.d.batch).map(|batch| self.d.download(d, batch)).collect())
    }

    /// `alpha op(a) op(b) + beta c` by naive loops, row by row.
    pub fn expected(&self, batch: usize) -> Vec<f64> {
        let k = if self.transpose_a { self.a.rows } else { self.a.columns };
        let mut all = Vec::new();
        for row in 0..self.d.rows {
            for column in 0..self.d.columns {
                let product = |inner| self.a.get(batch, row, inner, self.transpose_a) * self.b.get(batch, inner, column, self.transpose_b);
                let sum: f64 = (0..k).map(product).sum();
                let old = if self.beta == 0.0 { 0.0 } else { self.c.get(batch, row, column, false) };
                all.push(self.alpha * sum + self.beta * old);
            }
        }
        all
    }
}

fn check(status: cublasStatus_t) -> Result<(), cublasStatus_t> {
    if status == cublasStatus_t::CUBLAS_STATUS_SUCCESS { Ok(()) } else { Err(status) }
}

/// A vector in device memory.
pub fn upload_vector(element: u32, values: &[f64]) -> u64 {
    upload(&encode(element, values))
}

/// Asserts that two results are the same but for the rounding of the element type.
pub fn assert_close(got: &[f64], expected: &[f64], element: u32, what: &str) {
    let relative = match element {
        F64 => 1e-14,
        F16 => 1e-3,
        BF16 => 8e-3,
        _ => 1e-6,
    };
    assert_eq!(got.len(), expected.len());
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let bound = relative * expected.abs().max(1.0);
        assert!((got - expected).abs() <= bound, "{what}, element {index}: {got}, expected {expected}");
    }
}
