//! What is saved is what is loaded.

use super::model::{bits, everything, numbers, shaken, tokens};
use super::table::{ROWS, adapted};
use chainrule_finetune::{Adapted, Result};
use chainrule_nn::Layer;

#[test]
fn saving_and_loading_keeps_the_bits() -> Result<()> {
    for (i, row) in ROWS.iter().enumerate() {
        let (_, mut model) = adapted(row, 2);
        shaken(&mut model, 3);
        let folder = std::env::temp_dir().join(format!("chainrule-laws-{}-{i}", std::process::id()));
        model.save("a", &folder).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let mut other = Adapted::new(everything());
        let loaded = other.load("b", &folder);
        std::fs::remove_dir_all(&folder).unwrap();
        let report = loaded.unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert!(report.warnings.is_empty(), "{}: {report}", row.name);
        assert_eq!(numbers(&other.forward(&tokens())?), numbers(&model.forward(&tokens())?), "{}", row.name);
        assert_eq!(bits(&other), bits(&model), "{}", row.name);
    }
    Ok(())
}
