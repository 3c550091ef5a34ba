//! A run in which everything happens that can: each message is what the schemas say, and the example consumer, killed in
//! the middle, knows in the end what the API knows, whoever owned the shards meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::consumer::{Consumer, agrees, validate};
use crate::faults::cluster::{Cluster, Patience};
use crate::faults::load::{all_finished, get, submitted};
use crate::support::{Kafka, Postgres, eventually};

const PATIENCE: Duration = Duration::from_secs(90);

async fn ask(server: &str, method: Method, path: &str) {
    let client = reqwest::Client::new();
    let url = format!("{server}{path}");
    let answer = client.request(method, &url).send().await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.text().await.unwrap());
}

/// Waits until the job's list of tasks is as wanted.
async fn tasks(server: &str, job: &str, what: &str, wanted: impl Fn(&[Value]) -> bool) {
    eventually(what, PATIENCE, async || {
        let page = get(server, &format!("/api/v1/jobs/{job}/tasks?size=500")).await;
        page["items"]
            .as_array()
            .is_some_and(|tasks| wanted(tasks))
            .then_some(())
    })
    .await;
}

fn all_in(state: &str) -> impl Fn(&[Value]) -> bool {
    move |tasks| !tasks.is_empty() && tasks.iter().all(|task| task["state"] == state)
}

fn task_of(job: &str, number: u32) -> String {
    format!("task-{}-{number}", job.trim_start_matches("job-"))
}

/// Jobs that end by themselves, in every way but the loss of a worker.
async fn by_themselves(cluster: &Cluster<'_>, jobs: &mut Vec<String>) {
    let server = &cluster.jobmasters[0].url;
    let program = |name, script| cluster.programs.group(name, 1, script);
    let with = |mut task: Value, key: &str, value: Value| {
        task[key] = value;
        task
    };
    let fails_once = r#"test "$GRID_ATTEMPT" -ge 2"#;
    let documents = [
        json!({ "tasks": [] }),
        json!({ "externalId": "all of it", "labels": { "zone": "ä \"b\"" }, "maxParallel": 3, "tasks": [
            { "externalId": "noop", "replicas": 30, "executor": "noop", "requires": {} },
            program("once", fails_once),
            program("ends", "echo one; echo two >&2; exit 3"),
            with(program("slow", "sleep 30"), "timeouts", json!({ "run": "300ms" })),
            program("hopeless", "exit 78"),
        ] }),
        json!({ "deadline": "1s", "tasks": [program("late", "sleep 60")] }),
    ];
    for document in &documents {
        jobs.push(submitted(server, document).await);
    }
}

