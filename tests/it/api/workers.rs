//! Workers: cordoned, uncordoned, drained, over their processes; with real workers behind the API.

use std::sync::Arc;
use std::time::Duration;

use grid::config::Secret;
use grid::metrics::Points;
use grid::projection::ReadModelCheck;
use grid::worker::executor::{Guardian, GuardianOptions};
use grid::worker::{Worker, WorkerEnded, WorkerHandle, WorkerOptions, WorkerSetup};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, TOKEN, text};
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(20);

/// Where workers of a test live.
pub struct Yard {
    pub folder: tempfile::TempDir,
    guardian: Guardian,
    /// Where what they measure goes.
    pub points: Points,
    /// What all of them have, but for slots, labels and folder.
    pub options: WorkerOptions,
    /// Where they find the API, when that is not the fixture's own server.
    pub api_url: Option<String>,
}

impl Yard {
    pub fn new() -> Self {
        let options = GuardianOptions {
            program: env!("CARGO_BIN_EXE_grid").into(),
            ..GuardianOptions::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            guardian: Guardian::start(options).unwrap(),
            points: Points::discard(),
            options: WorkerOptions::default(),
            api_url: None,
        }
    }

    /// Starts a worker; returns when it has registered.
    pub async fn worker(&self, grid: &Fixture, name: &str, slots: u32, labels: &[(&str, &str)]) -> WorkerHandle {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let worker = Worker::start(WorkerSetup {
            name: name.parse().unwrap(),
            options: WorkerOptions {
                slots,
                data_dir: self.folder.path().join(name),
                labels: labels.collect(),
                ..self.options.clone()
            },
            bus: Arc::clone(&grid.bus),
            timeline: grid.timeline,
            api_url: self
                .api_url
                .clone()
                .unwrap_or_else(|| format!("http://{}", grid.address)),
            api_token: Secret::new(TOKEN),
            endpoint_url: "http://here".to_owned(),
            guardian: self.guardian.clone(),
            points: self.points.clone(),
            recent: Arc::new(grid::logs::recent::Recent::new(0)),
        })
        .unwrap();
        let incarnation = |worker: &WorkerHandle| worker.state().map(|state| state.incarnation.0.to_string());
        eventually("the worker has registered", SOON, async || {
            let registered = worker.state().is_some_and(|state| state.glance.registered);
            let seen = grid.psql(&format!(
                "SELECT incarnation FROM grid_read.workers WHERE name = '{name}'"
            ));
            (registered && Some(seen) == incarnation(&worker)).then_some(())
        })
        .await;
        eventually("the worker is heard", SOON, async || {
            let seen = grid.get(&format!("/api/v1/workers/{name}")).await;
            (seen["state"] == "ACTIVE").then_some(())
        })
        .await;
        worker
    }
}

async fn post(grid: &Fixture, path: &str) -> Value {
    grid.json(Method::POST, &format!("/api/v1/workers/{path}"), StatusCode::OK)
        .await
}

async fn history(grid: &Fixture, name: &str) -> Vec<String> {
    let list = grid
        .get(&format!("/api/v1/workers/{name}/events?order=asc&size=500"))
        .await;
    assert_eq!(list["total"], list["items"].as_array().unwrap().len());
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| text(&event["type"]).to_owned())
        .collect()
}

async fn completed(grid: &Fixture, id: &str) {
    eventually("the job has completed", SOON, async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (job["status"] == "COMPLETED").then_some(())
    })
    .await;
}

const NOOP: &str = "tasks: [{ externalId: t, executor: noop }]";
const SLEEP: &str = "tasks: [{ externalId: t, command: [sleep, '2'] }]";

/// A job whose only task runs, for a while.
async fn running(grid: &Fixture) -> String {
    let job = grid.submit(SLEEP).await;
    let id = text(&job["jobId"]).to_owned();
    eventually("the long task runs", SOON, async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (job["taskCounters"]["running"] == 1).then_some(())
    })
    .await;
    id
}

