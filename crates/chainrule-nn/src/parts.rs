//! [`report`]: how many of a model's parameters are trained, part by part.

use crate::summary::{grouped, table};
use crate::{Module, params};
use std::fmt;

/// A part of a model: a numbered layer, or what stands up to two names below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it stands.
    pub path: String,
    /// The paths of its parameters.
    pub paths: Vec<String>,
    /// The numbers in them.
    pub parameters: usize,
    /// Those of them that are trained.
    pub trainable: usize,
    /// The bytes of its parameters.
    pub bytes: usize,
}

/// A model's parts with their parameters, in the order of the model. `{}` prints them as a table, equal numbered layers in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// A line each.
    pub parts: Vec<Part>,
    /// The numbers in all parameters.
    pub parameters: usize,
    /// Those of them that are trained.
    pub trainable: usize,
    /// The bytes of all parameters.
    pub bytes: usize,
}

/// How many parameters a model has and how many are trained, by part. Buffers do not count.
/// ```
/// # use chainrule_autograd::Rng;
/// # use chainrule_nn::{Linear, Module, freeze, report};
/// #[derive(Module)]
/// struct Model { body: Vec<Linear>, head: Linear }
/// let rng = &mut Rng::seeded(0);
/// let mut model = Model { body: vec![Linear::new(9, 9, rng)?, Linear::new(9, 9, rng)?], head: Linear::new(9, 2, rng)? };
/// freeze(&mut model, "body.*")?;
/// assert_eq!(report(&model).to_string(), "\
/// part         parameters  trainable       %    bytes
/// ---------------------------------------------------
/// body.0 .. 1      2 x 90      2 x 0    0.00  2 x 360
/// head                 20         20  100.00       80
/// ---------------------------------------------------
/// all                 200         20   10.00      800");
/// # Ok::<(), chainrule_nn::Error>(())
/// ```
pub fn report(model: &dyn Module) -> Parts {
    let mut parts: Vec<Part> = Vec::new();
    params(model, |path, param| {
        let (place, size) = (part_of(path), param.value.count());
        let at = parts.iter().position(|part| part.path == place).unwrap_or_else(|| {
            parts.push(Part { path: place.to_string(), paths: Vec::new(), parameters: 0, trainable: 0, bytes: 0 });
            parts.len() - 1
        });
        let part = &mut parts[at];
        part.paths.push(path.to_string());
        part.parameters += size;
        part.trainable += if param.trainable { size } else { 0 };
        part.bytes += size * param.value.dtype().size();
    });
    let sum = |of: fn(&Part) -> usize| parts.iter().map(of).sum();
    let (parameters, trainable, bytes) = (sum(|part| part.parameters), sum(|part| part.trainable), sum(|part| part.bytes));
    Parts { parts, parameters, trainable, bytes }
}

/// Up to the first number; without one up to the second name, but not the parameter's own, unless it stands at the root.
fn part_of(path: &str) -> &str {
    let dots: Vec<usize> = path.match_indices('.').map(|(dot, _)| dot).chain([path.len()]).collect();
    let mut from = 0;
    for &dot in &dots {
        if path[from..dot].parse::<usize>().is_ok() {
            return &path[..dot];
        }
        from = dot + 1;
    }
    &path[..dots[dots.len().saturating_sub(2).min(1)]]
}

impl Part {
    /// The path above and the number, if it is a numbered layer.
    fn number(&self) -> Option<(&str, usize)> {
        let (above, number) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        number.parse().ok().map(|number| (above, number))
    }

    /// Whether it is the numbered layer that comes `distance` after another one, with the same figures.
    fn repeats(&self, first: &Part, distance: usize) -> bool {
        let figures = |part: &Part| (part.parameters, part.trainable, part.bytes);
        let (Some(this), Some(first_number)) = (self.number(), first.number()) else { return false };
        figures(self) == figures(first) && this.0 == first_number.0 && first_number.1.checked_add(distance) == Some(this.1)
    }
}

fn percent(trainable: usize, parameters: usize) -> String {
    let share = if parameters == 0 { 0.0 } else { 100.0 * trainable as f64 / parameters as f64 };
    format!("{share:.2}")
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![["part", "parameters", "trainable", "%", "bytes"].map(str::to_string)];
        let mut rest = &self.parts[..];
        while let [first, others @ ..] = rest {
            let times = 1 + others.iter().enumerate().take_while(|(i, part)| part.repeats(first, i + 1)).count();
            let count = |number: usize| if times == 1 { grouped(number) } else { format!("{times} x {}", grouped(number)) };
            let path = match first.number() {
                Some((_, number)) if times > 1 => format!("{} .. {}", first.path, number + times - 1),
                _ if first.path.is_empty() => "(model)".to_string(),
                _ => first.path.clone(),
            };
            lines.push([path, count(first.parameters), count(first.trainable), percent(first.trainable, first.parameters), count(first.bytes)]);
            rest = &rest[times..];
        }
        let all = percent(self.trainable, self.parameters);
        lines.push(["all".to_string(), grouped(self.parameters), grouped(self.trainable), all, grouped(self.bytes)]);
        table(f, &lines, 1, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_at_numbers_or_the_second_name() {
        for (path, part) in [
            ("encoder.layer.3.attention.0.weight", "encoder.layer.3"),
            ("embeddings.word.weight", "embeddings.word"),
            ("bert.embeddings.word.weight", "bert.embeddings"),
            ("encoder.norm", "encoder"),
            ("0.weight", "0"),
            ("head.weight", "head"),
            ("scale", "scale"),
            ("", ""),
        ] {
            assert_eq!(part_of(path), part, "{path}");
        }
    }
}
