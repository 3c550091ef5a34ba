//! The normalised document: canonical JSON with every default filled in, and its address, the hash.
//!
//! It is what workers fetch, and a document itself. Entries without replicas are left out, so that its entries are those
//! of the job's groups, in the same order.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Number, Value, json};
use sha2::{Digest, Sha256};

use super::error::{DocumentError, ErrorCode, Errors};
use super::job::{EnvValue, JobDocument, Limits, TaskKind, TaskSpec};
use super::node::Place;
use super::rules::MAX_NORMALISED_BYTES;
use super::spot::Spot;
use super::{Format, load, read};
use crate::domain::{JobSpec, Policy, RetryPolicy, TaskGroup, Timeouts};
use crate::worker::pipeline::DagNode;

/// A document in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalisedDocument {
    /// Canonical JSON: no blanks, fields sorted by name.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, in lower-case hexadecimal.
    pub hash: String,
}

impl NormalisedDocument {
    /// Reads what [`normalise`] wrote. Its programs were checked when it was submitted and are not checked again.
    pub fn read(bytes: &[u8]) -> Result<JobDocument, Vec<DocumentError>> {
        if bytes.len() > MAX_NORMALISED_BYTES {
            let message = format!(
                "a normalised document of {} bytes; at most {MAX_NORMALISED_BYTES}",
                bytes.len()
            );
            return Err(vec![DocumentError::at(
                Place::START,
                String::new(),
                ErrorCode::TooLarge,
                message,
            )]);
        }
        let errors = Errors::default();
        let root = load(bytes, Format::Json, &errors);
        let job = root.and_then(|root| read::job(&Spot::root(&root, &errors), None));
        errors.into_result(job)
    }

    /// The address of `bytes`.
    pub fn hash_of(bytes: &[u8]) -> String {
        hex::encode(Sha256::digest(bytes))
    }
}

/// The normal form of a document: the same for all that ask for the same job.
pub fn normalise(job: &JobDocument) -> NormalisedDocument {
    let mut out = Map::new();
    put(&mut out, "externalId", job.external_id.as_ref().map(|name| json!(name)));
    put_unless_empty(&mut out, "labels", &job.labels);
    put(&mut out, "retry", Some(retry(&job.retry)));
    put(&mut out, "timeouts", timeouts(&job.timeouts, &Timeouts::default()));
    put(&mut out, "deadline", job.deadline_ms.map(duration));
    put(&mut out, "maxParallel", job.max_parallel.map(|max| json!(max)));
    let tasks = job
        .tasks
        .iter()
        .filter(|entry| entry.replicas > 0)
        .map(|entry| task(entry, job));
    out.insert("tasks".to_owned(), Value::Array(tasks.collect()));
    let mut bytes = Vec::new();
    write_canonical(&Value::Object(out), &mut bytes);
    let hash = NormalisedDocument::hash_of(&bytes);
    NormalisedDocument { bytes, hash }
}

fn put(out: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        out.insert(name.to_owned(), value);
    }
}

fn put_unless_empty(out: &mut Map<String, Value>, name: &str, texts: &BTreeMap<String, String>) {
    if !texts.is_empty() {
        out.insert(name.to_owned(), json!(texts));
    }
}

fn task(task: &TaskSpec, job: &JobDocument) -> Value {
    let mut out = Map::new();
    put(&mut out, "externalId", Some(json!(task.external_id)));
    put(&mut out, "replicas", Some(json!(task.replicas)));
    put_unless_empty(&mut out, "requires", &task.requires);
    put(&mut out, "retry", (task.retry != job.retry).then(|| retry(&task.retry)));
    put(&mut out, "timeouts", timeouts(&task.timeouts, &job.timeouts));
    if !task.env.is_empty() {
        let env = task.env.iter().map(|(name, value)| (name.clone(), env_value(value)));
        out.insert("env".to_owned(), Value::Object(env.collect()));
    }
    put(
        &mut out,
        "limits",
        (!task.limits.is_empty()).then(|| limits(&task.limits)),
    );
    match &task.kind {
        TaskKind::Dag(nodes) => out.insert("dag".to_owned(), Value::Array(nodes.iter().map(node).collect())),
        TaskKind::Command { argv } => out.insert("command".to_owned(), json!(argv)),
        TaskKind::Noop => out.insert("executor".to_owned(), json!("noop")),
    };
    Value::Object(out)
}

