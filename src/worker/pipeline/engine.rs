//! Runs a compiled pipeline on the calling thread: every record is pushed from its source through all nodes before the
//! next one is read, so that there are no queues and memory stays flat.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use vrl::value::{KeyString, ObjectMap, Value};

use super::checkpoint::{Parts, State};
use super::context::Control;
use super::counters::{Counts, PipelineCounters};
use super::encoding::Encoder;
use super::file_sink::FileSink;
use super::file_source;
use super::letterbox::Tray;
use super::parser::Parser;
use super::program::{Condition, Interpreter, Mapping, Ran};
use super::projection::Projection;
use super::remote::RemoteSink;
use super::report::{NodeError, PipelineFailure, PipelineFailureReason};

/// A node at work.
pub(super) struct Stage {
    pub id: String,
    pub work: Work,
    pub outputs: Vec<usize>,
    pub counts: Counts,
    pub fail_on_error: bool,
    pub first_error: Option<String>,
}

pub(super) enum Work {
    Source,
    Filter(Condition),
    Eval(Mapping),
    Assertion {
        condition: Condition,
        message: Option<String>,
    },
    Parser(Parser),
    Stdout {
        encoder: Encoder,
        line: Vec<u8>,
    },
    FileSink(FileSink),
    Remote(Box<RemoteSink>),
}

impl Work {
    pub fn remote(sink: RemoteSink) -> Self {
        Self::Remote(Box::new(sink))
    }

    /// It sees no more of the record than its reads say, and passes nothing on but the record as it came or a new one.
    fn takes_partial(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Assertion { .. } => true,
            Self::Eval(mapping) => mapping.reads_only.is_some(),
            Self::Source | Self::Parser(_) | Self::Stdout { .. } | Self::FileSink(_) | Self::Remote(_) => false,
        }
    }
}

/// Which fields a source's records need, judging by the nodes up to the first that needs all of the record.
pub(super) fn projection_of(stages: &[Stage], source: usize) -> Projection {
    let mut projection = Projection::nothing();
    let mut at = source;
    while let [next] = stages[at].outputs[..] {
        match &stages[next].work {
            Work::Filter(condition) | Work::Assertion { condition, .. } => projection.merge(&condition.reads),
            Work::Eval(Mapping {
                reads_only: Some(reads),
                ..
            }) => {
                projection.merge(reads);
                return projection;
            }
            Work::Source
            | Work::Eval(_)
            | Work::Parser(_)
            | Work::Stdout { .. }
            | Work::FileSink(_)
            | Work::Remote(_) => break,
        }
        at = next;
    }
    // Nothing is dropped before all of the record is needed.
    if at == source { Projection::Whole } else { projection }
}

/// Where the text of a record stands that no node has changed yet.
#[derive(Clone, Copy)]
pub(super) struct Partial<'a> {
    pub whole: &'a Bytes,
    pub from: usize,
    pub to: usize,
    /// All of the record is built: the text is for its dead letter alone.
    pub is_built: bool,
}

impl Partial<'_> {
    /// The text was read before, so that it cannot fail now; if it does, nothing is made up.
    fn complete(self) -> Value {
        file_source::read_object(self.whole, self.from, self.to, &Projection::Whole).unwrap_or(Value::Null)
    }
}

pub(super) struct Engine<'a> {
    pub stages: Vec<Stage>,
    letters: Option<usize>,
    interpreter: Interpreter,
    counters: Arc<PipelineCounters>,
    dead_letters: u64,
    tray: Tray,
    records_read_twice: u64,
    stdout: &'a mut dyn FnMut(&str),
}

/// What a node made of a record.
enum Outcome {
    Pass,
    Drop,
    /// An eval left a list: each item goes on as a record.
    Many(Vec<Value>),
    /// Of this. The record is as it came into the node, unless nobody is going to see it.
    Fail(String),
}

impl<'a> Engine<'a> {
    pub fn new(
        stages: Vec<Stage>,
        letters: Option<usize>,
        counters: Arc<PipelineCounters>,
        (control, tray): (Control, Tray),
        stdout: &'a mut dyn FnMut(&str),
    ) -> Self {
        Self {
            stages,
            letters,
            interpreter: Interpreter::new(control),
            counters,
            dead_letters: 0,
            tray,
            records_read_twice: 0,
            stdout,
        }
    }

    pub fn counts(&mut self, node: usize) -> &mut Counts {
        &mut self.stages[node].counts
    }

    pub fn records_read_twice(&self) -> u64 {
        self.records_read_twice
    }

    pub fn dead_letters(&self) -> u64 {
        self.dead_letters
    }

    pub fn first_errors(&self) -> Vec<NodeError> {
        let told = |stage: &Stage| {
            stage.first_error.as_ref().map(|message| NodeError {
                node: stage.id.clone(),
                message: message.clone(),
            })
        };
        self.stages.iter().filter_map(told).collect()
    }

    /// Somebody is going to see a record that fails.
    fn keeps_failed(&self) -> bool {
        self.letters.is_some() || self.tray.has_room()
    }

    /// Nothing more is going to fail.
    pub fn close_tray(&mut self) {
        self.tray.close();
    }

