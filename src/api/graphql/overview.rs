//! The whole at a glance, read once for all who look.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_graphql::SimpleObject;
use tokio::sync::{Mutex, watch};

use super::list::signed;
use super::scalar::DateTime;
use crate::api::Api;
use crate::api::problem::Problem;
use crate::clock;
use crate::domain::{Seq, ShardId};

/// How often it is looked whether something has changed.
const EVERY: Duration = Duration::from_secs(1);

/// Jobs, tasks and workers at a glance.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
pub struct ClusterOverview {
    jobs: JobsOverview,
    tasks: TasksOverview,
    workers: WorkersOverview,
    /// When it was read.
    at: DateTime,
    /// The token after it: everything up to here is in it.
    position: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SimpleObject)]
pub struct JobsOverview {
    total: i64,
    /// With an unfinished task.
    unfinished: i64,
}

/// Tasks of unfinished jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SimpleObject)]
pub struct TasksOverview {
    ready: i64,
    scheduled: i64,
    running: i64,
    completed: i64,
    failed: i64,
    retries_pending: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, SimpleObject)]
pub struct WorkersOverview {
    active: u32,
    inactive: u32,
    pending: u32,
    draining: u32,
    /// Slots of the active ones.
    max_capacity: u32,
    /// Tasks that they have.
    current_tasks: u32,
}

impl ClusterOverview {
    /// The same, whenever it was read.
    fn is_like(&self, other: &Self) -> bool {
        (self.jobs, self.tasks, self.workers) == (other.jobs, other.tasks, other.workers)
    }
}

type Places = BTreeMap<ShardId, Seq>;
/// What was read, and how far the read models were.
pub type Seen = Option<(Arc<ClusterOverview>, Arc<Places>)>;

/// Reads the overview while somebody looks.
pub struct Overviews {
    api: Weak<Api>,
    running: Mutex<Option<watch::Receiver<Seen>>>,
}

impl Overviews {
    pub fn new(api: &Arc<Api>) -> Self {
        Self {
            api: Arc::downgrade(api),
            running: Mutex::new(None),
        }
    }

    /// Changes from now on; the first is there at once or soon.
    pub async fn watch(&self) -> watch::Receiver<Seen> {
        let mut running = self.running.lock().await;
        if let Some(receiver) = &*running
            && receiver.has_changed().is_ok()
        {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        crate::task::spawn("api.overview", look(self.api.clone(), sender));
        // A receiver of its own would keep the looking alive for ever: who asks next gets one of somebody's.
        *running = Some(receiver.clone());
        receiver
    }
}

/// Looks again and again until nobody else has a receiver.
async fn look(api: Weak<Api>, sender: watch::Sender<Seen>) {
    let mut idle = 0;
    // One receiver is kept for those who come.
    while idle < 5 {
        let Some(api) = api.upgrade() else { return };
        if sender.receiver_count() > 1 {
            idle = 0;
            match read(&api).await {
                Ok(seen) => _ = sender.send_if_modified(|known| renew(known, seen)),
                Err(problem) => tracing::debug!(%problem, "api.overview.unreadable"),
            }
        } else {
            idle += 1;
        }
        drop(api);
        tokio::time::sleep(EVERY).await;
    }
}

fn renew(known: &mut Seen, (overview, places): (ClusterOverview, Places)) -> bool {
    let news = known.as_ref().is_none_or(|(known, _)| !known.is_like(&overview));
    if news {
        *known = Some((Arc::new(overview), Arc::new(places)));
    }
    news
}

/// Reads the overview now.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn read(api: &Api) -> Result<(ClusterOverview, Places), Problem> {
    let database = |error: sqlx::Error| Problem::database(&error);
    // Before the rows, so that what is read is at least so new.
    let places: Places = api.reading.cursors().await.map_err(database)?.into_iter().collect();
    let rows = api.reading.overview().await.map_err(database)?;
    let mut workers = WorkersOverview::default();
    for (_, at) in api.reading.workers_at().await.map_err(database)? {
        let view = api.worker_view(at.row);
        match view.state {
            "ACTIVE" => {
                workers.active += 1;
                workers.max_capacity += view.max_capacity;
            }
            "PENDING" => workers.pending += 1,
            _ => workers.inactive += 1,
        }
        workers.draining += u32::from(view.draining);
        workers.current_tasks += view.current_tasks;
    }
    let overview = ClusterOverview {
        jobs: JobsOverview {
            total: signed(rows.jobs),
            unfinished: signed(rows.unfinished_jobs),
        },
        tasks: TasksOverview {
            ready: signed(rows.ready),
            scheduled: signed(rows.scheduled),
            running: signed(rows.running),
            completed: signed(rows.completed),
            failed: signed(rows.failed),
            retries_pending: signed(rows.retries_pending),
        },
        workers,
        at: clock::now().into(),
        position: api.parts.live.token(&places).to_string(),
    };
    Ok((overview, places))
}
