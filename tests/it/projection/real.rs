//! Read models over the real log: gaps, crashes, rebuilds, tampering.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use grid::config::Secret;
use grid::domain::{Counters, JobStatus, Position, Seq, ShardId};
use grid::event::EventRecord;
use grid::log::{Claimed, DifferenceKind, VerifyReport};
use grid::projection::{
    Feed, ProjectionOptions, ProjectorHandle, ProjectorParts, ReadModelCheck, Watermarks, Writer, rebuild,
};
use tokio::time::Instant;

use crate::log::histories::Histories;
use crate::log::{Fixture, SHARDS, batch, committed, run};

/// A shard with histories, its log, and a projector that may be replaced.
struct Lives {
    fixture: Fixture,
    histories: Histories,
    claimed: Claimed,
    next: Seq,
    watermarks: Watermarks,
    projector: ProjectorHandle,
    arbiter: Arbiter,
}

fn projector(fixture: &Fixture, watermarks: &Watermarks) -> (ProjectorHandle, Arbiter) {
    let arbiter = Arbiter::new();
    let parts = ProjectorParts {
        options: ProjectionOptions {
            min_pause: Duration::from_millis(5),
            ..ProjectionOptions::default()
        },
        writer: Writer::new(fixture.log.pool()),
        log: Arc::new(fixture.log.clone()),
        watermarks: watermarks.clone(),
    };
    (ProjectorHandle::start(parts, arbiter.handle()), arbiter)
}

impl Lives {
    async fn new(shard: u16, seed: u64) -> Self {
        let fixture = Fixture::new().await;
        let claimed = fixture.claim(shard).await;
        let watermarks = Watermarks::new(SHARDS, fixture.log.pool().clone());
        let (projector, arbiter) = projector(&fixture, &watermarks);
        projector.open(ShardId(shard), Seq(claimed.next_seq.0 - 1));
        let histories = Histories::new(shard, SHARDS, seed);
        Self {
            next: claimed.next_seq,
            fixture,
            histories,
            claimed,
            watermarks,
            projector,
            arbiter,
        }
    }

    async fn commit(&mut self, events: Vec<EventRecord>) -> Option<Feed> {
        if events.is_empty() {
            return None;
        }
        let feed = Feed {
            shard: self.claimed.shard,
            first_seq: self.next,
            records: events.clone().into(),
        };
        committed(
            self.fixture
                .journal
                .commit(batch(&self.claimed, self.next, events))
                .await,
        );
        self.next = Seq(feed.last_seq().0 + 1);
        Some(feed)
    }

    /// Some commits; the projector is fed with those that `fed` says.
    async fn live(&mut self, steps: usize, mut fed: impl FnMut(usize) -> bool) {
        for step in 0..steps {
            let events = if step % 20 == 0 {
                self.histories.submit(4).1
            } else {
                self.histories.step()
            };
            let Some(feed) = self.commit(events).await else {
                continue;
            };
            if fed(step) {
                self.projector.feed(feed);
            }
        }
    }

    /// Ends with a fed commit, so that the projector hears of the head, and waits for it.
    async fn settle(&mut self) {
        let (_, events) = self.histories.submit(1);
        let feed = self.commit(events).await.unwrap();
        let position = Position {
            shard: feed.shard,
            seq: feed.last_seq(),
        };
        self.projector.feed(feed);
        self.watermarks
            .wait_for(position, Instant::now() + Duration::from_secs(30))
            .await
            .unwrap();
    }

    async fn verify(&self) -> VerifyReport {
        let check = ReadModelCheck::prepare(&self.fixture.log).await.unwrap();
        self.fixture
            .log
            .verify(Default::default(), Some(&|shard, _| check.witness(shard)))
            .await
            .unwrap()
    }

    async fn assert_clean(&self) {
        let report = self.verify().await;
        assert_eq!(report.differences, [], "{} events", report.events);
        assert!(report.events + 1 == self.next.0 && report.jobs > 0);
    }

    async fn rebuild(&self) {
        let rebuilt = rebuild(&self.fixture.log, &Secret::new(self.fixture.url.clone()))
            .await
            .unwrap();
        assert!(rebuilt.events + 1 >= self.next.0, "{rebuilt:?}");
    }
}

#[test]
fn gaps_are_read_from_the_log() {
    run(async {
        let mut lives = Lives::new(3, 1).await;
        lives.live(400, |step| step % 7 < 4).await;
        lives.settle().await;
        lives.assert_clean().await;
    });
}

#[test]
fn a_projector_that_dies_is_followed_by_one_that_goes_on() {
    run(async {
        let mut lives = Lives::new(4, 2).await;
        for _ in 0..6 {
            // Ended wherever it is: between a statement and its outcome, too.
            lives.live(60, |_| true).await;
            lives.arbiter.stop();
            let (next, arbiter) = projector(&lives.fixture, &lives.watermarks);
            next.open(lives.claimed.shard, Seq(lives.next.0 - 1));
            (lives.projector, lives.arbiter) = (next, arbiter);
        }
        lives.settle().await;
        lives.assert_clean().await;
    });
}

