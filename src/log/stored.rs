//! An event as it stands in the log.

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::{Incarnation, JobId, Position, Seq, ShardId, StreamId, TaskId};
use crate::event::{EventHeader, Unreadable};

/// The columns that [`StoredEvent::read`] takes, in this order.
pub(super) const COLUMNS: &str = "shard, seq, day, job, task, version, worker, payload";

/// A row of the log: its key, its place, and its bytes as they were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub position: Position,
    pub stream: StreamId,
    pub version: u32,
    pub day: i32,
    pub payload: Bytes,
}

impl StoredEvent {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let id: Uuid = row.try_get(3)?;
        let task = row.try_get::<i32, _>(4)? as u32;
        let stream = match (row.try_get(6)?, task) {
            (true, _) => StreamId::Worker(Incarnation(id)),
            (false, 0) => StreamId::Job(JobId(id)),
            (false, number) => StreamId::Task(TaskId { job: JobId(id), number }),
        };
        let shard = ShardId(row.try_get::<i16, _>(0)? as u16);
        let seq = Seq(row.try_get::<i64, _>(1)? as u64);
        Ok(Self {
            position: Position { shard, seq },
            stream,
            version: row.try_get::<i32, _>(5)? as u32,
            day: row.try_get(2)?,
            payload: Bytes::from(row.try_get::<Vec<u8>, _>(7)?),
        })
    }

    /// The envelope around the event.
    pub fn header(&self) -> Result<EventHeader<'_>, Unreadable> {
        EventHeader::read(&self.payload)
    }

    /// The job that it belongs to; `None` for a worker's.
    pub fn job(&self) -> Option<JobId> {
        match self.stream {
            StreamId::Job(job) => Some(job),
            StreamId::Task(task) => Some(task.job),
            StreamId::Worker(_) => None,
        }
    }

    /// 0: the job itself, or a worker.
    pub fn task(&self) -> u32 {
        self.stream.columns().1
    }
}
