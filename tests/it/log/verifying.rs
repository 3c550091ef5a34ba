//! Every way of tampering with the log is found, and nothing else is.

use grid::domain::Seq;
use grid::log::{DifferenceKind, VerifyReport};

use super::loading::Living;
use super::{Fixture, refusal, run};
use sqlx::{Connection, PgConnection};

const AS_NOBODY_MAY: &str = "SET session_replication_role = replica; ";

/// Some histories on one shard, tampered with as the superuser.
async fn tampered(sql: &str) -> VerifyReport {
    let fixture = Fixture::new().await;
    let mut living = Living::new(&fixture, 2, 11).await;
    let (id, mut events) = living.histories.submit(4);
    events.extend(living.histories.complete(id));
    living.commit(&fixture, events).await;
    living.steps(&fixture, 60).await;
    living.snapshot(&fixture).await;
    living.steps(&fixture, 60).await;
    let before = fixture.log.verify(Default::default(), None).await.unwrap();
    assert_eq!(before.differences, []);
    assert_eq!((before.events, before.shards), (living.next - 1, 8));
    let sql = sql.replace("JOB", &format!("'{}'", id.0));
    fixture.psql(&format!("{AS_NOBODY_MAY}{sql}"));
    fixture.log.verify(Default::default(), None).await.unwrap()
}

#[track_caller]
fn assert_finds(report: &VerifyReport, kind: DifferenceKind, seq: Option<u64>) {
    let found = report
        .differences
        .iter()
        .any(|it| it.kind == kind && (seq.is_none() || it.seq == seq));
    assert!(found, "no {kind:?} at {seq:?} among {:#?}", report.differences);
    assert!(!report.is_clean());
}

#[test]
fn a_deleted_event_is_found() {
    run(async {
        assert_finds(
            &tampered("DELETE FROM events WHERE seq = 9").await,
            DifferenceKind::MissingEvent,
            Some(9),
        );
        // The newest ones too.
        let last = "DELETE FROM events WHERE seq = (SELECT next_seq - 1 FROM shards WHERE shard = 2)";
        assert_finds(&tampered(last).await, DifferenceKind::MissingEvent, None);
        // And with its commit.
        let both = "DELETE FROM batches WHERE last_seq = (SELECT max(last_seq) FROM batches);
                    DELETE FROM events WHERE seq > (SELECT max(last_seq) FROM batches)";
        assert_finds(&tampered(both).await, DifferenceKind::Chain, None);
    });
}

#[test]
fn an_inserted_event_is_found() {
    run(async {
        let copy = |seq: &str, version: &str| {
            format!(
                "INSERT INTO events SELECT day, job, task, {version}, shard, worker, {seq}, payload FROM events
                 WHERE job = JOB AND task = 1 AND version = 4"
            )
        };
        // Beyond the head.
        assert_finds(
            &tampered(&copy("100000", "5")).await,
            DifferenceKind::ExtraEvent,
            Some(100_000),
        );
        // At a place that is taken, in another partition.
        let other_day = "INSERT INTO events SELECT day + 1, grid_first_id(day + 1), 0, 1, shard, worker, seq, payload
                         FROM events WHERE seq = 3";
        assert_finds(&tampered(other_day).await, DifferenceKind::ExtraEvent, Some(3));
        // In a shard that does not exist.
        let other_shard = copy("3", "5").replace("shard, worker", "77, worker");
        assert_finds(&tampered(&other_shard).await, DifferenceKind::Shard, Some(3));
        // With the shard's row and a commit to match: the chain does not.
        let whole = format!(
            "{}; INSERT INTO batches SELECT shard, next_seq, next_seq, last_hash, sha256('x'), '[]', '{{}}' FROM shards
             WHERE shard = 2; UPDATE shards SET next_seq = next_seq + 1, last_hash = sha256('x') WHERE shard = 2",
            copy("(SELECT next_seq FROM shards WHERE shard = 2)", "5")
        );
        let report = tampered(&whole).await;
        assert_finds(&report, DifferenceKind::Chain, None);
        assert_finds(&report, DifferenceKind::Transition, None);
    });
}

