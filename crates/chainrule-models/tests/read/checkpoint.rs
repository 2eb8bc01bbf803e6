//! Names that are made to be the model's, and what the report says of those that are not.

use crate::Folder;
use chainrule_autograd::{Array, DType, Rng};
use chainrule_models::read::Checkpoint;
use chainrule_nn::{Error, Linear, Module, Param, StateDict, safetensors, state_dict};
use std::path::PathBuf;

#[derive(Module)]
struct Norm {
    weight: Param,
    bias: Param,
}

#[derive(Module)]
struct Net {
    layers: Vec<Linear>,
    norm: Norm,
    head: Linear,
}

fn net() -> Net {
    let rng = &mut Rng::seeded(0);
    let param = || Param::new(Array::zeros(&[2], DType::F32).unwrap());
    let layers = (0..2).map(|_| Linear::new(2, 2, rng).unwrap()).collect();
    Net { layers, norm: Norm { weight: param(), bias: param() }, head: Linear::new(2, 3, rng).unwrap() }
}

/// As an older program published it: wrapped, in other words, without the head, with what the model does not know.
fn published(folder: &Folder) -> PathBuf {
    let names = [
        ("module.encoder.0.dense.weight", vec![2, 2]),
        ("module.encoder.0.dense.bias", vec![2]),
        ("module.encoder.1.dense.weight", vec![2, 2]),
        ("module.encoder.1.dense.bias", vec![2]),
        ("module.norm.gamma", vec![2]),
        ("module.norm.beta", vec![2]),
        ("module.pooler.weight", vec![2, 2]),
        ("steps", vec![]),
    ];
    let array = |(i, (name, dims)): (usize, (&str, Vec<usize>))| (name.to_string(), Array::full(&dims, i as f64, DType::BF16).unwrap());
    let state: StateDict = names.into_iter().enumerate().map(array).collect();
    let file = folder.file("model.safetensors");
    safetensors::write(&file, &state, &Default::default()).unwrap();
    file
}

fn renamed(file: &PathBuf) -> Result<Checkpoint, Error> {
    Checkpoint::open(file)?
        .strip_prefix("module.")?
        .rename("encoder.*.dense.*", "layers.*.*")?
        .rename("*.gamma", "*.weight")?
        .rename_with(|name| name.replace("beta", "bias"))?
        .ignore("{pooler.*,steps}")
}

#[test]
fn an_older_file_into_a_newer_model() {
    let folder = Folder::new("older");
    let file = published(&folder);
    let mut model = net();
    let head = model.head.weight.value.clone();
    let report = renamed(&file).unwrap().allow_missing("head.*").unwrap().load(&mut model).unwrap();
    assert_eq!(
        (report.loaded.len(), &report.kept[..], &report.ignored[..]),
        (6, &["head.bias".into(), "head.weight".into()][..], &["pooler.weight".into(), "steps".into()][..])
    );
    assert_eq!(report.to_string(), "6 loaded, 0 missing, 0 unexpected, 0 of the wrong shape, 2 kept, 2 ignored");
    assert_eq!(model.layers[1].bias.as_ref().unwrap().value.to_vec::<f32>().unwrap(), [3.0, 3.0]);
    assert_eq!((model.norm.weight.value.to_vec::<f32>().unwrap(), model.norm.bias.value.to_vec::<f32>().unwrap()), (vec![4.0; 2], vec![5.0; 2]));
    assert!(model.head.weight.value.is_same(&head));
    // The other way round: a part of the file, put where the whole has it.
    let mut part = Norm { weight: Param::new(Array::zeros(&[2], DType::F64).unwrap()), bias: Param::new(Array::zeros(&[2], DType::F32).unwrap()) };
    let mut checkpoint = renamed(&file).unwrap().within("norm").unwrap();
    assert!(checkpoint.load(&mut part).unwrap().is_complete());
    assert_eq!(part.weight.value.to_vec::<f64>().unwrap(), [4.0; 2]);
    let names: Vec<String> = checkpoint.add_prefix("norm.").unwrap().entries().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["norm.bias", "norm.weight"]);
}

