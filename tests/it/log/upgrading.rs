//! Formats of the log: which is written, who may raise it, and who is refused.

use std::time::Duration;

use grid::config::Secret;
use grid::domain::{Incarnation, ShardId};
use grid::log::{Error, Format, Jobmaster, Others, finish_upgrade, migrate};
use uuid::Uuid;

use super::{Fixture, SHARDS, run};

fn jobmaster(name: &str) -> Jobmaster {
    Jobmaster {
        incarnation: Incarnation(Uuid::now_v7()),
        name: name.to_owned(),
    }
}

/// A log that was begun by a program of the first format.
async fn of_the_first_format() -> (Fixture, Secret) {
    let fixture = Fixture::new().await;
    fixture.psql("UPDATE log_meta SET log_format = 1; UPDATE shards SET log_format = 1");
    let url = Secret::new(fixture.url.clone());
    (fixture, url)
}

#[test]
fn a_newer_program_writes_as_the_log_says_and_leaves_shards_to_older_ones() {
    run(async {
        let (fixture, url) = of_the_first_format().await;
        let claimed = fixture.claim(0).await;
        assert_eq!(claimed.format, Format::FIRST);
        assert_eq!(fixture.psql("SELECT log_format FROM shards WHERE shard = 0"), "1");
        assert_eq!(migrate(&url, SHARDS).await.unwrap().setup.format, Format::FIRST);
        assert_eq!(
            finish_upgrade(&url, Others::AsTheySay).await.unwrap().active,
            Format::known()
        );
        assert_eq!(fixture.claim(0).await.format, Format::known());
        let known = Format::known().to_string();
        assert_eq!(fixture.psql("SELECT log_format FROM shards WHERE shard = 0"), known);
        assert_eq!(fixture.log.format(), Format::known());
    });
}

#[test]
fn an_upgrade_is_not_finished_while_somebody_lives_who_does_not_know_the_format() {
    run(async {
        let (fixture, url) = of_the_first_format().await;
        let (new, old, gone) = (jobmaster("new"), jobmaster("old"), jobmaster("gone"));
        for jobmaster in [&new, &old, &gone] {
            assert_eq!(fixture.log.beat(jobmaster).await.unwrap(), Format::FIRST);
        }
        fixture.psql("UPDATE jobmasters SET log_format = 1 WHERE name IN ('old', 'gone')");
        fixture.psql("UPDATE jobmasters SET beat_at = now() - interval '16 seconds' WHERE name = 'gone'");
        let refused = finish_upgrade(&url, Others::AsTheySay).await.unwrap_err().to_string();
        assert!(refused.contains("older programs still run: old (grid "), "{refused}");
        assert!(!refused.contains("gone") && !refused.contains("new ("), "{refused}");
        assert_eq!(fixture.psql("SELECT log_format FROM log_meta"), "1");
        fixture.log.say_goodbye(old.incarnation).await.unwrap();
        let done = finish_upgrade(&url, Others::AsTheySay).await.unwrap();
        assert_eq!((done.before, done.active), (Format::FIRST, Format::known()));
        assert_eq!(fixture.log.beat(&new).await.unwrap(), Format::known());
        // Rows of the dead do not stay for ever.
        fixture.psql("UPDATE jobmasters SET beat_at = now() - interval '25 hours' WHERE name = 'gone'");
        fixture.log.beat(&new).await.unwrap();
        assert_eq!(fixture.psql("SELECT string_agg(name, ',') FROM jobmasters"), "new");
    });
}

#[test]
fn who_holds_everything_finishes_alone() {
    run(async {
        let (fixture, url) = of_the_first_format().await;
        fixture.log.beat(&jobmaster("killed")).await.unwrap();
        fixture.psql("UPDATE jobmasters SET log_format = 1");
        assert!(finish_upgrade(&url, Others::AsTheySay).await.is_err());
        assert_eq!(
            finish_upgrade(&url, Others::Nobody).await.unwrap().active,
            Format::known()
        );
    });
}

#[test]
fn what_a_newer_program_has_finished_refuses_this_one_everywhere() {
    run(async {
        let fixture = Fixture::new().await;
        let url = Secret::new(fixture.url.clone());
        let log = fixture.log.clone();
        let outgrown = grid::task::spawn("outgrown", async move { log.outgrown().await });
        fixture.psql("UPDATE log_meta SET log_format = 1000");
        let before = fixture.psql("SELECT count(*), max(version) FROM _sqlx_migrations");
        let refusals = [
            fixture.log.check(None).await.map(drop),
            fixture.log.claim(ShardId(0), "test").await.map(drop),
            migrate(&url, SHARDS).await.map(drop),
            finish_upgrade(&url, Others::Nobody).await.map(drop),
        ];
        for refusal in refusals {
            assert!(
                matches!(refusal, Err(Error::NewerFormat { found: 1000, .. })),
                "{refusal:?}"
            );
        }
        // Its beats still go out, and tell it.
        assert!(fixture.log.beat(&jobmaster("late")).await.unwrap() > Format::known());
        let told = tokio::time::timeout(Duration::from_secs(5), outgrown)
            .await
            .unwrap()
            .unwrap();
        assert!(told.to_string().contains("run the newer program"), "{told}");
        assert_eq!(
            fixture.psql("SELECT count(*), max(version) FROM _sqlx_migrations"),
            before
        );
        assert_eq!(fixture.psql("SELECT max(epoch) FROM shards"), "0");
    });
}

#[test]
fn a_database_that_a_newer_program_has_expanded_serves_older_ones() {
    run(async {
        let fixture = Fixture::new().await;
        fixture.psql(
            "INSERT INTO _sqlx_migrations SELECT 9999, 'of a newer program', now(), true, checksum, 1
             FROM _sqlx_migrations WHERE version = 1;
             ALTER TABLE shards ADD COLUMN of_a_newer_program int NOT NULL DEFAULT 0",
        );
        let url = Secret::new(fixture.url.clone());
        assert_eq!(migrate(&url, SHARDS).await.unwrap().migrations_applied, 0);
        fixture.log.check(Some(SHARDS)).await.unwrap();
        fixture.claim(0).await;
    });
}
