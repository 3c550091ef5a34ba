//! Closing days: who may still change a job of them, and what stands in the way.

use std::time::Duration;

use grid::config::Secret;
use grid::domain::JobId;
use grid::projection::{ReadModelCheck, rebuild};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::past::{Past, database};
use super::{command, grid, json};
use crate::api::{Fixture, Options, text};
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(20);
const KILL: &str = "mutation ($id: ID!) { killJob(id: $id) { job { id } } }";

async fn over(url: &str) -> Fixture {
    Fixture::with(Options {
        database: Some(url.to_owned()),
        ..Options::default()
    })
    .await
}

/// Whatever is wished of a job of a closed day is refused, by all ways.
async fn assert_is_closed(server: &Fixture, job: JobId) {
    for (method, path) in [
        (Method::DELETE, format!("/api/v1/jobs/kill/{job}")),
        (Method::POST, format!("/api/v1/jobs/{job}/stop")),
        (Method::POST, format!("/api/v1/jobs/{job}/retry")),
    ] {
        let refused = server.json(method, &path, StatusCode::GONE).await;
        assert_eq!(refused["code"], "GONE", "{path}");
    }
    assert_eq!(server.code(KILL, &json!({"id": job.to_string()})).await, "GONE");
}

async fn assert_is_whole(server: &Fixture) {
    let read_models = ReadModelCheck::prepare(&server.log).await.unwrap();
    let witnesses = |shard, _| read_models.witness(shard);
    let report = server.log.verify(Default::default(), Some(&witnesses)).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.differences);
}

/// Until the read models have all jobs of the past.
async fn all_are_read(server: &Fixture, past: &Past) {
    eventually("the read models have all jobs", SOON, async || {
        (server.get("/api/v1/jobs").await["total"] == past.jobs.len()).then_some(())
    })
    .await;
}

/// Jobs are submitted one after the other, and each is there.
async fn serve(server: &Fixture) {
    loop {
        let job = server.submit("tasks: []").await;
        server.get(&format!("/api/v1/jobs/{}", text(&job["jobId"]))).await;
    }
}

fn path(job: JobId) -> String {
    format!("/api/v1/jobs/{job}")
}

