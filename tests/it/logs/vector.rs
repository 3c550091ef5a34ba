//! Lines to a receiver of Lumberjack, as Vector's source `logstash` is one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferro_lumberjack::server::{Listener, Server};
use grid::worker::WorkerOptions;
use serde_json::{Value, json};

use crate::api::fixture::{Fixture, text};
use crate::api::workers::Yard;
use crate::support::{eventually, free_port};

const SOON: Duration = Duration::from_secs(60);

async fn run(grid: &Fixture, command: &str) -> String {
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command]}]});
    let job = text(&grid.submit(&document.to_string()).await["jobId"]).to_owned();
    eventually("the job is finished", SOON, async || {
        let seen = grid.get(&format!("/api/v1/jobs/{job}")).await;
        (seen["status"] == "COMPLETED").then_some(())
    })
    .await;
    job
}

async fn listen(address: &str) -> Listener {
    Server::builder().bind(address).await.unwrap()
}

/// Takes lines until it has so many different ones of the job; how often each came.
async fn take(listener: &Listener, job: &str, count: usize) -> (BTreeMap<String, u32>, Value) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut one = Value::Null;
    let mut windows = 0;
    while seen.len() < count {
        let mut connection = listener.accept().await.unwrap();
        while seen.len() < count {
            let Ok(Some(window)) = connection.read_window().await else {
                break;
            };
            windows += 1;
            // Every third one is acknowledged in part, and the connection breaks.
            let is_cut = windows % 3 == 1 && window.events.len() > 1;
            let kept = if is_cut {
                window.events.len() / 2
            } else {
                window.events.len()
            };
            for event in &window.events[..kept] {
                let line: Value = serde_json::from_slice(&event.payload).unwrap();
                if line["job_id"] == job {
                    *seen.entry(text(&line["message"]).to_owned()).or_default() += 1;
                    one = line;
                }
            }
            connection.send_ack(window.events[kept - 1].seq).await.unwrap();
            if is_cut {
                break;
            }
        }
    }
    (seen, one)
}

#[actix_web::test]
async fn a_vector_gets_every_line_once_over_breaks_and_its_absence_costs_no_task_anything() {
    let grid = Fixture::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    let mut workers = Yard::new();
    workers.options = WorkerOptions {
        vector: Some(address.clone()),
        ..WorkerOptions::default()
    };
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    // Nobody listens there yet.
    let begun = Instant::now();
    let job = run(&grid, "for i in $(seq 3000); do echo line $i; done").await;
    println!("3000 lines without a receiver: {:?}", begun.elapsed());
    let path = format!("/api/v1/logs/search?job_id={job}&limit=10000");
    eventually("the API has all of them", SOON, async || {
        let found = grid.get(&path).await;
        (found["lines"].as_array().unwrap().len() == 3_000).then_some(())
    })
    .await;
    let listener = listen(&address).await;
    let taken = tokio::time::timeout(SOON, take(&listener, &job, 3_000)).await;
    let (seen, line) = taken.expect("all lines in time");
    let expected: Vec<String> = (1..=3_000).map(|number| format!("line {number}")).collect();
    assert!(
        expected.iter().all(|message| seen.get(message) == Some(&1)),
        "each once: {seen:?}"
    );
    assert_eq!(line["worker_id"], "worker-a");
    assert_eq!((&line["source"], &line["service"]), (&"task".into(), &"grid".into()));
    assert_eq!(
        (&line["level"], &line["logger_name"]),
        (&"INFO".into(), &"stdout".into())
    );
    assert!(text(&line["@timestamp"]).ends_with('Z'));
    assert_eq!(line["task_id"], format!("task-{}-1", job.trim_start_matches("job-")));
    drop(listener);
    worker.drain();
    let ending = Instant::now();
    worker.ended().await;
    assert!(ending.elapsed() < Duration::from_secs(15), "{:?}", ending.elapsed());
    grid.stop().await;
}
