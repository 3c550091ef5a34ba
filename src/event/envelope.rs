//! An event with what is known around it, as it is written in the log.
//!
//! One event is one JSON object with its keys in this order: `type`, `v`, `at`, `principal`, `commandId`,
//! `causationId`, `traceparent`, `data`; absent ones are left out. These bytes are hashed, so they are never rewritten.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::version::{Unreadable, why_not};
use crate::domain::Timestamp;
use crate::domain::event::{Event, StreamId};

/// Version of the events' data written by this program, for every type.
pub const EVENT_VERSION: u16 = 1;

/// Who and what an event is due to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub at: Timestamp,
    /// Who wished or reported it: a person or program, `worker-<name>`, or `system`.
    pub principal: Arc<str>,
    /// The client's command, when one asked for exactly this.
    pub command: Option<Uuid>,
    /// The command from which it follows.
    pub causation: Option<Uuid>,
    /// W3C trace context (https://www.w3.org/TR/trace-context/).
    pub traceparent: Option<Arc<str>>,
}

/// An event at its place in its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    pub stream: StreamId,
    /// From 1, gapless within the stream.
    pub version: u32,
    pub meta: Meta,
    pub event: Event,
}

impl EventRecord {
    /// Days since 1970-01-01 of the log's partition: the day of the job's id, or of the event for a worker.
    pub fn day(&self) -> i32 {
        match self.stream {
            StreamId::Job(job) => job.day(),
            StreamId::Task(task) => task.job.day(),
            StreamId::Worker(_) => self.meta.at.day(),
        }
    }

    /// The bytes of the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(192);
        self.encode_into(&mut bytes);
        bytes
    }

    /// The bytes of the log, behind those of others.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        match &self.event {
            Event::JobSubmitted(data) => self.write(data, bytes),
            Event::JobKillRequested(data) => self.write(data, bytes),
            Event::JobStopRequested(data) => self.write(data, bytes),
            Event::JobRetryRequested(data) => self.write(data, bytes),
            Event::JobDeadlineReached(data) => self.write(data, bytes),
            Event::FanOutAdvanced(data) => self.write(data, bytes),
            Event::JobFinished(data) => self.write(data, bytes),
            Event::TaskReady(data) => self.write(data, bytes),
            Event::TaskScheduled(data) => self.write(data, bytes),
            Event::TaskStarted(data) => self.write(data, bytes),
            Event::TaskCompleted(data) => self.write(data, bytes),
            Event::TaskFailed(data) => self.write(data, bytes),
            Event::RetryScheduled(data) => self.write(data, bytes),
            Event::RetryCancelled(data) => self.write(data, bytes),
            Event::AttemptEnded(data) => self.write(data, bytes),
            Event::WorkerRegistered(data) => self.write(data, bytes),
            Event::WorkerLeft(data) => self.write(data, bytes),
            Event::WorkerCordoned(data) => self.write(data, bytes),
            Event::WorkerUncordoned(data) => self.write(data, bytes),
            Event::WorkerDrainRequested(data) => self.write(data, bytes),
        }
    }

    fn write<T: Serialize>(&self, data: &T, bytes: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Whole<'a, T> {
            r#type: &'static str,
            v: u16,
            at: Timestamp,
            principal: &'a str,
            #[serde(rename = "commandId", skip_serializing_if = "Option::is_none")]
            command: Option<Uuid>,
            #[serde(rename = "causationId", skip_serializing_if = "Option::is_none")]
            causation: Option<Uuid>,
            #[serde(skip_serializing_if = "Option::is_none")]
            traceparent: Option<&'a str>,
            data: &'a T,
        }
        let whole = Whole {
            r#type: self.event.type_name(),
            v: EVENT_VERSION,
            at: self.meta.at,
            principal: &self.meta.principal,
            command: self.meta.command,
            causation: self.meta.causation,
            traceparent: self.meta.traceparent.as_deref(),
            data,
        };
        // Writing into memory cannot fail, and these types have string keys and finite numbers only.
        let _ = serde_json::to_writer(bytes, &whole);
    }
}

/// The bytes of an event, read as far as every event can be read: its data stays raw.
#[derive(Debug, Deserialize)]
pub struct EventHeader<'a> {
    #[serde(borrow)]
    pub r#type: std::borrow::Cow<'a, str>,
    pub v: u16,
    pub at: Timestamp,
    #[serde(borrow)]
    pub principal: std::borrow::Cow<'a, str>,
    #[serde(rename = "commandId", default)]
    pub command: Option<Uuid>,
    #[serde(rename = "causationId", default)]
    pub causation: Option<Uuid>,
    #[serde(borrow, default)]
    pub traceparent: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> EventHeader<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|error| unreadable(why_not(bytes, EVENT_VERSION, &error)))
    }

    pub fn meta(&self) -> Meta {
        Meta {
            at: self.at,
            principal: Arc::from(self.principal.as_ref()),
            command: self.command,
            causation: self.causation,
            traceparent: self.traceparent.as_deref().map(Arc::from),
        }
    }

    /// The event itself. Old versions are raised to the present one here, and here only.
    pub fn event(&self) -> Result<Event, Unreadable> {
        if self.v != EVENT_VERSION {
            return Err(unreadable(format!(
                "version {} of {} is unknown, this program reads version {EVENT_VERSION}; a newer program wrote it",
                self.v, self.r#type
            )));
        }
        Ok(match self.r#type.as_ref() {
            "JobSubmitted" => Event::JobSubmitted(self.data()?),
            "JobKillRequested" => Event::JobKillRequested(self.data()?),
            "JobStopRequested" => Event::JobStopRequested(self.data()?),
            "JobRetryRequested" => Event::JobRetryRequested(self.data()?),
            "JobDeadlineReached" => Event::JobDeadlineReached(self.data()?),
            "FanOutAdvanced" => Event::FanOutAdvanced(self.data()?),
            "JobFinished" => Event::JobFinished(self.data()?),
            "TaskReady" => Event::TaskReady(self.data()?),
            "TaskScheduled" => Event::TaskScheduled(self.data()?),
            "TaskStarted" => Event::TaskStarted(self.data()?),
            "TaskCompleted" => Event::TaskCompleted(self.data()?),
            "TaskFailed" => Event::TaskFailed(self.data()?),
            "RetryScheduled" => Event::RetryScheduled(self.data()?),
            "RetryCancelled" => Event::RetryCancelled(self.data()?),
            "AttemptEnded" => Event::AttemptEnded(self.data()?),
            "WorkerRegistered" => Event::WorkerRegistered(self.data()?),
            "WorkerLeft" => Event::WorkerLeft(self.data()?),
            "WorkerCordoned" => Event::WorkerCordoned(self.data()?),
            "WorkerUncordoned" => Event::WorkerUncordoned(self.data()?),
            "WorkerDrainRequested" => Event::WorkerDrainRequested(self.data()?),
            other => {
                return Err(unreadable(format!(
                    "{other:?} is no known type; a newer program wrote it"
                )));
            }
        })
    }

    fn data<T: Deserialize<'a>>(&self) -> Result<T, Unreadable> {
        serde_json::from_str(self.data.get()).map_err(|error| unreadable(format!("data of {}: {error}", self.r#type)))
    }
}

fn unreadable(why: String) -> Unreadable {
    Unreadable { what: "event", why }
}
