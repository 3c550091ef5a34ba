//! Publishing in order, in process: what is appended is acknowledged, so only a full queue interrupts.

use std::sync::Arc;
use std::time::Duration;

use super::Core;
use crate::bus::meter::check_message;
use crate::bus::{Message, Publication, PublishError, SendError, Topic};

pub struct LocalOrdered {
    core: Arc<Core>,
    interrupted: bool,
}

impl LocalOrdered {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self {
            core: Arc::clone(core),
            interrupted: false,
        }
    }

    pub(in crate::bus) fn begin(&mut self, batch: Vec<(u16, Message)>) -> Result<Publication, SendError> {
        if self.interrupted {
            return Err(SendError::Interrupted { topic: Topic::Events });
        }
        self.check(&batch)?;
        for (index, (partition, message)) in batch.into_iter().enumerate() {
            match self.core.append(Topic::Events, partition, message) {
                Ok(_) => {}
                Err(error @ SendError::Full { .. }) if index == 0 => return Err(error),
                Err(error) => {
                    self.interrupted = true;
                    return Ok(Publication::known(Err(PublishError {
                        index,
                        why: error.to_string(),
                    })));
                }
            }
        }
        Ok(Publication::known(Ok(())))
    }

    /// Waits for room before each message, so that a slow reader slows the publisher down and interrupts nothing.
    pub(in crate::bus) async fn begin_when_room(
        &mut self,
        batch: Vec<(u16, Message)>,
        patience: Duration,
    ) -> Result<Publication, SendError> {
        if self.interrupted {
            return Err(SendError::Interrupted { topic: Topic::Events });
        }
        self.check(&batch)?;
        let meter = &self.core.meters[Topic::Events.index()];
        for (index, (partition, message)) in batch.into_iter().enumerate() {
            let append = || self.core.append(Topic::Events, partition, message.clone());
            if let Err(error) = meter.when_room(patience, append).await {
                self.interrupted = true;
                return Ok(Publication::known(Err(PublishError {
                    index,
                    why: error.to_string(),
                })));
            }
        }
        Ok(Publication::known(Ok(())))
    }

    /// A batch with a message that can never go sends nothing.
    fn check(&self, batch: &[(u16, Message)]) -> Result<(), SendError> {
        let (partitions, limit) = (self.core.partitions.of(Topic::Events), self.core.most_message_bytes);
        let mut messages = batch.iter();
        messages
            .try_for_each(|(partition, message)| check_message(Topic::Events, *partition, partitions, message, limit))
    }

    pub(in crate::bus) fn resume(&mut self) {
        self.interrupted = false;
    }
}
