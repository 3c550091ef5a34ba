//! Commands whose decision fails, and commands whose events the log refuses.

use std::time::{Duration, Instant};

use grid::domain::JobId;
use grid::event::Command;
use grid::failpoint::panic_at;
use grid::shard::JobmasterOptions;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{JOB, assert_the_log_is_whole, id, job_in, shard};
use crate::api::{Fixture, Options, text};
use crate::support::{counted, eventually};

const QUARANTINED: &str = "grid_quarantined_total{source=\"command\"}";

fn kill(job: JobId) -> String {
    format!("/api/v1/jobs/kill/{job}")
}

fn said(command: &Command) -> String {
    format!("{command:?}")
}

#[actix_web::test]
async fn a_command_that_panics_three_times_is_set_aside_and_nothing_else_is_lost() {
    let grid = Fixture::new().await;
    let before = counted(QUARANTINED);
    let victim = id(&grid.submit(JOB).await);
    let armed = panic_at("shard.decide", said(&Command::KillJob { job: victim }), 3);

    let begun = Instant::now();
    let path = kill(victim);
    let refused = grid.json(Method::DELETE, &path, StatusCode::INTERNAL_SERVER_ERROR);
    // Others of the same shard are decided meanwhile, or right after.
    let others = async {
        let mut others = Vec::new();
        for _ in 0..3 {
            let other = job_in(&grid, shard(victim)).await;
            grid.json(Method::DELETE, &kill(other), StatusCode::OK).await;
            others.push(other);
        }
        others
    };
    let (refused, others) = futures::join!(refused, others);
    assert!(begun.elapsed() < Duration::from_secs(8), "told only after the timeout");
    assert_eq!(armed.left(), 0);
    assert_eq!(
        (&refused["code"], &refused["status"]),
        (&json!("QUARANTINED"), &json!(500))
    );
    assert!(
        text(&refused["detail"]).contains("grid events --quarantine"),
        "{refused:#}"
    );

    let listed = grid.get("/api/v1/quarantine").await;
    assert_eq!(listed["total"], 1, "{listed:#}");
    let item = &listed["items"][0];
    assert_eq!(
        (&item["source"], &item["attempts"], &item["principal"], &item["shard"]),
        (
            &json!("command"),
            &json!(3),
            &json!("anonymous"),
            &json!(shard(victim).0)
        )
    );
    assert!(text(&item["reason"]).contains("failpoint shard.decide"), "{item:#}");
    assert!(text(&item["payload"]).contains("KillJob"), "{item:#}");
    assert!(counted(QUARANTINED) > before);
    let server = format!("http://{}", grid.address);
    let asked = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        crate::cli::run(folder.path(), &["events", "--quarantine", "--server", &server])
    });
    let (code, out, err) = asked.await.unwrap();
    assert!(code == 0 && out.contains("failpoint shard.decide"), "{out}{err}");

    for other in others {
        finished(&grid, other).await;
    }
    // The job itself is as it was; the same wish again is another command.
    assert_eq!(
        grid.get(&format!("/api/v1/jobs/{victim}")).await["taskCounters"]["ready"],
        3
    );
    grid.json(Method::DELETE, &path, StatusCode::OK).await;
    finished(&grid, victim).await;
    assert_the_log_is_whole(&grid).await;
    grid.stop().await;
}

async fn finished(grid: &Fixture, job: JobId) -> Value {
    eventually("the job has finished", Duration::from_secs(20), async || {
        let job = grid.get(&format!("/api/v1/jobs/{job}")).await;
        (!job["finishedAt"].is_null()).then_some(job)
    })
    .await
}

#[actix_web::test]
async fn one_panic_reloads_the_shard_and_the_command_is_decided() {
    let grid = Fixture::new().await;
    let job = id(&grid.submit(JOB).await);
    let armed = panic_at("shard.decide", said(&Command::KillJob { job }), 2);
    grid.json(Method::DELETE, &kill(job), StatusCode::OK).await;
    assert_eq!(armed.left(), 0);
    finished(&grid, job).await;
    assert_eq!(grid.get("/api/v1/quarantine").await["total"], 0);
    assert_eq!(
        grid.psql("SELECT attempts, quarantined_at IS NULL FROM quarantine"),
        "2|t"
    );
    assert_the_log_is_whole(&grid).await;
    grid.stop().await;
}