/// Jobs that somebody ends, stops, or tries again.
async fn by_people(cluster: &Cluster<'_>, jobs: &mut Vec<String>) {
    let server = &cluster.jobmasters[0].url;
    let program = |name, script| cluster.programs.group(name, 1, script);
    let killed = submitted(server, &json!({ "tasks": [program("long", "sleep 60")] })).await;
    let stopped = submitted(
        server,
        &json!({ "tasks": [program("polite", "trap 'exit 0' TERM; sleep 60 & wait")] }),
    )
    .await;
    let mut waiting = program("again", r#"test "$GRID_ATTEMPT" -ge 2"#);
    waiting["replicas"] = json!(2);
    waiting["retry"] = json!({ "baseSeconds": 600 });
    let waiting = submitted(server, &json!({ "tasks": [waiting] })).await;
    for job in [&killed, &stopped] {
        tasks(server, job, "it to run", all_in("RUNNING")).await;
    }
    ask(server, Method::DELETE, &format!("/api/v1/jobs/kill/{killed}")).await;
    ask(server, Method::POST, &format!("/api/v1/jobs/{stopped}/stop")).await;
    tasks(server, &waiting, "both to wait for their retries", |tasks| {
        tasks.len() == 2 && tasks.iter().all(|task| task["nextRetryAt"].is_string())
    })
    .await;
    ask(
        server,
        Method::POST,
        &format!("/api/v1/tasks/{}/retry", task_of(&waiting, 1)),
    )
    .await;
    ask(
        server,
        Method::DELETE,
        &format!("/api/v1/tasks/{}/retry", task_of(&waiting, 2)),
    )
    .await;
    all_finished(server, std::slice::from_ref(&waiting), PATIENCE).await;
    // The second attempt of the cancelled one succeeds.
    ask(server, Method::POST, &format!("/api/v1/jobs/{waiting}/retry")).await;
    jobs.extend([killed, stopped, waiting]);
}

/// A worker dies with what it runs, another one drains.
async fn by_lost_workers(cluster: &mut Cluster<'_>, jobs: &mut Vec<String>) {
    let server = cluster.jobmasters[0].url.clone();
    let document = json!({ "tasks": [{ "externalId": "held", "replicas": 8, "command": ["sleep", "8"] }] });
    let held = submitted(&server, &document).await;
    tasks(&server, &held, "them to run", all_in("RUNNING")).await;
    // One of them may run nothing: the other load comes and goes.
    let page = get(&server, &format!("/api/v1/jobs/{held}/tasks")).await;
    let busy = usize::from(page["items"][0]["workerId"] == "worker-w1");
    let other = ["w1", "w0"][busy];
    let mut lost = cluster.workers.remove(busy);
    lost.kill();
    let drained = cluster.workers.remove(0);
    for change in ["cordon", "uncordon"] {
        ask(&server, Method::POST, &format!("/api/v1/workers/{other}/{change}")).await;
    }
    tasks(&server, &held, "the lost ones to run again", |tasks| {
        tasks.iter().any(|task| task["attempt"].as_u64() > Some(1))
    })
    .await;
    lost.restart();
    lost.ready().await;
    cluster.workers.push(lost);
    ask(&server, Method::POST, &format!("/api/v1/workers/{other}/drain")).await;
    drained.ends_well();
    jobs.push(held);
}

/// The types that schema/ describes.
fn described() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/events");
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name != "headers.json")
        .map(|name| format!("grid.{}", name.strip_suffix(".json").unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_is_as_described_and_a_stranger_can_count_by_it() {
    let kafka = Kafka::shared();
    let mut cluster = Cluster::start(Postgres::shared(), kafka, Patience::Short, 2).await;
    let mut consumer = Consumer::new(
        &kafka.brokers(),
        &cluster.topic(),
        &cluster.folder().join("consumer.json"),
    );
    consumer.start();
    let mut jobs = Vec::new();
    by_themselves(&cluster, &mut jobs).await;
    by_people(&cluster, &mut jobs).await;
    consumer.has_begun(3);

    // Somebody else takes the shards over while jobs run; the consumer is killed meanwhile, and reads on later.
    let heir = cluster.incarnation(0).await;
    let load = cluster.load();
    load.goes_on().await;
    consumer.kill();
    cluster.jobmasters[1].kill();
    eventually("the shards to be taken over", PATIENCE, async || {
        (cluster.owned(&heir) == 8).then_some(())
    })
    .await;
    consumer.start();
    cluster.jobmasters[1].restart();
    cluster.jobmasters[1].ready().await;
    by_lost_workers(&mut cluster, &mut jobs).await;
    consumer.kill();
    jobs.extend(load.stop());
    let server = cluster.jobmasters[0].url.clone();
    all_finished(&server, &jobs, PATIENCE).await;
    // Jobs whose answer was cut off, and ends that come late.
    eventually("everything to come to its end", PATIENCE, async || {
        let left = "SELECT (SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL)
                         + (SELECT count(*) FROM shards s JOIN grid_read.projection_cursors c USING (shard)
                            WHERE c.seq < s.next_seq - 1)";
        (crate::faults::check::psql(&cluster.database, left) == "0").then_some(())
    })
    .await;

    let heads = cluster.heads();
    let agreed = agrees(&mut consumer, &heads, &server).await;
    let counts = validate(&kafka.brokers(), &cluster.topic(), &heads);
    let seen: BTreeSet<String> = counts.keys().cloned().collect();
    assert_eq!(seen, described(), "not everything happened: {counts:?}");
    eprintln!(
        "{agreed} jobs agree; {} messages are as described",
        counts.values().sum::<u64>()
    );
    // Who comes late gets the same.
    let mut late = Consumer::new(&kafka.brokers(), &cluster.topic(), &cluster.folder().join("late.json"));
    agrees(&mut late, &heads, &server).await;
    cluster.stop();
}