#[test]
fn an_edited_event_is_found() {
    run(async {
        let principal = "UPDATE events SET payload =
            convert_to(replace(convert_from(payload, 'UTF8'), 'tester', 'nobody'), 'UTF8') WHERE seq = 5";
        assert_finds(&tampered(principal).await, DifferenceKind::Hash, Some(1));
        let stream = "UPDATE events SET version = 40 WHERE job = JOB AND task = 1 AND version = 4";
        let report = tampered(stream).await;
        assert_finds(&report, DifferenceKind::Hash, None);
        assert_finds(&report, DifferenceKind::Version, None);
        // With a commit made to match, the next one does not.
        let parts = r#"UPDATE batches SET parts = convert_to(regexp_replace(convert_from(parts, 'UTF8'), '"sha256":"....',
                     '"sha256":"0000'), 'UTF8') WHERE first_seq = 1; UPDATE batches SET hash = sha256(prev_hash || parts) WHERE first_seq = 1"#;
        let report = tampered(parts).await;
        assert_finds(&report, DifferenceKind::Chain, None);
        assert_finds(&report, DifferenceKind::Hash, Some(1));
        let head = "UPDATE shards SET last_hash = sha256('x') WHERE shard = 2";
        assert_finds(&tampered(head).await, DifferenceKind::Head, None);
    });
}

#[test]
fn reordered_events_are_found() {
    run(async {
        let swap = "UPDATE events SET seq = 1000000 WHERE seq = 4; UPDATE events SET seq = 4 WHERE seq = 7;
                    UPDATE events SET seq = 7 WHERE seq = 1000000";
        assert_finds(&tampered(swap).await, DifferenceKind::Hash, Some(1));
        let versions = "UPDATE events SET version = 90 WHERE job = JOB AND task = 1 AND version = 2;
                        UPDATE events SET version = 2 WHERE job = JOB AND task = 1 AND version = 3;
                        UPDATE events SET version = 3 WHERE job = JOB AND task = 1 AND version = 90";
        let report = tampered(versions).await;
        assert_finds(&report, DifferenceKind::Hash, Some(1));
        assert_finds(&report, DifferenceKind::Version, None);
    });
}

#[test]
fn a_false_snapshot_is_found() {
    run(async {
        assert_finds(
            &tampered("UPDATE snapshots SET at_rest = NOT at_rest").await,
            DifferenceKind::Snapshot,
            None,
        );
        let other = "UPDATE snapshots SET bytes = (SELECT bytes FROM snapshots o WHERE o.job <> snapshots.job LIMIT 1)";
        assert_finds(&tampered(other).await, DifferenceKind::Snapshot, None);
        let nobody = "INSERT INTO snapshots SELECT grid_first_id(1), shard, seq, schema, at_rest, raw_bytes, bytes
                      FROM snapshots LIMIT 1";
        assert_finds(&tampered(nobody).await, DifferenceKind::Snapshot, None);
    });
}

#[test]
fn a_retired_day_is_proved_by_its_hashes() {
    run(async {
        let fixture = Fixture::new().await;
        let today = grid::clock::now().day();
        let mut living = Living::new(&fixture, 2, 11).await;
        // Yesterday's jobs, finished; then some of today.
        living.histories.now = grid::domain::Timestamp::from_ms(i64::from(today) * 86_400_000 - 60_000);
        let (id, mut events) = living.histories.submit(4);
        events.extend(living.histories.complete(id));
        let archived = events.len() as u64;
        living.commit(&fixture, events).await;
        living.histories.jobs.clear();
        living.dirty.clear();
        living.histories.now = grid::clock::now();
        living.steps(&fixture, 30).await;
        let mut superuser = PgConnection::connect(&fixture.url).await.unwrap();
        let retire = format!("SELECT grid_retire_day({})", today - 1);
        assert!(refusal(&mut superuser, &retire).await.contains("is not closed"));
        let mut last = super::batch(&living.claimed, Seq(living.next), Vec::new());
        last.published = Seq(living.next - 1);
        last.closed_before = today;
        super::committed(fixture.journal.commit(last).await);
        fixture.psql(&format!("UPDATE shards SET closed_before = {today}"));
        assert!(
            refusal(&mut superuser, &retire)
                .await
                .contains("not yet published or in a snapshot")
        );
        living.snapshot(&fixture).await;
        assert_eq!(fixture.psql(&retire), archived.to_string());
        let report = fixture.log.verify(Default::default(), None).await.unwrap();
        assert_eq!(report.differences, []);
        assert_eq!(
            (report.archived_events, report.archived_days),
            (archived, vec![today - 1])
        );
        // A reader passes over it.
        let page = fixture.log.events_after(living.claimed.shard, Seq(0), 5).await.unwrap();
        assert!(page.through.0 >= archived);
    });
}
