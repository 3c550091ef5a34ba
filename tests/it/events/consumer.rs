//! The example consumer and the validator, as processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::load::get;
use crate::support::{python, wait_for};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");

/// schema/consumer.py on a topic, its state in a file.
pub struct Consumer {
    brokers: String,
    topic: String,
    state: PathBuf,
    properties: Vec<String>,
    /// Of the log, where there is more than one.
    source: Option<String>,
    running: Option<Child>,
}

impl Consumer {
    pub fn new(brokers: &str, topic: &str, state: &Path) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            state: state.to_owned(),
            properties: Vec::new(),
            source: None,
            running: None,
        }
    }

    /// By SASL, SCRAM-SHA-256, without TLS; in a consumer group that it may name.
    pub fn login(&mut self, user: &str, password: &str, group: &str) {
        self.properties = vec![
            "security.protocol=SASL_PLAINTEXT".to_owned(),
            "sasl.mechanism=SCRAM-SHA-256".to_owned(),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
            format!("group.id={group}"),
        ];
    }

    fn command(&self) -> std::process::Command {
        let mut command = python();
        command.arg(format!("{SCHEMAS}/consumer.py"));
        command.args(["--brokers", &self.brokers, "--topic", &self.topic, "--state"]);
        command.arg(&self.state);
        for property in &self.properties {
            command.args(["--property", property]);
        }
        if let Some(source) = &self.source {
            command.args(["--source", source]);
        }
        command
    }

    /// Reads on until it is killed.
    pub fn start(&mut self) {
        let started = self.command().stdout(Stdio::null()).spawn().unwrap();
        assert!(self.running.replace(started).is_none(), "it runs already");
    }

    /// Waits until it has stored that it has applied something of so many partitions.
    pub fn has_begun(&mut self, partitions: usize) {
        wait_for("the consumer to apply events", Duration::from_secs(60), || {
            let ended = self.running.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the consumer has ended: {ended:?}");
            let state: Value = serde_json::from_slice(&std::fs::read(&self.state).ok()?).unwrap();
            let has = |place: &&Value| place["have"].as_u64() > Some(0);
            let begun = state["places"].as_object()?.values().filter(has).count();
            (begun >= partitions).then_some(())
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.kill().unwrap();
        running.wait().unwrap();
    }

    /// From now on positions are of the log with this timeline.
    pub fn of_timeline(&mut self, timeline: &str) {
        self.source = Some(format!("/grid/{timeline}"));
    }

    /// Reads on up to these positions; gives what it knows of each job then.
    pub fn read_to(&mut self, heads: &str) -> BTreeMap<String, Value> {
        let output = self.command().args(["--until", heads]).output().unwrap();
        serde_json::from_str(&succeeded(output)).unwrap()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            _ = running.kill();
            _ = running.wait();
        }
    }
}

fn succeeded(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Holds every message of the topic against schema/; gives how many there are of each type.
pub fn validate(brokers: &str, topic: &str, heads: &str) -> BTreeMap<String, u64> {
    let output = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/validate.py"))
        .args([
            "--brokers",
            brokers,
            "--topic",
            topic,
            "--schemas",
            SCHEMAS,
            "--until",
            heads,
        ])
        .output()
        .unwrap();
    serde_json::from_str(&succeeded(output)).unwrap()
}

/// Every job of the API, with what a consumer knows of one.
pub async fn jobs_of_the_api(server: &str) -> BTreeMap<String, Value> {
    let mut jobs = BTreeMap::new();
    let mut path = "/api/v1/jobs?size=500".to_owned();
    loop {
        let page = get(server, &path).await;
        for job in page["items"].as_array().unwrap_or_else(|| panic!("{page}")) {
            let id = job["jobId"].as_str().unwrap().to_owned();
            let known = json!({ "taskCounters": job["taskCounters"], "status": job["status"] });
            jobs.insert(id, known);
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            return jobs;
        };
        path = format!("/api/v1/jobs?size=500&cursor={cursor}");
    }
}

/// What the consumer made of the events is what the API says.
pub async fn agrees(consumer: &mut Consumer, heads: &str, server: &str) -> usize {
    let mut known = consumer.read_to(heads);
    for job in known.values_mut() {
        job.as_object_mut().unwrap().remove("partition");
    }
    let expected = jobs_of_the_api(server).await;
    for (id, job) in &expected {
        assert_eq!(known.get(id), Some(job), "{id}");
    }
    assert_eq!(known.len(), expected.len());
    expected.len()
}
