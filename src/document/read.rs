//! The tree into the job document: every field of it is named here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::dag::Checker;
use super::error::ErrorCode;
use super::job::{EnvValue, JobDocument, Limits, TaskKind, TaskSpec};
use super::rules;
use super::spot::{Fields, Spot, shown};
use crate::domain::{Labels, MAX_TASKS_PER_JOB, RetryPolicy, Timeouts};
use crate::worker::pipeline::DagNode;

pub const JOB_FIELDS: &[&str] = &[
    "externalId",
    "labels",
    "retry",
    "timeouts",
    "deadline",
    "maxParallel",
    "tasks",
];
pub const TASK_FIELDS: &[&str] = &[
    "externalId",
    "replicas",
    "requires",
    "retry",
    "timeouts",
    "env",
    "limits",
    "dag",
    "command",
    "executor",
];
pub const RETRY_FIELDS: &[&str] = &["maxRetries", "baseSeconds", "factor", "maxDelaySeconds", "jitter"];
pub const TIMEOUT_FIELDS: &[&str] = &["start", "run"];
pub const LIMIT_FIELDS: &[&str] = &["memoryMiB", "cpus", "cpuSeconds", "openFiles", "processes"];
pub const NODE_FIELDS: &[&str] = &["id", "commandName", "config", "outputs"];
pub const SECRET_FIELDS: &[&str] = &["secret"];
/// What a task does: exactly one of these.
pub const KIND_FIELDS: [&str; 3] = ["dag", "command", "executor"];

/// The document; every mistake is left with the spot's errors, and what cannot be read has its default. Without a checker
/// the pipelines are trusted.
pub fn job(spot: &Spot<'_>, mut checker: Option<Checker>) -> Option<JobDocument> {
    let fields = spot.fields(JOB_FIELDS)?;
    let mut job = JobDocument {
        external_id: fields
            .get("externalId")
            .and_then(|spot| spot.form(&rules::NAME))
            .map(str::to_owned),
        labels: fields.get("labels").map(|spot| labels(&spot)).unwrap_or_default(),
        retry: retry(fields.get("retry"), &RetryPolicy::default()),
        timeouts: timeouts(fields.get("timeouts"), &Timeouts::default()),
        deadline_ms: fields.get("deadline").and_then(|spot| spot.duration_ms()),
        max_parallel: fields
            .get("maxParallel")
            .and_then(|spot| spot.whole(&(1..=u64::from(MAX_TASKS_PER_JOB))))
            .map(small),
        tasks: Vec::new(),
    };
    let tasks = fields.require("tasks")?;
    let mut names = Names::default();
    for spot in tasks.list()? {
        if spot.has_enough() {
            break;
        }
        if let Some(task) = task(&spot, &job, &mut names, checker.as_mut()) {
            job.tasks.push(Arc::new(task));
        }
    }
    names.report_replica_clashes();
    let count: u64 = job.tasks.iter().map(|task| u64::from(task.replicas)).sum();
    if count > u64::from(MAX_TASKS_PER_JOB) {
        let message = format!("the replicas sum to {count} tasks; a job has at most {MAX_TASKS_PER_JOB}");
        tasks.fail(ErrorCode::TooManyTasks, message);
    }
    Some(job)
}

/// For numbers that a range has checked.
fn small<T: TryFrom<u64> + Default>(number: u64) -> T {
    T::try_from(number).unwrap_or_default()
}

