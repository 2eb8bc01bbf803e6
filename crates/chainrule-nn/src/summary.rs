//! [`Summary`]: a model as a table.

use crate::activations::modules;
use crate::{Module, Result, activations, count, params};
use std::collections::BTreeMap;
use std::fmt;

/// A line of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where the module stands; empty for the model itself.
    pub path: String,
    /// Its type.
    pub kind: &'static str,
    /// The shape of what it gave first, where it reported that.
    pub output: Option<Vec<usize>>,
    /// The numbers in its own parameters, without those of modules inside it.
    pub parameters: usize,
    /// Those of them that are trained.
    pub trainable: usize,
}

/// A model as a table: path, kind, output shape, parameters, trainable. `{}` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// A line a module.
    pub rows: Vec<Row>,
    /// The numbers in all parameters.
    pub parameters: usize,
    /// Those of them that are trained.
    pub trainable: usize,
    /// The bytes of all parameters.
    pub bytes: usize,
}

/// The table of a model, with the shapes that arise when `run` runs it.
/// ```
/// # use chainrule_autograd::{DType, Rng, Tensor};
/// # use chainrule_nn::{Layer, Linear, Relu, Sequential, summary};
/// let mut rng = Rng::seeded(0);
/// let model = Sequential::new().add(Linear::new(784, 10, &mut rng)?).add(Relu);
/// let x = Tensor::zeros(&[1, 784], DType::F32)?;
/// let table = summary(&model, || model.run(&x))?;
/// assert_eq!(table.rows[1].output, Some(vec![1, 10]));
/// assert!(table.to_string().contains("7,850"));
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
///
/// # Errors
/// Those of `run`.
pub fn summary<T, E>(model: &dyn Module, run: impl FnOnce() -> Result<T, E>) -> Result<Summary, E> {
    let (result, outputs) = activations(model, run);
    result?;
    let mut rows: Vec<Row> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    modules(model, |path, kind| {
        // Where one module stands at another's path, its output and parameters count for the inner one.
        at.insert(path.to_string(), rows.len());
        rows.push(Row { path: path.to_string(), kind: kind.name(), output: None, parameters: 0, trainable: 0 });
    });
    for (path, output) in outputs {
        if let Some(row) = at.get(&path).map(|&i| &mut rows[i]) {
            row.output.get_or_insert_with(|| output.dims().to_vec());
        }
    }
    let mut bytes = 0;
    params(model, |path, param| {
        let size = param.value.count();
        bytes += size * param.value.dtype().size();
        let mut owner = path;
        // The nearest module above: vectors and tuples lie between and have no line.
        let row = loop {
            owner = owner.rsplit_once('.').map_or("", |(above, _)| above);
            if let Some(&i) = at.get(owner) {
                break Some(i);
            }
            if owner.is_empty() {
                break None;
            }
        };
        if let Some(row) = row.map(|i| &mut rows[i]) {
            row.parameters += size;
            row.trainable += if param.trainable { size } else { 0 };
        }
    });
    let total = count(model);
    Ok(Summary { rows, parameters: total.all, trainable: total.trainable, bytes })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = vec![["path", "kind", "output shape", "parameters", "trainable"].map(str::to_string)];
        for row in &self.rows {
            let path = if row.path.is_empty() { "(model)".to_string() } else { row.path.clone() };
            let output = row.output.as_ref().map_or(String::new(), |dims| format!("{dims:?}"));
            let numbers = if row.parameters == 0 { [String::new(), String::new()] } else { [grouped(row.parameters), grouped(row.trainable)] };
            let [parameters, trainable] = numbers;
            table.push([path, row.kind.to_string(), output, parameters, trainable]);
        }
        self::table(f, &table, 3, false)?;
        writeln!(f)?;
        write!(f, "{} parameters, {} trainable, {:.1} MiB", grouped(self.parameters), grouped(self.trainable), self.bytes as f64 / (1 << 20) as f64)
    }
}

/// Lines in columns, the first `left` of which stand left: a head, a rule, the others; a rule after them, or before the last one if that is their sum.
pub(crate) fn table<const N: usize>(f: &mut fmt::Formatter<'_>, lines: &[[String; N]], left: usize, sum: bool) -> fmt::Result {
    let widths: [usize; N] = std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * N.saturating_sub(1));
    for (i, line) in lines.iter().enumerate() {
        if sum && i + 1 == lines.len() {
            writeln!(f, "{rule}")?;
        }
        for (column, (text, &width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            if column < left { write!(f, "{gap}{text:<width$}")? } else { write!(f, "{gap}{text:>width$}")? }
        }
        if i == 0 {
            write!(f, "\n{rule}")?;
        }
        if i + 1 < lines.len() {
            writeln!(f)?;
        }
    }
    if sum { Ok(()) } else { write!(f, "\n{rule}") }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