#[actix_web::test]
async fn workers_are_listed_by_state_label_and_time_in_either_order() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    // Registered in another order than that of their names.
    let last = yard.worker(&grid, "c", 1, &[("zone", "a")]).await;
    let first = yard.worker(&grid, "a", 1, &[("zone", "a"), ("disk", "ssd")]).await;
    let left = yard.worker(&grid, "b", 1, &[("zone", "b")]).await;
    post(&grid, "b/drain").await;
    assert_eq!(left.ended().await, WorkerEnded::Drained);
    eventually("b has left", SOON, async || {
        (grid.get("/api/v1/workers/b").await["state"] == "INACTIVE").then_some(())
    })
    .await;
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        let name = |item: &Value| text(&item["workerId"]).trim_start_matches("worker-").to_owned();
        items.iter().map(name).collect()
    };
    let list = async |query: &str| {
        let list = grid.get(&format!("/api/v1/workers?{query}")).await;
        let names = names(&list);
        assert_eq!(list["total"], names.len(), "{query}: {list}");
        names.concat()
    };
    let born = grid.get("/api/v1/workers/a").await;
    let born = text(&born["createdAt"]).to_owned();
    for (query, expected) in [
        ("", "bac"),
        ("sort=createdAt,asc", "cab"),
        ("sort=workerId,asc", "abc"),
        ("sort=workerId,desc", "cba"),
        ("state=ACTIVE&sort=workerId,asc", "ac"),
        ("state=INACTIVE", "b"),
        ("state=PENDING", ""),
        ("state=ACTIVE&state=INACTIVE&sort=workerId,asc", "abc"),
        ("label=zone=a&sort=workerId,desc", "ca"),
        ("label=zone=a&label=disk=ssd&sort=workerId,asc", "a"),
        ("label=zone=b&state=ACTIVE", ""),
        ("label=zone=x", ""),
        (&format!("createdFrom={born}&sort=workerId,asc"), "ab"),
        (&format!("createdTo={born}"), "c"),
        ("createdTo=2026-01-31", ""),
    ] {
        assert_eq!(list(query).await, expected, "{query}");
    }
    let mut path = "/api/v1/workers?size=1&sort=workerId,desc&label=zone=a".to_owned();
    let mut walked = Vec::new();
    let cursor = loop {
        let page = grid.get(&path).await;
        assert_eq!(page["total"], 2);
        walked.extend(names(&page));
        let Some(next) = page["nextCursor"].as_str() else {
            break path;
        };
        path = format!("/api/v1/workers?size=1&sort=workerId,desc&label=zone=a&cursor={next}");
    };
    assert_eq!(walked, ["c", "a"]);
    for (query, names) in [
        ("state=GONE", "ACTIVE, INACTIVE, PENDING"),
        ("sort=colour", "workerId"),
        ("label=zone", "label"),
        ("createdTo=soon", "createdTo"),
        ("colour=red", "colour"),
        // The cursor belongs to its list.
        (&cursor.split_once('?').unwrap().1.replace("zone=a", "zone=b"), "cursor"),
    ] {
        let path = format!("/api/v1/workers?{query}");
        let refused = grid.json(Method::GET, &path, StatusCode::BAD_REQUEST).await;
        assert!(refused.to_string().contains(names), "{query}: {refused}");
    }
    for worker in [first, last] {
        worker.halt();
        worker.ended().await;
    }
    grid.stop().await;
}