#[test]
fn two_projectors_of_one_shard_do_not_count_twice() {
    run(async {
        let mut lives = Lives::new(5, 3).await;
        let other = Watermarks::new(SHARDS, lives.fixture.log.pool().clone());
        let (zombie, _arbiter) = projector(&lives.fixture, &other);
        zombie.open(lives.claimed.shard, Seq(0));
        for step in 0..300 {
            let events = if step % 20 == 0 {
                lives.histories.submit(4).1
            } else {
                lives.histories.step()
            };
            let Some(feed) = lives.commit(events).await else {
                continue;
            };
            zombie.feed(feed.clone());
            lives.projector.feed(feed);
        }
        lives.settle().await;
        lives.assert_clean().await;
    });
}

#[test]
fn rows_of_another_process_are_waited_for() {
    run(async {
        let mut lives = Lives::new(6, 4).await;
        let elsewhere = Watermarks::new(SHARDS, lives.fixture.log.pool().clone());
        let (_, events) = lives.histories.submit(3);
        let feed = lives.commit(events).await.unwrap();
        let position = Position {
            shard: feed.shard,
            seq: feed.last_seq(),
        };
        let soon = Instant::now() + Duration::from_millis(50);
        let lagging = elsewhere.wait_for(position, soon).await.unwrap_err();
        assert_eq!((lagging.wanted, lagging.at), (position, Seq(0)));
        let waiter = elsewhere.clone();
        let waiting = actix::spawn(async move {
            waiter
                .wait_for(position, Instant::now() + Duration::from_secs(20))
                .await
        });
        lives.projector.feed(feed);
        waiting.await.unwrap().unwrap();
        assert_eq!((elsewhere.at(position.shard), elsewhere.waiting()), (position.seq, 0));
    });
}

#[test]
fn read_models_made_anew_are_the_same_and_live_on() {
    run(async {
        let mut lives = Lives::new(2, 5).await;
        lives.live(300, |_| true).await;
        lives.settle().await;
        let tables = [
            "jobs",
            "job_specs",
            "tasks",
            "attempts",
            "workers",
            // A shard without events may have a cursor or none.
            "projection_cursors WHERE seq > 0",
        ];
        let rows = |lives: &Lives| {
            let all = tables.map(|table| {
                let rows =
                    format!("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT * FROM grid_read.{table}) t");
                lives.fixture.psql(&rows)
            });
            all.join("\n")
        };
        let before = rows(&lives);
        assert!(!before.starts_with("0|"), "{before}");
        lives
            .fixture
            .psql("UPDATE grid_read.jobs SET ready = ready + 1; DELETE FROM grid_read.attempts");
        lives.rebuild().await;
        assert_eq!(rows(&lives), before);
        // The projector finds itself on the new tables, whatever it knew of the old.
        lives.live(60, |_| true).await;
        lives.settle().await;
        lives.assert_clean().await;
        let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'grid_read%'";
        assert_eq!(lives.fixture.psql(schemas), "1");
    });
}

#[test]
fn a_rebuild_beside_a_working_system_misses_nothing() {
    run(async {
        let mut lives = Lives::new(1, 6).await;
        lives.live(200, |_| true).await;
        let (log, owner) = (lives.fixture.log.clone(), Secret::new(lives.fixture.url.clone()));
        let rebuilding = actix::spawn(async move { rebuild(&log, &owner).await });
        while !rebuilding.is_finished() {
            lives.live(5, |_| true).await;
        }
        rebuilding.await.unwrap().unwrap();
        lives.live(20, |_| true).await;
        lives.settle().await;
        lives.assert_clean().await;
    });
}

