//! Reading a partition.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::kafka::KafkaSubscription;
use super::local::LocalSubscription;
use super::{Record, RecvError};

/// Bytes after which a batch is handed over though more is there.
pub(super) const BATCH_BYTES: usize = 1024 * 1024;

/// A reader of one partition. Dropping it ends the reading.
pub struct Subscription(Reader);

enum Reader {
    Local(LocalSubscription),
    Kafka(KafkaSubscription),
}

impl Subscription {
    pub(super) fn local(reader: LocalSubscription) -> Self {
        Self(Reader::Local(reader))
    }

    pub(super) fn kafka(reader: KafkaSubscription) -> Self {
        Self(Reader::Kafka(reader))
    }

    /// Adds up to `max` records to `buffer` and tells how many; waits for the first. A batch also ends after about a
    /// MiB. Cancelling loses nothing. While nobody asks, at most `bus.partition_bytes` wait here.
    ///
    /// # Errors
    /// The subscription is over: subscribe again from a cursor that is good.
    pub async fn recv_many(&mut self, buffer: &mut Vec<Record>, max: usize) -> Result<usize, RecvError> {
        poll_fn(|cx| self.poll_recv_many(cx, buffer, max)).await
    }

    /// As [`Subscription::recv_many`], for who polls by hand.
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<Record>,
        max: usize,
    ) -> Poll<Result<usize, RecvError>> {
        match &mut self.0 {
            Reader::Local(reader) => reader.poll_recv_many(cx, buffer, max),
            Reader::Kafka(reader) => reader.poll_recv_many(cx, buffer, max),
        }
    }

    /// The offset that is read next.
    pub fn position(&self) -> i64 {
        match &self.0 {
            Reader::Local(reader) => reader.position(),
            Reader::Kafka(reader) => reader.position(),
        }
    }
}
