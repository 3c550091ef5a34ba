//! The store in Postgres.

use std::time::Duration;

use grid::clock::now;
use grid::domain::Timestamp;
use grid::logs::{Batch, Embedded, Key, Line, LogStore, LogsOptions, Order, Question, Search, StoreError};
use uuid::Uuid;

use super::line;
use crate::support::{Postgres, eventually};

const SOON: Duration = Duration::from_secs(20);

fn at(at: Timestamp, message: &str) -> Line {
    line(&at.to_string(), message)
}

async fn add(store: &Embedded, incarnation: Uuid, number: u64, lines: Vec<Line>) {
    let batch = Batch {
        incarnation,
        number,
        lines,
        to_vector: false,
    };
    store.add(batch).await.unwrap();
}

fn everything(limit: u32, before: Option<Key>) -> Search {
    Search {
        question: Question::default(),
        from_ms: 0,
        to_ms: i64::MAX,
        order: Order::NewestFirst,
        beyond: before,
        limit,
    }
}

async fn messages(store: &Embedded, search: Search) -> Vec<String> {
    let page = store.search(&search).await.unwrap();
    page.lines.into_iter().map(|stored| stored.line.message).collect()
}

#[tokio::test]
async fn a_batch_that_comes_again_is_kept_once() {
    let (_, store) = super::store(LogsOptions::default()).await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    add(&store, one, 1, vec![at(now(), "a")]).await;
    add(&store, one, 1, vec![at(now(), "a")]).await;
    add(&store, other, 1, vec![at(now(), "b")]).await;
    add(&store, one, 2, vec![at(now(), "c")]).await;
    add(&store, one, 1, vec![at(now(), "a")]).await;
    let mut found = messages(&store, everything(10, None)).await;
    found.sort();
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test]
async fn pages_go_on_behind_lines_of_the_same_time() {
    let (_, store) = super::store(LogsOptions::default()).await;
    let time = now();
    let lines = (0..25).map(|number| at(time, &number.to_string())).collect();
    add(&store, Uuid::now_v7(), 1, lines).await;
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = store.search(&everything(10, before)).await.unwrap();
        before = page.lines.last().map(|stored| stored.key);
        found.extend(
            page.lines
                .into_iter()
                .map(|stored| stored.line.message.parse::<u32>().unwrap()),
        );
        if !page.more {
            break;
        }
    }
    assert_eq!(found, (0..25).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn whatever_a_line_holds_comes_back() {
    let (_, store) = super::store(LogsOptions::default()).await;
    let mut odd = at(now(), "zero \0 and 'quotes' \"too\" \\ \u{1F600} \u{fffd}");
    odd.fields.insert("a'b\"c".into(), "\0\\u0000".into());
    odd.attempt = None;
    add(&store, Uuid::now_v7(), 1, vec![odd.clone()]).await;
    let page = store.search(&everything(10, None)).await.unwrap();
    // A text of Postgres cannot hold the character 0.
    odd.message = odd.message.replace('\0', "\u{fffd}");
    let stored = &page.lines[0].line;
    assert_eq!(stored.message, odd.message);
    assert_eq!(stored.attempt, None);
    assert!(stored.fields["a'b\"c"].starts_with('\u{fffd}'), "{stored:?}");
}

#[tokio::test]
async fn who_follows_misses_nothing_while_many_write() {
    let (_, store) = super::store(LogsOptions::default()).await;
    let store = std::sync::Arc::new(store);
    let head = store.head().await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = std::sync::Arc::clone(&store);
            grid::task::spawn("writer", async move {
                let incarnation = Uuid::now_v7();
                for number in 1..=30 {
                    let lines = (0..20)
                        .map(|line| at(now(), &format!("{writer} {number} {line}")))
                        .collect();
                    add(&store, incarnation, number, lines).await;
                }
            })
        })
        .collect();
    let question = Question::of("!\"3 7 5\"", now());
    let mut seen = Vec::new();
    let mut after = head;
    tokio::time::timeout(SOON, async {
        while seen.len() < 4 * 30 * 20 - 1 {
            let (page, next) = store.after(&question, after, 33).await.unwrap();
            assert!(page.lines.len() <= 33);
            seen.extend(page.lines.into_iter().map(|stored| stored.line.message));
            if !page.more {
                store.changed(next).await;
            }
            after = next;
        }
    })
    .await
    .unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len());
    assert!(!unique.contains(&"3 7 5".to_owned()));
    // Of one writer they come in order.
    let of_one: Vec<_> = seen.iter().filter(|message| message.starts_with("2 ")).collect();
    let sorted: Vec<String> = (1..=30)
        .flat_map(|n| (0..20).map(move |l| format!("2 {n} {l}")))
        .collect();
    assert_eq!(of_one, sorted.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn old_hours_are_dropped_by_age_and_by_size() {
    let options = LogsOptions {
        max_age: Duration::from_secs(5 * 3_600),
        sweep_interval: Duration::from_millis(20),
        ..LogsOptions::default()
    };
    let (url, store) = super::store(options.clone()).await;
    let hours = |count: u64| now() - Duration::from_secs(count * 3_600);
    let lines: Vec<Line> = (0..5).map(|hour| at(hours(hour), &"x".repeat(10_000))).collect();
    add(&store, Uuid::now_v7(), 1, lines).await;
    let count = || Postgres::shared().psql(&url, "SELECT count(*) FROM log_lines");
    assert_eq!(count(), "5");
    // As if it had been kept when it was younger.
    Postgres::shared().psql(&url, "SELECT grid_make_log_hours(400000, 400000)");
    let old = 400_000_u64 * 3_600_000;
    Postgres::shared().psql(
        &url,
        &format!(
            "INSERT INTO log_lines SELECT {old}, 0, job_id, task_id, worker_id, attempt, level, logger_name, source, service,
             stream, message, fields FROM log_lines LIMIT 1"
        ),
    );
    let sweep = store.sweep();
    eventually("the old hour is gone", SOON, async || (count() == "5").then_some(())).await;
    sweep.abort();
    let small = Embedded::new(
        super::service(&url).await,
        LogsOptions {
            max_bytes: 1,
            ..options
        },
    );
    let sweep = small.sweep();
    // The newest stays, whatever its size.
    eventually("only the newest hour is left", SOON, async || {
        (count() == "1").then_some(())
    })
    .await;
    sweep.abort();
    add(&small, Uuid::now_v7(), 1, vec![at(hours(3), "late")]).await;
    add(&store, Uuid::now_v7(), 1, vec![at(hours(2), "its hour was dropped")]).await;
}

#[tokio::test]
async fn a_search_that_takes_too_long_is_ended() {
    let options = LogsOptions {
        search_timeout: Duration::from_millis(1),
        ..LogsOptions::default()
    };
    let (_, store) = super::store(options).await;
    let lines = (0..2_000)
        .map(|number| at(now(), &format!("{number} {}", "ab".repeat(200))))
        .collect();
    add(&store, Uuid::now_v7(), 1, lines).await;
    let question = Question::of(r#"~"(a|b)+(ab|ba)+(a|b)*c""#, now());
    let search = Search {
        question,
        ..everything(10, None)
    };
    assert!(matches!(store.search(&search).await, Err(StoreError::TooLong(_))));
}
