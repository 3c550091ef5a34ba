//! What an attempt writes becomes lines: cleaned, read as JSON where it is, given a level, traces joined, and no more than
//! a rate allows.
//!
//! Must stay true: everything a line says of its origin comes from [`Origin`], never from its text; what is held back is
//! bounded; what is dropped is told by a line.

mod ansi;
mod json;
mod level;
mod rate;
mod trace;

#[cfg(test)]
mod tests;

pub use level::{named as level_named, words as level_words};
pub use rate::Rate;

use std::collections::BTreeMap;

use super::line::Line;
use crate::domain::Timestamp;
use rate::Limit;
use trace::Trace;

/// What all lines of this program have as their service.
pub const SERVICE: &str = "grid";
/// What a task wrote.
pub const SOURCE_TASK: &str = "task";
/// What the worker says of a task's output.
pub const SOURCE_WORKER: &str = "worker";

/// Whose lines they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub job_id: String,
    pub task_id: String,
    pub worker_id: String,
    pub attempt: u32,
}

/// One stream of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

impl Output {
    const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    const fn level(self) -> &'static str {
        match self {
            Self::Stdout => "INFO",
            Self::Stderr => "WARN",
        }
    }
}

/// The lines of one attempt in the making.
#[derive(Debug)]
pub struct Capture {
    origin: Origin,
    limit: Limit,
    /// The last line of each stream, which the next one may go on with.
    held: [Option<Trace>; 2],
}

impl Capture {
    pub fn new(origin: Origin, rate: Rate) -> Self {
        Self {
            origin,
            limit: Limit::new(rate),
            held: [None, None],
        }
    }

    /// Takes a line as it was read, and gives those that are finished by it to `out`.
    pub fn take(&mut self, at: Timestamp, output: Output, text: &str, out: &mut Vec<Line>) {
        let text = ansi::without(text);
        let held = &mut self.held[output as usize];
        if let Some(trace) = held
            && trace.goes_on_with(&text)
        {
            trace.push(&text);
            return;
        }
        let before = held.replace(Trace::begin(at, text.into_owned()));
        if let Some(before) = before {
            self.finish(before, output, out);
        }
    }

    /// Whether a line is held back, for what may follow.
    pub fn holds(&self) -> bool {
        self.held.iter().any(Option::is_some)
    }

    /// Nothing followed for a while, or nothing will: gives what is held back, and what has to be said of dropped lines.
    pub fn flush(&mut self, now: Timestamp, out: &mut Vec<Line>) {
        for output in Output::ALL {
            if let Some(held) = self.held[output as usize].take() {
                self.finish(held, output, out);
            }
        }
        if let Some(dropped) = self.limit.told(now) {
            out.push(self.dropped(now, dropped));
        }
    }

    fn finish(&mut self, trace: Trace, output: Output, out: &mut Vec<Line>) {
        let at = trace.at();
        match self.limit.allows(at, trace.size_bytes()) {
            rate::Verdict::Drop => metrics::counter!("grid_task_lines_over_rate_total").increment(1),
            rate::Verdict::Pass { dropped_before } => {
                if dropped_before > 0 {
                    out.push(self.dropped(at, dropped_before));
                }
                out.push(self.line(trace, output));
            }
        }
    }

    fn line(&self, trace: Trace, output: Output) -> Line {
        let (at, (message, stack_trace)) = (trace.at(), trace.parts());
        let mut line = self.blank(at, SOURCE_TASK, output);
        match json::read(&message).filter(|_| stack_trace.is_none()) {
            Some(read) => {
                line.message = read.message.unwrap_or(message);
                line.level = read.level.unwrap_or_else(|| level::of(&line.message, output.level()));
                if let Some(logger) = read.logger_name {
                    line.logger_name = logger;
                }
                line.fields = read.fields;
            }
            None => {
                line.level = level::of(&message, output.level());
                line.message = message;
                line.fields
                    .extend(stack_trace.map(|trace| ("stack_trace".to_owned(), trace)));
            }
        }
        line
    }

    fn dropped(&self, at: Timestamp, lines: u64) -> Line {
        let Rate { lines_per_second, .. } = self.limit.rate();
        let mut line = self.blank(at, SOURCE_WORKER, Output::Stderr);
        line.message =
            format!("… [{lines} lines dropped: more than {lines_per_second} lines a second, or their bytes]");
        line.level = "WARN".to_owned();
        line.fields.insert("dropped_lines".to_owned(), lines.to_string());
        line
    }

    fn blank(&self, at: Timestamp, source: &str, output: Output) -> Line {
        let origin = &self.origin;
        Line {
            at,
            message: String::new(),
            level: String::new(),
            logger_name: output.name().to_owned(),
            job_id: origin.job_id.clone(),
            task_id: origin.task_id.clone(),
            worker_id: origin.worker_id.clone(),
            attempt: Some(origin.attempt),
            source: source.to_owned(),
            service: SERVICE.to_owned(),
            stream: output.name().to_owned(),
            position: 0,
            fields: BTreeMap::new(),
        }
    }
}
