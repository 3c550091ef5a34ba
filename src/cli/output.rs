//! How results are printed.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::domain::Timestamp;

/// The two ways to print a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    #[default]
    Human,
    /// JSON for programs.
    Json,
}

impl Output {
    /// Prints the server's answer as it is, or as `render` shows it.
    pub fn print<T: DeserializeOwned>(self, answer: &Value, render: impl FnOnce(T) -> String) -> anyhow::Result<()> {
        match self {
            Self::Json => print_json(answer),
            Self::Human => print(&render(understand(answer)?)),
        }
    }
}

/// Reads the server's answer into what the tables need.
pub fn understand<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    use anyhow::Context;
    T::deserialize(answer).context("the server's answer is not understood; is it of another version? Try --output json")
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

/// Says something on stderr; a closed one is nobody's concern.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// `1 task`, `2 tasks`
pub fn count(number: u64, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

/// Rows under headings, without lines: easy on the eye, and easy to cut.
pub fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heads.iter().copied());
    // Into a pipe a row is one line, however long.
    let arrangement = if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    table.set_content_arrangement(arrangement);
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    let text = table.trim_fmt();
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    format!("{}\n", lines.join("\n"))
}

/// `name:  value` lines, the values under each other.
pub fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    let line = |(name, value): &(&str, String)| format!("{:width$} {}\n", format!("{name}:"), printable(value));
    fields.iter().filter(|(_, value)| !value.is_empty()).map(line).collect()
}

/// Text that came from tasks and clients may hold anything; a terminal gets no control characters of it.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|char| {
            if char.is_control() && char != '\n' {
                '\u{fffd}'
            } else {
                char
            }
        })
        .collect()
}

/// `2026-01-31T10:00:00Z`: seconds are enough for people.
pub fn time(at: Option<Timestamp>) -> String {
    let text = at.map(|at| at.to_string()).unwrap_or_default();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

/// `4m 3s`, `850ms`: two units are enough for people.
pub fn duration(duration: Duration) -> String {
    let rounded = if duration < Duration::from_secs(10) {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(duration.as_secs())
    };
    let text = humantime::format_duration(rounded).to_string();
    let units: Vec<&str> = text.split(' ').take(2).collect();
    units.join(" ")
}

/// `zone=a,disk=ssd`
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}

/// `grid version`
pub fn version(output: Output) -> anyhow::Result<()> {
    match output {
        Output::Human => print(concat!("grid ", env!("CARGO_PKG_VERSION"), "\n")),
        Output::Json => print_json(&json!({
            "name": "grid",
            "version": env!("CARGO_PKG_VERSION"),
            "newestLogFormat": crate::log::Format::known().number(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_plain_and_hold_no_control_characters() {
        let text = table(
            &["A", "B"],
            [
                vec!["1".to_owned(), "x\u{1b}[31my".to_owned()],
                vec![String::new(), "z".into()],
            ],
        );
        assert_eq!(text, "A  B\n1  x\u{fffd}[31my\n   z\n");
        assert_eq!(table(&["A", "B"], []), "A  B\n");
    }

    #[test]
    fn times_and_durations_are_short() {
        assert_eq!(
            time(Some(Timestamp::from_ms(1_517_443_200_042))),
            "2018-02-01T00:00:00Z"
        );
        assert_eq!(duration(Duration::from_micros(850_400)), "850ms");
        assert_eq!(duration(Duration::from_millis(3_723_500)), "1h 2m");
        assert_eq!(
            fields(&[("a", "1".into()), ("long", "2".into()), ("none", String::new())]),
            "a:    1\nlong: 2\n"
        );
    }
}
