//! Jobs of days gone by, as the log has them.

use grid::config::Secret;
use grid::domain::event::WorkerRegistered;
use grid::domain::{Event, Incarnation, JobId, Labels, Seq, ShardId, StreamId, Timestamp, WorkerName};
use grid::event::EventRecord;
use grid::log::{Journal, JournalOptions, Log, Options, migrate};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::api::SHARDS;
use crate::log::histories::Histories;
use crate::log::{batch, committed, meta, service};
use crate::support::Postgres;

const DAY_MS: i64 = 86_400_000;

/// What is in the log of these days.
#[derive(Default)]
pub struct Past {
    pub today: i32,
    /// Finished jobs, by day and shard.
    pub jobs: Vec<JobId>,
    /// A job whose tasks wait.
    pub unfinished: Option<JobId>,
    /// It registered on the first of the days, and was not heard of again.
    pub worker: Option<WorkerName>,
    pub events: u64,
}

impl Past {
    pub fn date(&self, days_ago: i32) -> String {
        grid::log::archive::date(self.today - days_ago)
    }

    pub fn of(&self, days_ago: i32) -> impl Iterator<Item = JobId> {
        self.jobs
            .iter()
            .copied()
            .filter(move |job| job.day() == self.today - days_ago)
    }
}

/// A database of a fixture, with a finished job of each of these days, oldest first, in each shard; and one of the newest
/// of them that has not finished.
pub async fn database(days_ago: &[i32], unfinished: bool) -> (String, Past) {
    let url = Postgres::shared().fresh_database();
    migrate(&Secret::new(url.clone()), SHARDS).await.unwrap();
    let psql = |sql: &str| Postgres::shared().psql(&url, sql);
    let past = fill(service(&url), &url, (0..SHARDS, SHARDS), (days_ago, unfinished)).await;
    // Their documents: one that they share, and one of today's.
    let document = "0".repeat(64);
    psql(&format!(
        "INSERT INTO documents (hash, normalised) VALUES ('{document}', '{{}}')"
    ));
    for job in &past.jobs {
        psql(&format!(
            "INSERT INTO submissions (job, hash, content_type, body) VALUES ('{}', '{document}', 'application/json', '{{}}')",
            job.0
        ));
    }
    (url, past)
}

/// Puts such jobs into these shards of a log, of so many in all.
pub async fn fill(
    options: Options,
    owner_url: &str,
    (shards, all): (std::ops::Range<u16>, u16),
    (days_ago, unfinished): (&[i32], bool),
) -> Past {
    let mut past = Past {
        today: grid::clock::now().day(),
        ..Past::default()
    };
    let mut owner = PgConnection::connect(owner_url).await.unwrap();
    owner.execute("SET ROLE grid_owner").await.unwrap();
    for ago in days_ago {
        let make = sqlx::query("SELECT grid_make_day($1)").bind(past.today - ago);
        make.execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
    let log = Log::connect(options).await.unwrap();
    let journal = Journal::start_here(log.clone(), JournalOptions::default());
    for shard in shards {
        let claimed = journal.claim(ShardId(shard), "past").await.unwrap();
        let mut histories = Histories::new(shard, all, 7 + u64::from(shard));
        let mut next = claimed.next_seq;
        let mut batches = Vec::new();
        for ago in days_ago {
            histories.now = Timestamp::from_ms(i64::from(past.today - ago) * DAY_MS + 3_600_000);
            let (job, mut submitted) = histories.submit(3);
            if shard == 0 && past.worker.is_none() {
                let name = worker_of(shard, all);
                submitted.push(registered(&name, histories.now));
                past.worker = Some(name);
            }
            batches.push(submitted);
            batches.push(histories.complete(job));
            past.jobs.push(job);
        }
        if unfinished && shard == 1 {
            let (job, submitted) = histories.submit(2);
            batches.push(submitted);
            past.unfinished = Some(job);
        }
        for events in batches {
            past.events += events.len() as u64;
            next = Seq(committed(journal.commit(batch(&claimed, next, events)).await)
                .last_seq
                .0
                + 1);
        }
    }
    log.close().await;
    past
}

/// One whose history is in that shard.
fn worker_of(shard: u16, all: u16) -> WorkerName {
    let mut names = (0..).map(|number| format!("old-{number}").parse::<WorkerName>().unwrap());
    names.find(|name| name.slot(all) == shard).unwrap()
}

fn registered(worker: &WorkerName, at: Timestamp) -> EventRecord {
    let incarnation = Incarnation(Uuid::now_v7());
    EventRecord {
        stream: StreamId::Worker(incarnation),
        version: 1,
        meta: meta(at),
        event: Event::WorkerRegistered(Box::new(WorkerRegistered {
            worker: worker.clone(),
            incarnation,
            endpoint_url: "http://there".to_owned(),
            max_capacity: 1,
            labels: Labels::new(),
        })),
    }
}
