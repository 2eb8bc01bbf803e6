//! L2-SP and EWC.

use crate::{Result, *};
use chainrule_autograd::{GradCheck, Tape};
use chainrule_finetune::*;
use chainrule_nn::{Layer, gradcheck_model, independent, params_mut, to_dtype};
use chainrule_optim::Adam;

/// In f64, and the same moved a little.
fn moved() -> Result<(Sequential, Sequential)> {
    let mut start = network([3, 4, 2], 0);
    to_dtype(&mut start, DType::F64)?;
    let mut model = start.clone();
    params_mut(&mut model, |path, param| {
        let shift = noise(param.value.dims(), path.len() as u64 + param.value.count() as u64);
        param.value = Tensor::from(&param.value).add(&shift).unwrap().into_array();
    });
    Ok((start, model))
}

fn distances(a: &Sequential, b: &Sequential) -> Result<std::collections::BTreeMap<String, Vec<f64>>> {
    let (a, b) = (state_dict(a)?, state_dict(b)?);
    let of = |path: &String| numbers(&Tensor::from(&a[path])).into_iter().zip(numbers(&Tensor::from(&b[path]))).map(|(a, b)| (a - b).powi(2)).collect();
    Ok(a.keys().map(|path| (path.clone(), of(path))).collect())
}

#[test]
fn l2_sp_follows_the_formula() -> Result {
    let (start, mut model) = moved()?;
    let at = Tensor::zeros(&[1], DType::F64)?;
    let penalty = L2Sp::new(&start, 0.3, 0.05)?;
    let sum: f64 = distances(&start, &model)?.values().flatten().sum();
    assert_near(penalty.penalty(&model, &at)?.item()?, 0.15 * sum, 1e-12);
    // A new head decays to 0; what is frozen does not count.
    let mut rng = Rng::seeded(1);
    replace_head(&mut model, 5, &mut rng)?;
    freeze(&mut model, "0.bias")?;
    let head: f64 =
        ["2.weight", "2.bias"].iter().map(|path| numbers(&Tensor::from(&state_dict(&model).unwrap()[*path])).iter().map(|x| x * x).sum::<f64>()).sum();
    let near: f64 = numbers(&Tensor::from(&state_dict(&model)?["0.weight"]))
        .iter()
        .zip(numbers(&Tensor::from(&state_dict(&start)?["0.weight"])))
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    assert_near(penalty.penalty(&model, &at)?.item()?, 0.15 * near + 0.025 * head, 1e-12);
    gradcheck_model(&GradCheck::default(), &model, |model, tape| Ok(penalty.penalty(model, &tape.input(&at)).unwrap()))?;
    freeze(&mut model, "*")?;
    assert_eq!(penalty.penalty(&model, &at)?.item()?, 0.0);
    Ok(())
}

#[test]
fn the_information_is_the_mean_square_of_gradients() -> Result {
    // One layer: the gradient of -ln p(y | x) by W is (p - y) x', by b it is p - y.
    let mut model = Linear::new(3, 4, &mut Rng::seeded(0))?;
    to_dtype(&mut model, DType::F64)?;
    let samples: Vec<(Tensor, i64)> = [2, 0, 3].iter().zip(0..).map(|(&label, seed)| (noise(&[1, 3], seed), label)).collect();
    let loss = |model: &Linear, tape: &Tape, (x, label): (Tensor, i64)| model.forward(&tape.input(x))?.cross_entropy(&labels(&[label]));
    let empirical = fisher_empirical(&model, samples.clone(), loss)?;
    let exact = fisher_true(&model, samples.clone(), |model: &Linear, tape, (x, _)| model.forward(&tape.input(x)))?;
    let (mut by_label, mut by_model) = (vec![0.0; 12], vec![0.0; 12]);
    for (x, label) in &samples {
        let p = &softmax(&numbers(&model.forward(x)?), 4, 1.0)[0];
        let x = numbers(x);
        for class in 0..4usize {
            for (k, x) in x.iter().enumerate() {
                let square = |of: usize| ((p[class] - (class == of) as u8 as f64) * x).powi(2) / 3.0;
                by_label[3 * class + k] += square(*label as usize);
                by_model[3 * class + k] += (0..4).map(|of| p[of] * square(of)).sum::<f64>();
            }
        }
    }
    for (fisher, expected) in [(&empirical, by_label), (&exact, by_model)] {
        assert_eq!(fisher.keys().collect::<Vec<_>>(), ["bias", "weight"]);
        numbers(&Tensor::from(&fisher["weight"])).iter().zip(expected).for_each(|(got, expected)| assert_near(*got, expected, 1e-12));
    }
    assert!(fisher_empirical(&model, vec![], loss).unwrap_err().to_string().contains("no samples"));
    assert!(fisher_true(&model, [noise(&[2, 3], 0)], |model: &Linear, tape, x| model.forward(&tape.input(x))).is_err());
    assert!(fisher_true(&model, [noise(&[1, 3], 0)], |model: &Linear, _, x| model.forward(&x)).is_err(), "off the tape");
    Ok(())
}

