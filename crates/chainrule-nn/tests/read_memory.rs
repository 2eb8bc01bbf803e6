//! What reading a file takes of memory: the arrays, and a piece of the file.

use chainrule_autograd::{Array, DType};
use chainrule_core::memory::{reset_peak, statistics};
use chainrule_nn::safetensors::{self, Safetensors};
use chainrule_nn::source::Source;

#[test]
fn the_array_and_a_piece() {
    let file = std::env::temp_dir().join(format!("chainrule-read-memory-{}.safetensors", std::process::id()));
    const COUNT: usize = 6 << 20;
    let half = Array::ones(&[COUNT / 3, 3], DType::F16).unwrap();
    safetensors::write(&file, &[("a".to_string(), half)].into(), &Default::default()).unwrap();
    for (dtype, bytes) in [(DType::F32, 4 * COUNT), (DType::F16, 2 * COUNT), (DType::F64, 8 * COUNT)] {
        let mut open = Safetensors::open(&file).unwrap();
        reset_peak();
        let before = statistics().live;
        let array = Source::read(&mut open, "a", dtype).unwrap();
        let taken = statistics().peak - before;
        // Half a million numbers of a piece, as they stand and converted.
        assert!(taken <= bytes + bytes / 4 + (1 << 20) * (1 + dtype.size() / 2), "{dtype}: {taken} bytes for {bytes}");
        assert_eq!(array.cast(DType::F64).unwrap().narrow(0, COUNT / 3 - 1, 1).unwrap().to_vec::<f64>().unwrap(), [1.0; 3]);
    }
    std::fs::remove_file(&file).unwrap();
}
