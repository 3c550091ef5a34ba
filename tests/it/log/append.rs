//! Committing, fencing, and what the journal says of each batch.

use std::time::Duration;

use grid::domain::{JobId, Seq, ShardId, StreamId};
use grid::log::{CommitOutcome, Error, Journal, JournalOptions, Log};
use sqlx::{Connection, PgConnection};

use super::{Fixture, at_epoch, batch, committed, run, service, tinies};
use crate::support::{Postgres, eventually};

#[test]
fn what_was_committed_is_read_back_byte_for_byte() {
    run(async {
        let fixture = Fixture::new().await;
        let claimed = fixture.claim(3).await;
        let events = tinies(5);
        let bytes: Vec<_> = events.iter().map(|event| event.encode()).collect();
        let first = committed(fixture.journal.commit(batch(&claimed, Seq(1), events)).await);
        assert_eq!((first.first_seq, first.last_seq), (Seq(1), Seq(5)));
        let second = committed(fixture.journal.commit(batch(&claimed, Seq(6), tinies(2))).await);
        assert_eq!(second.last_seq, Seq(7));
        // Without events: the shard's row alone.
        let none = committed(fixture.journal.commit(batch(&claimed, Seq(8), Vec::new())).await);
        assert_eq!((none.last_seq, none.payloads.len()), (Seq(7), 0));
        let page = fixture.log.events_after(ShardId(3), Seq(0), 100).await.unwrap();
        assert_eq!(page.through, Seq(7));
        assert_eq!(
            page.events.iter().map(|it| it.position.seq.0).collect::<Vec<_>>(),
            (1..=7).collect::<Vec<_>>()
        );
        assert!(
            page.events
                .iter()
                .zip(&bytes)
                .all(|(stored, bytes)| stored.payload == *bytes)
        );
        assert_eq!(
            fixture.psql("SELECT count(*), min(first_seq), max(last_seq) FROM batches WHERE shard = 3"),
            "2|1|7"
        );
        let again = fixture.claim(3).await;
        assert_eq!((again.next_seq, again.epoch.0), (Seq(8), 2));
        assert_eq!(&*again.cursor.bus, "test-bus");
        assert!(fixture.journal.drained(Duration::from_secs(5)).await);
    });
}

#[test]
fn a_stale_owner_is_fenced_and_costs_nobody_else_anything() {
    run(async {
        let fixture = Fixture::new().await;
        let (one, two) = (fixture.claim(1).await, fixture.claim(2).await);
        // Another process takes shard 1 over.
        let other = Journal::start_here(
            Log::connect(service(&fixture.url)).await.unwrap(),
            JournalOptions::default(),
        );
        let taken = other.claim(ShardId(1), "other").await.unwrap();
        let (stale, good) = tokio::join!(
            fixture.journal.commit(batch(&one, Seq(1), tinies(3))),
            fixture.journal.commit(batch(&two, Seq(1), tinies(3))),
        );
        assert!(matches!(stale, CommitOutcome::Fenced), "{stale:?}");
        assert_eq!(committed(good).last_seq, Seq(3));
        committed(other.commit(batch(&taken, Seq(1), tinies(1))).await);
        // After that the journal does not even ask: the shard must be claimed first.
        let again = fixture.journal.commit(batch(&one, Seq(1), tinies(3))).await;
        assert!(matches!(again, CommitOutcome::Fenced), "{again:?}");
        assert_eq!(
            fixture.psql("SELECT shard, count(*) FROM events GROUP BY shard ORDER BY shard"),
            "1|1\n2|3"
        );
    });
}

#[test]
fn a_commit_that_waits_behind_a_claim_is_fenced() {
    run(async {
        let fixture = Fixture::with(
            |mut options| {
                options.claim_patience = Duration::from_secs(60);
                options
            },
            JournalOptions::default(),
        )
        .await;
        let old = fixture.claim(4).await;
        let held = Held::new(&fixture.url, 4).await;
        let log = fixture.log.clone();
        let claim = grid::task::spawn("claim", async move { log.claim(ShardId(4), "new").await });
        fixture.until_waiting(1).await;
        let commit = grid::task::spawn("commit", fixture.journal.commit(batch(&old, Seq(1), tinies(100))));
        fixture.until_waiting(2).await;
        held.release().await;
        assert_eq!(claim.await.unwrap().unwrap().epoch.0, 2);
        let zombie = commit.await.unwrap();
        assert!(matches!(zombie, CommitOutcome::Fenced), "{zombie:?}");
        assert_eq!(fixture.psql("SELECT count(*) FROM events"), "0");
    });
}

