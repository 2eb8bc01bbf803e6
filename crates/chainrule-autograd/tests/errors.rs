//! What a caller gets wrong is an error that names the operation, what it got, and what it expected; nothing panics.

use chainrule_autograd::{Attention, Conv2d, CrossEntropy, DType, INFER, Pool2d, Result, Rng, Rotary, Tensor};

fn zeros(dims: &[usize]) -> Tensor {
    Tensor::zeros(dims, DType::F32).unwrap()
}
fn integers(values: &[i64]) -> Tensor {
    Tensor::from_slice(values, &[values.len()]).unwrap()
}

fn attend(query: &Tensor, key: &Tensor, how: Attention) -> Result<Tensor> {
    query.scaled_dot_product_attention(key, key, &how)
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
        (Tensor::einsum("ii->i", &[&zeros(&[2, 3])]), &["einsum", "`i`", "2", "3"]),
        (Tensor::einsum("i->ii", &[&zeros(&[2])]), &["einsum", "`i`", "twice"]),
        (Tensor::einsum("i......->i", &[&zeros(&[2])]), &["einsum", "one `...`"]),
        (Tensor::einsum("i.j->i", &[&zeros(&[2, 2])]), &["einsum", "`.`"]),
        (Tensor::einsum("i1->i", &[&zeros(&[2, 2])]), &["einsum", "`1`"]),
        (Tensor::einsum("ij", &[&zeros(&[2, 2, 2])]), &["einsum", "2 letters", "[2, 2, 2]"]),
        (Tensor::einsum("ijk...", &[&zeros(&[2, 2])]), &["einsum", "3 letters"]),
        (Tensor::einsum("", &[]), &["einsum", "0 operands"]),
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
        (attend(&zeros(&[2, 3]), &zeros(&[5, 4]), Attention::default()), &["scaled_dot_product_attention", "[2, 3]", "[5, 4]", "widths"]),
        (attend(&zeros(&[2, 3]), &zeros(&[5, 3]), Attention { mask: Some(zeros(&[2, 4])), ..Attention::default() }), &["mask", "[2, 4]", "[1, 2, 5]"]),
        (attend(&zeros(&[2, 3]), &zeros(&[5, 3]), Attention { dropout: 1.5, ..Attention::default() }), &["scaled_dot_product_attention", "1.5"]),
        (zeros(&[2, 4]).rope(&Rotary::new(3, 4, 1e4).unwrap(), 2), &["rope", "2 positions from 2", "3"]),
        (zeros(&[2, 4]).rope(&Rotary::new(3, 6, 1e4).unwrap(), 0), &["rope", "[2, 4]", "6"]),
        (zeros(&[4]).rope(&Rotary::new(3, 4, 1e4).unwrap(), 0), &["rope", "[4]", "[.., T, W]"]),
        (Tensor::sinusoids(2, 4, 0.0, DType::F32), &["sinusoids", "base", "0"]),
        (zeros(&[4, 2]).embedding(&integers(&[-1]), None), &["index_select", "-1"]),
        (zeros(&[4, 2]).embedding(&integers(&[1]), Some(4)), &["embedding", "4"]),
        (zeros(&[4]).embedding(&integers(&[1]), None), &["embedding", "[4]", "[V, D]"]),
        (zeros(&[3, 5]).gather(1, &integers(&[0, 1])), &["gather"]),
        (integers(&[3]).one_hot(3, DType::F32), &["one_hot", "3"]),
        (integers(&[1, 2]).mean(), &["mean", "i64", "cast"]),
        (zeros(&[3]).topk(4, 0, true).map(|t| t.0), &["topk", "4", "3"]),
        (zeros(&[3]).kthvalue(0, 0, false).map(|t| t.0), &["kth", "[3]"]),
        (zeros(&[0]).median(0, false).map(|t| t.0), &["median", "[0]"]),
        (zeros(&[3]).quantile(1.5, 0, false), &["quantile", "1.5"]),
        (zeros(&[0]).quantile(0.5, 0, false), &["quantile", "empty"]),
        (zeros(&[2]).clamp_between(None, None), &["clamp_between", "bound"]),
        (zeros(&[3]).recurrence(&zeros(&[2]), 0), &["recurrence", "[2]", "[3]"]),
        (zeros(&[3]).scatter(0, &integers(&[3]), &zeros(&[1])), &["scatter", "3"]),
        (zeros(&[3]).scatter_add(0, &integers(&[0, 1]), &zeros(&[1])), &["scatter", "[2]", "[1]"]),
        (zeros(&[3, 2]).take_along_dim(&integers(&[0]), 0), &["take_along_dim", "[1]", "[3, 2]"]),
        (zeros(&[3]).index_fill(0, &integers(&[3]), 1.0), &["index_copy", "3"]),
        (zeros(&[3]).index(&[]), &["index", "0 index arrays"]),
        (zeros(&[3]).index(&[Some(&integers(&[-4]))]), &["index", "-4", "-3..3"]),
        (zeros(&[3]).index(&[None, Some(&integers(&[0]))]), &["index", "2 indices", "[3]"]),
        (zeros(&[3]).index(&[Some(&zeros(&[1]))]), &["index", "f32", "i64"]),
        (zeros(&[3]).index_put(&[Some(&integers(&[0, 1]))], &zeros(&[3]), false), &["broadcast_to", "[3]", "[2]"]),
        (zeros(&[3]).masked_select(&zeros(&[3])), &["masked_select", "u8"]),
        (zeros(&[3]).masked_scatter(&zeros(&[3]).logical_not().unwrap(), &zeros(&[2])), &["masked_scatter", "2", "3"]),
        (zeros(&[2, 3]).searchsorted(&zeros(&[3, 1]), true), &["searchsorted", "[2, 3]", "[3, 1]"]),
        (integers(&[-1]).bincount(0), &["bincount", "-1"]),
        (zeros(&[2]).histogram(0, 0.0, 1.0), &["histogram", "0 bins"]),
        (zeros(&[2, 2]).diagonal(0, 0, -2), &["diagonal", "twice"]),
        (zeros(&[]).diag_embed(0, 0, 1), &["diag_embed", "scalar"]),
        (zeros(&[2]).diag_embed(0, -1, -1), &["diag_embed", "twice"]),
        (zeros(&[2, 2, 2]).diag(0), &["diag", "[2, 2, 2]"]),
        (zeros(&[2]).trace(), &["trace", "[2]", "matrix"]),
        (zeros(&[2, 2]).movedim(&[0], &[0, 1]), &["movedim", "1", "2"]),
        (zeros(&[2, 2]).movedim(&[0, 0], &[0, 1]), &["movedim", "twice"]),
        (zeros(&[2, 2]).rot90(1, 0, 0), &["rot90", "twice"]),
        (zeros(&[2]).repeat_interleave_by(&integers(&[1]), 0), &["repeat_interleave_by", "[1]", "[2]"]),
        (zeros(&[1]).repeat_interleave_by(&integers(&[-1]), 0), &["repeat_interleave_by", "-1"]),
        (zeros(&[7]).split_every(0, 0).map(|mut p| p.remove(0)), &["split_every", "0"]),
        (zeros(&[7]).tensor_split(0, 0).map(|mut p| p.remove(0)), &["tensor_split", "0"]),
        (Tensor::meshgrid(&[&zeros(&[2, 2])]).map(|mut g| g.remove(0)), &["meshgrid", "[2, 2]"]),
        (Tensor::cartesian_product(&[]), &["concatenate"]),
        (zeros(&[2, 2]).dot(&zeros(&[2])), &["dot", "[2, 2]", "vectors"]),
        (zeros(&[2, 3]).tensordot(&zeros(&[2, 3]), &[0], &[1]), &["tensordot", "[2, 3]"]),
        (zeros(&[2]).cross(&zeros(&[2]), 0), &["cross", "2", "3"]),
        (zeros(&[2, 3]).cdist(&zeros(&[2, 4]), 2.0), &["cdist", "[2, 3]", "[2, 4]"]),
        (zeros(&[2, 3]).cdist(&zeros(&[2, 3]), -1.0), &["cdist", "-1"]),
        (zeros(&[2, 3, 4]).cov(1), &["cov", "[2, 3, 4]"]),
        (Tensor::integers(&[2], 3, 3, &mut Rng::seeded(0)), &["integers", "3"]),
        (zeros(&[2]).affine(1.0, 2.0).and_then(|p| p.bernoulli(&mut Rng::seeded(0))), &["bernoulli", "0 to 1"]),
        (zeros(&[2]).multinomial(1, true, &mut Rng::seeded(0)), &["multinomial", "0 weights", "1 draws"]),
        (zeros(&[2]).affine(1.0, -1.0).and_then(|p| p.multinomial(1, true, &mut Rng::seeded(0))), &["multinomial", "negative"]),
        (Tensor::ones(&[2], DType::F32).unwrap().multinomial(3, false, &mut Rng::seeded(0)), &["multinomial", "2 weights", "3 draws"]),
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
