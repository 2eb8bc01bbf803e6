//! [`Global`]: the names that pickles of tensors may use.

use chainrule_nn::source::Stored;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::read) enum Global {
    OrderedDict,
    /// `torch._utils._rebuild_tensor`, `_v2` and `_v3`: storage, offset, extents, strides, …, and in `_v3` the element type.
    Tensor,
    TensorOfType,
    /// What makes a parameter of a tensor.
    Parameter,
    /// `torch.Size`, a tuple.
    Size,
    /// `torch.FloatStorage` and its like; `None` holds bytes.
    Storage(Option<Stored>),
    /// `torch.float32` and its like.
    DType(Stored),
    /// What is called but holds no tensors: devices, element types, NumPy's scalars.
    Inert,
}

impl Global {
    pub(super) fn find(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TensorOfType,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") | ("torch.nn.parameter", "Parameter") => Global::Parameter,
            ("torch", "Size") => Global::Size,
            ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => Global::Storage(None),
            ("torch", _) => return of_torch(name),
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") | ("numpy", "dtype") | ("_codecs", "encode") => Global::Inert,
            _ => return None,
        })
    }
}

fn of_torch(name: &str) -> Option<Global> {
    use Stored::*;
    let stored = match name {
        "DoubleStorage" | "float64" => F64,
        "FloatStorage" | "float32" => F32,
        "HalfStorage" | "float16" => F16,
        "BFloat16Storage" | "bfloat16" => BF16,
        "LongStorage" | "int64" => I64,
        "IntStorage" | "int32" => I32,
        "ShortStorage" | "int16" => I16,
        "CharStorage" | "int8" => I8,
        "ByteStorage" | "uint8" => U8,
        "BoolStorage" | "bool" => Bool,
        "uint16" => U16,
        "uint32" => U32,
        "device" => return Some(Global::Inert),
        _ => return None,
    };
    Some(if name.ends_with("Storage") { Global::Storage(Some(stored)) } else { Global::DType(stored) })
}
