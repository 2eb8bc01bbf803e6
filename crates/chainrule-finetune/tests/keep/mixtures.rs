//! Soups and ensembles.

use crate::*;
use chainrule_finetune::{Ensemble, greedy_soup, mean_outputs, mean_probabilities, soup};
use chainrule_nn::{BatchNorm1d, Layer};

#[test]
fn a_soup_is_the_mean() -> Result {
    let of = |seed: u64| -> Result<Sequential> {
        let mut model = network([3, 4, 2], seed).add(BatchNorm1d::new(2)?);
        chainrule_nn::buffers_mut(&mut model, |path, buffer| {
            if path.ends_with("running_mean") {
                buffer.value = noise(buffer.value.dims(), seed).cast(DType::F32).unwrap().into_array();
            }
        });
        Ok(model)
    };
    let models = [of(1)?, of(2)?, of(3)?];
    let mixed = state_dict(&soup(&models)?)?;
    let states: Vec<_> = models.iter().map(|model| state_dict(model).unwrap()).collect();
    for (path, array) in &mixed {
        let columns: Vec<Vec<f64>> = states.iter().map(|state| numbers(&Tensor::from(&state[path]))).collect();
        for (i, got) in numbers(&Tensor::from(array)).into_iter().enumerate() {
            assert_near(got, columns.iter().map(|c| c[i]).sum::<f64>() / 3.0, 1e-7);
        }
    }
    assert_eq!(bits(&soup([&models[1]])?), bits(&models[1]), "of one it is that one");
    let ids = |model: &Sequential| {
        let mut ids = vec![];
        params(model, |_, param| ids.push(param.id));
        ids
    };
    assert_eq!(ids(&soup(&models)?), ids(&models[0]));
    assert!(soup::<Sequential>([]).is_err());
    let error = soup([&models[0], &network([3, 4, 2], 0)]).err().unwrap().to_string();
    assert!(error.contains("model 1") && error.contains("3."), "{error}");
    let error = soup([&network([3, 4, 2], 0), &network([3, 5, 2], 0)]).err().unwrap().to_string();
    assert!(error.contains("0.bias") && error.contains("[5]"), "{error}");
    Ok(())
}

#[test]
fn the_greedy_soup_takes_what_helps() -> Result {
    let models: Vec<Sequential> = (0..5).map(|seed| network([3, 4, 2], seed)).collect();
    let target = soup([&models[1], &models[3]])?;
    let nearness = |model: &Sequential| -> chainrule_nn::Result<f64> {
        let (a, b) = (state_dict(model)?, state_dict(&target)?);
        let distance: f64 = a
            .values()
            .zip(b.values())
            .flat_map(|(a, b)| numbers(&Tensor::from(a)).into_iter().zip(numbers(&Tensor::from(b))))
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        Ok(-distance)
    };
    let found = greedy_soup(&models, nearness)?;
    let mut members = found.members.clone();
    members.sort();
    assert_eq!(members, [1, 3]);
    assert_near(found.score, 0.0, 1e-10);
    assert!(found.scores.iter().all(|score| *score <= found.score) && found.scores.len() == 5);
    // When nothing helps the best alone remains.
    let alone = greedy_soup(&models, |model: &Sequential| Ok::<_, chainrule_nn::Error>(if bits(model) == bits(&models[2]) { 1.0 } else { 0.0 }))?;
    assert_eq!((alone.members, bits(&alone.model)), (vec![2], bits(&models[2])));
    assert!(greedy_soup::<Sequential, chainrule_nn::Error>(&[], |_| Ok(0.0)).is_err());
    assert!(greedy_soup(&models, |_| Ok::<_, chainrule_nn::Error>(f64::NAN)).err().unwrap().to_string().contains("NaN"));
    let own: Result<_> = greedy_soup(&models, |_| Err::<f64, Box<dyn std::error::Error>>("mine".into()));
    assert_eq!(own.err().unwrap().to_string(), "mine");
    Ok(())
}

#[test]
fn ensembles_average() -> Result {
    let (a, b) = (noise(&[2, 3], 1), noise(&[2, 3], 2));
    let expected: Vec<f64> = softmax(&numbers(&a), 3, 1.0).concat().iter().zip(softmax(&numbers(&b), 3, 1.0).concat()).map(|(a, b)| (a + b) / 2.0).collect();
    numbers(&mean_probabilities(&[&a, &b])?).iter().zip(&expected).for_each(|(got, expected)| assert_near(*got, *expected, 1e-12));
    assert!(mean_outputs(&[]).is_err() && mean_outputs(&[&a, &noise(&[3, 2], 0)]).is_err());

    let members = vec![network([3, 4, 2], 1), network([3, 4, 2], 2)];
    let x = noise(&[5, 3], 3).cast(DType::F32)?;
    let outputs = [members[0].forward(&x)?, members[1].forward(&x)?];
    let mut ensemble = Ensemble { members, probabilities: false };
    assert_eq!(numbers(&ensemble.forward(&x)?), numbers(&mean_outputs(&[&outputs[0], &outputs[1]])?));
    ensemble.probabilities = true;
    assert_eq!(numbers(&ensemble.forward(&x)?), numbers(&mean_probabilities(&[&outputs[0], &outputs[1]])?));
    assert!(state_dict(&ensemble)?.contains_key("members.1.2.weight"));
    assert!(Ensemble { members: Vec::<Linear>::new(), probabilities: true }.forward(&x).is_err());
    Ok(())
}
