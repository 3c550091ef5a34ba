//! How much is under way to a topic: the bound, who waits for room, and what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{BusOptions, Message, SendError, Topic};

/// One a topic.
pub(super) struct Meter {
    topic: Topic,
    messages: AtomicU64,
    bytes: AtomicU64,
    most_messages: u64,
    most_bytes: u64,
    room: Notify,
    messages_gauge: Gauge,
    bytes_gauge: Gauge,
    sent: Counter,
    received: Counter,
}

/// Meters of all topics, by [`Topic::index`].
pub(super) type Meters = Arc<[Meter; 6]>;

pub(super) fn meters(options: &BusOptions) -> Meters {
    Arc::new(Topic::ALL.map(|topic| Meter {
        topic,
        messages: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        most_messages: options.queue_messages,
        most_bytes: options.queue_bytes,
        room: Notify::new(),
        messages_gauge: gauge!("grid_bus_queue_messages", "topic" => topic.name()),
        bytes_gauge: gauge!("grid_bus_queue_bytes", "topic" => topic.name()),
        sent: counter!("grid_bus_sent_total", "topic" => topic.name()),
        received: counter!("grid_bus_received_total", "topic" => topic.name()),
    }))
}

impl Meter {
    /// Takes room for messages, or says that there is none. An empty queue takes anything.
    pub(super) fn take(&self, messages: u64, bytes: u64) -> Result<(), SendError> {
        let before = self.messages.fetch_add(messages, Ordering::AcqRel);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let over = before + messages > self.most_messages || bytes_before + bytes > self.most_bytes;
        if over && before > 0 {
            self.give(messages, bytes);
            return Err(SendError::Full { topic: self.topic });
        }
        self.show();
        Ok(())
    }

    /// Gives room back and wakes who waits for it.
    pub(super) fn give(&self, messages: u64, bytes: u64) {
        self.messages.fetch_sub(messages, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.show();
        self.room.notify_waiters();
    }

    fn show(&self) {
        self.messages_gauge.set(self.messages.load(Ordering::Relaxed) as f64);
        self.bytes_gauge.set(self.bytes.load(Ordering::Relaxed) as f64);
    }

    pub(super) fn count_sent(&self, messages: u64) {
        self.sent.increment(messages);
    }

    pub(super) fn count_received(&self, messages: u64) {
        self.received.increment(messages);
    }

    pub(super) fn count_error(&self, kind: &'static str) {
        counter!("grid_bus_send_errors_total", "topic" => self.topic.name(), "kind" => kind).increment(1);
    }

    /// Wakes who waits for room, to find out that the bus is closed.
    pub(super) fn wake_all(&self) {
        self.room.notify_waiters();
    }

    /// Tries `send` again whenever there is room, until it says something else than full, or `patience` is over.
    pub(super) async fn when_room<T>(
        &self,
        patience: Duration,
        mut send: impl FnMut() -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let deadline = Instant::now() + patience;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Registered before the attempt: room made between the two is not missed.
            room.as_mut().enable();
            match send() {
                Err(SendError::Full { topic }) => {
                    if tokio::time::timeout_at(deadline, room).await.is_err() {
                        return Err(SendError::Full { topic });
                    }
                }
                done => return done,
            }
        }
    }
}

/// What both buses check before anything else.
pub(super) fn check_message(
    topic: Topic,
    partition: u16,
    partitions: u16,
    message: &Message,
    limit: usize,
) -> Result<(), SendError> {
    if partition >= partitions {
        return Err(SendError::NoPartition {
            topic,
            partition,
            partitions,
        });
    }
    let bytes = message.size_bytes();
    if bytes > limit {
        return Err(SendError::TooLarge { topic, bytes, limit });
    }
    Ok(())
}
