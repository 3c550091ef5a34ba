//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use super::Origin;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {} is not TOML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

/// One wrong key or value.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// `section.key`
    pub key: String,
    pub origin: Origin,
    /// What is wrong and what was expected.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.what)
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    format!(
        "the configuration has {} wrong:\n{}",
        count(problems.len()),
        lines.join("\n")
    )
}

fn count(values: usize) -> String {
    if values == 1 {
        "one value".to_owned()
    } else {
        format!("{values} values")
    }
}
