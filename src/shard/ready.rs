//! Which jobs have READY tasks: served in turn, one task each, so that a small job is not behind a large one.

use std::collections::{HashSet, VecDeque};

use crate::domain::JobId;

#[derive(Clone, Debug, Default)]
pub struct ReadyRing {
    order: VecDeque<JobId>,
    inside: HashSet<JobId>,
}

impl ReadyRing {
    /// Lets the job take part; it stays where it is when it does already.
    pub fn join(&mut self, job: JobId) {
        if self.inside.insert(job) {
            self.order.push_back(job);
        }
    }

    /// The job whose turn it is.
    pub fn first(&self) -> Option<JobId> {
        self.order.front().copied()
    }

    /// Its turn is over.
    pub fn rotate(&mut self) {
        if !self.order.is_empty() {
            self.order.rotate_left(1);
        }
    }

    /// The first one has nothing to place any more.
    pub fn drop_first(&mut self) {
        if let Some(job) = self.order.pop_front() {
            self.inside.remove(&job);
        }
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = JobId> {
        self.order.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
