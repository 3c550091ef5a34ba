//! Publishing in order: nothing goes out after a failed message until the publisher has been told.

use std::time::Duration;

use super::kafka::KafkaOrdered;
use super::local::LocalOrdered;
use super::{Message, Publication, PublishError, SendError};

/// A publisher's handle to [`Topic::Events`](super::Topic::Events). Each publisher has its own.
///
/// After a failure every `begin` says [`SendError::Interrupted`] until [`OrderedProducer::resume`]; then publish again
/// from the first message that is not known to be acknowledged. Batches may be under way at the same time.
pub struct OrderedProducer(Producer);

enum Producer {
    Local(LocalOrdered),
    Kafka(KafkaOrdered),
}

impl OrderedProducer {
    pub(super) fn local(producer: LocalOrdered) -> Self {
        Self(Producer::Local(producer))
    }

    pub(super) fn kafka(producer: KafkaOrdered) -> Self {
        Self(Producer::Kafka(producer))
    }

    /// Queues a batch of (partition, message), in order, behind the earlier batches of this handle.
    ///
    /// # Errors
    /// [`SendError::Full`]: nothing was queued. [`SendError::Interrupted`]: an earlier message failed.
    pub fn begin(&mut self, batch: Vec<(u16, Message)>) -> Result<Publication, SendError> {
        match &mut self.0 {
            Producer::Local(producer) => producer.begin(batch),
            Producer::Kafka(producer) => producer.begin(&batch),
        }
    }

    /// Queues a batch, waiting up to `patience` for room, and waits until it is acknowledged.
    ///
    /// # Errors
    /// Says which message was the first without acknowledgement. [`OrderedProducer::resume`] comes next.
    pub async fn publish(&mut self, batch: Vec<(u16, Message)>, patience: Duration) -> Result<(), PublishError> {
        let begun = match &mut self.0 {
            Producer::Local(producer) => producer.begin_when_room(batch, patience).await,
            Producer::Kafka(producer) => producer.begin_when_room(&batch, patience).await,
        };
        match begun {
            Ok(publication) => publication.await,
            Err(error) => Err(PublishError {
                index: 0,
                why: error.to_string(),
            }),
        }
    }

    /// Goes on after a failure: waits until nothing of before can go out any more.
    pub async fn resume(&mut self) {
        match &mut self.0 {
            Producer::Local(producer) => producer.resume(),
            Producer::Kafka(producer) => producer.resume().await,
        }
    }
}