#[test]
fn a_claim_ends_the_backend_that_holds_its_row() {
    run(async {
        let fixture = Fixture::with(
            |mut options| {
                options.claim_patience = Duration::from_millis(100);
                options
            },
            JournalOptions::default(),
        )
        .await;
        // Held by the service's own role, as by a process that hangs in the middle.
        let held = Held::new(&fixture.url.replace("//postgres@", "//grid@"), 5).await;
        assert_eq!(fixture.claim(5).await.epoch.0, 1);
        drop(held);
    });
}

#[test]
fn a_refused_batch_is_told_apart_from_its_neighbours() {
    run(async {
        let fixture = Fixture::new().await;
        let (zero, one, two) = (fixture.claim(0).await, fixture.claim(1).await, fixture.claim(2).await);
        let held = Held::new(&fixture.url, 0).await;
        // The first is on its way while the two others gather for one statement.
        let first = fixture.journal.commit(batch(&zero, Seq(1), tinies(1)));
        let mut without_partition = tinies(1);
        without_partition[0].stream = StreamId::Job(JobId("0198c2a0-7c00-7000-8000-000000000001".parse().unwrap()));
        let bad = fixture.journal.commit(batch(&one, Seq(1), without_partition));
        let good = fixture.journal.commit(batch(&two, Seq(1), tinies(2)));
        let release = async {
            eventually("two batches wait", Duration::from_secs(10), async || {
                (fixture.journal.observe().await.unwrap().waiting == 2).then_some(())
            })
            .await;
            held.release().await;
        };
        let (first, bad, good, ()) = tokio::join!(first, bad, good, release);
        committed(first);
        committed(good);
        assert!(
            matches!(&bad, CommitOutcome::Refused(why) if why.contains("partition")),
            "{bad:?}"
        );
        // The same version of a stream twice.
        let one = fixture.claim(1).await;
        let twice = tinies(1);
        let twice = vec![twice[0].clone(), twice[0].clone()];
        let bad = fixture.journal.commit(batch(&one, Seq(1), twice)).await;
        assert!(
            matches!(&bad, CommitOutcome::Refused(why) if why.contains("events_")),
            "{bad:?}"
        );
        assert_eq!(
            fixture.psql("SELECT shard, count(*) FROM events GROUP BY shard ORDER BY shard"),
            "0|1\n2|2"
        );
        assert_eq!(fixture.psql("SELECT count(*) FROM shards WHERE next_seq > 1"), "2");
    });
}

#[test]
fn a_lost_connection_leaves_all_or_nothing() {
    run(async {
        let fixture = Fixture::new().await;
        let mut outcomes = std::collections::BTreeMap::new();
        for round in 0..25_u64 {
            let claimed = fixture.claim(6).await;
            let Seq(first) = claimed.next_seq;
            let commit = fixture.journal.commit(batch(&claimed, Seq(first), tinies(3_000)));
            let url = fixture.url.clone();
            let strike = async move {
                tokio::time::sleep(Duration::from_millis(round * 3)).await;
                let mut superuser = PgConnection::connect(&url).await.unwrap();
                sqlx::query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE usename = 'grid' AND query LIKE '%WITH b AS%' AND datname = current_database()",
                )
                .fetch_all(&mut superuser)
                .await
                .unwrap();
            };
            let (outcome, ()) = tokio::join!(commit, strike);
            *outcomes.entry(outcome.name()).or_insert(0) += 1;
            let again = fixture.claim(6).await;
            let rows: u64 = fixture
                .psql("SELECT count(*) FROM events WHERE shard = 6")
                .parse()
                .unwrap();
            assert_eq!(again.next_seq.0, rows + 1, "gapless");
            assert!(
                again.next_seq.0 == first || again.next_seq.0 == first + 3_000,
                "all or nothing"
            );
            match outcome {
                CommitOutcome::Committed(_) => assert_eq!(again.next_seq.0, first + 3_000),
                CommitOutcome::Unknown(_) => {}
                other => panic!("{other:?}"),
            }
        }
        println!("outcomes: {outcomes:?}");
        assert!(outcomes.contains_key("unknown"), "no strike hit: {outcomes:?}");
    });
}

