//! Looking back: a job or a task folded from the log up to a point in event time.
//!
//! Must stay true: the fold is the one by which shards are loaded; how many events one question may cost has a bound; a
//! time before the shard's last commit always gets the same answer, since event time never runs backwards in a shard.

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool};

use super::connect::unhurried;
use super::fold::JobFold;
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::event::{Event, JobSubmitted};
use crate::domain::{Fact, Job, JobId, JobRequests, Seq, ShardId, StreamId, TaskHistory, TaskId, Timestamp};

/// Events of a stream in one read.
const PAGE_EVENTS: usize = 1_000;
/// Places of a shard that are looked at in one statement.
const WINDOW_PLACES: u64 = 20_000;

/// A job as it was.
#[derive(Debug)]
pub struct JobAt {
    pub job: Job,
    /// When it had finished, if it had.
    pub finished_at: Option<Timestamp>,
}

/// What the log knows of a job at a time.
#[derive(Debug)]
pub enum JobAsOf {
    /// There is no such job, or its day was archived.
    Unknown,
    /// It was submitted later.
    NotYet {
        submitted_at: Timestamp,
    },
    At(Box<JobAt>),
    /// More than the bound of events would have to be read.
    TooLong,
}

/// What the log knows of a task at a time.
#[derive(Debug)]
pub enum TaskAsOf {
    Unknown,
    /// Its job was submitted later.
    NotYet {
        submitted_at: Timestamp,
    },
    At {
        task: Box<TaskHistory>,
        /// Its job's first event.
        submitted: Box<JobSubmitted>,
        submitted_at: Timestamp,
    },
}

/// What the log knows of some tasks of a job at a time.
#[derive(Debug)]
pub enum TasksAsOf {
    /// There is no such job, or its day was archived.
    Unknown,
    /// The job was submitted later.
    NotYet { submitted_at: Timestamp },
    At {
        /// By number; those that the job has.
        tasks: Vec<TaskHistory>,
        /// The job's first event.
        submitted: Box<JobSubmitted>,
        submitted_at: Timestamp,
    },
    /// More than the bound of events would have to be read.
    TooLong,
}

/// What a job's own stream tells.
#[derive(Clone, Debug)]
pub struct JobStory {
    pub submitted: Box<JobSubmitted>,
    pub submitted_at: Timestamp,
    pub requests: JobRequests,
    /// Who asked for the kill or stop that ended it, or is about to.
    pub ended_by: Option<String>,
    pub finished_at: Option<Timestamp>,
    /// Where its last event stands in the shard's log.
    pub last_seq: Seq,
}

impl Log {
    /// A job's own stream, as it is in the log now; `None`: there is no such job, or its day was archived.
    ///
    /// # Errors
    /// [`Error::UnreadableEvent`] when one of its events cannot be taken in.
    pub async fn job_story(&self, id: JobId) -> Result<Option<JobStory>, Error> {
        let mut story: Option<JobStory> = None;
        let mut version = 0;
        loop {
            let page = self.stream(StreamId::Job(id), version, PAGE_EVENTS).await?;
            for stored in &page.events {
                let (at, event) = read(id, stored)?;
                version = stored.version;
                let principal = stored.header().map(|header| header.principal.into_owned()).ok();
                if let Event::JobSubmitted(submitted) = &event {
                    story = Some(JobStory {
                        submitted: submitted.clone(),
                        submitted_at: at,
                        requests: JobRequests::default(),
                        ended_by: None,
                        finished_at: None,
                        last_seq: stored.position.seq,
                    });
                }
                let Some(story) = &mut story else { continue };
                story.last_seq = stored.position.seq;
                story.requests.apply(version, at, &event);
                match event {
                    Event::JobKillRequested(_) | Event::JobStopRequested(_) => story.ended_by = principal,
                    Event::JobDeadlineReached(_) => story.ended_by = None,
                    Event::JobFinished(_) => story.finished_at = Some(at),
                    Event::JobRetryRequested(_) => story.finished_at = None,
                    _ => {}
                }
            }
            if !page.more {
                return Ok(story);
            }
        }
    }

    /// Event time of the shard's last commit: nothing earlier can be added any more.
    pub async fn last_commit_at(&self, shard: ShardId) -> Result<Timestamp, Error> {
        let pool = self.inner.pool.clone();
        let unit = async move {
            let query = sqlx::query_scalar("SELECT last_at FROM shards WHERE shard = $1").bind(shard.0 as i16);
            let found: Option<i64> = query.fetch_optional(&pool).await?;
            found.map(Timestamp::from_ms).ok_or(Error::UnknownShard(shard))
        };
        self.run("log.last_commit_at", unit).await
    }