    /// Makes the counts visible to others.
    pub fn publish(&mut self) {
        self.tray.tell_in_time();
        for (index, stage) in self.stages.iter().enumerate() {
            self.counters.publish(index, &stage.counts);
        }
        self.counters.publish_dead_letters(self.dead_letters);
    }

    /// Hands a record on to the outputs of `node`.
    pub fn emit(&mut self, node: usize, record: Value, partial: Option<Partial<'_>>) -> Result<(), PipelineFailure> {
        let mut at = node;
        let mut record = record;
        let mut partial = partial;
        loop {
            self.stages[at].counts.events_out += 1;
            at = match self.stages[at].outputs[..] {
                [only] => only,
                [] => return Ok(()),
                _ => {
                    self.complete(&mut record, &mut partial);
                    self.fan_out(at, &record)?;
                    let outputs = &self.stages[at].outputs;
                    outputs[outputs.len() - 1]
                }
            };
            if !self.stages[at].work.takes_partial() {
                self.complete(&mut record, &mut partial);
            }
            self.stages[at].counts.events_in += 1;
            match self.work(at, &mut record, partial.is_some())? {
                Outcome::Pass => {
                    if matches!(self.stages[at].work, Work::Eval(_) | Work::Parser(_)) {
                        partial = None;
                    }
                }
                Outcome::Drop => return Ok(()),
                Outcome::Many(records) => {
                    for record in records {
                        self.emit(at, record, None)?;
                    }
                    return Ok(());
                }
                Outcome::Fail(message) => {
                    // Read whole only when somebody is going to see it.
                    let failed = match partial {
                        Some(partial) if self.keeps_failed() => partial.complete(),
                        _ => record,
                    };
                    return self.fail(at, message, failed);
                }
            }
        }
    }

    /// Clones for all outputs but the last, which takes the record itself.
    fn fan_out(&mut self, at: usize, record: &Value) -> Result<(), PipelineFailure> {
        let count = self.stages[at].outputs.len();
        for position in 0..count - 1 {
            let to = self.stages[at].outputs[position];
            self.enter(to, record.clone())?;
        }
        Ok(())
    }

    /// Takes a whole record into a node, and what comes of it further on.
    fn enter(&mut self, at: usize, mut record: Value) -> Result<(), PipelineFailure> {
        self.stages[at].counts.events_in += 1;
        match self.work(at, &mut record, false)? {
            Outcome::Pass => self.emit(at, record, None),
            Outcome::Drop => Ok(()),
            Outcome::Many(records) => records.into_iter().try_for_each(|record| self.emit(at, record, None)),
            Outcome::Fail(message) => self.fail(at, message, record),
        }
    }

    fn complete(&mut self, record: &mut Value, partial: &mut Option<Partial<'_>>) {
        if let Some(partial) = partial.as_mut().filter(|partial| !partial.is_built) {
            self.records_read_twice += 1;
            *record = partial.complete();
            partial.is_built = true;
        }
    }

    /// `has_text`: the record as it came can be read again.
    fn work(&mut self, at: usize, record: &mut Value, has_text: bool) -> Result<Outcome, PipelineFailure> {
        let keeps_failed = self.keeps_failed();
        let stage = &mut self.stages[at];
        Ok(match &mut stage.work {
            Work::Source => Outcome::Pass,
            Work::Filter(condition) => match self.interpreter.decide(condition, record) {
                Ran::Done(true) => Outcome::Pass,
                Ran::Done(false) | Ran::Aborted => Outcome::Drop,
                Ran::Failed(message) => Outcome::Fail(message),
                Ran::Cancelled => return Err(PipelineFailure::cancelled()),
            },
            Work::Assertion { condition, message } => match self.interpreter.decide(condition, record) {
                Ran::Done(true) => Outcome::Pass,
                Ran::Done(false) | Ran::Aborted => {
                    let message = message
                        .clone()
                        .unwrap_or_else(|| "the assertion does not hold".to_owned());
                    Outcome::Fail(message)
                }
                Ran::Failed(message) => Outcome::Fail(message),
                Ran::Cancelled => return Err(PipelineFailure::cancelled()),
            },
            Work::Eval(mapping) => {
                // A program that fails half-way leaves a half-changed record; the dead letter shows what came in.
                let keep = keeps_failed && !has_text;
                let kept = keep.then(|| mapping.changes.keep(record));
                let ran = match self.interpreter.map(mapping, record) {
                    Ran::Done(_) => mapped(record),
                    Ran::Aborted => Outcome::Drop,
                    Ran::Failed(message) => Outcome::Fail(message),
                    Ran::Cancelled => return Err(PipelineFailure::cancelled()),
                };
                if let (Outcome::Fail(_), Some(kept)) = (&ran, kept) {
                    kept.put_back(record);
                }
                ran
            }
            Work::Parser(parser) => match parser.parse(record, &mut self.interpreter) {
                Ok(()) => Outcome::Pass,
                Err(message) => Outcome::Fail(message),
            },
            Work::Stdout { encoder, line } => {
                line.clear();
                match encoder.encode(record, line) {
                    Ok(()) => {
                        stage.counts.bytes_out += line.len() as u64;
                        let text = String::from_utf8_lossy(line);
                        text.lines().for_each(&mut *self.stdout);
                        Outcome::Pass
                    }
                    Err(message) => Outcome::Fail(message),
                }
            }
            Work::FileSink(sink) => written(sink.write(record)?, &mut stage.counts),
            Work::Remote(sink) => written(sink.write(record)?, &mut stage.counts),
        })
    }

