//! One job: its present state, and then each time it has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{JobChange, Source};
use crate::api::Api;
use crate::api::graphql::fault::Answer;
use crate::api::live::{Marks, Scope};
use crate::api::view::JobView;
use crate::domain::{JobId, Position, Seq};
use crate::projection::PositionToken;

/// The shortest time from one look to the next: what changes meanwhile comes at once.
const INTERVAL: Duration = Duration::from_millis(100);

pub struct OneJob {
    api: Arc<Api>,
    marks: Marks,
    id: JobId,
    /// The last change that was given, or that the client has.
    given: Seq,
    /// What is known to be in what was read.
    through: Seq,
    /// What has to be read next; `None`: wait for a change.
    wanted: Option<Position>,
    not_before: Instant,
}

impl OneJob {
    /// # Errors
    /// 404, 410 when there is no such job; 400 when the token is of the log's future.
    pub async fn begin(api: &Arc<Api>, id: JobId, after: Option<&PositionToken>) -> Answer<Self> {
        let marks = api.parts.live.marks(Scope::Job(id)).await?;
        api.job(id).await?;
        let shard = id.shard(api.shards);
        let named = |token: &PositionToken| token.positions().find(|place| place.shard == shard);
        let place = after.and_then(named).unwrap_or(Position { shard, seq: Seq(0) });
        api.parts.live.check_reached(place).await?;
        Ok(Self {
            api: Arc::clone(api),
            marks,
            id,
            given: place.seq,
            through: Seq(0),
            wanted: Some(place),
            not_before: Instant::now(),
        })
    }

    async fn changed(&self) -> Option<Position> {
        let places = self.marks.changed().await;
        places.into_iter().find(|place| place.seq > self.through)
    }
}

impl Source for OneJob {
    type Item = JobChange;

    async fn next(&mut self) -> Answer<Option<JobChange>> {
        loop {
            let place = match self.wanted {
                Some(place) => place,
                None => match self.changed().await {
                    Some(place) => place,
                    None => continue,
                },
            };
            self.wanted = Some(place);
            tokio::time::sleep_until(self.not_before).await;
            let asked = Instant::now();
            let at = match self.api.rows.job(self.id, place).await {
                // Late is not wrong: it is asked for until it is there.
                Err(problem) if problem.code == "READ_MODEL_BEHIND" => continue,
                other => other?,
            };
            self.wanted = None;
            // Its day was archived: nothing will change any more.
            let Some(at) = at else { return Ok(None) };
            self.through = at.through;
            if at.changed <= self.given {
                continue;
            }
            self.given = at.changed;
            self.not_before = asked + INTERVAL;
            let places = BTreeMap::from([(place.shard, at.through)]);
            return Ok(Some(JobChange {
                job: Some(JobView::from(at.row).into()),
                position: self.api.parts.live.token(&places).to_string(),
            }));
        }
    }
}
