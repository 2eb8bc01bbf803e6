//! A model's numbers by path: taking them out, putting them in, files.

mod dict;
mod file;
mod report;
pub mod safetensors;
pub mod source;

pub use dict::{Loading, StateDict, load, load_from, load_partly, load_state_dict, load_state_dict_partly, save, state_dict, to_device, to_dtype};
pub use file::write_file;
pub use report::{LoadReport, Mismatch, Unmatched};
