//! What VictoriaLogs answered to LogsQL queries over known lines: the same lines, or a clear refusal, never others.
//!
//! The folder is tests/data/logsql, or GRID_TEST_LOGSQL_DIR.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use grid::clock::now;
use grid::logs::logsql::{self, QueryError};
use grid::logs::{Batch, Line, LogStore, LogsOptions, Order, Search, StoreError};
use serde::Deserialize;
use uuid::Uuid;

/// At most so many of a hundred queries may be unsupported.
const MOST_UNSUPPORTED_PERCENT: usize = 10;
const OF_THE_SEED: [&str; 3] = [
    r#"job_id:"job-12345""#,
    r#"task_id:"task-67890" AND level:"ERROR""#,
    r#"job_id:"job-12345" AND _time:[now-1h, now]"#,
];

#[derive(Deserialize)]
struct Case {
    query: String,
    lines: Option<Vec<u64>>,
    error: Option<String>,
}

fn lines() -> Vec<Line> {
    let text = fs::read_to_string(super::data().join("logs.ndjson")).unwrap();
    let read = |text: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        // Texts in the file, as VictoriaLogs has everything.
        if let Some(attempt) = value.get("attempt").and_then(|attempt| attempt.as_str()) {
            value["attempt"] = attempt.parse::<u32>().unwrap().into();
        }
        serde_json::from_value(value).unwrap()
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn queries_find_what_victorialogs_finds() {
    let options = LogsOptions {
        // The lines are of a fixed day.
        max_age: Duration::from_secs(100 * 365 * 86_400),
        ..LogsOptions::default()
    };
    let (_, store) = super::store(options).await;
    let batch = Batch {
        incarnation: Uuid::now_v7(),
        number: 1,
        lines: lines(),
    };
    store.add(batch).await.unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(super::data().join("queries.json")).unwrap()).unwrap();
    assert!(!cases.is_empty());
    let mut unsupported = Vec::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let found = match logsql::parse(&case.query, now()) {
            Err(error) => Err(error),
            Ok(filter) => {
                let search = Search {
                    filter,
                    from_ms: 0,
                    to_ms: i64::MAX,
                    order: Order::NewestFirst,
                    beyond: None,
                    limit: 10_000,
                };
                match store.search(&search).await {
                    Ok(page) => Ok(page),
                    Err(StoreError::Query(error)) => Err(error),
                    Err(other) => panic!("{}: {other}", case.query),
                }
            }
        };
        match (found, &case.lines) {
            (Ok(page), Some(expected)) => {
                let ids: BTreeSet<u64> = page
                    .lines
                    .iter()
                    .map(|stored| stored.line.fields["line_id"].parse().unwrap())
                    .collect();
                let expected: BTreeSet<u64> = expected.iter().copied().collect();
                if ids != expected {
                    let other: Vec<_> = ids.symmetric_difference(&expected).take(5).collect();
                    wrong.push(format!(
                        "{}: {} lines, not {}: {other:?}",
                        case.query,
                        ids.len(),
                        expected.len()
                    ));
                }
            }
            (Ok(page), None) => {
                wrong.push(format!(
                    "{}: {} lines, not {:?}",
                    case.query,
                    page.lines.len(),
                    case.error
                ));
            }
            (Err(QueryError::Syntax { .. }), Some(_)) => wrong.push(format!("{}: not read", case.query)),
            (Err(error), Some(_)) => unsupported.push(format!("{}: {error}", case.query)),
            (Err(_), None) => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    println!(
        "{} of {} queries are not supported:\n{}",
        unsupported.len(),
        cases.len(),
        unsupported.join("\n")
    );
    assert!(
        unsupported.len() * 100 <= cases.len() * MOST_UNSUPPORTED_PERCENT,
        "{unsupported:#?}"
    );
    for query in OF_THE_SEED {
        assert!(logsql::parse(query, now()).is_ok(), "{query}");
    }
}
