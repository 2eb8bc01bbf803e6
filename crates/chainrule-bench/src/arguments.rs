//! What the command line asks for.

/// Which workloads to run, how long, and how to print them.
#[derive(Debug, PartialEq)]
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
}

impl Arguments {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// A name that is not known, or a value that does not fit.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { only: vec![], budget: 3.0, threads: None, json: false, counters: false, scaling: false };
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
                    let text = value()?;
                    let count = text.parse().ok().filter(|count| *count > 0);
                    arguments.threads = Some(count.ok_or_else(|| format!("--threads {text}: expected a whole number above 0"))?);
                }
                other => return Err(format!("{other}: expected --only, --budget, --threads, --json, --counters or --scaling")),
            }
        }
        Ok(arguments)
    }

    /// Whether the workload of this name is to run.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn all_arguments_are_read() {
        let expected =
            Arguments { only: vec!["gemm".into(), "lenet_train".into()], budget: 0.5, threads: Some(1), json: true, counters: false, scaling: false };
        assert_eq!(parse("--only gemm,lenet_train --budget 0.5 --threads 1 --json"), Ok(expected));
        assert_eq!(parse(""), Ok(Arguments { only: vec![], budget: 3.0, threads: None, json: false, counters: false, scaling: false }));
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
            ("--fast", "--fast: expected --only, --budget, --threads, --json, --counters or --scaling"),
            ("--only", "--only: expected a value after it"),
            ("--budget -1", "--budget -1: expected seconds, a number not below 0"),
            ("--budget NaN", "--budget NaN: expected seconds, a number not below 0"),
            ("--threads 0", "--threads 0: expected a whole number above 0"),
        ] {
            assert_eq!(parse(line), Err(message.to_string()));
        }
    }
}