#[test]
fn ewc_follows_the_formula() -> Result {
    let (start, mut model) = moved()?;
    let at = Tensor::zeros(&[1], DType::F64)?;
    let fisher: chainrule_nn::StateDict = state_dict(&start)?
        .into_iter()
        .filter(|(path, _)| path != "0.bias")
        .map(|(path, a)| (path, noise(a.dims(), 5).square().unwrap().into_array()))
        .collect();
    let ewc = Ewc::new(&start, &fisher, 3.0)?;
    let weighted = |(path, squares): (String, Vec<f64>)| -> f64 {
        fisher.get(&path).map_or(0.0, |f| numbers(&Tensor::from(f)).iter().zip(squares).map(|(f, d)| f * d).sum())
    };
    let expected: f64 = distances(&start, &model)?.into_iter().map(weighted).sum();
    assert_near(ewc.penalty(&model, &at)?.item()?, 1.5 * expected, 1e-12);
    freeze(&mut model, "0.bias")?; // it has no information, so no gradient
    gradcheck_model(&GradCheck::default(), &model, |model, tape| Ok(ewc.penalty(model, &tape.input(&at)).unwrap()))?;

    let error = ewc.penalty(&independent(&model), &at).unwrap_err().to_string();
    assert!(error.contains("independent"), "{error}");
    for strength in [-1.0, f64::NAN] {
        assert!(Ewc::new(&start, &fisher, strength).is_err() && L2Sp::new(&start, strength, 0.0).is_err() && L2Sp::new(&start, 0.0, strength).is_err());
    }
    let (mut stray, mut wrong) = (fisher.clone(), fisher.clone());
    stray.insert("0.wieght".into(), Array::ones(&[1], DType::F64)?);
    assert!(Ewc::new(&start, &stray, 1.0).unwrap_err().to_string().contains("near it are \"0.weight\""));
    wrong.insert("0.weight".into(), Array::ones(&[1], DType::F64)?);
    assert!(Ewc::new(&start, &wrong, 1.0).unwrap_err().to_string().contains("0.weight"));
    let mut reshaped = start.clone();
    params_mut(&mut reshaped, |path, param| {
        if path == "0.weight" {
            param.value = Array::ones(&[7, 9], DType::F64).unwrap();
        }
    });
    assert!(ewc.penalty(&reshaped, &at).unwrap_err().to_string().starts_with("0: sub"));
    Ok(())
}

/// Is the sum of two of the numbers positive? Which two is the task.
fn task(first: usize, seed: u64) -> Result<(Tensor, Tensor)> {
    let x = Tensor::uniform(&[128, 8], -1.0, 1.0, DType::F32, &mut Rng::seeded(seed))?;
    let sum = x.narrow(1, first, 2)?.sum_over(&[1], false)?;
    Ok((x, sum.greater(&Tensor::scalar(0.0, DType::F32)?)?.cast(DType::I64)?))
}

type Hold<'a> = Option<&'a dyn Fn(&Sequential, &Tensor) -> Result<Tensor>>;

#[test]
fn two_tasks_one_after_the_other() -> Result {
    let rng = &mut Rng::seeded(7);
    let ((x1, y1), (x2, y2)) = (task(0, 1)?, task(4, 2)?);
    let train = |model: &mut Sequential, x: &Tensor, y: &Tensor, hold: Hold, rng: &mut Rng| -> Result {
        let mut adam = Adam::new(0.01);
        for _ in 0..100 {
            let tape = Tape::training(rng);
            let mut loss = model.forward(&tape.input(x))?.cross_entropy(y)?;
            if let Some(hold) = hold {
                loss = loss.add(&hold(model, &loss)?)?;
            }
            adam.step(model, &loss.backward()?)?;
        }
        Ok(())
    };
    let mut first = network([8, 24, 2], 0);
    train(&mut first, &x1, &y1, None, rng)?;
    let rows: Vec<(Tensor, Tensor)> = (0..64).map(|i| Ok((x1.narrow(0, i, 1)?, y1.narrow(0, i, 1)?))).collect::<Result<_>>()?;
    let fisher = fisher_empirical(&first, rows, |model: &Sequential, tape, (x, y)| model.forward(&tape.input(x))?.cross_entropy(&y))?;
    let (ewc, l2sp) = (Ewc::new(&first, &fisher, 300.0)?, L2Sp::new(&first, 0.1, 0.0)?);

    let scores = |model: &Sequential| -> Result<[f64; 2]> { Ok([accuracy(&model.forward(&x1)?, &y1), accuracy(&model.forward(&x2)?, &y2)]) };
    let [mut free, mut held, mut near] = [first.clone(), first.clone(), first.clone()];
    train(&mut free, &x2, &y2, None, rng)?;
    train(&mut held, &x2, &y2, Some(&|model, at| Ok(ewc.penalty(model, at)?)), rng)?;
    train(&mut near, &x2, &y2, Some(&|model, at| Ok(l2sp.penalty(model, at)?)), rng)?;
    let [before, free, held, near] = [scores(&first)?, scores(&free)?, scores(&held)?, scores(&near)?];
    assert!(before[0] > 0.95 && free[1] > 0.95, "{before:?} {free:?}");
    assert!(held[0] > free[0] + 0.1 && held[1] > before[1] + 0.1, "EWC remembers more, and learns: {before:?} {free:?} {held:?}");
    assert!(near[0] > free[0] + 0.05, "L2-SP stays nearer: {free:?} {near:?}");
    Ok(())
}
