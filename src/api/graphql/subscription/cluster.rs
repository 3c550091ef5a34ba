//! The whole at a glance, each time it has changed.

use std::sync::Arc;

use tokio::sync::watch;

use super::Source;
use crate::api::graphql::fault::Answer;
use crate::api::graphql::overview::{ClusterOverview, Seen};
use crate::projection::PositionToken;

pub struct Cluster {
    seen: watch::Receiver<Seen>,
    /// What the client has.
    after: Option<PositionToken>,
    begun: bool,
}

impl Cluster {
    pub const fn new(seen: watch::Receiver<Seen>, after: Option<PositionToken>) -> Self {
        Self {
            seen,
            after,
            begun: false,
        }
    }
}

impl Source for Cluster {
    type Item = ClusterOverview;

    async fn next(&mut self) -> Answer<Option<ClusterOverview>> {
        loop {
            // The first look is at what is there.
            if std::mem::replace(&mut self.begun, true) && self.seen.changed().await.is_err() {
                return Ok(None);
            }
            let Some((overview, places)) = self.seen.borrow_and_update().clone() else {
                continue;
            };
            let has = |token: &PositionToken| {
                let known = |shard| {
                    token
                        .positions()
                        .find(|place| place.shard == shard)
                        .map(|place| place.seq)
                };
                places
                    .iter()
                    .all(|(shard, seq)| seq.0 == 0 || known(*shard) >= Some(*seq))
            };
            if self.after.take_if(|token| !has(token)).is_some() || self.after.is_none() {
                return Ok(Some(Arc::unwrap_or_clone(overview)));
            }
        }
    }
}
