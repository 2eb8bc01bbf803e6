//! `#[derive(Module)]`: paths, attributes, generics.

use chainrule_autograd::{Array, DType};
use chainrule_nn::*;
use std::collections::BTreeMap;

fn param() -> Param {
    Param::new(Array::zeros(&[2], DType::F32).unwrap())
}
fn buffer() -> Buffer {
    Buffer::new(Array::zeros(&[1], DType::I64).unwrap())
}

fn paths(model: &dyn Module) -> Vec<String> {
    let mut paths = Vec::new();
    params(model, |path, _| paths.push(path.to_string()));
    buffers(model, |path, _| paths.push(format!("buffer {path}")));
    paths
}

#[derive(Module, Clone)]
struct Everything {
    weight: Param,
    running: Buffer,
    absent: Option<Param>,
    present: Option<Box<Param>>,
    list: Vec<Param>,
    array: [Param; 2],
    tuple: (Param, Buffer),
    named: BTreeMap<String, Param>,
    boxed: BoxedLayer,
    r#type: Param,
    #[module(name = "renamed")]
    field: Param,
    #[module(flatten)]
    inner: Inner,
    #[module(skip)]
    setting: std::time::Duration,
    number: usize,
    truth: bool,
    text: String,
    sizes: Vec<usize>,
}

#[derive(Module, Clone)]
struct Inner {
    scale: Param,
}

#[test]
fn every_field_has_its_path() {
    let everything = Everything {
        weight: param(),
        running: buffer(),
        absent: None,
        present: Some(Box::new(param())),
        list: vec![param(), param()],
        array: [param(), param()],
        tuple: (param(), buffer()),
        named: [("b".to_string(), param()), ("a".to_string(), param())].into(),
        boxed: Box::new(Linear::new(1, 1, &mut chainrule_autograd::Rng::seeded(0)).unwrap()),
        r#type: param(),
        field: param(),
        inner: Inner { scale: param() },
        setting: std::time::Duration::ZERO,
        number: 1,
        truth: true,
        text: String::new(),
        sizes: vec![1, 2],
    };
    let expected = [
        "weight",
        "present",
        "list.0",
        "list.1",
        "array.0",
        "array.1",
        "tuple.0",
        "named.a",
        "named.b",
        "boxed.weight",
        "boxed.bias",
        "type",
        "renamed",
        "scale",
        "buffer running",
        "buffer tuple.1",
    ];
    assert_eq!(paths(&everything), expected);
    assert_eq!((everything.setting.as_secs(), everything.number, everything.truth, everything.text.len(), everything.sizes.len()), (0, 1, true, 0, 2));
    // Both walks agree.
    let mut seen = Vec::new();
    let mut copy = everything.clone();
    params_mut(&mut copy, |path, _| seen.push(path.to_string()));
    buffers_mut(&mut copy, |path, _| seen.push(format!("buffer {path}")));
    assert_eq!(seen, expected);
}

#[derive(Module, Clone)]
struct Wrapper<L, T: Copy, const N: usize>
where
    L: Clone,
{
    inner: [L; N],
    #[module(skip)]
    label: T,
}

#[test]
fn generics_need_bounds_only_where_they_are_walked() {
    /// No module.
    #[derive(Clone, Copy)]
    struct Label;
    let wrapper = Wrapper { inner: [param(), param()], label: Label };
    let _ = wrapper.label;
    assert_eq!(paths(&wrapper), ["inner.0", "inner.1"]);
}

#[derive(Module)]
struct Borrowed<'a> {
    name: &'static str,
    #[module(skip)]
    source: &'a str,
    own: Param,
}

#[derive(Module, Clone)]
struct Pair(Param, #[module(skip)] std::time::Duration, Buffer);

#[derive(Module, Clone, Copy, PartialEq, Debug)]
struct Unit;

#[derive(Module, Clone)]
enum Head {
    Linear(Linear),
    Scaled { scale: Param, shift: Option<Param> },
    Two(Param, Param),
    None,
}

/// Settings need no attribute where they are modules without contents.
#[derive(Module, Clone, Copy, PartialEq)]
enum Mode {
    Fast,
    #[allow(dead_code)]
    Exact,
}

#[derive(Module, Clone)]
struct Model {
    head: Head,
    mode: Mode,
}

#[test]
fn other_types_than_structs_with_names() {
    let text = String::from("here");
    let borrowed = Borrowed { name: "x", source: &text, own: param() };
    assert_eq!((borrowed.name, borrowed.source), ("x", "here"));
    assert_eq!(paths(&borrowed), ["own"]);
    let pair = Pair(param(), std::time::Duration::ZERO, buffer());
    assert_eq!((paths(&pair), pair.1.as_secs()), (vec!["0".to_string(), "buffer 2".to_string()], 0));
    assert_eq!(paths(&Unit), Vec::<String>::new());
    let linear = Linear::new(1, 1, &mut chainrule_autograd::Rng::seeded(0)).unwrap();
    for (head, expected) in [
        (Head::Linear(linear), vec!["head.weight", "head.bias"]),
        (Head::Scaled { scale: param(), shift: Some(param()) }, vec!["head.scale", "head.shift"]),
        (Head::Two(param(), param()), vec!["head.0", "head.1"]),
        (Head::None, vec![]),
    ] {
        let mut model = Model { head, mode: Mode::Fast };
        assert_eq!(paths(&model), expected);
        let mut seen = Vec::new();
        params_mut(&mut model, |path, _| seen.push(path.to_string()));
        assert_eq!(seen, expected);
        assert!(model.mode == Mode::Fast);
    }
}

#[test]
fn modules_are_shown_with_their_kind() {
    struct Kinds(Vec<String>);
    impl Visitor for Kinds {
        fn module(&mut self, path: &str, kind: Kind) {
            self.0.push(format!("{path}:{}", kind.name()));
        }
    }
    let mut kinds = Kinds(vec![]);
    let model = Wrapper { inner: [Inner { scale: param() }], label: 1u8 };
    model.visit(&mut Path::default(), &mut kinds);
    assert_eq!(kinds.0, [":Wrapper", "inner.0:Inner"]);
}