#[actix_web::test]
async fn a_cordoned_worker_gets_nothing_new_and_finishes_what_it_has() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let worker = yard.worker(&grid, "w1", 2, &[]).await;
    let long = running(&grid).await;
    let cordoned = post(&grid, "w1/cordon").await;
    assert_eq!(
        (&cordoned["cordoned"], &cordoned["draining"]),
        (&json!(true), &json!(false))
    );
    assert!(cordoned["position"].is_string());
    // Once more changes nothing.
    let again = post(&grid, "worker-w1/cordon").await;
    assert_eq!(
        (&again["cordoned"], &again["position"]),
        (&json!(true), &cordoned["position"])
    );
    let known = || worker.state().is_some_and(|state| state.glance.cordoned);
    eventually("the worker knows", SOON, async || known().then_some(())).await;

    let waiting = grid.submit(NOOP).await;
    let waiting = text(&waiting["jobId"]).to_owned();
    completed(&grid, &long).await;
    let job = grid.get(&format!("/api/v1/jobs/{waiting}")).await;
    assert_eq!(job["taskCounters"]["ready"], 1, "{job}");
    assert_eq!(grid.get("/api/v1/workers/w1").await["state"], "ACTIVE");

    let open = post(&grid, "w1/uncordon").await;
    assert_eq!(open["cordoned"], false);
    completed(&grid, &waiting).await;
    assert_eq!(
        history(&grid, "w1").await,
        ["WorkerRegistered", "WorkerCordoned", "WorkerUncordoned"]
    );
    worker.halt();
    worker.ended().await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_cordon_outlives_the_process_and_a_drain_ends_it() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let first = yard.worker(&grid, "w2", 1, &[]).await;
    let long = running(&grid).await;
    let drained = post(&grid, "w2/drain").await;
    assert_eq!(
        (&drained["cordoned"], &drained["draining"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(first.ended().await, WorkerEnded::Drained);
    // What ran was finished, not given up.
    completed(&grid, &long).await;
    assert_eq!(grid.get(&format!("/api/v1/tasks/{}-1", &long[4..])).await["attempt"], 1);
    let gone = eventually("the worker has left", SOON, async || {
        let gone = grid.get("/api/v1/workers/w2").await;
        (gone["state"] == "INACTIVE").then_some(gone)
    })
    .await;
    assert_eq!((&gone["cordoned"], &gone["draining"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&gone["leftCause"], gone["leftAt"].is_string()),
        (&json!("DRAINED"), true)
    );
    // To drain what is drained already is no mistake.
    post(&grid, "w2/drain").await;

    // The next process of the name begins cordoned: it is never placed on.
    let second = yard.worker(&grid, "w2", 1, &[]).await;
    assert!(second.state().unwrap().glance.cordoned);
    let waiting = grid.submit(NOOP).await;
    let waiting = text(&waiting["jobId"]).to_owned();
    let again = grid.get("/api/v1/workers/w2").await;
    assert_eq!((&again["cordoned"], &again["draining"]), (&json!(true), &json!(false)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let job = grid.get(&format!("/api/v1/jobs/{waiting}")).await;
    assert_eq!(job["taskCounters"]["ready"], 1, "{job}");
    post(&grid, "w2/uncordon").await;
    completed(&grid, &waiting).await;

    // Its history is that of both.
    let whole = history(&grid, "w2").await;
    assert_eq!(
        whole,
        [
            "WorkerRegistered",
            "WorkerCordoned",
            "WorkerDrainRequested",
            "WorkerLeft",
            "WorkerRegistered",
            "WorkerCordoned",
            "WorkerUncordoned"
        ]
    );
    let inherited = grid.get("/api/v1/workers/w2/events?type=WorkerCordoned").await;
    assert_eq!(inherited["total"], 2);
    assert_eq!(inherited["items"][0]["data"]["inherited"], true);
    assert_eq!(inherited["items"][1]["principal"], "anonymous");
    assert_eq!(inherited["items"][0]["streamVersion"], 2);
    second.drain();
    assert_eq!(second.ended().await, WorkerEnded::Drained);
    // It left by itself, and its name is open: there is nothing to drain.
    eventually("the second has left", SOON, async || {
        (grid.get("/api/v1/workers/w2").await["state"] == "INACTIVE").then_some(())
    })
    .await;
    let refused = grid
        .json(Method::POST, "/api/v1/workers/w2/drain", StatusCode::CONFLICT)
        .await;
    assert_eq!(refused["code"], "WORKER_LEFT");
    read_models_are_the_log(&grid).await;
    grid.stop().await;
}

/// `grid verify` compares what is shown of workers with the fold of the log.
async fn read_models_are_the_log(grid: &Fixture) {
    let verify = async || {
        let check = ReadModelCheck::prepare(&grid.log).await.unwrap();
        let witness = |shard, _| check.witness(shard);
        grid.log.verify(Default::default(), Some(&witness)).await.unwrap()
    };
    let clean = verify().await;
    assert_eq!(clean.differences, [], "{clean:?}");
    for column in ["cordoned", "draining"] {
        grid.psql(&format!("UPDATE grid_read.workers SET {column} = NOT {column}"));
        let found = verify().await;
        let named = found.differences.iter().any(|it| it.expected.contains(column));
        assert!(named, "{column}: {:?}", found.differences);
        grid.psql(&format!("UPDATE grid_read.workers SET {column} = NOT {column}"));
    }
}

#[actix_web::test]
async fn an_unknown_worker_cannot_be_told_anything() {
    let grid = Fixture::new().await;
    for verb in ["cordon", "uncordon", "drain"] {
        let path = format!("/api/v1/workers/nobody/{verb}");
        assert_eq!(
            grid.json(Method::POST, &path, StatusCode::NOT_FOUND).await["code"],
            "NOT_FOUND"
        );
        let path = format!("/api/v1/workers/no body/{verb}").replace(' ', "%20");
        assert_eq!(
            grid.json(Method::POST, &path, StatusCode::BAD_REQUEST).await["code"],
            "INVALID_ID"
        );
        let path = format!("/api/v1/workers/nobody/{verb}");
        let problem = grid.json(Method::GET, &path, StatusCode::METHOD_NOT_ALLOWED).await;
        assert_eq!(problem["code"], "METHOD_NOT_ALLOWED");
    }
    grid.stop().await;
}

/// The cordon is in the log: who takes the shard over tells it on.
#[actix_web::test]
async fn a_cordon_outlives_the_jobmaster() {
    let (mut grid, yard) = (Fixture::new().await, Yard::new());
    let worker = yard.worker(&grid, "w3", 1, &[]).await;
    post(&grid, "w3/cordon").await;
    grid.restart_shards().await;
    let known = || worker.state().is_some_and(|state| state.glance.cordoned);
    eventually("the worker knows", SOON, async || known().then_some(())).await;
    let waiting = grid.submit(NOOP).await;
    let waiting = text(&waiting["jobId"]).to_owned();
    post(&grid, "w3/uncordon").await;
    completed(&grid, &waiting).await;
    assert_eq!(
        history(&grid, "w3").await,
        ["WorkerRegistered", "WorkerCordoned", "WorkerUncordoned"]
    );
    worker.halt();
    worker.ended().await;
    grid.stop().await;
}
