//! Roles, triggers, partitions, and what a start refuses.

use grid::config::Secret;
use grid::log::{Error, Log, Options, migrate};
use sqlx::{Connection, PgConnection};

use super::{Fixture, SHARDS, batch, committed, refusal, run, service, tinies};
use crate::support::Postgres;
use grid::domain::Seq;

const CHANGES: [&str; 6] = [
    "UPDATE events SET payload = '\\x00'",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE batches SET parts = '\\x00'",
    "DELETE FROM batches",
    "TRUNCATE batches",
];

#[test]
fn nobody_changes_the_log() {
    run(async {
        let fixture = Fixture::new().await;
        let claimed = fixture.claim(0).await;
        committed(fixture.journal.commit(batch(&claimed, Seq(1), tinies(3))).await);
        let partition = fixture.psql("SELECT tableoid::regclass FROM events LIMIT 1");
        let mut grid = PgConnection::connect(&fixture.url.replace("//postgres@", "//grid@"))
            .await
            .unwrap();
        for sql in CHANGES {
            assert!(refusal(&mut grid, sql).await.contains("permission denied"), "{sql}");
        }
        for sql in [
            format!("UPDATE {partition} SET seq = 9"),
            format!("DELETE FROM {partition}"),
            format!("TRUNCATE {partition}"),
            format!("DROP TABLE {partition}"),
            "CREATE TABLE mine (n int)".to_owned(),
            "ALTER TABLE events DISABLE TRIGGER ALL".to_owned(),
            "DROP TRIGGER refuse_change ON events".to_owned(),
            "UPDATE log_meta SET shards = 3".to_owned(),
            "INSERT INTO retired_days (day, events) VALUES (1, 1)".to_owned(),
            "SELECT grid_make_day(1)".to_owned(),
            "SELECT grid_retire_day(1)".to_owned(),
            "SET session_replication_role = replica".to_owned(),
        ] {
            let refused = refusal(&mut grid, &sql).await;
            assert!(
                refused.contains("permission denied") || refused.contains("must be owner"),
                "{sql}: {refused}"
            );
        }
        // The owner has the rights, and is refused by the triggers all the same.
        let mut owner = PgConnection::connect(&fixture.url.replace("//postgres@", "//grid_owner@"))
            .await
            .unwrap();
        for sql in CHANGES.map(str::to_owned).into_iter().chain([
            format!("UPDATE {partition} SET seq = 9"),
            format!("DELETE FROM {partition}"),
            format!("TRUNCATE {partition}"),
        ]) {
            assert!(refusal(&mut owner, &sql).await.contains("only ever added to"), "{sql}");
        }
        assert_eq!(fixture.psql("SELECT count(*) FROM events"), "3");
    });
}

#[test]
fn a_migration_is_repeatable_and_keeps_the_number_of_shards() {
    run(async {
        let fixture = Fixture::new().await;
        let url = Secret::new(fixture.url.clone());
        let again = migrate(&url, SHARDS).await.unwrap();
        assert!(!again.begun);
        assert_eq!((again.migrations_applied, again.days_made), (0, 0));
        assert!(matches!(
            migrate(&url, 9).await,
            Err(Error::ShardsDiffer {
                found: SHARDS,
                wanted: 9
            })
        ));
        assert!(matches!(
            fixture.log.check(Some(9)).await,
            Err(Error::ShardsDiffer { .. })
        ));
        assert_eq!(fixture.log.check(None).await.unwrap(), again.setup);
        assert_eq!(fixture.psql("SELECT count(*) FROM shards"), SHARDS.to_string());
        assert_eq!(
            fixture.psql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"),
            "grid_owner"
        );
        // The owner alone may migrate as well.
        let owner = Secret::new(fixture.url.replace("//postgres@", "//grid_owner@"));
        migrate(&owner, SHARDS).await.unwrap();
    });
}

#[test]
fn a_start_is_refused_when_the_log_is_not_safe() {
    run(async {
        let fixture = Fixture::new().await;
        let reason = async |options: Options| {
            let log = Log::connect(options).await.unwrap();
            log.check(None).await.unwrap_err().to_string()
        };
        let superuser = Options::new(Secret::new(fixture.url.clone()));
        assert!(reason(superuser).await.contains("may change the log"));
        fixture.psql(
            "ALTER ROLE grid IN DATABASE current_database_placeholder SET synchronous_commit = off"
                .replace("current_database_placeholder", fixture.url.rsplit('/').next().unwrap())
                .as_str(),
        );
        assert!(
            reason(service(&fixture.url))
                .await
                .contains("synchronous_commit is off")
        );
        let empty = Postgres::shared().fresh_database();
        assert!(reason(service(&empty)).await.contains("grid migrate"));
    });
}

#[test]
fn partitions_are_made_ahead_and_hold_only_their_day() {
    run(async {
        let fixture = Fixture::new().await;
        let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
        assert_eq!(fixture.psql(count), "9");
        let today = grid::clock::now().day();
        fixture.psql(&format!("SELECT grid_make_day({})", today + 30));
        assert_eq!(fixture.psql(count), "10");
        assert_eq!(fixture.log.make_days().await.unwrap(), 0);
        // The service makes what is missing, with rights that it has only through the function.
        let last = fixture.psql("SELECT to_char((now() AT TIME ZONE 'UTC')::date + 7, 'YYYYMMDD')");
        fixture.psql(&format!("DROP TABLE events_{last}"));
        assert_eq!(fixture.log.make_days().await.unwrap(), 1);
        let mut superuser = PgConnection::connect(&fixture.url).await.unwrap();
        let wrong_day =
            format!("INSERT INTO events VALUES ({today}, grid_first_id({today} + 1), 0, 1, 0, false, 1, '\\x00')");
        assert!(refusal(&mut superuser, &wrong_day).await.contains("day_of_the_id"));
    });
}
