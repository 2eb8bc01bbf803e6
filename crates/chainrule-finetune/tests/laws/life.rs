//! Identity at the start, detaching, merging, state dicts.

use super::model::{bits, numbers, shaken, tokens};
use super::table::{ROWS, adapted};
use chainrule_finetune::Result;
use chainrule_nn::{Adapter, Layer, Module, Path, SiteMut, VisitorMut, load_state_dict, state_dict};

#[test]
fn a_new_adapter_is_the_identity() -> Result<()> {
    for row in ROWS {
        let (base, model) = adapted(row, 2);
        assert_eq!(numbers(&model.forward(&tokens())?), numbers(&base.forward(&tokens())?), "{}", row.name);
    }
    Ok(())
}

#[test]
fn detaching_restores_the_bits() -> Result<()> {
    for row in ROWS {
        let (base, mut model) = adapted(row, 2);
        shaken(&mut model, 3);
        assert!(numbers(&model.forward(&tokens())?) != numbers(&base.forward(&tokens())?), "{}: it changes nothing", row.name);
        model.deactivate();
        assert_eq!(numbers(&model.forward(&tokens())?), numbers(&base.forward(&tokens())?), "{}", row.name);
        assert_eq!(bits(&model), bits(&base), "{}", row.name);
        model.activate("a")?;
        assert_eq!(bits(&model.into_base()), bits(&base), "{}", row.name);
    }
    Ok(())
}

/// Puts the merged weights in the layers' place.
struct Merge(chainrule_autograd::Result<()>);

impl VisitorMut for Merge {
    fn adapter(&mut self, _: &str, site: SiteMut<'_>) {
        let SiteMut { weight, bias, adapter, .. } = site;
        let Some(adapter) = adapter.take() else { return };
        let merge = || -> chainrule_autograd::Result<()> {
            weight.value = adapter.merged(&(&weight.value).into())?.into_array();
            if let Some(bias) = bias {
                bias.value = adapter.merged_bias(&(&bias.value).into())?.into_array();
            }
            Ok(())
        };
        let merged = merge();
        if self.0.is_ok() {
            self.0 = merged;
        }
    }
}

#[test]
fn merged_is_adapted() -> Result<()> {
    for row in ROWS {
        let (_, mut model) = adapted(row, 2);
        shaken(&mut model, 3);
        let mut merged = model.model().clone();
        let mut merge = Merge(Ok(()));
        merged.visit_mut(&mut Path::default(), &mut merge);
        assert_eq!(merge.0.is_ok(), row.merges, "{}: {:?}", row.name, merge.0);
        // By the library's own way: checked, and taken back to the bit.
        let before = bits(&model);
        let through = model.merge(|model| model.forward(&tokens()));
        assert_eq!(through.is_ok(), row.merges, "{}: {through:?}", row.name);
        model.unmerge();
        assert!(bits(&model) == before, "{}", row.name);
        if row.merges {
            let (got, expected) = (numbers(&merged.forward(&tokens())?), numbers(&model.forward(&tokens())?));
            assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{}: {got:?} {expected:?}", row.name);
        }
    }
    Ok(())
}

#[test]
fn state_dicts_carry_adapters_over() -> Result<()> {
    for row in ROWS {
        let ((_, mut model), (_, mut other)) = (adapted(row, 2), adapted(row, 5));
        shaken(&mut model, 3);
        assert!(bits(&model) != bits(&other), "{}", row.name);
        assert!(load_state_dict(&mut other, &state_dict(&model)?)?.is_complete(), "{}", row.name);
        assert_eq!(numbers(&model.forward(&tokens())?), numbers(&other.forward(&tokens())?), "{}", row.name);
    }
    Ok(())
}
