//! Clients that submit all the time, and remember what was acknowledged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::{Value, json};

/// Submits jobs to whichever of the servers answers, until it is stopped.
pub struct Load {
    acknowledged: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    pub programs: Programs,
}

/// The programs that the jobs run: each holds a lock on a file of its task as long as any of its processes lives, and
/// says so when it finds the lock taken, by an earlier attempt that should be dead.
#[derive(Clone)]
pub struct Programs {
    marker: String,
    folder: PathBuf,
}

impl Programs {
    pub fn new(folder: &Path) -> Self {
        let folder = folder.join("locks");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            marker: uuid::Uuid::new_v4().to_string(),
            folder,
        }
    }

    /// In the environment of each of their processes, as MARKER.
    pub fn marker(&self) -> &str {
        &self.marker
    }

    /// A group of tasks that run `script`.
    pub fn group(&self, name: &str, replicas: u32, script: &str) -> Value {
        let script = format!(
            r#"exec 9>>"$LOCKS/$GRID_TASK_ID"; flock -n 9 || echo "$GRID_TASK_ID $GRID_ATTEMPT" >>"$LOCKS/overlaps"; {script}"#
        );
        json!({
            "externalId": name,
            "replicas": replicas,
            "command": ["sh", "-c", script],
            "env": { "MARKER": self.marker, "LOCKS": self.folder },
            "retry": { "maxRetries": 2, "baseSeconds": 0.1 },
        })
    }

    /// No-ops, programs that take a moment or fail, and now and then a tree of processes that will not hear SIGTERM.
    fn document(&self) -> Value {
        let mut rng = rand::rng();
        let (pause, fails) = (rng.random_range(0..200), rng.random_range(0..6) == 0);
        let program = format!("sleep 0.{pause:03}; exit {}", u8::from(fails));
        let mut tasks = vec![
            json!({ "externalId": "noop", "replicas": rng.random_range(1..40), "executor": "noop" }),
            self.group("program", 2, &program),
        ];
        if rng.random_range(0..8) == 0 {
            let tree = "trap '' TERM; (sleep 1 & timeout 60 sleep 1 & wait) & sh -c 'sleep 1; sleep 0.1' & wait";
            tasks.push(self.group("tree", 1, tree));
        }
        json!({ "tasks": tasks })
    }

    /// Panics when an attempt began while an earlier one of its task still ran, and tells what is known of the task.
    pub async fn never_overlapped(&self, server: &str) {
        let overlaps = std::fs::read_to_string(self.folder.join("overlaps")).unwrap_or_default();
        let mut told = String::new();
        for overlap in overlaps.lines() {
            let task = overlap.split_whitespace().next().unwrap_or_default();
            let events = get(server, &format!("/api/v1/tasks/{task}/events?size=100")).await;
            told += &format!("{overlap}: {events:#}\n");
        }
        assert!(
            overlaps.is_empty(),
            "these attempts ran beside an earlier one of their task:\n{told}"
        );
    }
}

impl Load {
    pub fn start(servers: Vec<String>, programs: &Programs) -> Self {
        let acknowledged = Arc::default();
        let servers: Arc<[String]> = servers.into();
        let tasks = (0..6)
            .map(|_| {
                let client = submit(Arc::clone(&servers), Arc::clone(&acknowledged), programs.clone());
                grid::task::spawn("load", client)
            })
            .collect();
        Self {
            acknowledged,
            tasks,
            programs: programs.clone(),
        }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until some more jobs are acknowledged, and then for a random moment.
    pub async fn goes_on(&self) {
        let enough = self.count() + 3;
        crate::support::eventually("jobs to be acknowledged", Duration::from_secs(90), async || {
            (self.count() >= enough).then_some(())
        })
        .await;
        let pause = rand::rng().random_range(0..1_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Remembers a job that was submitted otherwise.
    pub fn note(&self, job: &str) {
        self.acknowledged.lock().unwrap().push(job.to_owned());
    }

    /// Stops; gives the ids of all acknowledged jobs.
    pub fn stop(self) -> Vec<String> {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.acknowledged.lock().unwrap().clone()
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(12))
        .build()
        .unwrap()
}

async fn submit(servers: Arc<[String]>, acknowledged: Arc<Mutex<Vec<String>>>, programs: Programs) {
    let client = client();
    loop {
        let server = &servers[rand::rng().random_range(0..servers.len())];
        if let Some(job) = submit_one(&client, server, &programs.document()).await {
            acknowledged.lock().unwrap().push(job.clone());
            // However slow the machine is, no more piles up than can be worked off at the end.
            ended(server, &job, Duration::from_secs(3)).await;
        }
        let pause = rand::rng().random_range(20..300);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

async fn submit_one(client: &reqwest::Client, server: &str, document: &Value) -> Option<String> {
    let sent = client.post(format!("{server}/api/v1/jobs")).json(document).send().await;
    let answer = sent.ok().filter(|answer| answer.status() == 201)?;
    let job: Value = answer.json().await.ok()?;
    Some(job["jobId"].as_str().unwrap().to_owned())
}

/// Submits until it is acknowledged; gives the id.
pub async fn submitted(server: &str, document: &Value) -> String {
    let client = client();
    crate::support::eventually("a job to be acknowledged", Duration::from_secs(60), async || {
        submit_one(&client, server, document).await
    })
    .await
}

/// A JSON answer; null when there is none.
pub async fn get(server: &str, path: &str) -> Value {
    match client().get(format!("{server}{path}")).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(_) => Value::Null,
    }
}

/// Waits until the job has come to its end, or so long; gives what is known of it otherwise.
async fn ended(server: &str, id: &str, patience: Duration) -> Option<Value> {
    let begun = Instant::now();
    loop {
        let job = get(server, &format!("/api/v1/jobs/{id}")).await;
        if job["status"].as_str().is_some_and(|status| status != "RUNNING") {
            return None;
        }
        if begun.elapsed() > patience {
            return Some(job);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until every job has come to its end.
pub async fn all_finished(server: &str, jobs: &[String], deadline: Duration) {
    let begun = Instant::now();
    for id in jobs {
        let patience = deadline.saturating_sub(begun.elapsed());
        if let Some(job) = ended(server, id, patience).await {
            panic!("{id} does not come to its end: {job}");
        }
    }
}
