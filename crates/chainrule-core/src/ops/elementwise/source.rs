//! Writes the CUDA C of the table of functions of one number, and holds the committed files to it. `CHAINRULE_BLESS=1 cargo test -p chainrule-core --lib elementwise` rewrites them; `scripts/ptx/build.py` compiles them.

use super::symbol::Symbol;
use super::table::Visitor;
use super::{Formula, Kept, Unary};
use std::fmt::Write;
use std::path::Path;

/// What a file holds of each row: the value, the slope times the gradient, or its derivative.
#[derive(Clone, Copy)]
enum Form {
    Value,
    Slope,
    Bend,
}

/// Names, or ends of names, of functions whose code is long: their kernels compute one number a thread at a time, so that it stands once.
const LONG: [&str; 10] = ["sinf", "cosf", "tanf", "powf", "sinhf", "coshf", "atanhf", "erfcf", "erfinvf", "gammaf"];

struct Writer<'a> {
    form: Form,
    op: Unary,
    to: &'a mut String,
}

impl Visitor for Writer<'_> {
    fn visit<F: Formula>(self, formula: F) {
        let (x, g, h) = (Symbol::named("x"), Symbol::named("g"), Symbol::named("h"));
        let (suffix, arrays, result): (_, &[&str], Symbol) = match self.form {
            Form::Value => ("value", &["x"], formula.value(x)),
            Form::Slope => ("slope", &["g", "x"], g * formula.slope(x)),
            Form::Bend => ("bend", &["h", "g", "x"], h * g * formula.bend(x)),
        };
        let (statements, value) = result.text();
        let list = |join: &str, each: &dyn Fn(&str) -> String| arrays.iter().map(|a| each(a)).collect::<Vec<_>>().join(join);
        let parameters: String = self.op.parameter_names().iter().map(|p| format!(", float {p}")).collect();
        let long = LONG.iter().any(|name| value.contains(name) || statements.iter().any(|s| s.contains(name)));
        let call = if long { format!("map_singly(to, count, f, {})", arrays.join(", ")) } else { format!("map({}, to, count, f)", arrays.join(", ")) };
        let name = self.op.name();
        let kept = match (self.form, self.op.keeps()) {
            (Form::Value, _) => "",
            (_, Kept::Input) => "",
            (_, Kept::Output) => " // x is the function's value",
        };
        let mut write = |line: String| self.to.push_str(&(line + "\n"));
        write(format!("KERNEL {name}_{suffix}({}, float *to, u64 count{parameters}) {{{kept}", list(", ", &|a| format!("const float *{a}"))));
        write(format!("    auto f = [=](float {}) {{", arrays.join(", float ")));
        statements.into_iter().for_each(|statement| write(format!("        {statement}")));
        write(format!("        return {value};"));
        write("    };".into());
        write(format!("    {call};\n}}"));
    }
}

fn written(form: Form) -> String {
    let (what, bytes) = match form {
        Form::Value => ("f(x)", 8),
        Form::Slope => ("g f'", 12),
        Form::Bend => ("h g df'/dx", 16),
    };
    let mut to = String::new();
    let _ = write!(
        to,
        "// Functions of one number: {what}; {bytes} bytes an element, and the operations of the formula.\n\
         // Written by ops/elementwise/source.rs from the rows of table.rs; edit those and run its test with CHAINRULE_BLESS=1.\n\
         #include \"map.cuh\"\n#include \"real.cuh\"\n\n"
    );
    for &op in Unary::ROWS {
        op.visit(Writer { form, op, to: &mut to });
    }
    to
}

#[test]
fn the_kernels_are_those_of_the_table() {
    for (name, form) in [("unary_value.cu", Form::Value), ("unary_slope.cu", Form::Slope), ("unary_bend.cu", Form::Bend)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/elementwise").join(name);
        let text = written(form);
        if std::env::var_os("CHAINRULE_BLESS").is_some_and(|bless| bless == "1") {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = committed.lines().zip(text.lines()).position(|(a, b)| a != b);
        assert!(
            committed == text,
            "{name} is not what the table says, from line {:?} on; run this test with CHAINRULE_BLESS=1, then scripts/ptx/build.py --only={}",
            differs.map_or(committed.lines().count().min(text.lines().count()) + 1, |line| line + 1),
            name.trim_end_matches(".cu")
        );
    }
}
