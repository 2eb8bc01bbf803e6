//! What the command line asks for.

/// Which workloads to run, how long, and how to print them.
#[derive(Debug, Default, PartialEq)]
pub struct Arguments {
    /// Prefixes of names; all workloads when there is none.
    pub only: Vec<String>,
    /// Seconds for each workload.
    pub budget: f64,
    /// As many as there are cores unless told otherwise.
    pub threads: Option<usize>,
    /// One object at the end in place of a line each.
    pub json: bool,
    /// Counts in place of times.
    pub counters: bool,
    /// Times over sizes and threads.
    pub scaling: bool,
    /// Training steps on this device.
    pub device: Option<String>,
    /// Their batch.
    pub batch: Option<usize>,
}

impl Arguments {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// A name that is not known, or a value that does not fit.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { budget: 3.0, ..Arguments::default() };
        let mut words = words.into_iter();
        while let Some(name) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{name}: expected a value after it"));
            match name.as_str() {
                "--json" => arguments.json = true,
                "--counters" => arguments.counters = true,
                "--scaling" => arguments.scaling = true,
                "--only" => arguments.only = value()?.split(',').filter(|prefix| !prefix.is_empty()).map(str::to_string).collect(),
                "--budget" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
                    arguments.budget = seconds.ok_or_else(|| format!("--budget {text}: expected seconds, a number not below 0"))?;
                }
                "--threads" => {
                    arguments.threads = Some(count(&name, &value()?)?);
                }
                "--device" => arguments.device = Some(value()?),
                "--batch" => arguments.batch = Some(count(&name, &value()?)?),
                other => return Err(format!("{other}: expected --only, --budget, --threads, --json, --counters, --scaling, --device or --batch")),
            }
        }
        Ok(arguments)
    }

    /// Whether the workload of this name is to run.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

fn count(name: &str, text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| format!("{name} {text}: expected a whole number above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn all_arguments_are_read() {
        let expected = Arguments {
            only: vec!["gemm".into(), "lenet_train".into()],
            budget: 0.5,
            threads: Some(1),
            json: true,
            device: Some("cuda".into()),
            batch: Some(8),
            ..Arguments::default()
        };
        assert_eq!(parse("--only gemm,lenet_train --budget 0.5 --threads 1 --json --device cuda --batch 8"), Ok(expected));
        assert_eq!(parse(""), Ok(Arguments { budget: 3.0, ..Arguments::default() }));
    }

    #[test]
    fn names_are_chosen_by_prefix() {
        let some = parse("--only gemm_,conv3x3").unwrap();
        assert!(some.wants("gemm_64") && some.wants("conv3x3_fwd_bwd_32x64x32x32") && !some.wants("conv5x5_fwd_bwd_64x6x14x14"));
        assert!(parse("--json").unwrap().wants("gemm_64"));
    }

    #[test]
    fn wrong_arguments_are_errors() {
        for (line, message) in [
            ("--fast", "--fast: expected --only, --budget, --threads, --json, --counters, --scaling, --device or --batch"),
            ("--batch 0", "--batch 0: expected a whole number above 0"),
            ("--only", "--only: expected a value after it"),
            ("--budget -1", "--budget -1: expected seconds, a number not below 0"),
            ("--budget NaN", "--budget NaN: expected seconds, a number not below 0"),
            ("--threads 0", "--threads 0: expected a whole number above 0"),
        ] {
            assert_eq!(parse(line), Err(message.to_string()));
        }
    }
}
