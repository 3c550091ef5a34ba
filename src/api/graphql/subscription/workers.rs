//! Workers: what is known of them for good, from their rows, and what they do at the moment, as this process hears it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{Source, WorkerChange};
use crate::api::Api;
use crate::api::graphql::fault::Answer;
use crate::api::graphql::worker::Worker;
use crate::api::live::{Marks, Scope};
use crate::api::problem::Problem;
use crate::api::view::WorkerView;
use crate::domain::{Position, Seq, ShardId, WorkerName};
use crate::projection::{At, PositionToken, WorkerRow};

/// How often it is looked what they do.
const EVERY: Duration = Duration::from_secs(1);
/// How long the read models may be late before what is there is taken.
const LATE: Duration = Duration::from_secs(2);

pub struct Workers {
    api: Arc<Api>,
    marks: Marks,
    only: Option<WorkerName>,
    /// The workers as they were last read, in the order of their last changes.
    rows: Vec<(ShardId, At<WorkerRow>)>,
    /// What was given of each: its last change, and what it did.
    given: HashMap<WorkerName, (Seq, Doing)>,
    place: BTreeMap<ShardId, Seq>,
    ready: VecDeque<WorkerChange>,
    looks: Interval,
}

/// What makes an item when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doing {
    state: &'static str,
    draining: bool,
    cordoned: bool,
    current_tasks: u32,
    max_capacity: u32,
}

impl Doing {
    const fn of(view: &WorkerView) -> Self {
        Self {
            state: view.state,
            draining: view.draining,
            cordoned: view.cordoned,
            current_tasks: view.current_tasks,
            max_capacity: view.max_capacity,
        }
    }
}

impl Workers {
    pub async fn begin(api: &Arc<Api>, only: Option<WorkerName>, after: Option<PositionToken>) -> Answer<Self> {
        let marks = api.parts.live.marks(Scope::Workers).await?;
        let places = after.iter().flat_map(PositionToken::positions);
        let place: BTreeMap<_, _> = places.map(|place| (place.shard, place.seq)).collect();
        let mut looks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut workers = Self {
            api: Arc::clone(api),
            marks,
            only,
            rows: Vec::new(),
            given: HashMap::new(),
            place: place.clone(),
            ready: VecDeque::new(),
            looks,
        };
        let behind: Vec<Position> = place.iter().map(|(&shard, &seq)| Position { shard, seq }).collect();
        workers.read(&behind).await?;
        for (shard, at) in &workers.rows {
            // What the client has already.
            if at.changed <= place.get(shard).copied().unwrap_or_default() {
                let doing = Doing::of(&workers.api.worker_view(at.row.clone()));
                workers.given.insert(at.row.name.clone(), (at.changed, doing));
            }
        }
        workers.compare();
        Ok(workers)
    }

    /// Reads the rows, once they hold what has changed.
    async fn read(&mut self, places: &[Position]) -> Answer<()> {
        let deadline = Instant::now() + LATE;
        for place in places {
            if let Err(late) = self.api.parts.watermarks.wait_for(*place, deadline).await {
                tracing::debug!(%late, "api.workers.late");
            }
        }
        let rows = self.api.reading.workers_at().await;
        let mut rows = rows.map_err(|error| Problem::database(&error))?;
        rows.retain(|(_, at)| self.only.as_ref().is_none_or(|only| *only == at.row.name));
        self.rows = rows;
        let names: std::collections::HashSet<_> = self.rows.iter().map(|(_, at)| &at.row.name).collect();
        self.given.retain(|name, _| names.contains(name));
        Ok(())
    }

    /// Makes items of what differs from what was given.
    fn compare(&mut self) {
        for (shard, at) in &self.rows {
            let view = self.api.worker_view(at.row.clone());
            let seen = (at.changed, Doing::of(&view));
            let place = self.place.entry(*shard).or_default();
            *place = at.changed.max(*place);
            if self.given.get(&at.row.name) == Some(&seen) {
                continue;
            }
            self.given.insert(at.row.name.clone(), seen);
            self.ready.push_back(WorkerChange {
                worker: Worker(view),
                position: self.api.parts.live.token(&self.place).to_string(),
            });
        }
    }
}

impl Source for Workers {
    type Item = WorkerChange;

    async fn next(&mut self) -> Answer<Option<WorkerChange>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let places = tokio::select! {
                places = self.marks.changed() => places,
                _ = self.looks.tick() => Vec::new(),
            };
            if !places.is_empty() {
                self.read(&places).await?;
            }
            self.compare();
        }
    }
}
