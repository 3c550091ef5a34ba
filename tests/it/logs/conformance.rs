//! What VictoriaLogs answered to LogsQL queries over known lines: the same lines, or a clear refusal, never others. Held
//! against the store in Postgres, and against a real VictoriaLogs as this program asks it.
//!
//! The folder is tests/data/logsql, or GRID_TEST_LOGSQL_DIR.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use grid::clock::now;
use grid::domain::Timestamp;
use grid::logs::logsql::{self, QueryError};
use grid::logs::{Batch, Line, LogStore, LogsOptions, Order, Page, Question, Search, StoreError};
use serde::Deserialize;
use uuid::Uuid;

/// At most so many of a hundred queries may be unsupported.
const MOST_UNSUPPORTED_PERCENT: usize = 10;
const OF_THE_SEED: [&str; 3] = [
    r#"job_id:"job-12345""#,
    r#"task_id:"task-67890" AND level:"ERROR""#,
    r#"job_id:"job-12345" AND _time:[now-1h, now]"#,
];
/// A field of all lines of one run, where others keep lines as well.
const RUN: &str = "run_of_the_suite";

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

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(super::data().join("queries.json")).unwrap()).unwrap();
    assert!(!cases.is_empty());
    cases
}

fn batch(lines: Vec<Line>) -> Batch {
    Batch {
        incarnation: Uuid::now_v7(),
        number: 1,
        lines,
        to_vector: false,
    }
}

/// What comes of one query.
enum Outcome {
    Right,
    Unsupported(String),
    /// It was refused when it was recorded, and has been added since.
    Newer(String),
    Wrong(String),
}

fn outcome(case: &Case, found: Result<Page, StoreError>) -> Outcome {
    let query = &case.query;
    match (found, &case.lines) {
        (Ok(page), Some(expected)) => {
            let ids = page.lines.iter().map(|stored| &stored.line.fields["line_id"]);
            let ids: BTreeSet<u64> = ids.map(|id| id.parse().unwrap()).collect();
            let expected: BTreeSet<u64> = expected.iter().copied().collect();
            if ids == expected {
                return Outcome::Right;
            }
            let other: Vec<_> = ids.symmetric_difference(&expected).take(5).collect();
            let (found, wanted) = (ids.len(), expected.len());
            Outcome::Wrong(format!("{query}: {found} lines, not {wanted}: {other:?}"))
        }
        (Ok(page), None) => Outcome::Newer(format!("{query}: {} lines, not {:?}", page.lines.len(), case.error)),
        (Err(StoreError::Query(QueryError::Syntax { .. }) | StoreError::Invalid(_)), Some(_)) => {
            Outcome::Wrong(format!("{query}: not read"))
        }
        (Err(StoreError::Query(error)), Some(_)) => Outcome::Unsupported(format!("{query}: {error}")),
        (Err(StoreError::Query(_) | StoreError::Invalid(_)), None) => Outcome::Right,
        (Err(other), _) => panic!("{query}: {other}"),
    }
}