#[actix_web::test]
async fn days_are_closed_and_archived_while_the_server_serves() {
    let (url, past) = database(&[5, 3, 2], false).await;
    let server = over(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let (old, newer) = (past.of(5).next().unwrap(), past.of(2).next().unwrap());
    all_are_read(&server, &past).await;
    // Until its day is closed a job takes commands.
    let kill = |job: JobId| format!("/api/v1/jobs/kill/{job}");
    server.json(Method::DELETE, &kill(old), StatusCode::OK).await;

    let before = past.date(2);
    let archive = ["archive", "--before", &before, "--to", "archive"];
    let (code, done) = tokio::select! {
        done = json(&server, folder.path(), &archive) => done,
        () = serve(&server) => unreachable!("it serves until then"),
    };
    let days = done["days"].as_array().unwrap();
    assert_eq!((code, days.len()), (0, 2), "{done:#}");
    for (day, ago) in days.iter().zip([5, 3]) {
        let date = past.date(ago);
        assert_eq!((text(&day["date"]), &day["written"]), (date.as_str(), &json!(true)));
        assert_eq!((&day["dropped"], day["commits"].as_u64()), (&json!(false), Some(8)));
    }
    // Its events are still there, to be read.
    assert_is_closed(&server, old).await;
    assert_eq!(server.get(&path(old)).await["status"], "COMPLETED");
    server.json(Method::DELETE, &kill(newer), StatusCode::OK).await;
    // A file that is there is not written again.
    let file = folder
        .path()
        .join(format!("archive/events-{}.ndjson.zst", past.date(5)));
    let written = || std::fs::metadata(&file).unwrap().modified().unwrap();
    let at = written();
    let (code, done) = json(&server, folder.path(), &archive).await;
    let days = done["days"].as_array().unwrap();
    assert!(code == 0 && days.iter().all(|day| day["written"] == false), "{done:#}");
    assert_eq!(written(), at);
    assert_is_whole(&server).await;
    server.stop().await;
}

/// What is kept beside the log of a job.
const BESIDE: &str = "
    INSERT INTO checkpoints (job, task, attempt, ts, data) VALUES (JOB, 1, 1, 7, 'x');
    INSERT INTO dead_letters (job, task, number, attempt, at, node, error, record, is_cut)
        VALUES (JOB, 1, 1, 1, 7, 'n', 'e', '{}', false);
    INSERT INTO dead_letter_tasks (job, task, attempt, after, failed) VALUES (JOB, 1, 1, 0, 1);
    INSERT INTO dead_letter_jobs (job) VALUES (JOB);
    SELECT grid_make_log_hours(1, 1);
    INSERT INTO log_lines (at, id, job_id, task_id, worker_id, attempt, level, logger_name, source, service, stream,
        message, fields) VALUES (3600001, 1, 'job-' || JOB, '', '', '', '', '', '', '', '', '', '{}')";
/// Of everything that is beside the log, or made from it; of what is counted by day, what is before that day.
const LEFT: &str = "
    SELECT concat_ws(' ', (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM dead_letters),
        (SELECT count(*) FROM dead_letter_tasks), (SELECT count(*) FROM dead_letter_jobs), (SELECT count(*) FROM log_lines),
        (SELECT count(*) FROM grid_read.tasks), (SELECT count(*) FROM grid_read.job_specs),
        (SELECT count(*) FROM grid_read.task_names), (SELECT count(*) FROM snapshots WHERE job < grid_first_id(DAY)),
        (SELECT count(*) FROM submissions WHERE job < grid_first_id(DAY)),
        (SELECT count(*) FROM documents WHERE hash = repeat('0', 64)))";

#[actix_web::test]
async fn a_day_is_dropped_with_all_that_goes_with_its_jobs() {
    let (url, past) = database(&[5, 3, 2], false).await;
    let server = over(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let (old, newer) = (past.of(5).next().unwrap(), past.of(2).next().unwrap());
    all_are_read(&server, &past).await;
    for job in [old, newer] {
        server.psql(&BESIDE.replace("JOB", &format!("'{}'", job.0)));
    }
    let left = |ago: i32| server.psql(&LEFT.replace("DAY", &(past.today - ago).to_string()));
    let today: JobId = text(&server.submit("tasks: []").await["jobId"]).parse().unwrap();

    let before = past.date(2);
    let archive = ["archive", "--before", &before, "--to", "archive", "--drop"];
    let (code, done) = json(&server, folder.path(), &archive).await;
    assert_eq!((code, &done["jobsForgotten"]), (0, &json!(8)), "{done:#}");
    for job in past.of(5).chain(past.of(3)) {
        for path in [path(job), format!("{}/events", path(job))] {
            let gone = server.json(Method::GET, &path, StatusCode::GONE).await;
            assert_eq!(gone["code"], "GONE", "{path}");
        }
    }
    assert_is_closed(&server, old).await;
    assert_eq!(server.get(&path(newer)).await["status"], "COMPLETED");
    assert_eq!(server.get(&path(today)).await["status"], "EMPTY");
    // Their document stays as long as a job has it.
    assert_eq!(left(2), "1 1 1 1 1 12 5 4 0 0 1");
    assert_is_whole(&server).await;

    // The rest. A rebuild finds the job of today, and keeps the worker that registered on the first day.
    let rest = ["archive", "--older-than", "0d", "--to", "archive", "--drop"];
    let (code, done) = json(&server, folder.path(), &rest).await;
    assert_eq!((code, left(0).as_str()), (0, "0 0 0 0 0 0 1 0 0 0 0"), "{done:#}");
    rebuild(&server.log, &Secret::new(server.url.clone())).await.unwrap();
    let worker = past.worker.clone().unwrap();
    let shown = server.get(&format!("/api/v1/workers/{worker}")).await;
    assert_eq!(shown["endpointUrl"], "http://there");
    assert_is_whole(&server).await;
    for (flags, events) in [
        (&["verify"][..], "archivedEvents"),
        (&["verify", "--archive", "archive"], "events"),
    ] {
        let (code, report) = json(&server, folder.path(), flags).await;
        assert_eq!((code, report[events].as_u64()), (0, Some(past.events)), "{report:#}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn an_unfinished_job_holds_its_day_until_it_ends() {
    let (url, past) = database(&[4, 3], true).await;
    let server = over(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let held = past.unfinished.unwrap();
    let before = past.date(2);
    let archive = ["archive", "--before", &before, "--to", "archive", "--drop"];
    let (code, out, err) = grid(&server, folder.path(), &archive).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains(&format!("1 unfinished jobs hold the days before {before}")) && err.contains(&held.to_string()),
        "{err}"
    );
    let (code, told) = json(&server, folder.path(), &archive).await;
    assert_eq!((code, &told["held"]["jobs"]), (1, &json!([held.to_string()])));
    assert_eq!(server.psql("SELECT count(*) FROM retired_days"), "0");
    assert_eq!(server.get(&format!("/api/v1/jobs/{held}")).await["status"], "RUNNING");
    assert!(!folder.path().join("archive/manifest.json").exists());

    // With its end the shard closes the days by itself.
    server
        .json(Method::DELETE, &format!("/api/v1/jobs/kill/{held}"), StatusCode::OK)
        .await;
    eventually("the shard has closed them", SOON, async || {
        let open = format!("SELECT count(*) FROM shards WHERE closed_before < {}", past.today - 2);
        (server.psql(&open) == "0").then_some(())
    })
    .await;
    assert_is_closed(&server, held).await;
    let (code, out, err) = grid(&server, folder.path(), &archive).await;
    assert_eq!(code, 0, "{out}{err}");
    let retired: u64 = server.psql("SELECT sum(events) FROM retired_days").parse().unwrap();
    assert!(retired > past.events);
    assert_is_whole(&server).await;
    // A shard that is taken over keeps its days closed.
    let mut server = server;
    server.restart_shards().await;
    assert_is_closed(&server, held).await;
    server.stop().await;
}

#[actix_web::test]
async fn a_day_that_is_not_over_is_not_archived() {
    let server = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let tomorrow = grid::log::archive::date(grid::clock::now().day() + 1);
    let (code, _, err) = grid(&server, folder.path(), &["archive", "--before", &tomorrow, "--to", "a"]).await;
    assert!(code == 2 && err.contains("is not over"), "{err}");
    server.stop().await;
}

#[actix_web::test]
async fn cut_off_before_the_drop_it_loses_nothing_and_ends_its_work_the_next_time() {
    let (url, past) = database(&[4, 3], false).await;
    let server = over(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let before = past.date(2);
    let archive = ["archive", "--before", &before, "--to", "archive", "--drop"];
    // A reader of the events keeps their table: they are written, and cannot be dropped.
    let pool = server.owner().await;
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN ACCESS SHARE MODE")
        .execute(&mut *reader)
        .await
        .unwrap();
    let mut cut_off = command(&server, folder.path(), &archive)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the first day is archived", SOON, async || {
        folder.path().join("archive/manifest.json").exists().then_some(())
    })
    .await;
    cut_off.kill().unwrap();
    cut_off.wait().unwrap();
    // Commits went on meanwhile, and the days are there.
    server.submit_to_each_shard().await;
    reader.rollback().await.unwrap();
    let events = format!("SELECT count(*) FROM events WHERE day < {}", past.today - 2);
    assert_eq!(server.psql(&events), past.events.to_string());
    assert_is_whole(&server).await;
    // What a run that was killed while it wrote would leave.
    std::fs::write(
        folder
            .path()
            .join(format!("archive/events-{}.ndjson.zst.part", past.date(3))),
        "half",
    )
    .unwrap();
    // Postgres ends the session of the one that was killed.
    let done = eventually("the next run ends the work", SOON, async || {
        let (code, out, err) = grid(&server, folder.path(), &archive).await;
        assert!(
            code == 0 || err.contains("another `grid archive` is at work"),
            "{out}{err}"
        );
        (code == 0).then_some(out)
    })
    .await;
    assert!(done.contains("2 days dropped"), "{done}");
    assert_eq!(
        server.psql("SELECT sum(events) FROM retired_days"),
        past.events.to_string()
    );
    let (code, out, err) = grid(&server, folder.path(), &["verify", "--archive", "archive"]).await;
    assert_eq!(code, 0, "{out}{err}");
    assert_is_whole(&server).await;
    server.stop().await;
}