    /// A task as of `at`, from its own stream and its job's first event.
    ///
    /// # Errors
    /// [`Error::UnreadableEvent`] when one of its events cannot be taken in.
    pub async fn task_as_of(&self, id: TaskId, at: Timestamp) -> Result<TaskAsOf, Error> {
        let Some((submitted_at, submitted)) = self.submission(id.job).await? else {
            return Ok(TaskAsOf::Unknown);
        };
        if submitted_at > at {
            return Ok(TaskAsOf::NotYet { submitted_at });
        }
        let task = Box::new(self.task_until(id, Some(at)).await?);
        Ok(TaskAsOf::At {
            task,
            submitted,
            submitted_at,
        })
    }

    /// A job's first event, and when that was.
    async fn submission(&self, job: JobId) -> Result<Option<(Timestamp, Box<JobSubmitted>)>, Error> {
        let first = self.stream(StreamId::Job(job), 0, 1).await?;
        let Some(first) = first.events.first() else {
            return Ok(None);
        };
        let (at, event) = read(job, first)?;
        Ok(match event {
            Event::JobSubmitted(submitted) => Some((at, submitted)),
            _ => None,
        })
    }

    /// The tasks of a job from the number `first` to `last` as of `at`, in one statement; reads at most `most_events` of
    /// their events.
    ///
    /// # Errors
    /// [`Error::UnreadableEvent`] when one of these events cannot be taken in.
    pub async fn tasks_as_of(
        &self,
        job: JobId,
        (first, last): (u32, u32),
        at: Timestamp,
        most_events: u32,
    ) -> Result<TasksAsOf, Error> {
        let Some((submitted_at, submitted)) = self.submission(job).await? else {
            return Ok(TasksAsOf::Unknown);
        };
        if submitted_at > at {
            return Ok(TasksAsOf::NotYet { submitted_at });
        }
        let (first, last) = (first.max(1), last.min(submitted.spec.task_count));
        let pool = self.inner.pool.clone();
        let unit = async move { tasks_until(&pool, (job, first, last), at, most_events).await };
        Ok(match self.run("log.tasks_as_of", unit).await? {
            Some(tasks) => TasksAsOf::At {
                tasks,
                submitted,
                submitted_at,
            },
            None => TasksAsOf::TooLong,
        })
    }

    /// A task as it is in the log now.
    ///
    /// # Errors
    /// As [`Log::task_as_of`].
    pub async fn task_now(&self, id: TaskId) -> Result<TaskHistory, Error> {
        self.task_until(id, None).await
    }

    async fn task_until(&self, id: TaskId, until: Option<Timestamp>) -> Result<TaskHistory, Error> {
        let mut task = TaskHistory::new(id.number);
        loop {
            let page = self.stream(StreamId::Task(id), task.version(), PAGE_EVENTS).await?;
            for stored in &page.events {
                if !take(&mut task, id, stored, until)? {
                    return Ok(task);
                }
            }
            if !page.more {
                return Ok(task);
            }
        }
    }

    /// A job as of `at`. Looks at some `most_events` events, its own or, when it has more, those of its shard from its
    /// submission on.
    ///
    /// # Errors
    /// [`Error::UnreadableEvent`] when one of its events cannot be taken in.
    pub async fn job_as_of(
        &self,
        shard: ShardId,
        id: JobId,
        at: Timestamp,
        most_events: u32,
    ) -> Result<JobAsOf, Error> {
        let pool = self.inner.pool.clone();
        let first = self.stream(StreamId::Job(id), 0, 1).await?;
        let Some(first) = first.events.into_iter().next() else {
            return Ok(JobAsOf::Unknown);
        };
        let (submitted_at, _) = read(id, &first)?;
        if submitted_at > at {
            return Ok(JobAsOf::NotYet { submitted_at });
        }
        let unit = async move {
            let mut back = LookingBack {
                id,
                until: at,
                fold: JobFold::empty(),
                finished_at: None,
            };
            let begins = Seq(first.position.seq.0 - 1);
            let whole = has_at_most(&pool, id, most_events).await?;
            let reached = if whole {
                back.all(&pool, shard).await?;
                true
            } else {
                back.from(&pool, shard, begins, most_events).await?
            };
            if !reached {
                return Ok(JobAsOf::TooLong);
            }
            let finished_at = back.finished_at;
            Ok(match back.fold.finish() {
                Ok(Some(job)) => JobAsOf::At(Box::new(JobAt { job, finished_at })),
                Ok(None) => JobAsOf::Unknown,
                Err((position, why)) => return Err(Error::UnreadableEvent { job: id, position, why }),
            })
        };
        self.run("log.job_as_of", unit).await
    }
}

/// Takes in an event of a task; false: it came later than that.
fn take(task: &mut TaskHistory, id: TaskId, stored: &StoredEvent, until: Option<Timestamp>) -> Result<bool, Error> {
    let (at, event) = read(id.job, stored)?;
    if until.is_some_and(|until| at > until) {
        return Ok(false);
    }
    let fact = Fact {
        task: id.number,
        version: stored.version,
        at,
        command: None,
        event: &event,
    };
    task.apply(fact)
        .map_err(|error| unreadable(id.job, stored, error.to_string()))?;
    Ok(true)
}