/// Asks every query; gives those that are not supported.
async fn hold_against(store: &dyn LogStore, run: Option<&str>) -> Vec<String> {
    let mut unsupported = Vec::new();
    let mut wrong = Vec::new();
    let cases = cases();
    for case in &cases {
        let search = Search {
            question: Question {
                named: run
                    .into_iter()
                    .map(|run| (RUN.to_owned(), vec![run.to_owned()]))
                    .collect(),
                ..Question::of(&case.query, now())
            },
            from_ms: 0,
            to_ms: i64::MAX,
            order: Order::NewestFirst,
            beyond: None,
            limit: 10_000,
        };
        match outcome(case, store.search(&search).await) {
            Outcome::Right => {}
            // Only of VictoriaLogs itself, which is a later one.
            Outcome::Newer(query) if run.is_some() => println!("answered now: {query}"),
            Outcome::Newer(query) => wrong.push(query),
            Outcome::Unsupported(why) => unsupported.push(why),
            Outcome::Wrong(why) => wrong.push(why),
        }
    }
    let (count, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {all}:\n{}", wrong.join("\n"));
    let (count, which) = (unsupported.len(), unsupported.join("\n"));
    println!("{count} of {all} queries are not supported:\n{which}");
    assert!(
        count * 100 <= all * MOST_UNSUPPORTED_PERCENT,
        "{count} of {all} are not supported:\n{which}"
    );
    unsupported
}

#[tokio::test]
async fn queries_find_what_victorialogs_finds() {
    let options = LogsOptions {
        // The lines are of a fixed day.
        max_age: Duration::from_secs(100 * 365 * 86_400),
        ..LogsOptions::default()
    };
    let (_, store) = super::store(options).await;
    store.add(batch(lines())).await.unwrap();
    hold_against(&store, None).await;
    for query in OF_THE_SEED {
        assert!(logsql::parse(query, now()).is_ok(), "{query}");
    }
}

#[test]
fn lines_that_are_in_no_store_are_wanted_alike() {
    let lines = lines();
    let mut unsupported = Vec::new();
    for case in cases() {
        let wanted = logsql::parse(&case.query, now()).and_then(|filter| {
            filter.check()?;
            let mut found = Vec::new();
            for line in &lines {
                if filter.wants(line)? {
                    found.push(line.fields["line_id"].parse::<u64>().unwrap());
                }
            }
            Ok(found)
        });
        match (wanted, case.lines) {
            (Ok(found), Some(mut expected)) => {
                expected.sort_unstable();
                assert_eq!(found, expected, "{}", case.query);
            }
            (Ok(found), None) => panic!("{}: {} lines, not {:?}", case.query, found.len(), case.error),
            (Err(error), Some(_)) => unsupported.push(format!("{}: {error}", case.query)),
            (Err(_), None) => {}
        }
    }
    assert!(
        unsupported.len() * 100 <= cases().len() * MOST_UNSUPPORTED_PERCENT,
        "{unsupported:#?}"
    );
}

#[tokio::test]
async fn a_real_victorialogs_finds_them_as_it_is_asked_here() {
    let Some((server, store)) = super::victoria::store() else {
        return;
    };
    let run = Uuid::now_v7().to_string();
    let mut lines = lines();
    for line in &mut lines {
        line.fields.insert(RUN.to_owned(), run.clone());
    }
    store.add(batch(lines)).await.unwrap();
    server.flush().await;
    let unsupported = hold_against(&store, Some(&run)).await;
    let pipes = unsupported.iter().filter(|why| why.contains("it has pipes")).count();
    assert_eq!(pipes, unsupported.len(), "{unsupported:?}");
}

/// Lines of one worker behind a position: page by page in the order in which they were written, as the question wants them.
async fn give_lines_behind_a_position(store: &dyn LogStore, found_by_now: impl AsyncFn()) {
    const LINES: i64 = 25;
    let worker = format!("worker-{}", Uuid::now_v7());
    let base_ms = now().as_ms() - 60_000;
    let position = |number: i64| base_ms * 1_000 + number * 10;
    let line = |worker: &str, number: i64| Line {
        worker_id: worker.to_owned(),
        position: position(number),
        // Some at the same time; and one was held back for what might have belonged to it.
        at: Timestamp::from_ms(base_ms + if number == 13 { 0 } else { number / 5 }),
        ..super::line("2026-01-31T10:00:00Z", &format!("line {number} of {}", number % 2))
    };
    let other = format!("{worker}-other");
    let both = (0..LINES).flat_map(|number| [line(&worker, number), line(&other, number)]);
    store.add(batch(both.collect())).await.unwrap();
    found_by_now().await;
    let ask = async |query: Option<&str>, mut after: i64, limit: u32| {
        let question = Question {
            query: query.map(str::to_owned),
            named: Vec::new(),
            now: now(),
        };
        let mut found = Vec::new();
        loop {
            let page = store.of_worker(&question, &worker, after, limit).await.unwrap();
            assert!(page.lines.len() <= limit as usize);
            for stored in page.lines {
                assert_eq!(stored.line.worker_id, worker);
                assert!(stored.line.position > after, "{} behind {after}", stored.line.position);
                after = stored.line.position;
                found.push((after - position(0)) / 10);
            }
            if !page.more {
                return found;
            }
        }
    };
    let numbers = |from: i64, step: usize| (from..LINES).step_by(step).collect::<Vec<_>>();
    assert_eq!(ask(None, position(0) - 1, 7).await, numbers(0, 1));
    assert_eq!(ask(None, position(0), 100).await, numbers(1, 1));
    assert_eq!(ask(None, position(11) + 5, 3).await, numbers(12, 1));
    assert_eq!(ask(Some("\"of 1\""), position(2), 4).await, numbers(3, 2));
    assert_eq!(ask(None, position(LINES - 1), 5).await, numbers(LINES, 1));
}

#[tokio::test]
async fn a_worker_s_lines_go_on_behind_a_position() {
    let (_, store) = super::store(LogsOptions::default()).await;
    give_lines_behind_a_position(&store, async || ()).await;
}

#[tokio::test]
async fn a_worker_s_lines_go_on_behind_a_position_in_a_real_victorialogs() {
    let Some((server, store)) = super::victoria::store() else {
        return;
    };
    give_lines_behind_a_position(&store, async || server.flush().await).await;
}
