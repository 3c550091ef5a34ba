//! Rows of what has changed, read for all who wait for them at once.
//!
//! Must stay true: a question waits until the read models have reached its place, and holds back nobody else meanwhile;
//! whatever is ripe within a window is one statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::api::problem::Problem;
use crate::domain::{JobId, Position, TaskId};
use crate::projection::{At, JobRow, Reading, TaskRow, Watermarks};

pub type JobAt = At<JobRow>;
pub type TaskAt = At<TaskRow>;

/// How long questions are gathered.
const WINDOW: Duration = Duration::from_millis(20);
/// Rows that one statement asks for.
const MOST_ROWS: usize = 2_000;
/// Questions that may wait; who asks more waits for room.
const MOST_WAITING: usize = 4_096;
/// Statements under way at a time.
const STATEMENTS: usize = 2;
/// How long a question waits for read models that are late.
const LATE: Duration = Duration::from_secs(2);

/// Handle to the reader of rows; cheap to clone.
#[derive(Clone)]
pub struct Rows {
    asks: mpsc::Sender<Ask>,
    watermarks: Watermarks,
}

enum Ask {
    Job(JobId, oneshot::Sender<Answer<JobAt>>),
    Tasks(Vec<TaskId>, oneshot::Sender<Answer<Vec<TaskAt>>>),
}

type Answer<T> = Result<Option<T>, Problem>;

impl Ask {
    fn count(&self) -> usize {
        match self {
            Self::Job(..) => 1,
            Self::Tasks(ids, _) => ids.len(),
        }
    }

    fn refuse(self, problem: Problem) {
        // Who asked may have gone.
        match self {
            Self::Job(_, answer) => _ = answer.send(Err(problem)),
            Self::Tasks(_, answer) => _ = answer.send(Err(problem)),
        }
    }
}

impl Rows {
    /// Starts the reader on the present runtime; it ends with the last handle.
    pub fn start(reading: Reading, watermarks: Watermarks) -> Self {
        let (asks, asked) = mpsc::channel(MOST_WAITING);
        crate::task::spawn("api.live.rows", gather(asked, Arc::new(Reader { reading })));
        Self { asks, watermarks }
    }

    /// The job's row as it is at `place` or later; `None`: it has none.
    ///
    /// # Errors
    /// 503 when the database does not answer, or the read models are late.
    pub async fn job(&self, id: JobId, place: Position) -> Answer<JobAt> {
        self.reach(place).await?;
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Job(id, answer), answered).await
    }

    /// The rows of tasks of one shard as they are at `place` or later, without those whose job is not there.
    ///
    /// # Errors
    /// As [`Rows::job`].
    pub async fn tasks(&self, ids: Vec<TaskId>, place: Position) -> Result<Vec<TaskAt>, Problem> {
        self.reach(place).await?;
        let (answer, answered) = oneshot::channel();
        let rows = self.ask(Ask::Tasks(ids, answer), answered).await?;
        Ok(rows.unwrap_or_default())
    }

    /// Waits for the read models.
    async fn reach(&self, place: Position) -> Result<(), Problem> {
        let reached = self.watermarks.wait_for(place, Instant::now() + LATE).await;
        reached.map_err(|late| {
            let mut problem = Problem::unavailable(format!("{late}; try again"));
            problem.code = "READ_MODEL_BEHIND".into();
            problem
        })
    }

    async fn ask<T>(&self, ask: Ask, answered: oneshot::Receiver<Answer<T>>) -> Answer<T> {
        let gone = || Problem::unavailable("the server is ending; try again");
        self.asks.send(ask).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

async fn gather(mut asks: mpsc::Receiver<Ask>, reader: Arc<Reader>) {
    let room = Arc::new(Semaphore::new(STATEMENTS));
    while let Some(first) = asks.recv().await {
        let deadline = Instant::now() + WINDOW;
        let mut count = first.count();
        let mut batch = vec![first];
        while count < MOST_ROWS {
            match tokio::time::timeout_at(deadline, asks.recv()).await {
                Ok(Some(ask)) => {
                    count += ask.count();
                    batch.push(ask);
                }
                Ok(None) | Err(_) => break,
            }
        }
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let reader = Arc::clone(&reader);
        // Beside the next window; also because a statement must not be given up midway.
        crate::task::spawn("api.live.read", async move {
            reader.answer(batch).await;
            drop(permit);
        });
    }
}

struct Reader {
    reading: Reading,
}

impl Reader {
    async fn answer(&self, batch: Vec<Ask>) {
        let begun = Instant::now();
        let (jobs, tasks) = batch
            .into_iter()
            .partition::<Vec<_>, _>(|ask| matches!(ask, Ask::Job(..)));
        self.jobs(jobs).await;
        self.tasks(tasks).await;
        metrics::histogram!("grid_live_read_seconds").record(begun.elapsed().as_secs_f64());
    }

    async fn jobs(&self, asks: Vec<Ask>) {
        if asks.is_empty() {
            return;
        }
        let ids: Vec<JobId> = asks
            .iter()
            .filter_map(|ask| match ask {
                Ask::Job(id, ..) => Some(*id),
                Ask::Tasks(..) => None,
            })
            .collect();
        let found = match self.reading.jobs_at(&ids).await {
            Ok(rows) => rows.into_iter().map(|at| (at.row.id, at)).collect::<HashMap<_, _>>(),
            Err(error) => return refuse_all(asks, &error),
        };
        for ask in asks {
            if let Ask::Job(id, answer) = ask {
                _ = answer.send(Ok(found.get(&id).cloned()));
            }
        }
    }

    async fn tasks(&self, asks: Vec<Ask>) {
        if asks.is_empty() {
            return;
        }
        let mut ids: Vec<TaskId> = asks
            .iter()
            .flat_map(|ask| match ask {
                Ask::Tasks(ids, _) => ids.as_slice(),
                Ask::Job(..) => &[],
            })
            .copied()
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let found = match self.reading.tasks_at(&ids).await {
            Ok(rows) => rows.into_iter().map(|at| (at.row.id, at)).collect::<HashMap<_, _>>(),
            Err(error) => return refuse_all(asks, &error),
        };
        for ask in asks {
            if let Ask::Tasks(ids, answer) = ask {
                let rows = ids.iter().filter_map(|id| found.get(id).cloned()).collect();
                _ = answer.send(Ok(Some(rows)));
            }
        }
    }
}

fn refuse_all(asks: Vec<Ask>, error: &sqlx::Error) {
    let problem = Problem::database(error);
    for ask in asks {
        ask.refuse(problem.clone());
    }
}
