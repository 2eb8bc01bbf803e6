//! Products with a quantised weight.

use crate::{Cases, numbers, others};
use chainrule_autograd::{DType, Quantisation, Result, Rng, Tape, Tensor};

pub fn add(cases: &mut Cases) {
    for how in [Quantisation::nf4().block(2), Quantisation::int8()] {
        for dims in [&[2usize, 2, 3][..], &[2, 3], &[3], &[0, 3]] {
            let weight = others(&[4, 3]).quantise(&how).unwrap();
            let alone = weight.clone();
            cases.add(format!("linear_quantised {dims:?} {how:?}"), vec![numbers(dims)], move |x| x[0].linear_quantised(&alone, None));
            cases.add(format!("linear_quantised with bias {dims:?} {how:?}"), vec![numbers(dims), numbers(&[4])], move |x| {
                x[0].linear_quantised(&weight, Some(&x[1]))
            });
        }
    }
}

#[test]
fn as_with_the_dense_weight_in_any_precision() -> Result<()> {
    let (x, bias) = (numbers(&[5, 6]).cast(DType::F32)?, numbers(&[4]).cast(DType::F32)?);
    let weight = others(&[4, 6]).cast(DType::F32)?.quantise(&Quantisation::nf4().block(4))?;
    let dense = Tensor::from(weight.dequantise()?);
    for precision in [None, Some(DType::F16)] {
        let run = |f: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
            let mut tape = Tape::training(&mut Rng::seeded(0));
            if let Some(narrow) = precision {
                tape = tape.precision(narrow)?;
            }
            let (x, bias) = (tape.watch(&x), tape.watch(&bias));
            let y = f(&x, &bias)?;
            let gradients = y.square()?.sum()?.backward()?;
            Ok::<_, chainrule_autograd::Error>([
                y.to_vec::<f32>()?,
                gradients.wrt(&x).unwrap().to_vec::<f32>()?,
                gradients.wrt(&bias).unwrap().to_vec::<f32>()?,
            ])
        };
        assert_eq!(run(&|x, bias| x.linear_quantised(&weight, Some(bias)))?, run(&|x, bias| x.linear(&dense, Some(bias)))?);
    }
    Ok(())
}