fn node(node: &DagNode) -> Value {
    json!({"id": node.id, "commandName": node.command_name, "config": node.config, "outputs": node.outputs})
}

fn env_value(value: &EnvValue) -> Value {
    match value {
        EnvValue::Text(text) => json!(text),
        EnvValue::Secret(name) => json!({"secret": name}),
    }
}

fn retry(retry: &RetryPolicy) -> Value {
    json!({
        "maxRetries": retry.max_retries,
        "baseSeconds": seconds(retry.base_ms),
        "factor": number(retry.factor),
        "maxDelaySeconds": seconds(retry.max_delay_ms),
        "jitter": retry.jitter,
    })
}

/// The limits that differ from `base`; `null` where it has one and they have none.
fn timeouts(timeouts: &Timeouts, base: &Timeouts) -> Option<Value> {
    let mut out = Map::new();
    for (name, limit, base) in [
        ("start", timeouts.start_ms, base.start_ms),
        ("run", timeouts.run_ms, base.run_ms),
    ] {
        if limit != base {
            out.insert(name.to_owned(), limit.map_or(Value::Null, duration));
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn limits(limits: &Limits) -> Value {
    let mut out = Map::new();
    put(&mut out, "memoryMiB", limits.memory_mib.map(|mib| json!(mib)));
    put(&mut out, "cpus", limits.cpus.map(|cpus| json!(cpus)));
    put(&mut out, "cpuSeconds", limits.cpu_seconds.map(|seconds| json!(seconds)));
    put(&mut out, "openFiles", limits.open_files.map(|files| json!(files)));
    put(
        &mut out,
        "processes",
        limits.processes.map(|processes| json!(processes)),
    );
    Value::Object(out)
}

fn duration(ms: u64) -> Value {
    json!(humantime::format_duration(std::time::Duration::from_millis(ms)).to_string())
}

fn seconds(ms: u64) -> Value {
    number(ms as f64 / 1_000.0)
}

/// Without a fraction where there is none: `2`, not `2.0`.
fn number(double: f64) -> Value {
    if double.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&double) {
        return json!(double as u64);
    }
    Number::from_f64(double).map_or(Value::Null, Value::Number)
}

/// Sorted by itself: whether serde_json sorts depends on a feature that any dependency may turn on.
fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push(b'{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::String(name.clone()).to_string().as_bytes());
                out.push(b':');
                write_canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

/// What the domain has to know of the document, whose normalised form has `hash`.
pub fn to_spec(job: &JobDocument, hash: &str) -> JobSpec {
    let mut policies: Vec<Policy> = Vec::new();
    // By their JSON: a document may have some ten thousand entries, each with a policy of its own.
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut groups = Vec::new();
    for task in job.tasks.iter().filter(|task| task.replicas > 0) {
        let policy = Policy {
            retry: task.retry.clone(),
            timeouts: task.timeouts.clone(),
            requires: task.requires.clone(),
        };
        let key = json!(policy).to_string();
        let index = *known.entry(key).or_insert_with(|| {
            policies.push(policy);
            policies.len() - 1
        });
        groups.push(TaskGroup {
            external_id: task.external_id.clone(),
            replicas: task.replicas,
            executor: task.kind.executor(),
            policy: u32::try_from(index).unwrap_or(u32::MAX),
        });
    }
    JobSpec {
        external_id: job.external_id.clone(),
        labels: job.labels.clone(),
        document_hash: hash.to_owned(),
        task_count: job.task_count(),
        max_parallel: job.max_parallel,
        deadline_ms: job.deadline_ms,
        policies,
        groups,
    }
}