#[test]
fn strict_unless_told_otherwise() {
    let folder = Folder::new("strict");
    let file = published(&folder);
    let mut model = net();
    let before = state_dict(&model).unwrap();
    let error = renamed(&file).unwrap().load(&mut model).unwrap_err();
    assert!(error.to_string().contains("missing: head.bias"), "{error}");
    let error = Checkpoint::open(&file).unwrap().strip_prefix("module.").unwrap().load(&mut model).unwrap_err().to_string();
    for part in ["missing: norm.weight", "unexpected: norm.gamma", "unexpected: steps"] {
        assert!(error.contains(part), "{error}");
    }
    let error = renamed(&file).unwrap().rename("layers.0.*", "layer.0.*").unwrap().allow_missing("head.*").unwrap().load(&mut model).unwrap_err();
    assert!(error.to_string().contains("missing: layers.0.bias (near it: layer.0.bias)"), "{error}");
    assert!(state_dict(&model).unwrap().iter().all(|(path, array)| array.is_same(&before[path])));
    // A part of it, where that is what is wanted.
    let report = renamed(&file).unwrap().load_partly(&mut model).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len(), report.unexpected.len()), (6, 2, 0));
}

#[test]
fn what_matches_nothing_is_an_error_with_near_misses() {
    let folder = Folder::new("nothing");
    let file = published(&folder);
    let open = || Checkpoint::open(&file).unwrap();
    for (error, parts) in [
        (open().ignore("module.poler.*").unwrap_err(), ["ignore", "module.pooler"]),
        (open().rename("*.gama", "*.weight").unwrap_err(), ["rename", "module.norm.gamma"]),
        (open().rename("step", "n").unwrap_err(), ["rename", "\"steps\""]),
        (open().strip_prefix("model.").unwrap_err(), ["strip_prefix", "module"]),
        (open().within("modul").unwrap_err(), ["within", "module"]),
        (open().read("module.norm.gama").unwrap_err(), ["model.safetensors", "near it is \"module.norm.gamma\""]),
        (open().allow_missing("haed.*").unwrap().load(&mut net()).unwrap_err(), ["allow_missing", "head"]),
        (open().rename("*.gamma", "weight").unwrap_err(), ["*.gamma", "stars"]),
        (open().ignore("{a").unwrap_err(), ["{a", "without"]),
        (open().rename("*.gamma", "*.beta").unwrap_err(), ["\"module.norm.beta\"", "\"module.norm.gamma\""]),
        (open().rename_with(|_| "one".into()).unwrap_err(), ["\"one\"", "two arrays"]),
    ] {
        let error = error.to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // Where it is said to be no mistake.
    let unchanged = open().strip_prefix_if_present("bert.").unwrap().rename_if_present("*.a", "*.b").unwrap().ignore_if_present("b.*").unwrap();
    assert_eq!(unchanged.entries().count(), 8);
    assert!(unchanged.contains("steps") && !unchanged.contains("step"));
    // A name that gives its place up may be taken.
    let swapped = open().rename_with(|name| name.replace("gamma", "_").replace("beta", "gamma").replace('_', "beta")).unwrap();
    assert_eq!(swapped.entries().count(), 8);
}

#[test]
fn several_files_by_an_index() {
    let folder = Folder::new("shards");
    let model = net();
    let state = state_dict(&model).unwrap();
    let mut map = Vec::new();
    for (i, part) in [0..3, 3..state.len()].into_iter().enumerate() {
        let name = format!("model-{i}.safetensors");
        let part: StateDict = state.iter().skip(part.start).take(part.len()).map(|(name, array)| (name.clone(), array.clone())).collect();
        map.extend(part.keys().map(|tensor| format!("\"{tensor}\": \"{name}\"")));
        safetensors::write(folder.file(&name), &part, &Default::default()).unwrap();
    }
    let index = folder.file("model.safetensors.index.json");
    std::fs::write(&index, format!("{{\"metadata\": {{\"total_size\": 1}}, \"weight_map\": {{{}}}}}", map.join(", "))).unwrap();
    let mut other = net();
    other.head.weight.value = Array::zeros(&[3, 2], DType::F32).unwrap();
    assert!(Checkpoint::open(&index).unwrap().load(&mut other).unwrap().is_complete());
    assert_eq!(other.head.weight.value.to_vec::<f32>().unwrap(), model.head.weight.value.to_vec::<f32>().unwrap());
    // An index that leaves out what a file holds is as wrong as one that names what it lacks.
    std::fs::write(&index, format!("{{\"weight_map\": {{{}}}}}", map[1..].join(", "))).unwrap();
    assert!(Checkpoint::open(&index).unwrap_err().to_string().contains("does not name"));
}
