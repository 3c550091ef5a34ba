//! The publisher's tests: the messages, the machine, and random worlds of owners, crashes and readers.

mod contract;
mod machine;
mod messages;
mod world;

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::Item;
use crate::domain::event::{Event, FanOutAdvanced, StreamId};
use crate::domain::{JobId, Seq, Timestamp};
use crate::event::{EventRecord, Meta};

const NOW: Timestamp = Timestamp::from_ms(1_755_600_000_000);

fn job() -> JobId {
    "0198c2a0-7c00-7000-8000-000000000001".parse().unwrap()
}

fn meta() -> Meta {
    Meta {
        at: NOW,
        principal: Arc::from("api:ada"),
        command: None,
        causation: Some(Uuid::nil()),
        traceparent: None,
    }
}

fn item(seq: u64) -> Item {
    let stream = StreamId::Job(job());
    let event = Event::FanOutAdvanced(FanOutAdvanced {
        request: 1,
        next_task: seq as u32,
    });
    let record = EventRecord {
        stream,
        version: seq as u32,
        meta: meta(),
        event,
    };
    Item {
        seq: Seq(seq),
        stream,
        version: seq as u32,
        payload: Bytes::from(record.encode()),
    }
}

fn items(seqs: std::ops::RangeInclusive<u64>) -> Vec<Item> {
    seqs.map(item).collect()
}
