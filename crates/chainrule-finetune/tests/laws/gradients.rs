//! Gradients against differences, in f64.

use super::model::{everything, labels, shaken, tokens};
use super::table::ROWS;
use chainrule_autograd::{DType, GradCheck, Rng};
use chainrule_finetune::{Adapted, Result};
use chainrule_nn::{Layer, gradcheck_model, to_dtype};

#[test]
fn gradients_are_differences() -> Result<()> {
    for row in ROWS.iter().filter(|row| !row.partial) {
        let mut base = everything();
        // The row of the padding gets no gradient on purpose.
        base.embedding.padding = None;
        to_dtype(&mut base, DType::F64)?;
        let mut model = Adapted::new(base);
        (row.add)(&mut model, &mut Rng::seeded(2))?;
        shaken(&mut model, 3);
        let settings = GradCheck { training: true, ..GradCheck::default() };
        gradcheck_model(&settings, &model, |model, tape| model.forward(&tape.input(tokens()))?.cross_entropy(&labels()))
            .unwrap_or_else(|error| panic!("{}: {error}", row.name));
    }
    Ok(())
}
