//! Closing days: who may still change a job of them, and what stands in the way.

use std::time::Duration;

use grid::config::Secret;
use grid::domain::JobId;
use grid::projection::{ReadModelCheck, rebuild};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::past::database;
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

#[actix_web::test]
async fn days_are_closed_archived_and_dropped_while_the_server_serves() {
    let (url, past) = database(&[5, 3, 2], false).await;
    let server = over(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let (old, newer) = (past.of(5).next().unwrap(), past.of(2).next().unwrap());
    let path = |job| format!("/api/v1/jobs/{job}");
    eventually("the read models have all jobs", SOON, async || {
        (server.get("/api/v1/jobs").await["total"] == past.jobs.len()).then_some(())
    })
    .await;
    // Until its day is closed a job takes commands.
    let kill = format!("/api/v1/jobs/kill/{old}");
    server.json(Method::DELETE, &kill, StatusCode::OK).await;

    let before = past.date(2);
    let archive = ["archive", "--before", &before, "--to", "archive"];
    let (code, done) = json(&server, folder.path(), &archive).await;
    assert_eq!((code, done["days"].as_array().unwrap().len()), (0, 2), "{done:#}");
    for (day, ago) in done["days"].as_array().unwrap().iter().zip([5, 3]) {
        assert_eq!(
            (text(&day["date"]), &day["written"]),
            (past.date(ago).as_str(), &json!(true))
        );
        assert_eq!((&day["dropped"], day["commits"].as_u64()), (&json!(false), Some(8)));
    }
    // Its events are still there, to be read.
    assert_is_closed(&server, old).await;
    assert_eq!(server.get(&path(old)).await["status"], "COMPLETED");
    server
        .json(Method::DELETE, &format!("/api/v1/jobs/kill/{newer}"), StatusCode::OK)
        .await;
    let written = |day: &str| {
        let file = folder.path().join(format!("archive/events-{day}.ndjson.zst"));
        std::fs::metadata(file).unwrap().modified().unwrap()
    };
    let at = written(&past.date(5));

    let during: JobId = text(&server.submit("tasks: []").await["jobId"]).parse().unwrap();
    let (code, done) = json(&server, folder.path(), &[&archive[..], &["--drop"]].concat()).await;
    assert_eq!((code, &done["jobsForgotten"]), (0, &json!(8)), "{done:#}");
    assert!(
        done["days"]
            .as_array()
            .unwrap()
            .iter()
            .all(|day| day["written"] == false && day["dropped"] == true)
    );
    assert_eq!(written(&past.date(5)), at);
    for job in past.of(5).chain(past.of(3)) {
        assert_eq!(
            server.json(Method::GET, &path(job), StatusCode::GONE).await["code"],
            "GONE"
        );
        let history = format!("{}/events", path(job));
        assert_eq!(
            server.json(Method::GET, &history, StatusCode::GONE).await["code"],
            "GONE"
        );
    }
    assert_is_closed(&server, old).await;
    assert_eq!(server.get(&path(newer)).await["status"], "COMPLETED");
    assert_eq!(server.get(&path(during)).await["status"], "EMPTY");
    // Nothing of the jobs is left, and their document stays as long as a job has it.
    let left =
        "SELECT concat_ws(' ', (SELECT count(*) FROM grid_read.tasks), (SELECT count(*) FROM grid_read.job_specs),
        (SELECT count(*) FROM grid_read.task_names), (SELECT count(*) FROM snapshots WHERE job < grid_first_id(DAY)),
        (SELECT count(*) FROM submissions WHERE job < grid_first_id(DAY)),
        (SELECT count(*) FROM documents WHERE hash = repeat('0', 64)))";
    let left = |ago: i32| server.psql(&left.replace("DAY", &(past.today - ago).to_string()));
    assert_eq!(left(2), "12 5 4 0 0 1");
    assert_is_whole(&server).await;

    // The rest; a rebuild finds what is there.
    let (code, done) = json(
        &server,
        folder.path(),
        &["archive", "--older-than", "0d", "--to", "archive", "--drop"],
    )
    .await;
    assert_eq!(code, 0, "{done:#}");
    assert_eq!(left(0), "0 1 0 0 0 0");
    rebuild(&server.log, &Secret::new(server.url.clone())).await.unwrap();
    assert_is_whole(&server).await;
    let (code, report) = json(&server, folder.path(), &["verify"]).await;
    assert_eq!(
        (code, report["archivedEvents"].as_u64()),
        (0, Some(past.events)),
        "{report:#}"
    );
    let (code, report) = json(&server, folder.path(), &["verify", "--archive", "archive"]).await;
    assert_eq!((code, report["events"].as_u64()), (0, Some(past.events)), "{report:#}");
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
