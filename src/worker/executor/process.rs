//! The executor of commands: one process group (a whole session) an attempt.
//!
//! What a document names and this worker has not (the program, a secret) fails as UNRECOVERABLE: another attempt would
//! find the same. Tasks that need what only some workers have say so with `requires`.

use std::fs::File;
use std::io;
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Executor;
use super::attempt::{AttemptContext, Control, ControlState, Outcome, next_wish};
use super::cgroup::{Cgroups, TaskGroup};
use super::child::{self, Leader, Program};
use super::environment::Environment;
use super::guardian::Guardian;
use super::limits::ProcessLimits;
use super::lines::{Mask, Record, Stream, pump};
use super::processors::Processors;
use super::verdict::{Exit, verdict};
use crate::document::TaskKind;
use crate::domain::{Failure, FailureReason};
use crate::process_end::ProcessEnd;
use crate::worker::Reporting;

/// How processes are ended. Times in milliseconds where they are configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ProcessOptions {
    /// From SIGTERM to SIGKILL when an attempt is killed.
    pub kill_grace_ms: u64,
    /// The same when it is stopped, and may have to finish something.
    pub stop_grace_ms: u64,
    /// How long output is read on after the process has ended and its session was killed.
    pub drain_ms: u64,
    /// How long a killed session may take to be gone before the attempt is reported all the same.
    pub stuck_ms: u64,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            kill_grace_ms: 5_000,
            stop_grace_ms: 30_000,
            drain_ms: 2_000,
            stuck_ms: 10_000,
        }
    }
}

pub struct ProcessExecutor {
    options: ProcessOptions,
    guardian: Guardian,
    cgroups: Option<Cgroups>,
}

impl ProcessExecutor {
    pub fn new(options: ProcessOptions, guardian: Guardian) -> Self {
        Self {
            options,
            guardian,
            cgroups: None,
        }
    }

    /// Limits are those of cgroups made here, as far as there are such.
    #[must_use]
    pub fn within(mut self, cgroups: Option<Cgroups>) -> Self {
        self.cgroups = cgroups;
        self
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn run(&self, attempt: AttemptContext, mut control: Control) -> Outcome {
        if *control.borrow() == ControlState::Kill {
            return Outcome::failed(FailureReason::Killed, "killed before its program was started");
        }
        let attempt = Arc::new(attempt);
        let started = match self.start(&attempt).await {
            Ok(started) => started,
            Err(failure) => return Outcome::Failed(failure.capped()),
        };
        let _running = Counted::one();
        self.follow(started, &attempt, &mut control).await
    }
}

/// One of the running processes, also when its attempt is dropped.
struct Counted;

impl Counted {
    fn one() -> Self {
        metrics::gauge!("grid_task_processes").increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("grid_task_processes").decrement(1);
    }
}

struct Started {
    leader: Leader,
    stdout: ChildStdout,
    stderr: ChildStderr,
    mask: Mask,
    /// Held until the end.
    processors: Option<Processors>,
    reporting: Option<Reporting>,
    group: Option<TaskGroup>,
}

impl ProcessExecutor {
    /// Reads the secrets and forks, both off the async threads.
    async fn start(&self, attempt: &Arc<AttemptContext>) -> Result<Started, Failure> {
        // Without the API the program runs all the same.
        let checkpoints = attempt.checkpoints.url(attempt.task_id, attempt.attempt).await;
        let attempt = Arc::clone(attempt);
        let (guardian, cgroups) = (self.guardian.clone(), self.cgroups.clone());
        let start = move || {
            let reporting = attempt.reported.open(attempt.tags());
            let environment = Environment::of(&attempt, checkpoints, reporting.as_ref()).map_err(|error| {
                let mut failure = Failure::new(FailureReason::Unrecoverable, error.to_string());
                failure
                    .causes
                    .extend(std::error::Error::source(&error).map(ToString::to_string));
                failure
            })?;
            let TaskKind::Command { argv } = &attempt.task.kind else {
                return Err(Failure::new(FailureReason::Unrecoverable, "the task has no command"));
            };
            let processors = attempt.task.limits.cpus.and_then(Processors::take);
            let (group, entrance) = group(cgroups.as_ref(), &attempt).unzip();
            let mut limits = ProcessLimits::of(&attempt.task.limits, processors.as_ref().map(Processors::set));
            if group.as_ref().is_some_and(|group| group.limits_memory) {
                limits = limits.without_memory();
            }
            let program = Program {
                argv,
                environment: &environment.variables,
                folder: &attempt.data_dir,
                limits,
                entrance,
            };
            let spawned = child::spawn(&program, &guardian);
            let (leader, stdout, stderr) = spawned.map_err(|error| start_failure(&error, &attempt))?;
            Ok(Started {
                leader,
                stdout,
                stderr,
                mask: Mask::new(environment.secrets),
                processors,
                reporting,
                group,
            })
        };
        let joined = tokio::task::spawn_blocking(start).await;
        joined.unwrap_or_else(|error| Err(Failure::new(FailureReason::Error, error.to_string())))
    }