fn task<'a>(
    spot: &Spot<'a>,
    job: &JobDocument,
    names: &mut Names<'a>,
    checker: Option<&mut Checker>,
) -> Option<TaskSpec> {
    let fields = spot.fields(TASK_FIELDS)?;
    let replicas = fields
        .get("replicas")
        .and_then(|spot| spot.whole(&(0..=u64::from(MAX_TASKS_PER_JOB))))
        .map_or(1, small);
    let external_id = fields.require("externalId").and_then(|spot| {
        let name = spot.form(&rules::NAME)?;
        names.add(name, replicas, spot);
        Some(name.to_owned())
    });
    let kind = kind(spot, &fields);
    if let (Some(checker), Some(TaskKind::Dag(nodes)), Some(spot)) = (checker, &kind, fields.get("dag")) {
        checker.check(nodes, replicas, &spot);
    }
    if let Some(kind) = &kind
        && !matches!(kind, TaskKind::Command { .. })
    {
        for name in ["env", "limits"] {
            if let Some(spot) = fields.get(name) {
                spot.fail(
                    ErrorCode::Conflict,
                    format!("{name:?} applies to a task with a \"command\" alone"),
                );
            }
        }
    }
    Some(TaskSpec {
        external_id: external_id.unwrap_or_default(),
        replicas,
        requires: fields.get("requires").map(|spot| labels(&spot)).unwrap_or_default(),
        retry: retry(fields.get("retry"), &job.retry),
        timeouts: timeouts(fields.get("timeouts"), &job.timeouts),
        env: fields.get("env").map(|spot| env(&spot)).unwrap_or_default(),
        limits: fields.get("limits").map(|spot| limits(&spot)).unwrap_or_default(),
        kind: kind.unwrap_or(TaskKind::Noop),
    })
}

fn kind(spot: &Spot<'_>, fields: &Fields<'_, '_>) -> Option<TaskKind> {
    let given: Vec<&str> = KIND_FIELDS
        .into_iter()
        .filter(|name| fields.get(name).is_some())
        .collect();
    match given.as_slice() {
        [] => {
            spot.fail(
                ErrorCode::MissingField,
                "a task needs one of \"dag\", \"command\" or \"executor\"",
            );
            None
        }
        ["dag"] => dag(&fields.get("dag")?),
        ["command"] => command(&fields.get("command")?),
        ["executor"] => {
            let spot = fields.get("executor")?;
            match spot.text()? {
                "noop" => Some(TaskKind::Noop),
                other => {
                    let message = format!(
                        "expected \"noop\", found {}; others follow from \"dag\" or \"command\"",
                        shown(other)
                    );
                    spot.fail(ErrorCode::BadValue, message);
                    None
                }
            }
        }
        several => {
            let quoted: Vec<String> = several.iter().map(|name| format!("{name:?}")).collect();
            spot.fail(
                ErrorCode::Conflict,
                format!("a task has only one of {}", quoted.join(" and ")),
            );
            None
        }
    }
}

fn command(spot: &Spot<'_>) -> Option<TaskKind> {
    let mut argv = Vec::new();
    for item in spot.list()? {
        if let Some(text) = argument(&item) {
            argv.push(text.to_owned());
        }
        if argv.len() > rules::MAX_ARGUMENTS {
            spot.fail(
                ErrorCode::OutOfRange,
                format!("a command has at most {} arguments", rules::MAX_ARGUMENTS),
            );
            return None;
        }
    }
    match argv.first() {
        None => {
            spot.fail(ErrorCode::BadValue, "a command names at least its program");
            None
        }
        Some(program) if program.is_empty() => {
            spot.fail(ErrorCode::BadValue, "a command's program has no name");
            None
        }
        Some(_) => Some(TaskKind::Command { argv }),
    }
}

/// Text that the system can hand to a program.
fn argument<'a>(spot: &Spot<'a>) -> Option<&'a str> {
    let text = spot.text()?;
    if text.contains('\0') {
        spot.fail(ErrorCode::BadValue, "a NUL character cannot be handed to a program");
        return None;
    }
    if text.len() > rules::MAX_ARGUMENT_BYTES {
        let message = format!(
            "it has {} bytes; a program takes at most {}",
            text.len(),
            rules::MAX_ARGUMENT_BYTES
        );
        spot.fail(ErrorCode::OutOfRange, message);
        return None;
    }
    Some(text)
}