/// The tasks from `first` to `last`; `None`: they have more events than may be read.
async fn tasks_until(
    pool: &PgPool,
    (job, first, last): (JobId, u32, u32),
    until: Timestamp,
    most_events: u32,
) -> Result<Option<Vec<TaskHistory>>, Error> {
    let mut tasks: Vec<TaskHistory> = (first..=last).map(TaskHistory::new).collect();
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND task BETWEEN $3 AND $4
         ORDER BY task, version LIMIT $5"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(job.day())
        .bind(job.0)
        .bind(first as i32)
        .bind(last as i32)
        .bind(i64::from(most_events) + 1);
    let mut reading = unhurried(pool).await?;
    let mut rows = query.fetch(&mut *reading);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        count += 1;
        if count > most_events {
            return Ok(None);
        }
        let stored = StoredEvent::read(&row)?;
        let number = stored.task();
        let task = number
            .checked_sub(first)
            .and_then(|place| tasks.get_mut(place as usize));
        if let Some(task) = task {
            take(task, TaskId { job, number }, &stored, Some(until))?;
        }
    }
    Ok(Some(tasks))
}

/// Whether the job has no more events than that; counts no further.
async fn has_at_most(pool: &PgPool, job: JobId, most: u32) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM (SELECT FROM events WHERE day = $1 AND job = $2 LIMIT $3) AS found";
    let query = sqlx::query_scalar(sql)
        .bind(job.day())
        .bind(job.0)
        .bind(i64::from(most) + 1);
    let count: i64 = query.fetch_one(pool).await?;
    Ok(count <= i64::from(most))
}

/// A job's fold that stops at a time.
struct LookingBack {
    id: JobId,
    until: Timestamp,
    fold: JobFold,
    finished_at: Option<Timestamp>,
}

impl LookingBack {
    /// False: this event, and so all that follow, came later.
    fn take(&mut self, stored: &StoredEvent) -> Result<bool, Error> {
        let header = stored
            .header()
            .map_err(|error| unreadable(self.id, stored, error.to_string()))?;
        if header.at > self.until {
            return Ok(false);
        }
        let event = header
            .event()
            .map_err(|error| unreadable(self.id, stored, error.to_string()))?;
        self.fold
            .apply(self.id, stored, &header.meta(), &event)
            .map_err(|why| unreadable(self.id, stored, why))?;
        match event {
            Event::JobFinished(_) => self.finished_at = Some(header.at),
            Event::JobRetryRequested(_) => self.finished_at = None,
            _ => {}
        }
        Ok(true)
    }

    /// All events of the job, found by its key.
    async fn all(&mut self, pool: &PgPool, shard: ShardId) -> Result<(), Error> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND shard + 0 = $3 ORDER BY seq");
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(self.id.day())
            .bind(self.id.0)
            .bind(shard.0 as i16);
        let mut reading = unhurried(pool).await?;
        let mut rows = query.fetch(&mut *reading);
        while let Some(row) = rows.try_next().await? {
            if !self.take(&StoredEvent::read(&row)?)? {
                break;
            }
        }
        Ok(())
    }

    /// Those among the next `most` places of the shard; false when the time was not reached there.
    async fn from(&mut self, pool: &PgPool, shard: ShardId, begins: Seq, most: u32) -> Result<bool, Error> {
        // By place and not by job: the job's own key would give all its tasks, to be sorted before the first is seen.
        let sql = format!(
            "SELECT {COLUMNS} FROM events
             WHERE day = $1 AND (job = $2) IS TRUE AND shard = $3 AND seq > $4 AND seq <= $5 ORDER BY seq"
        );
        let last = begins.0 + u64::from(most);
        let mut after = begins.0;
        while after < last {
            let upto = (after + WINDOW_PLACES).min(last);
            let query = sqlx::query(AssertSqlSafe(sql.clone()))
                .bind(self.id.day())
                .bind(self.id.0)
                .bind(shard.0 as i16)
                .bind(after as i64)
                .bind(upto as i64);
            for row in query.fetch_all(pool).await? {
                if !self.take(&StoredEvent::read(&row)?)? {
                    return Ok(true);
                }
            }
            after = upto;
        }
        Ok(false)
    }
}

fn read(job: JobId, stored: &StoredEvent) -> Result<(Timestamp, Event), Error> {
    let header = stored
        .header()
        .map_err(|error| unreadable(job, stored, error.to_string()))?;
    let event = header
        .event()
        .map_err(|error| unreadable(job, stored, error.to_string()))?;
    Ok((header.at, event))
}

fn unreadable(job: JobId, stored: &StoredEvent, why: String) -> Error {
    Error::UnreadableEvent {
        job,
        position: stored.position,
        why,
    }
}
