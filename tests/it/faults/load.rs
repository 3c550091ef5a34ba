//! Clients that submit all the time, and remember what was acknowledged.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};

/// Submits jobs to whichever of the servers answers, until it is stopped.
pub struct Load {
    acknowledged: Arc<Mutex<Vec<String>>>,
    servers: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub fn start(servers: Vec<String>, marker: &str) -> Self {
        let (acknowledged, servers) = (Arc::default(), Arc::new(Mutex::new(servers)));
        let tasks = (0..3)
            .map(|_| {
                grid::task::spawn(
                    "load",
                    submit(Arc::clone(&servers), Arc::clone(&acknowledged), marker.to_owned()),
                )
            })
            .collect();
        Self {
            acknowledged,
            servers,
            tasks,
        }
    }

    pub fn set_servers(&self, servers: Vec<String>) {
        *self.servers.lock().unwrap() = servers;
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Stops; gives the ids of all acknowledged jobs.
    pub fn stop(self) -> Vec<String> {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.acknowledged.lock().unwrap().clone()
    }
}

/// No-ops, programs that take a moment, and programs that fail.
fn document(marker: &str) -> Value {
    let mut rng = rand::rng();
    let env = json!({ "MARKER": marker });
    let retry = json!({ "maxRetries": 2, "baseSeconds": 0.1 });
    let pause = rng.random_range(0..400);
    let program = format!("sleep 0.{pause:03}; exit {}", u8::from(rng.random_range(0..4) == 0));
    json!({ "tasks": [
        { "externalId": "noop", "replicas": rng.random_range(1..60), "executor": "noop" },
        { "externalId": "program", "replicas": 2, "command": ["sh", "-c", program], "env": env, "retry": retry },
    ]})
}

async fn submit(servers: Arc<Mutex<Vec<String>>>, acknowledged: Arc<Mutex<Vec<String>>>, marker: String) {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(12))
        .build()
        .unwrap();
    loop {
        let servers = servers.lock().unwrap().clone();
        let server = &servers[rand::rng().random_range(0..servers.len())];
        let sent = client
            .post(format!("{server}/api/v1/jobs"))
            .json(&document(&marker))
            .send()
            .await;
        if let Ok(answer) = sent
            && answer.status() == 201
            && let Ok(job) = answer.json::<Value>().await
        {
            acknowledged
                .lock()
                .unwrap()
                .push(job["jobId"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Waits until every job has come to its end.
pub async fn all_finished(server: &str, jobs: &[String], deadline: Duration) {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let begun = std::time::Instant::now();
    for job in jobs {
        loop {
            let answer = client.get(format!("{server}/api/v1/jobs/{job}")).send().await;
            let job_object: Value = match answer {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if job_object["status"].as_str().is_some_and(|status| status != "RUNNING") {
                break;
            }
            assert!(
                begun.elapsed() < deadline,
                "{job} does not come to its end: {job_object}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