/// The shape of the nodes alone; what they mean is checked once the whole document stands.
fn dag(spot: &Spot<'_>) -> Option<TaskKind> {
    let mut nodes = Vec::new();
    let mut whole = true;
    for item in spot.list()? {
        match node(&item) {
            Some(node) => nodes.push(node),
            None => whole = false,
        }
    }
    // The check of half a DAG would speak of nodes that are there.
    whole.then_some(TaskKind::Dag(nodes))
}

fn node(spot: &Spot<'_>) -> Option<DagNode> {
    let fields = spot.fields(NODE_FIELDS)?;
    let id = fields.require("id").and_then(|spot| spot.text());
    let command_name = fields.require("commandName").and_then(|spot| spot.text());
    let config = match fields.get("config") {
        None => Some(serde_json::json!({})),
        // Only for its complaint when it is no object.
        Some(spot) => spot.entries().is_some().then(|| spot.node.to_json()),
    };
    let outputs = match fields.get("outputs") {
        None => Some(Vec::new()),
        Some(spot) => texts(&spot),
    };
    Some(DagNode {
        id: id?.to_owned(),
        command_name: command_name?.to_owned(),
        config: config?,
        outputs: outputs?,
    })
}

fn texts(spot: &Spot<'_>) -> Option<Vec<String>> {
    let mut whole = true;
    let mut texts = Vec::new();
    for item in spot.list()? {
        match item.text() {
            Some(text) => texts.push(text.to_owned()),
            None => whole = false,
        }
    }
    whole.then_some(texts)
}

fn labels(spot: &Spot<'_>) -> Labels {
    let mut labels = Labels::new();
    for (name, value) in spot.entries().into_iter().flatten() {
        if !(rules::LABEL_NAME.fits)(name) {
            let form = rules::LABEL_NAME;
            value.fail(
                ErrorCode::BadValue,
                format!("{} {}; found {}", form.what, form.says, shown(name)),
            );
        }
        if let Some(text) = value.form(&rules::LABEL_VALUE) {
            labels.insert(name.to_owned(), text.to_owned());
        }
    }
    if labels.len() > rules::MAX_LABELS {
        spot.fail(
            ErrorCode::OutOfRange,
            format!("at most {} labels, found {}", rules::MAX_LABELS, labels.len()),
        );
    }
    labels
}

fn retry(spot: Option<Spot<'_>>, defaults: &RetryPolicy) -> RetryPolicy {
    let mut retry = defaults.clone();
    let Some(spot) = spot else { return retry };
    let Some(fields) = spot.fields(RETRY_FIELDS) else {
        return retry;
    };
    let ms = |seconds: f64| (seconds * 1_000.0).round() as u64;
    if let Some(max) = fields
        .get("maxRetries")
        .and_then(|spot| spot.whole(&rules::MAX_RETRIES))
    {
        retry.max_retries = small(max);
    }
    if let Some(base) = fields
        .get("baseSeconds")
        .and_then(|spot| spot.number(&rules::BASE_SECONDS))
    {
        retry.base_ms = ms(base);
    }
    if let Some(factor) = fields.get("factor").and_then(|spot| spot.number(&rules::FACTOR)) {
        retry.factor = factor;
    }
    if let Some(max) = fields
        .get("maxDelaySeconds")
        .and_then(|spot| spot.number(&rules::MAX_DELAY_SECONDS))
    {
        retry.max_delay_ms = ms(max);
    }
    if let Some(jitter) = fields.get("jitter").and_then(|spot| spot.boolean()) {
        retry.jitter = jitter;
    }
    retry
}

/// `null` lifts a limit that the job sets.
fn timeouts(spot: Option<Spot<'_>>, defaults: &Timeouts) -> Timeouts {
    let mut timeouts = defaults.clone();
    let Some(spot) = spot else { return timeouts };
    let Some(fields) = spot.fields(TIMEOUT_FIELDS) else {
        return timeouts;
    };
    for (name, limit) in [("start", &mut timeouts.start_ms), ("run", &mut timeouts.run_ms)] {
        if let Some(spot) = fields.get(name) {
            *limit = if spot.is_null() { None } else { spot.duration_ms() };
        }
    }
    timeouts
}

