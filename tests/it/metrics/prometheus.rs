//! What a process tells Prometheus, as Prometheus's own tool reads it, against docs/prometheus.md.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use crate::cli::server::Standalone;

/// Name to type and labels, as the page has them.
fn page() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/prometheus.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), labels.map(str::to_owned).collect()))
    })
    .collect()
}

/// Panics with what `promtool check metrics` has to say of a text.
fn promtool(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = started.unwrap_or_else(|error| panic!("promtool: {error}; make setup installs it"));
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && said.concat().is_empty(), "{}", said.concat());
}

/// The names of the labels of a sample, but for that of a bucket; none of the values has a comma or a quotation mark.
fn labels(sample: &str) -> BTreeSet<String> {
    let Some((_, rest)) = sample.split_once('{') else {
        return BTreeSet::new();
    };
    let (labels, _) = rest.rsplit_once('}').unwrap();
    let names = labels.split("\",").map(|label| label.split_once('=').unwrap().0);
    names.filter(|name| *name != "le").map(str::to_owned).collect()
}

/// Held after jobs have run.
pub(super) fn the_answer_is_well_formed_and_in_the_page(standalone: &Standalone) {
    let answer = Command::new("curl")
        .args(["-sS", "--fail", &format!("{}/metrics", standalone.url)])
        .output()
        .unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    promtool(&text);
    let page = page();
    let mut found = BTreeSet::new();
    let mut current = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let row = page
                .get(name)
                .unwrap_or_else(|| panic!("docs/prometheus.md lacks {name}"));
            assert_eq!(row.0, kind, "{name}");
            found.insert(name.to_owned());
            current = Some((name.to_owned(), row));
        } else if !line.starts_with('#') {
            let (name, row) = current.as_ref().unwrap();
            assert!(line.starts_with(name.as_str()), "{line} comes after {name}");
            assert_eq!(labels(line), row.1, "{line}");
        }
    }
    for name in [
        "grid_api_request_seconds",
        "grid_bus_lag_messages",
        "grid_data_free_bytes",
        "grid_journal_commit_seconds",
        "grid_log_lines_taken_total",
        "grid_metric_points_written_total",
        "grid_projection_lag_events",
        "grid_worker_running",
        "process_cpu_seconds_total",
    ] {
        assert!(found.contains(name), "{name} is missing: {found:?}");
    }
    assert!(found.len() > 60, "{found:?}");
}

/// What no run of a test brings about is held to the same rules.
#[test]
fn promtool_has_nothing_to_say_of_any_metric() {
    let mut text = String::new();
    for (name, (kind, labels)) in page() {
        let labels: Vec<String> = labels.iter().map(|label| format!("{label}=\"x\"")).collect();
        let labels = labels.join(",");
        text += &format!("# HELP {name} It says something.\n# TYPE {name} {kind}\n");
        text += &match (kind.as_str(), labels.as_str()) {
            ("histogram", "") => format!("{name}_bucket{{le=\"+Inf\"}} 1\n{name}_sum 1\n{name}_count 1\n"),
            ("histogram", labels) => format!(
                "{name}_bucket{{{labels},le=\"+Inf\"}} 1\n{name}_sum{{{labels}}} 1\n{name}_count{{{labels}}} 1\n"
            ),
            (_, "") => format!("{name} 1\n"),
            (_, labels) => format!("{name}{{{labels}}} 1\n"),
        };
    }
    promtool(&text);
}
