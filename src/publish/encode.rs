//! An event of the log as a CloudEvent in Kafka's binary mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>): attributes are
//! headers, the value is the event's `data` as it stands in the log.

use bytes::Bytes;
use serde::Deserialize;

use super::machine::{Batch, Item, Run};
use crate::bus::Message;
use crate::domain::{Epoch, Seq, ShardId, StreamId, WorkerName};
use crate::event::{EventHeader, Unreadable};

/// A batch as messages, in order.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    pub messages: Vec<(u16, Message)>,
    /// Where each message comes from.
    pub places: Vec<(ShardId, Epoch, Seq)>,
    /// Events that cannot be published, and why: they are passed over.
    pub passed_over: Vec<(ShardId, Seq, String)>,
}

impl Encoded {
    /// The last of each shard among the first `count` messages.
    pub fn last_of(&self, count: usize) -> Vec<(ShardId, Epoch, Seq)> {
        let mut last: Vec<(ShardId, Epoch, Seq)> = Vec::new();
        for place in self.places.iter().take(count) {
            match last.last_mut() {
                Some(known) if known.0 == place.0 => *known = *place,
                _ => last.push(*place),
            }
        }
        last
    }
}

/// Makes the messages. `source` is that of the log's timeline; larger ones than `most_bytes` are passed over.
pub fn encode(batch: &Batch, source: &Bytes, most_bytes: usize) -> Encoded {
    let mut encoded = Encoded::default();
    for run in &batch.runs {
        let mut previous = run.after;
        for item in &run.items {
            match message(run, item, previous, source) {
                Ok(message) if message.size_bytes() <= most_bytes => {
                    encoded.messages.push((run.shard.0, message));
                    encoded.places.push((run.shard, run.epoch, item.seq));
                    previous = item.seq;
                }
                Ok(message) => {
                    let why = format!(
                        "{} bytes are more than a message may have ({most_bytes})",
                        message.size_bytes()
                    );
                    encoded.passed_over.push((run.shard, item.seq, why));
                }
                Err(unreadable) => encoded.passed_over.push((run.shard, item.seq, unreadable.to_string())),
            }
        }
    }
    encoded
}

fn number(number: impl std::fmt::Display) -> Bytes {
    Bytes::from(number.to_string())
}

fn message(run: &Run, item: &Item, previous: Seq, source: &Bytes) -> Result<Message, Unreadable> {
    let header = EventHeader::read(&item.payload)?;
    let data = item.payload.slice_ref(header.data.get().as_bytes());
    let (subject, key) = subject_and_key(item.stream, &data);
    let mut headers = Vec::with_capacity(16);
    let mut add = |name: &'static str, value: Bytes| headers.push((name.into(), value));
    add("ce_specversion", Bytes::from_static(b"1.0"));
    add("ce_id", Bytes::from(format!("{}-{}", run.shard, item.seq)));
    add("ce_type", Bytes::from(format!("grid.{}.v{}", header.r#type, header.v)));
    add("ce_source", source.clone());
    add("ce_subject", subject);
    add("ce_time", number(header.at));
    add("content-type", Bytes::from_static(b"application/json"));
    add("ce_position", number(item.seq));
    add("ce_prevposition", number(previous));
    add("ce_epoch", number(run.epoch));
    add("ce_streamversion", number(item.version));
    add("ce_principal", Bytes::copy_from_slice(header.principal.as_bytes()));
    if let Some(command) = header.command {
        add("ce_commandid", number(command));
    }
    if let Some(causation) = header.causation {
        add("ce_causationid", number(causation));
    }
    if let Some(traceparent) = &header.traceparent {
        add("ce_traceparent", Bytes::copy_from_slice(traceparent.as_bytes()));
    }
    Ok(Message {
        key: Some(key),
        headers,
        payload: data,
    })
}

/// Whose event it is, and what its messages have in common: the id of the job, or of the worker.
fn subject_and_key(stream: StreamId, data: &[u8]) -> (Bytes, Bytes) {
    match stream {
        StreamId::Job(job) => {
            let job = number(job);
            (job.clone(), job)
        }
        StreamId::Task(task) => (number(task), number(task.job)),
        StreamId::Worker(incarnation) => {
            #[derive(Deserialize)]
            struct Named {
                worker: WorkerName,
            }
            // Every event of a worker names it.
            let worker =
                serde_json::from_slice(data).map_or_else(|_| number(incarnation), |it: Named| number(it.worker));
            (worker.clone(), worker)
        }
    }
}
