//! What happened in a simulated world, line by line, for who replays a seed: `GRID_SIM_TRACE=1`, or a text that the
//! lines must hold (a task's last eight digits, say).
//!
//! Ids are cut to the last eight digits, which differ.

use super::world::World;
use crate::domain::{Event, StreamId};
use crate::event::{AssignmentItem, AssignmentMessage, EventRecord, ReportItem, ReportMessage};
use crate::shard::{Input, Output};
use crate::worker::machine::{Input as WorkerInput, Output as WorkerOutput};

/// Where lines go, if anywhere.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    only: Option<String>,
}

impl Trace {
    pub fn from_env() -> Self {
        let only = std::env::var("GRID_SIM_TRACE").ok();
        Self {
            only: only.map(|text| if text == "1" { String::new() } else { text }),
        }
    }

    pub fn is_on(&self) -> bool {
        self.only.is_some()
    }
}

impl World {
    /// Writes a line about what happens, when somebody reads it.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        let Some(only) = &self.trace.only else { return };
        let line = short(&line());
        if line.contains(only) {
            eprintln!("{:>8} ms #{:<6} {line}", self.time_ms, self.steps);
        }
    }
}

const UUID: usize = 36;

/// The text with every uuid cut to its end.
fn short(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if rest.get(..UUID).is_some_and(|head| uuid::Uuid::try_parse(head).is_ok()) {
            short.push_str(&rest[UUID - 8..UUID]);
            rest = &rest[UUID..];
        } else {
            short.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    short
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub fn input(input: &Input) -> String {
    match input {
        Input::Command { offset, message } => format!("command {offset}: {} {}", message.id, json(&message.command)),
        Input::Report { offset, message } => format!("report {offset}: {}", report(message)),
        Input::PassCommand { offset, .. } => format!("passes command {offset}"),
        Input::PassReport { offset } => format!("passes report {offset}"),
        Input::Activated { job, found } => format!("{job} is loaded: {}", found.is_some()),
        Input::NotActivated { job, why } => format!("{job} is not loaded: {why}"),
        Input::WorkerGone(gone) => format!("worker {} is gone: {:?}", gone.incarnation, gone.end),
        Input::CloseDays(before) => format!("shall close the days before {before}"),
        Input::Wake => "wakes".to_owned(),
        Input::Timer => "its timer strikes".to_owned(),
    }
}

fn report(message: &ReportMessage) -> String {
    let item = |item: &ReportItem| match item {
        ReportItem::Started { attempt } => format!("started {}", json(attempt)),
        ReportItem::Ended { attempt, outcome } => format!("ended {} {}", json(attempt), json(outcome)),
        ReportItem::Inventory { attempts, standing } => format!("inventory {} {}", json(attempts), json(standing)),
        ReportItem::Began { .. } => "began".to_owned(),
        ReportItem::Left {} => "left".to_owned(),
    };
    let items: Vec<_> = message.items.iter().map(item).collect();
    format!("{} {} says {}", message.worker, message.incarnation, items.join(", "))
}

fn assignments(message: &AssignmentMessage) -> String {
    let item = |item: &AssignmentItem| match item {
        AssignmentItem::Assign { assignment } => format!("assign {}", json(&assignment.attempt)),
        other => json(other),
    };
    let items: Vec<_> = message.items.iter().map(item).collect();
    let (shard, epoch) = (message.shard, message.epoch);
    format!("shard {shard} epoch {epoch} says {}", items.join(", "))
}

/// What a worker hears; nothing of what it hears all the time.
pub fn worker_input(input: &WorkerInput) -> Option<String> {
    match input {
        WorkerInput::Assignments { message, .. } => {
            Some(format!("for {}: {}", message.incarnation, assignments(message)))
        }
        WorkerInput::AttemptStarted(attempt) => Some(format!("{} has started", json(attempt))),
        WorkerInput::AttemptEnded(attempt, outcome) => Some(format!("{} has ended: {}", json(attempt), json(outcome))),
        WorkerInput::Drain => Some("must leave".to_owned()),
        WorkerInput::Beat(_) | WorkerInput::BeatAcknowledged { .. } | WorkerInput::Tick => None,
    }
}

/// What a worker does; nothing of what it does all the time.
pub fn worker_output(output: &WorkerOutput) -> Option<String> {
    match output {
        WorkerOutput::Start { assignment, epoch } => {
            Some(format!("starts {}, epoch {epoch}", json(&assignment.attempt)))
        }
        WorkerOutput::Cancel { attempt } => Some(format!("ends {}", json(attempt))),
        WorkerOutput::Stop { attempt } => Some(format!("stops {}", json(attempt))),
        WorkerOutput::Report { shard, message } => Some(format!("reports to shard {shard}: {}", report(message))),
        WorkerOutput::Exit { reason } => Some(format!("exits: {reason:?}")),
        WorkerOutput::Beat(_) => None,
    }
}

pub fn output(output: &Output) -> String {
    match output {
        Output::Reply { to, result } => format!("answers {}: {result:?}", to.correlation),
        Output::Tell {
            incarnation, answer, ..
        } => format!("tells {incarnation}: {answer:?}"),
        Output::Assign {
            incarnation,
            assignment,
            ..
        } => format!(
            "assigns {} to {incarnation}, charged: {}",
            json(&assignment.attempt),
            assignment.charged
        ),
        Output::Cancel {
            incarnation, attempt, ..
        } => format!("cancels {} on {incarnation}", json(attempt)),
        Output::Stop {
            incarnation, attempt, ..
        } => format!("stops {} on {incarnation}", json(attempt)),
        Output::Standing {
            incarnation, standing, ..
        } => format!("tells {incarnation} that it stands {}", json(standing)),
        Output::Ack {
            incarnation,
            kind,
            attempt,
            ..
        } => format!("acknowledges {kind:?} {} to {incarnation}", json(attempt)),
    }
}

pub fn event(record: &EventRecord) -> String {
    let stream = match record.stream {
        StreamId::Job(job) => job.to_string(),
        StreamId::Task(task) => task.to_string(),
        StreamId::Worker(incarnation) => incarnation.to_string(),
    };
    let (version, at) = (record.version, record.meta.at);
    match &record.event {
        // A spec says too much.
        Event::JobSubmitted(submitted) => {
            format!(
                "{stream} v{version} {at}: JobSubmitted of {} tasks",
                submitted.spec.task_count
            )
        }
        other => format!("{stream} v{version} {at}: {other:?}"),
    }
}

#[test]
fn ids_are_cut_to_what_differs() {
    let text = "task-01a2b3c4-0000-7001-8000-0000deadbeef-3 of é";
    assert_eq!(short(text), "task-deadbeef-3 of é");
}