fn env(spot: &Spot<'_>) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for (name, value) in spot.entries().into_iter().flatten() {
        if !(rules::ENV_NAME.fits)(name) {
            let form = rules::ENV_NAME;
            value.fail(
                ErrorCode::BadValue,
                format!("{} {}; found {}", form.what, form.says, shown(name)),
            );
        } else if rules::is_reserved_env(name) {
            value.fail(ErrorCode::BadValue, format!("the worker itself sets {name}"));
        }
        let read = match value.node.kind {
            super::node::Kind::Object(_) => secret(&value).map(EnvValue::Secret),
            _ => argument(&value).map(|text| EnvValue::Text(text.to_owned())),
        };
        if let Some(read) = read {
            env.insert(name.to_owned(), read);
        }
    }
    env
}

fn secret(spot: &Spot<'_>) -> Option<String> {
    let fields = spot.fields(SECRET_FIELDS)?;
    fields.require("secret")?.form(&rules::SECRET_NAME).map(str::to_owned)
}

fn limits(spot: &Spot<'_>) -> Limits {
    let Some(fields) = spot.fields(LIMIT_FIELDS) else {
        return Limits::default();
    };
    Limits {
        memory_mib: fields.get("memoryMiB").and_then(|spot| spot.whole(&rules::MEMORY_MIB)),
        cpus: fields.get("cpus").and_then(|spot| spot.whole(&rules::CPUS)).map(small),
        cpu_seconds: fields
            .get("cpuSeconds")
            .and_then(|spot| spot.whole(&rules::CPU_SECONDS)),
        open_files: fields.get("openFiles").and_then(|spot| spot.whole(&rules::OPEN_FILES)),
        processes: fields.get("processes").and_then(|spot| spot.whole(&rules::PROCESSES)),
    }
}

/// The names of the tasks, of which none may occur twice, also among those that replicas make.
#[derive(Default)]
struct Names<'a> {
    entries: HashMap<&'a str, u32>,
    /// Entries whose one task could have the name of another entry's replica.
    single: Vec<(&'a str, Spot<'a>)>,
    lines: HashMap<&'a str, u32>,
}

impl<'a> Names<'a> {
    fn add(&mut self, name: &'a str, replicas: u32, spot: Spot<'a>) {
        if let Some(line) = self.lines.get(name) {
            let message = format!("another task is called {} as well, in line {line}", shown(name));
            spot.fail(ErrorCode::DuplicateName, message);
            return;
        }
        self.lines.insert(name, spot.node.at.line);
        self.entries.insert(name, replicas);
        if replicas == 1 {
            self.single.push((name, spot));
        }
    }

    /// Replicas of `x` are called `x-0`, `x-1`, …: another task of such a name would be a second one. Two entries with
    /// replicas cannot clash, since the last `-` divides both alike.
    fn report_replica_clashes(&self) {
        for (name, spot) in &self.single {
            let Some((base, digits)) = name.rsplit_once('-') else {
                continue;
            };
            let canonical = digits == "0" || !digits.starts_with('0');
            let Some(index) = digits
                .parse::<u32>()
                .ok()
                .filter(|_| canonical && !digits.starts_with('+'))
            else {
                continue;
            };
            let clashes = self
                .entries
                .get(base)
                .is_some_and(|replicas| *replicas > 1 && index < *replicas);
            if clashes {
                let line = self.lines.get(base).copied().unwrap_or_default();
                let message = format!(
                    "replica {index} of {} in line {line} is called {} as well",
                    shown(base),
                    shown(name)
                );
                spot.fail(ErrorCode::DuplicateName, message);
            }
        }
    }
}
