//! Totals of many, which take long to count, for a moment.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How old a total may be.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Fewer are counted anew each time.
const MANY: u64 = 10_000;
const MOST_KEPT: usize = 1_000;

/// By filter.
#[derive(Debug)]
pub(super) struct Totals<F>(Arc<Mutex<HashMap<F, (u64, Instant)>>>);

impl<F> Clone for Totals<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> Default for Totals<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F: Clone + Eq + Hash> Totals<F> {
    pub fn get(&self, filter: &F) -> Option<u64> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, at) = kept.get(filter)?;
        (at.elapsed() < KEPT_FOR).then_some(*total)
    }

    /// `begun`: when the counting began.
    pub fn keep(&self, filter: &F, total: u64, begun: Instant) {
        if total < MANY {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (_, at)| at.elapsed() < KEPT_FOR);
        }
        if kept.len() < MOST_KEPT {
            kept.insert(filter.clone(), (total, begun));
        }
    }
}
