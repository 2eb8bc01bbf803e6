//! MNIST: the real files, and folders in its layout that are wrong.

use chainrule_autograd::{DType, Rng};
use chainrule_data::{Dataset, Mnist, MnistSplit};
use std::path::PathBuf;

/// The spacing of f32 numbers at the largest normalised pixel, 2.8.
const ULP: f64 = 1.0 / (1 << 22) as f64;

fn real() -> Mnist {
    Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/mnist")).unwrap()
}

fn images(count: u32, side: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    [count, side, side].iter().for_each(|d| bytes.extend(d.to_be_bytes()));
    bytes.extend((0..count * side * side).map(|i| i as u8));
    bytes
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend((labels.len() as u32).to_be_bytes());
    bytes.extend(labels);
    bytes
}

/// A folder with these four files, without the `None`s.
fn folder(name: &str, files: [Option<Vec<u8>>; 4]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (file, bytes) in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"].iter().zip(files) {
        if let Some(bytes) = bytes {
            std::fs::write(folder.join(file), bytes).unwrap();
        }
    }
    folder
}

#[test]
fn the_real_files_hold_what_is_known_of_them() {
    let Mnist { train, test, .. } = real();
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    let histogram = |split: &MnistSplit| split.labels().iter().fold([0; 10], |mut h, &label| (h[label as usize] += 1, h).1);
    assert_eq!(histogram(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(histogram(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    let (mean, deviation) = train.mean_and_deviation();
    assert!((mean - 0.130_660_5).abs() < 1e-6 && (deviation - 0.308_107_8).abs() < 1e-6, "{mean} {deviation}");
}

#[test]
fn a_batch_is_gathered_and_normalised() {
    let train = real().train;
    let indices = [59_999, 0, 0, 31_415];
    let batch = train.batch(&indices, &mut Rng::seeded(0)).unwrap();
    assert_eq!((batch.images.dims(), batch.images.dtype()), (&[4, 1, 28, 28][..], DType::F32));
    assert_eq!((batch.labels.dims(), batch.labels.dtype()), (&[4][..], DType::I64));
    let expected = indices.map(|i| train.labels()[i] as i64);
    assert_eq!(batch.labels.to_vec::<i64>().unwrap(), expected);
    let pixels = batch.images.to_vec::<f32>().unwrap();
    for (at, &x) in pixels.iter().enumerate() {
        let pixel = train.pixels()[indices[at / 784] * 784 + at % 784];
        let expected = (pixel as f64 / 255.0 - 0.1307f32 as f64) / 0.3081f32 as f64;
        assert!((x as f64 - expected).abs() <= ULP, "{at}: {x} {expected}");
    }
}

#[test]
fn the_default_normalisation_gives_mean_0_and_deviation_1() {
    let train = real().train;
    let all: Vec<usize> = (0..train.len()).collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    for chunk in all.chunks(1000) {
        let batch = train.batch(chunk, &mut Rng::seeded(0)).unwrap();
        for &x in batch.images.array().as_slice::<f32>().unwrap() {
            sum += x as f64;
            squares += (x as f64).powi(2);
        }
    }
    let count = 60_000.0 * 784.0;
    let (mean, deviation) = (sum / count, (squares / count - (sum / count).powi(2)).sqrt());
    assert!(mean.abs() < 2e-4 && (deviation - 1.0).abs() < 2e-4, "{mean} {deviation}");
}

#[test]
fn another_normalisation() {
    let path = folder("normalised", [Some(images(2, 28)), Some(labels(&[3, 9])), Some(images(1, 28)), Some(labels(&[0]))]);
    let data = Mnist::load(&path).unwrap();
    let batch = data.clone().normalised(0.0, 1.0).unwrap().train.batch(&[1], &mut Rng::seeded(0)).unwrap();
    for (i, x) in batch.images.to_vec::<f32>().unwrap().into_iter().enumerate() {
        let pixel = (784 + i) as u8;
        assert!((x as f64 - pixel as f64 / 255.0).abs() <= ULP && x <= 1.0, "{pixel}: {x}");
    }
    for (mean, deviation) in [(0.0, 0.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (0.0, -1.0), (f32::MAX, 1.0), (0.0, 1e-44)] {
        assert!(data.clone().normalised(mean, deviation).unwrap_err().to_string().contains("deviation"));
    }
}

#[test]
fn indices_outside_are_an_error() {
    let test = real().test;
    let error = test.batch(&[3, 10_000], &mut Rng::seeded(0)).unwrap_err().to_string();
    assert!(error.contains("10000") && error.contains("10000 samples"), "{error}");
    assert_eq!(test.batch(&[], &mut Rng::seeded(0)).unwrap().images.dims(), [0, 1, 28, 28]);
}

#[test]
fn wrong_folders_are_refused_by_name() {
    let good = || [Some(images(2, 28)), Some(labels(&[3, 9])), Some(images(1, 28)), Some(labels(&[0]))];
    assert_eq!(Mnist::load(folder("good", good())).unwrap().train.len(), 2);
    type Case = (&'static str, usize, Option<Vec<u8>>, &'static [&'static str]);
    let cases: [Case; 7] = [
        ("missing", 2, None, &["missing", "no file t10k-images-idx3-ubyte", ".gz"]),
        ("side", 0, Some(images(2, 27)), &["train-images", "[2, 27, 27]", "[N, 28, 28]"]),
        ("swapped", 0, Some(labels(&[3, 9])), &["train-images", "U8 [2]", "[N, 28, 28]"]),
        ("rank", 1, Some(images(2, 28)), &["train-labels", "[2, 28, 28]", "[N]"]),
        ("counts", 1, Some(labels(&[3, 9, 1])), &["train-labels", "3 labels", "2 images"]),
        ("label", 3, Some(labels(&[10])), &["t10k-labels", "label 0 is 10", "0 to 9"]),
        ("short", 2, Some(images(1, 28)[..500].to_vec()), &["t10k-images", "cut short"]),
    ];
    for (name, at, replacement, parts) in cases {
        let mut files = good();
        files[at] = replacement;
        let error = Mnist::load(folder(name, files)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error}");
    }
    let error = Mnist::load("no/such/folder").unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}