#[test]
fn a_killed_server_keeps_what_was_acknowledged() {
    run(async {
        let postgres = Postgres::start();
        let url = postgres.fresh_database();
        grid::log::migrate(&grid::config::Secret::new(url.clone()), 4)
            .await
            .unwrap();
        let log = Log::connect(service(&url)).await.unwrap();
        let journal = Journal::start_here(log.clone(), JournalOptions::default());
        let (mut acknowledged, mut kills, mut since_kill) = (0, 0, 0);
        while kills < 3 {
            let claimed = eventually("the shard is claimed", Duration::from_secs(60), async || {
                journal.claim(ShardId(0), "test").await.ok()
            })
            .await;
            assert!(claimed.next_seq.0 > acknowledged);
            let mut next = claimed.next_seq;
            loop {
                let commit = journal.commit(batch(&claimed, next, tinies(50)));
                if since_kill == 5 {
                    postgres.kill();
                    kills += 1;
                    since_kill = 0;
                    postgres.restart();
                }
                // Unknown too: the connection that the server's end has broken.
                match commit.await {
                    CommitOutcome::Committed(done) => {
                        acknowledged = done.last_seq.0;
                        next = Seq(done.last_seq.0 + 1);
                        since_kill += 1;
                    }
                    CommitOutcome::Unknown(_) => break,
                    other => panic!("{other:?}"),
                }
            }
        }
        let report = eventually("it can be verified", Duration::from_secs(60), async || {
            log.verify(Default::default(), None).await.ok()
        })
        .await;
        assert!(report.events >= acknowledged);
        let real: Vec<_> = report
            .differences
            .iter()
            .filter(|it| it.shard.0 != 0 || !is_of_tinies(it))
            .collect();
        assert!(real.is_empty(), "{real:?}");
    });
}

/// The tiny events belong to a worker whose home is another shard.
fn is_of_tinies(difference: &grid::log::Difference) -> bool {
    difference.kind == grid::log::DifferenceKind::Shard
}

#[test]
fn an_unclaimed_or_unknown_shard_gets_nothing() {
    run(async {
        let fixture = Fixture::new().await;
        let outcome = fixture
            .journal
            .commit(at_epoch(ShardId(1), grid::domain::Epoch(0), Seq(1), tinies(1)))
            .await;
        assert!(matches!(outcome, CommitOutcome::Fenced));
        assert!(matches!(
            fixture.log.claim(ShardId(99), "test").await,
            Err(Error::UnknownShard(ShardId(99)))
        ));
        fixture.psql("UPDATE shards SET log_format = 7 WHERE shard = 1");
        assert!(matches!(
            fixture.log.claim(ShardId(1), "test").await,
            Err(Error::NewerFormat { found: 7, .. })
        ));
        assert_eq!(fixture.psql("SELECT epoch FROM shards WHERE shard = 1"), "0");
    });
}

#[test]
fn a_full_queue_holds_callers_back_and_loses_nothing() {
    run(async {
        let options = JournalOptions {
            queue_bytes: 16 << 10,
            statement_events: 50,
            ..JournalOptions::default()
        };
        let fixture = Fixture::with(|options| options, options).await;
        let mut all = Vec::new();
        for shard in 0..8 {
            let claimed = fixture.claim(shard).await;
            let journal = fixture.journal.clone();
            all.push(async move {
                let mut next = 1;
                for _ in 0..20 {
                    let done = committed(journal.commit(batch(&claimed, Seq(next), tinies(30))).await);
                    next = done.last_seq.0 + 1;
                }
            });
        }
        futures::future::join_all(all).await;
        assert_eq!(
            fixture.psql("SELECT count(*), count(DISTINCT (shard, seq)), max(seq) FROM events"),
            "4800|4800|600"
        );
    });
}

/// Somebody's lock on a shard's row.
struct Held(PgConnection);

impl Held {
    async fn new(url: &str, shard: i16) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
        let lock = sqlx::query("SELECT 1 FROM shards WHERE shard = $1 FOR UPDATE").bind(shard);
        lock.fetch_one(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
    }
}

impl Fixture {
    /// Waits until so many statements wait for a lock.
    async fn until_waiting(&self, count: i64) {
        let mut superuser = PgConnection::connect(&self.url).await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("statements wait for a lock", Duration::from_secs(20), async || {
            let found: i64 = sqlx::query_scalar(waiting).fetch_one(&mut superuser).await.unwrap();
            (found >= count).then_some(())
        })
        .await;
    }
}

#[test]
fn a_day_that_nobody_has_made_yet_is_made_by_the_commit() {
    run(async {
        let fixture = Fixture::new().await;
        let claimed = fixture.claim(0).await;
        fixture.psql(&format!("DROP TABLE events_{}", today()));
        committed(fixture.journal.commit(batch(&claimed, Seq(1), tinies(3))).await);
        assert_eq!(fixture.psql(&format!("SELECT count(*) FROM events_{}", today())), "3");
    });
}

/// As in the name of its partition.
fn today() -> String {
    grid::clock::now()
        .to_string()
        .chars()
        .take(10)
        .filter(char::is_ascii_digit)
        .collect()
}
