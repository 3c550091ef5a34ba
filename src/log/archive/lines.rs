//! The lines of an archived day: its head, then each commit that has events of the day followed by these, by shard and
//! place, then its end.
//!
//! Must stay true: what is written today can be read for ever; another form gets another `format`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{Incarnation, JobId, Position, Seq, ShardId, StreamId, TaskId};
use crate::log::StoredEvent;
use crate::log::chain::Hash;

/// Of the lines, not of the events in them.
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line<'a> {
    Archive(Head),
    #[serde(borrow)]
    Commit(CommitLine<'a>),
    #[serde(borrow)]
    Event(EventLine<'a>),
    End(End),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub format: u32,
    /// Days since 1970-01-01.
    pub day: i32,
    pub date: String,
    pub timeline: Uuid,
    pub shards: u16,
    pub log_format: i32,
}

/// A row of `batches`. Its hash covers the one before it and its parts, which have the hash of the day's events.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitLine<'a> {
    pub shard: u16,
    pub first_seq: u64,
    pub last_seq: u64,
    pub prev_hash: Hash,
    pub hash: Hash,
    /// JSON in a string, since its bytes are what is hashed.
    #[serde(borrow)]
    pub parts: Cow<'a, str>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventLine<'a> {
    pub shard: u16,
    pub seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Uuid>,
    /// 0: the job itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<u32>,
    /// The worker's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Uuid>,
    pub version: u32,
    /// The bytes as they are in the log.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a RawValue>,
    /// Instead, where they are no JSON.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub payload_hex: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub commits: u64,
    pub events: u64,
}

impl<'a> EventLine<'a> {
    pub fn of(stored: &'a StoredEvent) -> Self {
        let (id, task) = stored.stream.columns();
        let of_worker = stored.stream.is_worker();
        let payload = as_json(&stored.payload);
        Self {
            shard: stored.position.shard.0,
            seq: stored.position.seq.0,
            job: (!of_worker).then_some(id),
            task: (!of_worker).then_some(task),
            worker: of_worker.then_some(id),
            version: stored.version,
            payload,
            payload_hex: payload.is_none().then(|| Cow::Owned(hex::encode(&stored.payload))),
        }
    }

    pub const fn position(&self) -> Position {
        Position {
            shard: ShardId(self.shard),
            seq: Seq(self.seq),
        }
    }

    /// `None`: it is of nobody, or of two.
    pub fn stream(&self) -> Option<StreamId> {
        match (self.job, self.task, self.worker) {
            (Some(job), Some(0), None) => Some(StreamId::Job(JobId(job))),
            (Some(job), Some(number), None) => Some(StreamId::Task(TaskId {
                job: JobId(job),
                number,
            })),
            (None, None, Some(worker)) => Some(StreamId::Worker(Incarnation(worker))),
            _ => None,
        }
    }

    /// The bytes that were committed.
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match (self.payload, &self.payload_hex) {
            (Some(json), None) => Some(Cow::Borrowed(json.get().as_bytes())),
            (None, Some(text)) => hex::decode(&**text).ok().map(Cow::Owned),
            _ => None,
        }
    }
}

/// The bytes as JSON on one line, if they are that and come back as they are.
fn as_json(payload: &[u8]) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    // `null` would come back as none.
    let is_object = json.get().starts_with('{');
    let unchanged = json.get().len() == payload.len() && !payload.contains(&b'\n');
    (is_object && unchanged).then_some(json)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stored(stream: StreamId, payload: &'static [u8]) -> StoredEvent {
        StoredEvent {
            position: Position {
                shard: ShardId(3),
                seq: Seq(7),
            },
            stream,
            version: 2,
            day: 20_000,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn whatever_bytes_an_event_has_come_back() {
        let job = StreamId::Job(JobId(Uuid::from_u128(5)));
        for payload in [
            &br#"{"v":1,"at":"x","n":1.0e5,"t":"\u00e4"}"#[..],
            b"{ \"v\" : 1 }",
            b" {}",
            b"{}\n",
            b"{\n}",
            b"not json",
            b"null",
            b"\xff\x00",
            b"",
        ] {
            let stored = stored(job, payload);
            let text = serde_json::to_string(&Line::Event(EventLine::of(&stored))).unwrap();
            assert!(!text.contains('\n'), "{text}");
            let Line::Event(read) = serde_json::from_str(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(read.bytes().unwrap(), payload, "{text}");
            assert_eq!((read.stream(), read.position()), (Some(job), stored.position));
        }
    }

    #[test]
    fn whose_event_it_is_comes_back() {
        for stream in [
            StreamId::Job(JobId(Uuid::from_u128(5))),
            StreamId::Task(TaskId {
                job: JobId(Uuid::from_u128(5)),
                number: 9,
            }),
            StreamId::Worker(Incarnation(Uuid::from_u128(6))),
        ] {
            let stored = stored(stream, b"{}");
            let text = serde_json::to_string(&Line::Event(EventLine::of(&stored))).unwrap();
            let Line::Event(read) = serde_json::from_str(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(read.stream(), Some(stream));
        }
        let nobody = r#"{"event":{"shard":1,"seq":1,"version":1,"payload":{}}}"#;
        let Line::Event(read) = serde_json::from_str(nobody).unwrap() else {
            panic!("{nobody}")
        };
        assert_eq!(read.stream(), None);
    }
}
