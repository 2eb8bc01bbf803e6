//! Files of weights: safetensors, PyTorch, NumPy. [`Checkpoint`] opens any of them.
//!
//! | format | files | read |
//! |---|---|---|
//! | safetensors | `.safetensors` | f64, f32, f16, bf16, i64 … i8, u32, u16, u8, truth values; other types are listed, and an error when read |
//! | PyTorch since 1.6 | `.pth`, `.pt`, `.bin` | a zip archive of a pickle and storages |
//! | PyTorch before 1.6 | the same | pickles and storages in a row |
//! | NumPy | `.npz`, `.npy` | versions 1 to 3 of the format; row-major and column-major; `.npz` stored or deflated, by its checksums |
//! | an index of several files | `*.index.json` | each of any format above, beside the index |
//!
//! The first bytes say which it is, not the name. Nested dicts and lists become names joined by dots: `state_dict.conv.weight`, `optimizer.state.0.exp_avg`;
//! a tensor saved by itself is `tensor`, the array of an `.npy` file `array`. Views of one storage, transposed, cut out or expanded, become arrays of their own.
//! Numbers go straight into the array, converted in pieces of a MiB, so that memory holds the array and little else;
//! where it is not row-major, what it spans in the file too: twice the array, or more if it is cut out of a larger one.
//!
//! Files are not trusted:
//! - A pickle is a program; the reader here runs none. It knows the names that tensors need (`collections.OrderedDict`, `torch._utils._rebuild_tensor`, `_v2`, `_v3`,
//!   `_rebuild_parameter`, `torch.Size`, `torch.device`, storages and element types, NumPy's scalars); any other is an error that names it.
//!   So a whole module that was pickled (`torch.save(model)`), an `argparse.Namespace`, sparse or quantised tensors, and complex numbers are refused: save the `state_dict()`.
//! - Sizes, offsets, strides and directories are compared with what the file really holds before any memory is asked for. Entries of an archive that overlap, are encrypted,
//!   have one name, or inflate to more than they promise, are errors, as are storages that a pickle and the file tell of differently.
//! - Refused by name: big-endian numbers, TorchScript, PyTorch's tar files from before 0.1.10, GGUF, HDF5.
//! - Files are read in pieces rather than mapped: a mapped file that another program cuts short ends the process by a signal.

mod checkpoint;
mod format;
mod numpy;
mod pickle;
mod shards;
mod stars;
mod strided;
mod torch;
mod zip;

pub use checkpoint::Checkpoint;
