//! Batches that wait on disk, where a way has a place there.
//!
//! Must stay true: they come back in their order; one that finds no room waits in memory, alone, or is counted as dropped.

use bytes::Bytes;

use super::queue::Batch;
use crate::spill::Spill;

#[derive(Default)]
pub(super) struct Disk {
    spill: Option<Spill>,
    /// Found no room, and is behind all that did.
    stuck: Option<Batch>,
    /// Position of the last line that this process has put here.
    last: i64,
}

impl Disk {
    pub fn new(spill: Option<Spill>) -> Self {
        Self {
            spill,
            ..Self::default()
        }
    }

    pub const fn is_there(&self) -> bool {
        self.spill.is_some()
    }

    /// Whether one more batch can be given to [`Disk::keep`] and be kept.
    pub const fn has_room(&self) -> bool {
        self.spill.is_some() && self.stuck.is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.spill.as_ref().is_none_or(Spill::is_empty) && self.stuck.is_none()
    }

    pub fn bytes(&self) -> u64 {
        self.spill.as_ref().map_or(0, Spill::bytes)
    }

    /// Behind all others. Gives back what finds no room at all.
    pub fn keep(&mut self, batch: Batch) -> Option<Batch> {
        if self.stuck.is_some() {
            return Some(batch);
        }
        if self.push(&batch) {
            self.last = batch.last;
        } else {
            self.stuck = Some(batch);
        }
        None
    }

    fn push(&mut self, batch: &Batch) -> bool {
        self.spill.as_mut().is_some_and(|spill| {
            spill.push(&batch.lines).unwrap_or_else(|error| {
                tracing::warn!(%error, "log_shipper.spill.not_written");
                false
            })
        })
    }

    /// Before all others; `false`: there is no room.
    pub fn keep_first(&mut self, lines: &Bytes) -> bool {
        self.spill.as_mut().is_some_and(|spill| {
            spill.push_first(lines).unwrap_or_else(|error| {
                tracing::warn!(%error, "log_shipper.spill.not_written");
                false
            })
        })
    }

    /// The oldest, which stays until [`Disk::remove_oldest`]. `Err`: it cannot be read, and is removed.
    pub fn oldest(&mut self) -> Option<Result<Bytes, ()>> {
        match self.spill.as_ref()?.oldest()? {
            Ok(lines) => Some(Ok(lines.into())),
            Err(error) => {
                tracing::warn!(%error, "log_shipper.spill.unreadable");
                self.remove_oldest();
                Some(Err(()))
            }
        }
    }

    /// The position of the last line that was here, when none is any more.
    pub fn remove_oldest(&mut self) -> Option<i64> {
        let spill = self.spill.as_mut()?;
        spill.remove_oldest();
        if let Some(batch) = self.stuck.take() {
            self.keep(batch);
        }
        self.is_empty().then_some(self.last)
    }

    /// What waits in memory, when nothing is on disk before it.
    pub fn take_stuck(&mut self) -> Option<Batch> {
        self.stuck.take()
    }
}