    async fn follow(&self, started: Started, attempt: &Arc<AttemptContext>, control: &mut Control) -> Outcome {
        let Started {
            leader,
            stdout,
            stderr,
            mask,
            processors: _processors,
            reporting: _reporting,
            group,
        } = started;
        // One that has ended already is readable at once.
        let end = match leader.end() {
            Ok(end) => end,
            Err(error) => return unstarted(&error, attempt),
        };
        let record = Arc::new(Record::counted(&attempt.live));
        attempt.live.set_leader(leader.pid());
        let (leave, leaving) = watch::channel(false);
        let mut reading = match read_output(stdout, stderr, attempt, &record, mask, leaving) {
            Ok(reading) => reading,
            Err(error) => return unstarted(&error, attempt),
        };
        let (exit, asked) = self.wait(&leader, &end, control).await;
        let (pid, stuck) = (leader.pid(), Duration::from_millis(self.options.stuck_ms));
        let live = attempt.live.clone();
        let finish = move || {
            // Before it is reaped: then nothing tells any more what it used.
            live.measure_end();
            leader.finish(stuck)
        };
        let is_gone = tokio::task::spawn_blocking(finish).await.unwrap_or(false);
        if !is_gone {
            tracing::error!(pid = pid.as_raw(), task = %attempt.task_id, "process.stuck");
            metrics::counter!("grid_task_processes_stuck_total").increment(1);
        }
        // The pipes are at their end now, unless a program left its session with one of them.
        let drain = Duration::from_millis(self.options.drain_ms);
        if tokio::time::timeout(drain, &mut reading).await.is_err() {
            let _ = leave.send(true);
            let _ = reading.await;
        }
        let mut limits = attempt.task.limits.clone();
        let exceeded = group.as_ref().and_then(|group| group.exceeded(&limits));
        // What the kernel counts needs no guess.
        limits.memory_mib = limits
            .memory_mib
            .filter(|_| group.as_ref().is_none_or(|group| !group.limits_memory));
        verdict(exit, asked, (&limits, exceeded), record.take())
    }

    /// Waits for the end of the leader, and hurries it as `control` asks.
    async fn wait(&self, leader: &Leader, end: &ProcessEnd, control: &mut Control) -> (Exit, ControlState) {
        let mut asked = ControlState::Run;
        let mut kill_at: Option<Instant> = None;
        let mut give_up_at: Option<Instant> = None;
        let mut is_listening = true;
        loop {
            tokio::select! {
                biased;
                exit = leader.exited(end) => return (exit, asked),
                wish = next_wish(control, asked), if is_listening => {
                    asked = wish;
                    is_listening = asked != ControlState::Kill;
                    let grace = match asked {
                        ControlState::Run => continue,
                        ControlState::Stop => self.options.stop_grace_ms,
                        ControlState::Kill => self.options.kill_grace_ms,
                    };
                    leader.terminate();
                    let at = Instant::now() + Duration::from_millis(grace);
                    kill_at = Some(kill_at.map_or(at, |before| before.min(at)));
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    leader.kill();
                    give_up_at = Some(Instant::now() + Duration::from_millis(self.options.stuck_ms));
                }
                () = sleep_until(give_up_at.unwrap_or_else(Instant::now)), if give_up_at.is_some() => {
                    return (Exit::Stuck, asked);
                }
            }
        }
    }
}

/// The cgroup of an attempt that has such limits, and its entrance. Without one it runs with the limits of single processes.
fn group(cgroups: Option<&Cgroups>, attempt: &AttemptContext) -> Option<(TaskGroup, File)> {
    let limits = &attempt.task.limits;
    let make = |cgroups: &Cgroups| match cgroups.make(limits)? {
        Some(group) => group.entrance().map(|entrance| Some((group, entrance))),
        None => Ok(None),
    };
    let made = cgroups
        .map(make)
        .transpose()
        .map(Option::flatten)
        .unwrap_or_else(|error| {
            tracing::warn!(%error, task = %attempt.task_id, "process.no_cgroup");
            None
        });
    let is_held = made.as_ref().is_some_and(|(group, _)| group.limits_processes);
    if let Some(processes) = limits.processes.filter(|_| !is_held) {
        tracing::warn!(task = %attempt.task_id, processes, "process.limit_without_effect");
    }
    made
}

fn read_output(
    stdout: ChildStdout,
    stderr: ChildStderr,
    attempt: &Arc<AttemptContext>,
    record: &Arc<Record>,
    mask: Mask,
    leaving: watch::Receiver<bool>,
) -> io::Result<tokio::task::JoinHandle<()>> {
    let stdout = tokio::process::ChildStdout::from_std(stdout)?;
    let stderr = tokio::process::ChildStderr::from_std(stderr)?;
    let (attempt, record) = (Arc::clone(attempt), Arc::clone(record));
    Ok(crate::task::spawn("process_output", async move {
        let to = (&attempt.lines, &*record, &mask);
        let out = pump(stdout, Stream::Stdout, to, leaving.clone());
        let err = pump(stderr, Stream::Stderr, to, leaving);
        tokio::join!(out, err);
    }))
}

fn unstarted(error: &io::Error, attempt: &AttemptContext) -> Outcome {
    Outcome::Failed(start_failure(error, attempt).capped())
}

fn start_failure(error: &io::Error, attempt: &AttemptContext) -> Failure {
    let name = match &attempt.task.kind {
        TaskKind::Command { argv } => argv.first().map_or("", String::as_str),
        TaskKind::Dag(_) | TaskKind::Noop => "",
    };
    let hopeless = [
        Errno::ENOENT,
        Errno::EACCES,
        Errno::ENOTDIR,
        Errno::ENOEXEC,
        Errno::E2BIG,
        Errno::ELOOP,
    ];
    let errno = error.raw_os_error().map(Errno::from_raw);
    let reason = if errno.is_some_and(|errno| hopeless.contains(&errno)) {
        FailureReason::Unrecoverable
    } else {
        FailureReason::Error
    };
    let hint = match errno {
        Some(Errno::ENOENT) => ": this worker has no such program",
        Some(Errno::EACCES) => ": this worker may not execute it",
        Some(Errno::ENOEXEC) => ": it is no program that this system can execute",
        Some(Errno::E2BIG) => ": its arguments and environment are too long",
        _ => "",
    };
    let mut failure = Failure::new(reason, format!("cannot start {name:?}{hint}"));
    failure.causes.push(error.to_string());
    failure
}
