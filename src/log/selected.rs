//! Reading a part of a shard's events in order: for those who follow one job, one task, the workers, or everything.
//!
//! Must stay true: a page tells how far it has looked, so that who reads on misses nothing and asks for nothing twice.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

use super::reader::ShardPage;
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::{JobId, Seq, ShardId, TaskId};

/// Which events of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selection {
    Everything,
    /// Of a job and its tasks.
    Job(JobId),
    Task(TaskId),
    /// Of all workers.
    Workers,
}

impl Log {
    /// Up to `limit` of the selected events with `after < seq <= upto`, in order. `through` of the page is `upto` when
    /// there are no more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn selected_after(
        &self,
        selection: Selection,
        shard: ShardId,
        (after, upto): (Seq, Seq),
        limit: usize,
    ) -> Result<ShardPage, Error> {
        let condition = match selection {
            Selection::Everything => return self.everything_after(shard, (after, upto), limit).await,
            Selection::Job(_) => "day = $5 AND job = $6 AND NOT worker",
            Selection::Task(_) => "day = $5 AND job = $6 AND task = $7 AND NOT worker",
            Selection::Workers => "worker",
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM events
             WHERE shard = $1 AND seq > $2 AND seq <= $3 AND {condition} ORDER BY seq LIMIT $4"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(shard.0 as i16)
            .bind(after.0 as i64)
            .bind(upto.0 as i64)
            .bind(limit as i64);
        let query = match selection {
            Selection::Everything | Selection::Workers => query,
            Selection::Job(job) => query.bind(job.day()).bind(job.0),
            Selection::Task(task) => query.bind(task.job.day()).bind(task.job.0).bind(task.number as i32),
        };
        let rows = self.rows(query).await?;
        let events: Vec<StoredEvent> = rows.iter().map(StoredEvent::read).collect::<Result<_, _>>()?;
        let through = match events.last() {
            Some(event) if events.len() == limit => event.position.seq,
            _ => upto,
        };
        Ok(ShardPage { events, through })
    }

    async fn rows(&self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        let pool = self.pool().clone();
        let unit = async move { Ok(query.fetch_all(&pool).await?) };
        self.run("log.selected_after", unit).await
    }

    async fn everything_after(
        &self,
        shard: ShardId,
        (after, upto): (Seq, Seq),
        limit: usize,
    ) -> Result<ShardPage, Error> {
        let mut page = self.events_after(shard, after, limit).await?;
        if page.through == after {
            // Nothing is there: what lies between was dropped with its day.
            page.through = upto;
        }
        page.events.retain(|event| event.position.seq <= upto);
        page.through = page.through.min(upto);
        Ok(page)
    }

    /// Where the shards stand: the last committed event of each, by shard.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_seqs(&self) -> Result<Vec<(ShardId, Seq)>, Error> {
        let heads = self.heads().await?;
        Ok(heads
            .into_iter()
            .map(|head| (head.shard, Seq(head.next_seq.0.saturating_sub(1))))
            .collect())
    }
}
