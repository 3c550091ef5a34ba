//! Somebody who wants to know that something has changed, and not what.

use super::hub::{Hub, Scope, Ticket};
use super::inbox::Keep;
use crate::api::problem::Problem;
use crate::domain::Position;

/// Tells of changes of a scope; takes the same little memory whatever happens.
pub struct Marks(Ticket);

impl Hub {
    /// Tells of what is committed from now on.
    ///
    /// # Errors
    /// 503 when the feed or the log cannot be read.
    pub async fn marks(&self, scope: Scope) -> Result<Marks, Problem> {
        Ok(Marks(self.enter(scope, Keep::Last).await?))
    }
}

impl Marks {
    /// Returns when something has changed since the last call, with the place of the last change in each shard.
    /// Cancelling loses nothing.
    pub async fn changed(&self) -> Vec<Position> {
        loop {
            let places = self.0.inbox.take_last();
            if !places.is_empty() {
                return places;
            }
            self.0.inbox.arrival().await;
        }
    }
}
