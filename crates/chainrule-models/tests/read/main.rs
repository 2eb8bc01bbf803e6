//! Files of weights as others write them, real ones, damaged ones, and ones made to do harm.

mod checkpoint;
mod formats;
mod real;

use chainrule_autograd::Array;
use std::path::PathBuf;

/// A folder that goes away with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("chainrule-read-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `Σ x` and `Σ x sin i`, i from 1 on, by which Python's reading and ours are compared.
fn sums(array: &Array) -> [f64; 2] {
    let numbers = array.cast(chainrule_autograd::DType::F64).unwrap().to_vec::<f64>().unwrap();
    let weighted = numbers.iter().enumerate().map(|(i, x)| x * (i as f64 + 1.0).sin());
    [numbers.iter().sum(), weighted.sum()]
}
