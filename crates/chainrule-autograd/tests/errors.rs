//! What a caller gets wrong is an error that names the operation, what it got, and what it expected; nothing panics.

use chainrule_autograd::{Conv2d, CrossEntropy, DType, INFER, Pool2d, Result, Tensor};

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims, DType::F32).unwrap()
}
fn integers(values: &[i64]) -> Tensor {
    Tensor::from_slice(values, &[values.len()]).unwrap()
}

#[test]
fn messages_name_operation_shapes_and_reason() {
    let (image, weight) = (zeros(&[2, 3, 8, 8]), zeros(&[4, 1, 3, 3]));
    let wide = CrossEntropy { weight: Some(zeros(&[5])), ..CrossEntropy::default() };
    let smooth = CrossEntropy { label_smoothing: 1.5, ..CrossEntropy::default() };
    let table: Vec<(Result<Tensor>, &[&str])> = vec![
        (zeros(&[2, 3]).add(&zeros(&[4])), &["add", "[2, 3]", "[4]"]),
        (zeros(&[2]).mul(&Tensor::zeros(&[2], DType::F64).unwrap()), &["mul", "f32", "f64"]),
        (integers(&[1]).relu(), &["relu", "i64"]),
        (zeros(&[2]).where_(&zeros(&[2]), &zeros(&[2])), &["where", "u8"]),
        (zeros(&[2, 3]).sum_over(&[2], false), &["sum", "2", "[2, 3]"]),
        (zeros(&[2, 3]).mean_over(&[0, -2], false), &["mean", "twice"]),
        (zeros(&[0]).max(0, false).map(|m| m.0), &["max"]),
        (zeros(&[0]).max_over(&[], false), &["max"]),
        (zeros(&[2, 3]).matmul(&zeros(&[2, 3])), &["matmul", "[2, 3]", "3", "2"]),
        (zeros(&[]).matmul(&zeros(&[2])), &["matmul", "[]"]),
        (zeros(&[2, 3]).linear(&zeros(&[4, 5]), None), &["linear", "[2, 3]", "[4, 5]"]),
        (zeros(&[2, 3]).linear(&zeros(&[4, 3]), Some(&zeros(&[3]))), &["linear", "bias", "[3]", "[4]"]),
        (zeros(&[2, 3]).outer(&zeros(&[3])), &["outer", "[2, 3]", "vectors"]),
        (Tensor::einsum("ij,jk", &[&zeros(&[2, 3])]), &["einsum", "2 terms", "1 operands"]),
        (Tensor::einsum("ij,jk->ik", &[&zeros(&[2, 3]), &zeros(&[4, 5])]), &["einsum", "`j`", "3", "4"]),
        (Tensor::einsum("ii->i", &[&zeros(&[2, 2])]), &["einsum", "`i`", "twice"]),
        (Tensor::einsum("i->k", &[&zeros(&[2])]), &["einsum", "`k`"]),
        (zeros(&[2, 6]).reshape(&[5, INFER]), &["reshape", "[2, 6]", "[5, INFER]"]),
        (zeros(&[2, 6]).reshape(&[INFER, INFER]), &["reshape", "INFER"]),
        (zeros(&[2, 6]).flatten(1, 0), &["flatten", "[2, 6]"]),
        (zeros(&[2, 6]).permute(&[0, 0]), &["permute", "[0, 0]"]),
        (zeros(&[2, 6]).narrow(1, 5, 2), &["narrow", "[2, 6]"]),
        (zeros(&[2, 6]).select(1, usize::MAX), &["narrow", "[2, 6]"]),
        (zeros(&[7]).split(&[2, 4], 0).map(|mut p| p.remove(0)), &["split", "[2, 4]", "7"]),
        (zeros(&[7]).split(&[usize::MAX, 8], 0).map(|mut p| p.remove(0)), &["split"]),
        (zeros(&[7]).chunk(0, 0).map(|mut p| p.remove(0)), &["chunk", "0"]),
        (Tensor::concatenate(&[], 0), &["concatenate"]),
        (Tensor::concatenate(&[&zeros(&[2, 3]), &zeros(&[3, 2])], 0), &["concatenate", "[2, 3]", "[3, 2]"]),
        (Tensor::stack(&[], 0), &["concatenate"]),
        (Tensor::stack(&[&zeros(&[2]), &zeros(&[3])], 0), &["stack", "[2]", "[3]"]),
        (zeros(&[3]).pad(&[(-2, -2)], 0.0), &["pad", "(-2, -2)", "3"]),
        (zeros(&[3]).pad(&[(isize::MAX, isize::MAX)], 0.0), &["shape"]),
        (zeros(&[3]).pad(&[(0, 0), (1, 1)], 0.0), &["pad", "2 pairs", "[3]"]),
        (zeros(&[3]).pad_reflect(&[(3, 0)]), &["pad_reflect", "(3, 0)", "3"]),
        (zeros(&[3]).tril(0), &["tril", "[3]", "2 dimensions"]),
        (zeros(&[2, 3]).repeat(&[2]), &["repeat", "[2, 3]"]),
        (zeros(&[2]).repeat(&[usize::MAX]), &["shape"]),
        (zeros(&[1, 6, 2, 2]).pixel_shuffle(4), &["pixel_shuffle", "6", "4²"]),
        (zeros(&[1, 6, 2, 2]).pixel_shuffle(usize::MAX), &["pixel_shuffle"]),
        (zeros(&[4, 2]).index_select(0, &integers(&[4])), &["index_select", "4"]),
        (zeros(&[4, 2]).embedding(&integers(&[-1]), None), &["index_select", "-1"]),
        (zeros(&[4, 2]).embedding(&integers(&[1]), Some(4)), &["embedding", "4"]),
        (zeros(&[4]).embedding(&integers(&[1]), None), &["embedding", "[4]", "[V, D]"]),
        (zeros(&[3, 5]).gather(1, &integers(&[0, 1])), &["gather"]),
        (integers(&[3]).one_hot(3, DType::F32), &["one_hot", "3"]),
        (image.conv2d(&weight, None, &Conv2d::default()), &["conv2d", "[2, 3, 8, 8]", "[4, 1, 3, 3]", "groups"]),
        (image.conv2d(&zeros(&[4, 3, 9, 9]), None, &Conv2d::default()), &["conv2d", "9"]),
        (image.max_pool2d(&Pool2d { stride: [0, 1], ..Pool2d::new([2, 2]) }), &["max_pool2d", "stride"]),
        (image.avg_pool2d(&Pool2d::new([2, 2]), true, Some(0)), &["avg_pool2d", "divisor"]),
        (zeros(&[2]).dropout(1.5), &["dropout", "1.5"]),
        (zeros(&[2, 3]).cross_entropy(&integers(&[0])), &["cross_entropy", "[1]", "[2, 3]"]),
        (zeros(&[2, 3]).cross_entropy(&integers(&[0, 3])), &["cross_entropy", "label 3"]),
        (zeros(&[2, 3]).cross_entropy(&zeros(&[2])), &["cross_entropy", "[2]", "[2, 3]"]),
        (zeros(&[2, 3]).cross_entropy_with(&integers(&[0, 1]), &wide), &["cross_entropy", "weight", "[5]"]),
        (zeros(&[2, 3]).cross_entropy_with(&integers(&[0, 1]), &smooth), &["cross_entropy", "1.5"]),
        (zeros(&[2, 3]).nll(&integers(&[0, 9])), &["gather", "9"]),
        (zeros(&[2, 3]).mse(&zeros(&[2])), &["mse", "[2, 3]", "[2]"]),
        (zeros(&[2]).affine(1.0, 2.0).and_then(|x| x.bce(&zeros(&[2]))), &["bce", "0 to 1"]),
        (zeros(&[2]).huber(&zeros(&[2]), 0.0), &["huber", "0"]),
        (zeros(&[2, 3]).layer_norm(3, None, None, 1e-5), &["layer_norm", "3", "[2, 3]"]),
        (zeros(&[2, 3]).layer_norm(1, Some(&zeros(&[2])), None, 1e-5), &["layer_norm", "weight", "[2]"]),
        (zeros(&[2]).batch_norm(None, None, 1e-5).map(|y| y.0), &["batch_norm", "[2]"]),
        (zeros(&[1; 8]).unsqueeze(0), &["8"]),
        (zeros(&[2, 3]).squeeze(0), &["squeeze", "[2, 3]"]),
    ];
    let mut wrong = Vec::new();
    for (i, (result, parts)) in table.into_iter().enumerate() {
        let message = result.map_or_else(|e| e.to_string(), |_| "no error".into());
        wrong.extend(parts.iter().filter(|part| !message.contains(**part)).map(|part| format!("row {i}: `{message}` does not say `{part}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_single_numbers_are_items() {
    assert!(zeros(&[2]).item().unwrap_err().to_string().contains("[2]"));
    assert!(zeros(&[2]).to_vec::<f64>().unwrap_err().to_string().contains("f32"));
    assert!(Tensor::from_slice(&[1f32], &[2]).unwrap_err().to_string().contains("[2]"));
    assert!(Tensor::zeros(&[usize::MAX, 2], DType::F32).is_err());
}
