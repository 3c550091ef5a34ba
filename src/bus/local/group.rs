//! The group of one: whoever joins owns everything.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bus::BusError;

#[derive(Default)]
pub struct LocalGroup {
    joined: AtomicBool,
}

impl LocalGroup {
    pub(super) fn join(&self) -> Result<(), BusError> {
        let joined_before = self.joined.swap(true, Ordering::AcqRel);
        if joined_before {
            Err(BusError::AlreadyJoined)
        } else {
            Ok(())
        }
    }

    pub(in crate::bus) fn stop(&self) {
        self.joined.store(false, Ordering::Release);
    }
}
