//! Data sets in memory and made of others.

use chainrule_autograd::{DType, Rng, Tensor};
use chainrule_data::{Dataset, Error, Subset, TensorDataset};
use std::sync::Arc;

fn numbered(len: usize) -> TensorDataset<1> {
    TensorDataset::new([Tensor::arange(0.0, len as f64, 1.0, DType::I64).unwrap()]).unwrap()
}

fn all(data: &impl Dataset<Batch = [Tensor; 1]>) -> Vec<i64> {
    let indices: Vec<usize> = (0..data.len()).collect();
    let [numbers] = data.batch(&indices, &mut Rng::seeded(0)).unwrap();
    numbers.to_vec::<i64>().unwrap()
}

#[test]
fn tensors_of_any_type_and_layout_are_gathered() {
    let bytes = Tensor::from_slice(&[1u8, 2, 3, 4, 5, 6], &[2, 3]).unwrap().transpose(0, 1).unwrap();
    let floats = Tensor::arange(0.0, 12.0, 1.0, DType::F64).unwrap().reshape(&[3, 2, 2]).unwrap();
    let data = TensorDataset::new([bytes, floats]).unwrap();
    let [bytes, floats] = data.batch(&[2, 2, 0], &mut Rng::seeded(0)).unwrap();
    assert_eq!((bytes.dims(), bytes.to_vec::<u8>().unwrap()), (&[3, 2][..], vec![3, 6, 3, 6, 1, 4]));
    assert_eq!((floats.dims(), floats.to_vec::<f64>().unwrap()), (&[3, 2, 2][..], vec![8., 9., 10., 11., 8., 9., 10., 11., 0., 1., 2., 3.]));
    let [bytes, _] = data.batch(&[], &mut Rng::seeded(0)).unwrap();
    assert_eq!(bytes.dims(), [0, 2]);
    let error = data.batch(&[3], &mut Rng::seeded(0)).unwrap_err().to_string();
    assert!(error.contains("index 3") && error.contains("3 samples"), "{error}");
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32).unwrap();
    let error = TensorDataset::new([zeros(&[3, 2]), zeros(&[2, 3])]).unwrap_err().to_string();
    assert!(error.contains("tensor 1") && error.contains("[2, 3]") && error.contains("[3, ..]"), "{error}");
    assert!(TensorDataset::new([zeros(&[3]), zeros(&[])]).is_err());
    assert!(TensorDataset::new([zeros(&[])]).is_err());
    assert!(TensorDataset::<0>::new([]).is_err());
}

#[test]
fn subsets_of_subsets() {
    let subset = numbered(10).subset([7, 1, 1, 9]).unwrap();
    assert_eq!(all(&subset), [7, 1, 1, 9]);
    assert_eq!(all(&subset.clone().subset([3, 0]).unwrap()), [9, 7]);
    assert!(subset.batch(&[4], &mut Rng::seeded(0)).unwrap_err().to_string().contains("index 4"));
    assert!(numbered(10).subset([10]).unwrap_err().to_string().contains("index 10"));
    assert!(numbered(0).subset([]).unwrap().is_empty());
}

#[test]
fn random_parts_cover_all_and_repeat() {
    let parts = |seed| numbered(100).random_split([70, 20, 10], seed).unwrap();
    let numbers = |parts: &[Subset<TensorDataset<1>>; 3]| parts.each_ref().map(all);
    let first = numbers(&parts(5));
    assert_eq!(first.each_ref().map(Vec::len), [70, 20, 10]);
    let mut together = first.concat();
    assert_ne!(together, (0..100).collect::<Vec<i64>>());
    together.sort();
    assert_eq!(together, (0..100).collect::<Vec<i64>>());
    assert_eq!(numbers(&parts(5)), first);
    assert_ne!(numbers(&parts(6)), first);
    for lengths in [[70, 20, 9], [70, 20, 11], [usize::MAX, 2, 99]] {
        let error = numbered(100).random_split(lengths, 5).unwrap_err().to_string();
        assert!(error.contains("100 samples"), "{error}");
    }
}

#[test]
fn transforms_are_chained_and_their_errors_handed_over() {
    let data = numbered(4).map(|[x], _| Ok(x.cast(DType::F32)?)).map(|x, rng| Ok((x, rng.uniform())));
    let (x, noise) = data.batch(&[3, 1], &mut Rng::seeded(9)).unwrap();
    assert_eq!((x.to_vec::<f32>().unwrap(), noise), (vec![3.0, 1.0], Rng::seeded(9).uniform()));
    let wrong = numbered(4).map(|[x], _| Ok(x.reshape(&[3, 3])?));
    assert!(matches!(wrong.batch(&[0], &mut Rng::seeded(0)), Err(Error::Tensor(_))));
    let own = numbered(4).map(|_, _| Err::<(), _>(Error::other(std::io::Error::other("the disk is gone"))));
    assert_eq!(own.batch(&[0], &mut Rng::seeded(0)).unwrap_err().to_string(), "the disk is gone");
}

#[test]
fn a_shared_data_set_of_unknown_type_is_one_too() {
    let shared: Arc<dyn Dataset<Batch = [Tensor; 1]>> = Arc::new(numbered(3));
    assert_eq!(all(&shared), [0, 1, 2]);
}
