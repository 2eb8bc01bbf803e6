//! The driver's results (`CUresult`): the values, names and descriptions of those this driver answers with.
use std::ffi::CStr;

/// A result of the driver; `Status::SUCCESS` or an error.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub u32);

/// What an operation of the driver comes to.
pub type Outcome<T = ()> = Result<T, Status>;

macro_rules! statuses {
    ($($name:ident = $value:literal $full:literal, $text:literal;)*) => {
        #[allow(missing_docs, reason = "the names are the driver's own")]
        impl Status {
            $(pub const $name: Status = Status($value);)*

            /// Name and description, as `cuGetErrorName` and `cuGetErrorString` give them.
            pub fn describe(self) -> Option<(&'static CStr, &'static CStr)> {
                let texts = match self.0 {
                    $($value => (concat!($full, "\0"), concat!($text, "\0")),)*
                    _ => return None,
                };
                Some((CStr::from_bytes_with_nul(texts.0.as_bytes()).ok()?, CStr::from_bytes_with_nul(texts.1.as_bytes()).ok()?))
            }
        }
    };
}

statuses! {
    SUCCESS = 0 "CUDA_SUCCESS", "no error";
    INVALID_VALUE = 1 "CUDA_ERROR_INVALID_VALUE", "invalid argument";
    OUT_OF_MEMORY = 2 "CUDA_ERROR_OUT_OF_MEMORY", "out of memory";
    NOT_INITIALIZED = 3 "CUDA_ERROR_NOT_INITIALIZED", "initialization error";
    INVALID_DEVICE = 101 "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal";
    INVALID_CONTEXT = 201 "CUDA_ERROR_INVALID_CONTEXT", "invalid device context";
    INVALID_PTX = 218 "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed";
    FILE_NOT_FOUND = 301 "CUDA_ERROR_FILE_NOT_FOUND", "file not found";
    INVALID_HANDLE = 400 "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle";
    ILLEGAL_STATE = 401 "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state";
    NOT_FOUND = 500 "CUDA_ERROR_NOT_FOUND", "named symbol not found";
    NOT_READY = 600 "CUDA_ERROR_NOT_READY", "device not ready";
    ILLEGAL_ADDRESS = 700 "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered";
    HOST_MEMORY_ALREADY_REGISTERED = 712 "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped";
    HOST_MEMORY_NOT_REGISTERED = 713 "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region";
    MISALIGNED_ADDRESS = 716 "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address";
    LAUNCH_FAILED = 719 "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure";
    NOT_SUPPORTED = 801 "CUDA_ERROR_NOT_SUPPORTED", "operation not supported";
    STREAM_CAPTURE_UNSUPPORTED = 900 "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing";
    STREAM_CAPTURE_INVALIDATED = 901 "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture";
    STREAM_CAPTURE_MERGE = 902 "CUDA_ERROR_STREAM_CAPTURE_MERGE", "operation would result in a merge of separate capture sequences";
    STREAM_CAPTURE_UNMATCHED = 903 "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not ended in the same stream as it began";
    STREAM_CAPTURE_UNJOINED = 904 "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work";
    STREAM_CAPTURE_ISOLATION = 905 "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream";
    STREAM_CAPTURE_IMPLICIT = 906 "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream";
    CAPTURED_EVENT = 907 "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream";
    STREAM_CAPTURE_WRONG_THREAD = 908 "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread";
    UNKNOWN = 999 "CUDA_ERROR_UNKNOWN", "unknown error";
}

impl From<Outcome> for Status {
    fn from(outcome: Outcome) -> Status {
        match outcome {
            Ok(()) => Status::SUCCESS,
            Err(status) => status,
        }
    }
}
