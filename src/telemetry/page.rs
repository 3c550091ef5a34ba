//! The table of Prometheus's metrics. docs/prometheus.md is the table: what people read there is what is given to whoever
//! scrapes as help.
//!
//! Must stay true: each metric that the code names has a row of its type, and each row a metric.

use std::sync::LazyLock;

use metrics::{describe_counter, describe_gauge, describe_histogram};

const PAGE: &str = include_str!("../../docs/prometheus.md");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Counter, Self::Gauge, Self::Histogram];

    /// As the text format has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

pub(super) struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

fn row(line: &'static str) -> Option<Row> {
    let cells: Vec<&'static str> = line.split('|').map(str::trim).collect();
    let [_, name, kind, _labels, help, _] = cells.as_slice() else {
        return None;
    };
    Some(Row {
        name: name.strip_prefix('`')?.strip_suffix('`')?,
        kind: Kind::ALL.into_iter().find(|one| one.name() == *kind)?,
        help,
    })
}

/// All of them, read once.
pub(super) fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| PAGE.lines().filter_map(row).collect());
    &ROWS
}

/// Gives every metric its help.
pub(super) fn describe() {
    for &Row { name, kind, help } in rows() {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Metrics that the code makes, by what it makes of them.
    fn made() -> BTreeMap<String, Kind> {
        let mut made = BTreeMap::new();
        for (_, text) in crate::sources::files() {
            let parts: Vec<&str> = text.split('"').collect();
            for (before, name) in parts.iter().zip(&parts[1..]) {
                let before = before.trim_end();
                let is_made = |kind: &Kind| {
                    ["!(", "("].iter().any(|call| {
                        let rest = before.strip_suffix(call);
                        rest.is_some_and(|rest| rest.ends_with(kind.name()))
                    })
                };
                if let Some(kind) = Kind::ALL.into_iter().find(is_made)
                    && name.starts_with("grid_")
                    && !name.starts_with("grid_test_")
                {
                    let before = made.insert((*name).to_owned(), kind);
                    assert!(before.is_none_or(|before| before == kind), "{name} is of two types");
                }
            }
        }
        made
    }

    #[test]
    fn the_page_has_every_metric_that_the_code_makes_and_no_other() {
        let mut made = made();
        assert!(made.len() > 100, "{made:?}");
        made.extend(super::super::process::NAMES.map(|(name, kind)| (name.to_owned(), kind)));
        let rows: BTreeMap<String, Kind> = rows().iter().map(|row| (row.name.to_owned(), row.kind)).collect();
        let lines = PAGE.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(
            rows.len(),
            lines,
            "a row of docs/prometheus.md cannot be read, or is there twice"
        );
        let of = |all: &BTreeMap<String, Kind>| -> BTreeSet<String> {
            let texts = all.iter().map(|(name, kind)| format!("{} {name}", kind.name()));
            texts.collect()
        };
        let (made, rows) = (of(&made), of(&rows));
        let missing: Vec<_> = made.difference(&rows).collect();
        let idle: Vec<_> = rows.difference(&made).collect();
        assert!(
            missing.is_empty() && idle.is_empty(),
            "docs/prometheus.md lacks {missing:?} and has {idle:?}"
        );
    }

    #[test]
    fn names_tell_their_type_and_rows_are_in_order() {
        let names: Vec<_> = rows().iter().map(|row| row.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for &Row { name, kind, help } in rows() {
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            assert!(
                help.ends_with('.') && help.starts_with(|c: char| c.is_uppercase() || c == '1'),
                "{name}: {help}"
            );
        }
    }
}