#[test]
fn an_edited_row_is_found() {
    run(async {
        let mut lives = Lives::new(0, 7).await;
        lives.live(300, |_| true).await;
        lives.settle().await;
        lives.assert_clean().await;
        let job = lives.fixture.psql(
            "SELECT j.id FROM grid_read.jobs j JOIN grid_read.tasks t ON t.job = j.id AND t.number = 2
                 WHERE j.completed > 0 AND t.state <> 'READY' ORDER BY j.id LIMIT 1",
        );
        let edits = [
            (
                "UPDATE grid_read.jobs SET failed = failed + 1 WHERE id = 'JOB'",
                "jobs.failed",
            ),
            (
                "UPDATE grid_read.jobs SET labels = '{\"x\": \"y\"}' WHERE id = 'JOB'",
                "jobs.labels",
            ),
            (
                "UPDATE grid_read.jobs SET finished_at = now() WHERE id = 'JOB'",
                "jobs.finished_at",
            ),
            (
                "UPDATE grid_read.jobs SET seq = seq + 1000000 WHERE id = 'JOB'",
                "jobs.seq",
            ),
            ("DELETE FROM grid_read.jobs WHERE id = 'JOB'", "a row in jobs"),
            (
                "UPDATE grid_read.tasks SET state = 'RUNNING' WHERE job = 'JOB' AND state = 'COMPLETED'",
                "tasks.state",
            ),
            (
                "UPDATE grid_read.tasks SET worker = 'x' WHERE job = 'JOB' AND number = 1",
                "tasks.worker",
            ),
            (
                "DELETE FROM grid_read.tasks WHERE job = 'JOB' AND number = 2",
                "tasks.*",
            ),
            (
                "INSERT INTO grid_read.tasks SELECT job, 77, 0, 0, 'READY' FROM grid_read.tasks WHERE job = 'JOB' LIMIT 1",
                "rows in tasks",
            ),
            (
                "INSERT INTO grid_read.tasks VALUES (gen_random_uuid(), 1, 0, 0, 'READY')",
                "a row in tasks",
            ),
            (
                "UPDATE grid_read.job_specs SET spec = '{}' WHERE id = 'JOB'",
                "job_specs",
            ),
            ("UPDATE grid_read.attempts SET worker = 'x'", "attempts["),
            (
                "UPDATE grid_read.task_names SET name = 'x' WHERE job = 'JOB'",
                "task_names",
            ),
            (
                "INSERT INTO grid_read.job_labels VALUES ('JOB', 'x', 'y', now(), 1)",
                "job_labels",
            ),
            (
                "INSERT INTO grid_read.task_blocks VALUES ('JOB', 0, 1, 0, 0, 0, 0)",
                "task_blocks[0]",
            ),
            (
                "INSERT INTO grid_read.task_blocks VALUES (gen_random_uuid(), 0, 1, 0, 0, 0, 0)",
                "a row in task_blocks",
            ),
            (
                "UPDATE grid_read.projection_cursors SET ready = ready + 1",
                "projection_cursors",
            ),
            (
                "INSERT INTO grid_read.workers VALUES ('x', 0, gen_random_uuid(), '', 1, '{}', now(), now(), null, null, 1)",
                "workers",
            ),
        ];
        for (edit, place) in edits {
            lives.fixture.psql(&edit.replace("JOB", &job));
            let report = lives.verify().await;
            let found = |text: &str| text.contains(place);
            let named = report.differences.iter().any(|difference| {
                difference.kind == DifferenceKind::ReadModel
                    && (found(&difference.expected) || found(&difference.found))
            });
            assert!(named, "{edit}: {:#?}", report.differences);
            lives.rebuild().await;
        }
        lives.assert_clean().await;
    });
}

/// The column and the function are the same table of cases.
#[test]
fn the_status_is_the_same_in_the_database() {
    run(async {
        let fixture = Fixture::new().await;
        let columns = "ready, scheduled, running, completed, retries_pending, final_error, final_timeout, final_killed";
        fixture.psql(&format!(
            "INSERT INTO grid_read.jobs (id, shard, labels, document_hash, principal, task_count, created_at, seq,
                 failed, final_worker_lost, final_handed_back, final_invalid_dag, final_authentication,
                 final_unrecoverable, {columns})
             SELECT gen_random_uuid(), 0, '{{}}', '', '', 0, now(), 0, p + e + t + k + u, 0, 0, 0, 0, u, r, s, n, c, p, e, t, k
             FROM generate_series(0, 1) r, generate_series(0, 1) s, generate_series(0, 1) n, generate_series(0, 2) c,
                  generate_series(0, 1) p, generate_series(0, 2) e, generate_series(0, 2) t, generate_series(0, 2) k,
                  generate_series(0, 1) u"
        ));
        let rows = fixture.psql(&format!(
            "SELECT status, failed, final_unrecoverable, {columns} FROM grid_read.jobs"
        ));
        let mut seen = std::collections::BTreeSet::new();
        for row in rows.lines() {
            let (status, numbers) = row.split_once('|').unwrap();
            let numbers: Vec<u32> = numbers.split('|').map(|number| number.parse().unwrap()).collect();
            let [
                failed,
                unrecoverable,
                ready,
                scheduled,
                running,
                completed,
                retries_pending,
                error,
                timeout,
                killed,
            ] = numbers.try_into().unwrap();
            let finally_failed = [error, timeout, killed, 0, 0, 0, 0, unrecoverable];
            let counters = Counters {
                ready,
                scheduled,
                running,
                completed,
                failed,
                retries_pending,
                finally_failed,
            };
            assert_eq!(counters.status().name(), status, "{row}");
            seen.insert(status.to_owned());
        }
        assert_eq!(
            (rows.lines().count(), seen.len()),
            (2 * 2 * 2 * 3 * 2 * 3 * 3 * 3 * 2, JobStatus::ALL.len())
        );
    });
}
