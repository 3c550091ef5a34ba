//! How results are printed.

use std::io::Write;

use serde_json::{Value, json};

/// The two ways to print a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    #[default]
    Human,
    /// JSON for programs.
    Json,
}

/// Prints a JSON value, indented.
pub fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints text as it is. A closed pipe comes back as the error it is, not as a panic.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// `grid version`
pub fn version(output: Output) -> anyhow::Result<()> {
    match output {
        Output::Human => print(concat!("grid ", env!("CARGO_PKG_VERSION"), "\n")),
        Output::Json => print_json(&json!({"name": "grid", "version": env!("CARGO_PKG_VERSION")})),
    }
}
