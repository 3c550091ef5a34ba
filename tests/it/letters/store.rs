//! Dead letters in a real Postgres.

use grid::domain::{JobId, TaskId, Timestamp};
use grid::letters::{Counts, Letter, Letters, Limits, Told, Wanted};
use sqlx::PgPool;
use uuid::Uuid;

use crate::logs::database;

const AMPLE: Limits = Limits {
    letters: 1_000,
    bytes: 1_000_000,
};

fn told(job: JobId, (task, attempt): (u32, u32), (after, number): (u64, u64), record: Option<&str>) -> Told {
    Told {
        task_id: TaskId { job, number: task },
        attempt,
        after,
        number,
        letter: record.map(|record| Letter {
            at: Timestamp::from_ms(1_700_000_000_000),
            node: "strong".to_owned(),
            error: "no number \0".to_owned(),
            record: record.to_owned(),
            cut: false,
        }),
    }
}

async fn store(limits: Limits) -> (PgPool, Letters, JobId) {
    let (url, _) = database().await;
    let pool = crate::logs::service(&url).await;
    (pool.clone(), Letters::new(pool, limits), JobId(Uuid::now_v7()))
}

/// Task, number and record of each.
async fn kept(letters: &Letters, job: JobId) -> Vec<(u32, u64, String)> {
    let page = letters.page(&Wanted::of_job(job), None, 0, 1_000).await.unwrap();
    let shown = page
        .into_iter()
        .map(|dead| (dead.key.task, dead.key.number, dead.letter.record));
    shown.collect()
}

async fn counts(letters: &Letters, job: JobId) -> (u64, u64) {
    let Counts { failed, kept, .. } = letters.counts(job).await.unwrap();
    (failed, kept)
}

#[tokio::test]
async fn what_is_told_twice_is_kept_once() {
    let (_, letters, job) = store(AMPLE).await;
    let batch = vec![
        told(job, (1, 1), (0, 1), Some("{\"a\":1}")),
        told(job, (2, 1), (0, 1), Some("{\"a\":2}")),
        told(job, (1, 1), (0, 2), Some("\"text\"")),
        // Two more, whose records are nowhere.
        told(job, (1, 1), (0, 4), None),
    ];
    for _ in 0..2 {
        letters.add(batch.clone()).await.unwrap();
        assert_eq!(counts(&letters, job).await, (5, 3));
    }
    let expected = [(1, 1, "{\"a\":1}"), (1, 2, "\"text\""), (2, 1, "{\"a\":2}")];
    assert_eq!(
        kept(&letters, job).await,
        expected.map(|(task, number, text)| (task, number, text.to_owned()))
    );
    let page = letters.page(&Wanted::of_job(job), None, 0, 1).await.unwrap();
    assert_eq!(page[0].letter.error, "no number \u{fffd}");
    let behind = letters
        .page(&Wanted::of_job(job), Some(page[0].key), 0, 1)
        .await
        .unwrap();
    assert_eq!(behind[0].key.number, 2);
    let by_node = letters.by_node(&Wanted::of_job(job)).await.unwrap();
    let by_node: Vec<_> = by_node.iter().map(|of| (of.task, of.whole, of.texts, of.cut)).collect();
    assert_eq!(by_node, [(1, 2, 1, 0), (2, 1, 0, 0)]);
}

#[tokio::test]
async fn a_later_attempt_takes_the_place_of_an_earlier_one_from_where_it_goes_on() {
    let (_, letters, job) = store(AMPLE).await;
    let first = (1..=4)
        .map(|number| told(job, (1, 1), (0, number), Some("1")))
        .collect();
    letters.add(first).await.unwrap();
    // Of a worker that was slow: the first up to the checkpoint still counts, what came behind it does not.
    letters.add(vec![told(job, (1, 2), (2, 3), Some("2"))]).await.unwrap();
    assert_eq!(counts(&letters, job).await, (3, 3));
    letters
        .add(vec![
            told(job, (1, 1), (0, 5), Some("1")),
            told(job, (1, 1), (0, 2), Some("1")),
        ])
        .await
        .unwrap();
    let records = kept(&letters, job).await;
    assert_eq!(
        records,
        [(1, 1, "1".to_owned()), (1, 2, "1".to_owned()), (1, 3, "2".to_owned())]
    );
    // It begins anew, and nothing fails: in one batch with the last words of the one before.
    letters
        .add(vec![
            told(job, (1, 2), (2, 4), Some("2")),
            told(job, (1, 3), (0, 0), None),
        ])
        .await
        .unwrap();
    assert_eq!(
        (counts(&letters, job).await, kept(&letters, job).await),
        ((0, 0), vec![])
    );
}

#[tokio::test]
async fn a_job_keeps_so_many_and_counts_the_rest() {
    let few = Limits {
        letters: 3,
        bytes: 1_000_000,
    };
    let (pool, letters, job) = store(few).await;
    for task in 1..=2 {
        let batch = (1..=3)
            .map(|number| told(job, (task, 1), (0, number), Some("1")))
            .collect();
        letters.add(batch).await.unwrap();
    }
    assert_eq!(counts(&letters, job).await, (6, 3));
    // Where a later attempt makes room, there is some.
    letters.add(vec![told(job, (1, 2), (0, 1), Some("3"))]).await.unwrap();
    letters.add(vec![told(job, (2, 1), (0, 4), Some("4"))]).await.unwrap();
    assert_eq!(counts(&letters, job).await, (5, 2));
    let other = JobId(Uuid::now_v7());
    let narrow = Limits { letters: 3, bytes: 100 };
    let narrow = Letters::new(pool, narrow);
    let long = format!("\"{}\"", "x".repeat(60));
    let batch = (1..=2)
        .map(|number| told(other, (1, 1), (0, number), Some(&long)))
        .collect();
    narrow.add(batch).await.unwrap();
    let Counts { failed, kept, bytes } = narrow.counts(other).await.unwrap();
    assert_eq!((failed, kept), (2, 1));
    assert!(bytes <= 100, "{bytes}");
}

#[tokio::test]
async fn they_go_with_the_day_of_their_job() {
    let (url, _) = database().await;
    let pool = crate::logs::service(&url).await;
    let letters = Letters::new(pool, AMPLE);
    let (gone, stays) = (
        JobId(Uuid::now_v7()),
        JobId("019a0000-0000-7000-8000-000000000001".parse().unwrap()),
    );
    for job in [gone, stays] {
        letters.add(vec![told(job, (1, 1), (0, 1), Some("1"))]).await.unwrap();
    }
    let owner = PgPool::connect(&url).await.unwrap();
    let sql = "INSERT INTO retired_days (day, events) VALUES ($1, 0)";
    sqlx::query(sql).bind(gone.day()).execute(&owner).await.unwrap();
    assert_eq!(
        (counts(&letters, gone).await, counts(&letters, stays).await),
        ((0, 0), (1, 1))
    );
    // A late word of it is not kept.
    letters.add(vec![told(gone, (1, 1), (0, 2), Some("1"))]).await.unwrap();
    assert_eq!(counts(&letters, gone).await, (0, 0));
    let left: i64 =
        sqlx::query_scalar("SELECT (SELECT count(*) FROM dead_letters) + (SELECT count(*) FROM dead_letter_tasks)")
            .fetch_one(&owner)
            .await
            .unwrap();
    assert_eq!(left, 2);
}