/// Jobs leave the memory as soon as they are at rest.
async fn forgetful() -> Fixture {
    let jobmaster = JobmasterOptions {
        snapshot_events: 1,
        ..JobmasterOptions::default()
    };
    Fixture::with(Options {
        jobmaster,
        ..Options::default()
    })
    .await
}

/// A job that has finished and is not in memory.
async fn put_away(grid: &Fixture) -> JobId {
    let job = id(&grid.submit(JOB).await);
    grid.json(Method::DELETE, &kill(job), StatusCode::OK).await;
    finished(grid, job).await;
    eventually("the snapshot is written", Duration::from_secs(20), async || {
        let at_rest = format!("SELECT count(*) FROM snapshots WHERE at_rest AND job = '{}'", job.0);
        (grid.psql(&at_rest) == "1").then_some(())
    })
    .await;
    // The shard hears of it a moment later, and lets the job go; a later commit of the same shard comes behind that.
    let other = job_in(grid, shard(job)).await;
    grid.json(Method::DELETE, &kill(other), StatusCode::OK).await;
    finished(grid, other).await;
    job
}

#[actix_web::test]
async fn a_command_that_panics_after_its_job_was_loaded_is_found_too() {
    let grid = forgetful().await;
    let job = put_away(&grid).await;
    let armed = panic_at("shard.decide", said(&Command::RetryJob { job }), 3);
    let path = format!("/api/v1/jobs/{job}/retry");
    let refused = grid.json(Method::POST, &path, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(refused["code"], "QUARANTINED");
    assert_eq!(armed.left(), 0);
    assert_eq!(grid.get("/api/v1/quarantine").await["total"], 1);
    grid.json(Method::POST, &path, StatusCode::OK).await;
    assert_the_log_is_whole(&grid).await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_command_on_a_job_that_cannot_be_read_is_answered_at_once() {
    let grid = forgetful().await;
    let job = put_away(&grid).await;
    grid.psql(&format!(
        "SET session_replication_role = replica;
         DELETE FROM snapshots WHERE job = '{0}';
         UPDATE events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '\"v\":1', '\"v\":9'), 'UTF8')
         WHERE job = '{0}' AND task = 2 AND version = 1",
        job.0
    ));
    let path = format!("/api/v1/jobs/{job}/retry");
    let refused = grid.json(Method::POST, &path, StatusCode::INTERNAL_SERVER_ERROR).await;
    assert_eq!(refused["code"], "QUARANTINED");
    assert!(text(&refused["detail"]).contains("version 9"), "{refused:#}");
    // The shard did not even have to be loaded anew.
    let epoch = format!("SELECT epoch FROM shards WHERE shard = {}", shard(job).0);
    assert_eq!(grid.psql(&epoch), "1");
    let other = job_in(&grid, shard(job)).await;
    grid.json(Method::DELETE, &kill(other), StatusCode::OK).await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_command_whose_events_the_log_refuses_is_set_aside_alone() {
    let grid = Fixture::new().await;
    grid.psql(
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF position('nightshade' IN convert_from(NEW.payload, 'UTF8')) > 0 THEN
                 RAISE EXCEPTION 'nightshade is not for the log';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuse_poison BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_poison()",
    );
    let document = "externalId: nightshade\ntasks: [{ externalId: a, executor: noop }]";
    let headers = [("content-type", "application/yaml")];
    let poisonous = grid.call(Method::POST, "/api/v1/jobs", &headers, document.into());
    let others = async {
        let mut others = Vec::new();
        for _ in 0..20 {
            others.push(id(&grid.submit(JOB).await));
        }
        others
    };
    let (refused, others) = futures::join!(poisonous, others);
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "QUARANTINED");
    for other in others {
        grid.json(Method::DELETE, &kill(other), StatusCode::OK).await;
    }
    let listed = grid.get("/api/v1/quarantine").await;
    assert_eq!(listed["total"], 1, "{listed:#}");
    assert!(text(&listed["items"][0]["reason"]).contains("nightshade is not for the log"));
    // It is passed over for good.
    grid.submit(JOB).await;
    assert_eq!(grid.psql("SELECT count(*) FROM quarantine"), "1");
    assert_the_log_is_whole(&grid).await;
    grid.stop().await;
}
