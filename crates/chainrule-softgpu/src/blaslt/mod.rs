//! cuBLASLt: descriptors, the plan of a product, the product itself and its epilogues.
mod descriptor;
mod element;
mod entry;
mod entry_descriptor;
mod epilogue;
mod matmul;
mod operand;
mod plan;
mod product;

pub use descriptor::Descriptor;
pub use matmul::Matmul;

/// A result of cuBLASLt (`cublasStatus_t`).
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlasStatus(pub u32);

#[allow(missing_docs, reason = "the names are the library's own")]
impl BlasStatus {
    pub const SUCCESS: BlasStatus = BlasStatus(0);
    pub const NOT_INITIALIZED: BlasStatus = BlasStatus(1);
    pub const INVALID_VALUE: BlasStatus = BlasStatus(7);
    pub const EXECUTION_FAILED: BlasStatus = BlasStatus(13);
    pub const INTERNAL_ERROR: BlasStatus = BlasStatus(14);
    pub const NOT_SUPPORTED: BlasStatus = BlasStatus(15);
}

/// A refusal, with the reason that cuBLASLt itself would only log.
#[derive(Debug)]
pub struct Refusal {
    pub status: BlasStatus,
    pub reason: String,
}

impl Refusal {
    fn invalid(reason: impl Into<String>) -> Refusal {
        Refusal { status: BlasStatus::INVALID_VALUE, reason: reason.into() }
    }

    fn unsupported(reason: impl Into<String>) -> Refusal {
        Refusal { status: BlasStatus::NOT_SUPPORTED, reason: reason.into() }
    }
}