    /// A record that failed at a node: it ends the run, or becomes a dead letter, or is dropped; counted in any case.
    pub fn fail(&mut self, at: usize, message: String, record: Value) -> Result<(), PipelineFailure> {
        self.fail_with(at, message, record, false)
    }

    /// As [`Engine::fail`], with no more than the beginning of the record.
    pub fn fail_cut(&mut self, at: usize, message: String, beginning: Value) -> Result<(), PipelineFailure> {
        self.fail_with(at, message, beginning, true)
    }

    fn fail_with(&mut self, at: usize, message: String, record: Value, is_cut: bool) -> Result<(), PipelineFailure> {
        let stage = &mut self.stages[at];
        stage.counts.errors += 1;
        if stage.fail_on_error {
            let message = format!("a record failed: {message}");
            return Err(PipelineFailure::new(
                PipelineFailureReason::Unrecoverable,
                &stage.id,
                message,
            ));
        }
        if stage.first_error.is_none() {
            stage.first_error = Some(message.clone());
        }
        if self.letters != Some(at) {
            self.dead_letters += 1;
            self.tray.put(&stage.id, &message, &record, is_cut);
        }
        match self.letters {
            // What the dead letter sink itself cannot take has nowhere else to go.
            Some(letters) if letters != at => {
                let letter = ObjectMap::from([
                    (KeyString::from("error"), Value::from(message)),
                    (KeyString::from("node"), Value::from(stage.id.as_str())),
                    (KeyString::from("record"), record),
                ]);
                self.enter(letters, Value::Object(letter))
            }
            _ => Ok(()),
        }
    }

    /// Between two batches: what sinks have to do by now; until when they can be left alone.
    pub fn tend(&mut self) -> Result<Option<Instant>, PipelineFailure> {
        let mut until: Option<Instant> = None;
        for stage in &mut self.stages {
            if let Work::Remote(sink) = &mut stage.work {
                let due = sink.tend()?;
                until = until.into_iter().chain(due).min();
            }
        }
        Ok(until)
    }

    /// Everything has arrived where it was sent.
    fn flush(&mut self) -> Result<(), PipelineFailure> {
        self.stages.iter_mut().try_for_each(|stage| match &mut stage.work {
            Work::Remote(sink) => sink.flush(),
            _ => Ok(()),
        })
    }

    /// The part files as a checkpoint tells of them.
    pub fn checkpoint(&mut self, state: &mut State) -> Result<Parts, PipelineFailure> {
        self.flush()?;
        state.letters = self.tray.failed();
        let mut parts = Vec::new();
        for stage in &mut self.stages {
            if let Work::FileSink(sink) = &mut stage.work {
                let (sink, part) = sink.checkpoint()?;
                state.sinks.insert(stage.id.clone(), sink);
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// Whether part files stay when the run ends without a result.
    pub fn keep_parts(&mut self, keep: bool) {
        for stage in &mut self.stages {
            if let Work::FileSink(sink) = &mut stage.work {
                sink.keep(keep);
            }
        }
    }

    /// Everything was read: files are completed and take their names.
    pub fn finish(&mut self) -> Result<(), PipelineFailure> {
        self.flush()?;
        for stage in &mut self.stages {
            match &mut stage.work {
                Work::FileSink(sink) => sink.sync()?,
                Work::Stdout { encoder, line } => {
                    line.clear();
                    encoder.finish(line);
                    String::from_utf8_lossy(line).lines().for_each(&mut *self.stdout);
                }
                Work::Source
                | Work::Filter(_)
                | Work::Eval(_)
                | Work::Assertion { .. }
                | Work::Parser(_)
                | Work::Remote(_) => {}
            }
        }
        for stage in &mut self.stages {
            if let Work::FileSink(sink) = &mut stage.work {
                sink.commit()?;
            }
        }
        Ok(())
    }
}

/// What a sink made of a record.
fn written(result: Result<usize, String>, counts: &mut Counts) -> Outcome {
    match result {
        Ok(bytes) => {
            counts.bytes_out += bytes as u64;
            Outcome::Pass
        }
        Err(message) => Outcome::Fail(message),
    }
}

/// What an eval left must be an object, or a list of objects.
fn mapped(record: &mut Value) -> Outcome {
    if matches!(record, Value::Object(_)) {
        return Outcome::Pass;
    }
    match std::mem::replace(record, Value::Null) {
        Value::Array(items) if items.iter().all(|item| matches!(item, Value::Object(_))) => Outcome::Many(items),
        left => {
            let message = format!(
                "the program left a {} as the record, neither an object nor a list of objects",
                left.kind_str()
            );
            *record = left;
            Outcome::Fail(message)
        }
    }
}
