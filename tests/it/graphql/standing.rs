//! How things stand and stood: workers and the whole as they are followed, what was at a time, and why it is so.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::stream::{Stream, places};
use crate::api::workers::Yard;
use crate::api::{Fixture, text};
use crate::support::eventually;

const SOON: Duration = Duration::from_secs(20);
const HELD: &str = "
externalId: held
labels: { team: a }
tasks: [{ externalId: t, replicas: 3, executor: noop, requires: { zone: nowhere } }]
";

async fn next(stream: &mut Stream, field: &str) -> Value {
    let next = tokio::time::timeout(SOON, stream.next()).await;
    next.expect("an item soon").expect("the stream to go on")[field].clone()
}

/// The first item of which this is so; and those before it.
async fn until(stream: &mut Stream, field: &str, is: impl Fn(&Value) -> bool) -> (Value, Vec<Value>) {
    let mut before = Vec::new();
    loop {
        let item = next(stream, field).await;
        if is(&item) {
            return (item, before);
        }
        assert!(before.len() < 100, "it does not come: {before:#?}");
        before.push(item);
    }
}

#[actix_web::test]
async fn a_worker_is_shown_as_in_rest() {
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let worker = yard.worker(&grid, "g1", 3, &[("zone", "a")]).await;
    let query = "query ($id: ID!) { worker(id: $id) {
        id workerId endpointUrl currentTasks maxCapacity state cordoned draining labels registeredAt createdAt leftCause
        lastHeartbeatAt cpuCores memoryBytes events(order: ASC) { nodes { type } } } }";
    // Of the last heartbeat: some time after the first.
    let shown = eventually("a heartbeat with what it uses", SOON, async || {
        let shown = grid.data(query, &json!({"id": "worker-g1"})).await["worker"].clone();
        (shown["memoryBytes"].as_f64() > Some(0.0) && shown["cpuCores"].is_number()).then_some(shown)
    })
    .await;
    let rest = grid.get("/api/v1/workers/g1").await;
    for name in [
        "workerId",
        "endpointUrl",
        "currentTasks",
        "maxCapacity",
        "state",
        "cordoned",
        "draining",
        "labels",
        "registeredAt",
        "createdAt",
    ] {
        assert!(!rest[name].is_null(), "{name}: {rest:#}");
        assert_eq!(shown[name], rest[name], "{name}");
    }
    assert_eq!(
        (&shown["id"], &shown["maxCapacity"], &shown["labels"]),
        (&json!("worker-g1"), &json!(3), &json!({"zone": "a"}))
    );
    assert!(text(&shown["lastHeartbeatAt"]) >= text(&shown["registeredAt"]));
    assert!(shown["leftCause"].is_null() && rest["leftCause"].is_null());
    assert_eq!(shown["events"], json!({"nodes": [{"type": "WorkerRegistered"}]}));
    // By its bare name as well, and in the list.
    assert_eq!(
        grid.data(query, &json!({"id": "g1"})).await["worker"]["id"],
        "worker-g1"
    );
    let list = grid
        .data(
            "{ workers { totalCount edges { node { workerId state } } } }",
            &json!({}),
        )
        .await;
    assert_eq!(
        list["workers"],
        json!({"totalCount": 1, "edges": [{"node": {"workerId": "worker-g1", "state": "ACTIVE"}}]})
    );
    assert_eq!(grid.code(query, &json!({"id": "worker-g2"})).await, "NOT_FOUND");
    assert_eq!(grid.code(query, &json!({"id": "no id!"})).await, "INVALID_ID");
    worker.halt();
    worker.ended().await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_worker_is_followed_from_its_registration_to_its_end() {
    const FIELD: &str = "workerChanged";
    let (grid, yard) = (Fixture::new().await, Yard::new());
    let url = format!("http://{}", grid.address);
    let query = "subscription ($id: ID, $after: String) { workerChanged(workerId: $id, after: $after) {
        worker { workerId state cordoned draining currentTasks maxCapacity } position } }";
    let unknown = grid.graphql_stream(query, &json!({"id": "worker-g3"})).await;
    assert!(unknown.contains(r#""code":"NOT_FOUND""#), "{unknown}");

    // Whoever follows all of them hears of those that come.
    let mut all = Stream::open(&url, query, &json!({})).await;
    let first = yard.worker(&grid, "g3", 2, &[]).await;
    let is = |item: &Value, id: &str| item["worker"]["workerId"] == id;
    until(&mut all, FIELD, |item| {
        is(item, "worker-g3") && item["worker"]["state"] == "ACTIVE"
    })
    .await;
    let mut one = Stream::open(&url, query, &json!({"id": "g3"})).await;
    let now = next(&mut one, FIELD).await;
    let idle = json!({"workerId": "worker-g3", "state": "ACTIVE", "cordoned": false, "draining": false,
        "currentTasks": 0, "maxCapacity": 2});
    assert_eq!(now["worker"], idle);

    // It gets a task, and ends it.
    grid.submit("tasks: [{ externalId: t, command: [sleep, '3'] }]").await;
    until(&mut one, FIELD, |item| item["worker"]["currentTasks"] == 1).await;
    until(&mut one, FIELD, |item| item["worker"] == idle).await;

    // Another one is of no interest to who follows this one.
    let second = yard.worker(&grid, "g4", 1, &[]).await;
    until(&mut all, FIELD, |item| is(item, "worker-g4")).await;
    let cordon = "mutation ($id: ID!) { cordonWorker(id: $id) { worker { cordoned } position } }";
    let cordoned = grid.data(cordon, &json!({"id": "g3"})).await["cordonWorker"].clone();
    assert_eq!(cordoned["worker"]["cordoned"], true);
    let (at, others) = until(&mut one, FIELD, |item| item["worker"]["cordoned"] == true).await;
    assert!(others.iter().all(|item| is(item, "worker-g3")), "{others:#?}");
    assert!(!is(&at, "worker-g4") && at["worker"]["draining"] == false);
    for (shard, seq) in places(&cordoned["position"]) {
        assert!(
            places(&at["position"])[&shard] >= seq,
            "the token is not before the change"
        );
    }

    // From that token on, the cordon is not told again; what comes after it is.
    let mut again = Stream::open(&url, query, &json!({"id": "g3", "after": at["position"]})).await;
    let drain = "mutation ($id: ID!) { drainWorker(id: $id) { position } }";
    grid.data(drain, &json!({"id": "g3"})).await;
    first.ended().await;
    for stream in [&mut one, &mut again] {
        let (_, before) = until(stream, FIELD, |item| item["worker"]["state"] == "INACTIVE").await;
        let known = before.iter().filter(|item| item["worker"]["draining"] == false);
        // Silent before it is known to have left, at most.
        assert!(known.count() <= 1, "{before:#?}");
    }
    second.halt();
    second.ended().await;
    grid.stop().await;
}

#[actix_web::test]
async fn the_whole_is_followed_at_most_once_a_second() {
    const FIELD: &str = "clusterOverview";
    const FIELDS: &str =
        "jobs { total unfinished } tasks { ready running completed failed } workers { active } position";
    let grid = Fixture::new().await;
    let url = format!("http://{}", grid.address);
    let query = format!("subscription ($after: String) {{ clusterOverview(after: $after) {{ {FIELDS} }} }}");
    let mut stream = Stream::open(&url, &query, &json!({})).await;
    let begun = Instant::now();
    let nothing = next(&mut stream, FIELD).await;
    assert_eq!(nothing["jobs"], json!({"total": 0, "unfinished": 0}));

    let mut items = 1;
    let job = grid.submit(HELD).await;
    let (held, before) = until(&mut stream, FIELD, |item| item["tasks"]["ready"] == 3).await;
    assert_eq!(held["jobs"], json!({"total": 1, "unfinished": 1}));
    items += before.len() + 1;
    for (shard, seq) in places(&job["position"]) {
        assert!(
            places(&held["position"])[&shard] >= seq,
            "the token is not before what is shown"
        );
    }
    // The same as whoever asks is told.
    let mut asked = grid
        .data(&format!("{{ clusterOverview {{ {FIELDS} }} }}"), &json!({}))
        .await[FIELD]
        .clone();
    asked["position"] = held["position"].clone();
    assert_eq!(asked, held);

    let path = format!("/api/v1/jobs/kill/{}", text(&job["jobId"]));
    grid.json(Method::DELETE, &path, StatusCode::OK).await;
    let (ended, before) = until(&mut stream, FIELD, |item| item["jobs"]["unfinished"] == 0).await;
    items += before.len() + 1;
    // Of unfinished jobs only.
    assert_eq!(
        ended["tasks"],
        json!({"ready": 0, "running": 0, "completed": 0, "failed": 0})
    );
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(items <= seconds + 2, "{items} in {seconds} s");

    // Whoever has that comes again: not before there is more.
    let mut again = Stream::open(&url, &query, &json!({"after": ended["position"]})).await;
    grid.submit(HELD).await;
    let more = next(&mut again, FIELD).await;
    assert_eq!(more["jobs"]["total"], 2, "{more:#}");
    let more = until(&mut stream, FIELD, |item| item["jobs"]["total"] == 2).await;
    assert!(more.1.is_empty(), "{more:#?}");
    grid.stop().await;
}

#[actix_web::test]
async fn what_was_at_a_time_is_shown_as_in_rest() {
    let grid = Fixture::new().await;
    let job = grid.submit(HELD).await;
    let (id, created) = (text(&job["jobId"]), text(&job["createdAt"]));
    let task = format!("task-{}-2", &id[4..]);
    // Event time has milliseconds: what follows is in a later one.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let path = format!("/api/v1/jobs/kill/{id}");
    grid.json(Method::DELETE, &path, StatusCode::OK).await;
    eventually("the job has ended", SOON, async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (!job["finishedAt"].is_null()).then_some(())
    })
    .await;
    let of_job = "query ($id: ID!, $at: DateTime!) { jobAsOf(id: $id, at: $at) { asOf provisional
        job { jobId externalId status labels createdAt finishedAt taskCounters { ready failed } } } }";
    let of_task = "query ($id: ID!, $at: DateTime!) { taskAsOf(id: $id, at: $at) { asOf provisional
        task { taskId jobId externalId state attempt finishedAt } } }";
    let future = "2999-01-01T00:00:00.000Z";
    for (at, status, state) in [(created, "RUNNING", "READY"), (future, "FAILED", "FAILED")] {
        for (query, field, object, id, path) in [
            (of_job, "jobAsOf", "job", id, "jobs"),
            (of_task, "taskAsOf", "task", task.as_str(), "tasks"),
        ] {
            let seen = grid.data(query, &json!({"id": id, "at": at})).await[field].clone();
            let rest = grid.get(&format!("/api/v1/{path}/{id}?asOf={at}")).await;
            assert_eq!(seen["asOf"], at);
            assert_eq!(seen["provisional"], rest["provisional"]);
            assert_eq!(seen["provisional"], at == future);
            for (name, value) in seen[object].as_object().unwrap() {
                match value.as_object().filter(|_| name == "taskCounters") {
                    Some(counters) => {
                        for (name, count) in counters {
                            assert_eq!(count, &rest["taskCounters"][name], "{name} at {at}");
                        }
                    }
                    None => assert_eq!(value, &rest[name], "{name} at {at}"),
                }
            }
            let found = seen[object].get("status").unwrap_or(&seen[object]["state"]);
            assert_eq!(found, if object == "job" { status } else { state }, "{object} at {at}");
        }
    }
    let before = json!({"id": id, "at": "2020-01-01T00:00:00Z"});
    assert_eq!(grid.code(of_job, &before).await, "NOT_FOUND");
    let before = json!({"id": task, "at": "2020-01-01T00:00:00Z"});
    assert_eq!(grid.code(of_task, &before).await, "NOT_FOUND");
    let no_time = json!({"id": id, "at": "yesterday"});
    assert!(grid.code(of_job, &no_time).await.starts_with("INVALID_"));
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_reached_from_a_job_as_it_was_is_of_then() {
    let grid = Fixture::new().await;
    let job = grid.submit(HELD).await;
    let id = text(&job["jobId"]);
    eventually("all tasks are written out", SOON, async || {
        let events = grid.get(&format!("/api/v1/jobs/{id}/events")).await;
        let types: Vec<&str> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| text(&it["type"]))
            .collect();
        types.contains(&"FanOutAdvanced").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let before = text(&grid.get(&format!("/api/v1/jobs/{id}/events?size=1")).await["items"][0]["at"]).to_owned();
    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    eventually("the job has ended", SOON, async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (!job["finishedAt"].is_null()).then_some(())
    })
    .await;
    let query = "query ($id: ID!, $at: DateTime!, $after: String, $order: EventOrder) { jobAsOf(id: $id, at: $at) { job {
        events(order: $order) { nodes { type } }
        tasks(first: 2, after: $after) { totalCount pageInfo { hasNextPage endCursor }
            nodes { taskId externalId state failure { reason } finishedAt attempts { attempt } events { nodes { type } } } }
    } } }";
    let ask = async |at: &str, after: Option<&str>, order: &str| {
        let variables = json!({"id": id, "at": at, "after": after, "order": order});
        grid.data(query, &variables).await["jobAsOf"]["job"].clone()
    };
    let types = |of: &Value| -> Vec<String> {
        let nodes = of["events"]["nodes"].as_array().unwrap();
        nodes.iter().map(|it| text(&it["type"]).to_owned()).collect()
    };
    for order in ["ASC", "DESC"] {
        let then = ask(&before, None, order).await;
        assert!(
            types(&then)
                .iter()
                .all(|it| !it.contains("Kill") && it != "JobFinished"),
            "{then:#}"
        );
        assert!(types(&then).contains(&"JobSubmitted".to_owned()), "{then:#}");
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let tasks = ask(&before, after.as_deref(), "DESC").await["tasks"].clone();
        assert_eq!(tasks["totalCount"], 3);
        for task in tasks["nodes"].as_array().unwrap() {
            assert_eq!(
                (&task["state"], &task["failure"]),
                (&json!("READY"), &Value::Null),
                "{task:#}"
            );
            assert_eq!((&task["finishedAt"], &task["attempts"]), (&Value::Null, &json!([])));
            assert_eq!(types(task), ["TaskReady"], "{task:#}");
            seen.push(text(&task["externalId"]).to_owned());
        }
        if tasks["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = Some(text(&tasks["pageInfo"]["endCursor"]).to_owned());
    }
    assert_eq!(seen, ["t-0", "t-1", "t-2"]);
    let now = ask("2999-01-01T00:00:00.000Z", None, "DESC").await;
    assert!(types(&now).contains(&"JobFinished".to_owned()), "{now:#}");
    assert_eq!(now["tasks"]["nodes"][0]["failure"]["reason"], "KILLED");
    // A page costs more than one of the present does.
    let large =
        "query ($id: ID!, $at: DateTime!) { jobAsOf(id: $id, at: $at) { job { tasks(first: 500) { nodes { id state
        attempt retryCount workerId } } } } }";
    let variables = json!({"id": id, "at": before});
    assert_eq!(grid.code(large, &variables).await, "QUERY_TOO_COMPLEX");
    grid.stop().await;
}

#[actix_web::test]
async fn jobs_and_tasks_say_why_as_in_rest() {
    let grid = Fixture::new().await;
    let job = grid.submit(HELD).await;
    let id = text(&job["jobId"]);
    let query = "query ($id: ID!) { job(id: $id) { explain tasks(first: 1) { edges { node { taskId explain } } } } }";
    let seen = eventually("the reason to be known", SOON, async || {
        let seen = grid.data(query, &json!({"id": id})).await["job"].clone();
        (seen["explain"]["reason"] == "NO_WORKER").then_some(seen)
    })
    .await;
    let rest = grid.get(&format!("/api/v1/jobs/{id}/explain")).await;
    let task = &seen["tasks"]["edges"][0]["node"];
    let path = format!("/api/v1/tasks/{}/explain", text(&task["taskId"]));
    let of_task = grid.get(&path).await;
    for (seen, rest) in [(&seen["explain"], &rest), (&task["explain"], &of_task)] {
        for name in ["reason", "state", "sentence", "remedy"] {
            assert_eq!(seen[name], rest[name], "{name}");
        }
        assert_eq!(seen["reason"], "NO_WORKER");
        assert!(seen["sentence"].is_string());
        let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(seen), names(rest));
    }
    grid.stop().await;
}
