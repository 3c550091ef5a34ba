//! Identities: of jobs, tasks, workers, attempts, shards and places in the log.
//!
//! Text forms are `job-<uuid>`, `task-<job uuid>-<number>`, `worker-<name or uuid>`; the prefix is optional when read.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::Timestamp;

/// An id that cannot be read: says which kind was expected and what was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} id: {why}")]
pub struct IdError {
    pub kind: &'static str,
    pub text: String,
    pub why: &'static str,
}

fn id_error(kind: &'static str, text: &str, why: &'static str) -> IdError {
    IdError {
        kind,
        text: text.chars().take(100).collect(),
        why,
    }
}

/// A job: a version 7 uuid, whose time is the day of the partition that holds its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub Uuid);

impl JobId {
    /// The time inside the v7 uuid, to the millisecond.
    pub fn created_at(self) -> Timestamp {
        let bytes = self.0.as_bytes();
        let ms = bytes[..6].iter().fold(0_i64, |ms, byte| (ms << 8) | i64::from(*byte));
        Timestamp::from_ms(ms)
    }

    /// Days since 1970-01-01 of the id's time: the log's partition.
    pub fn day(self) -> i32 {
        self.created_at().day()
    }

    /// The shard that holds the job's history, of `shards` in all. The same for every process and every version.
    pub fn shard(self, shards: u16) -> ShardId {
        ShardId((fold_hash(self.0.as_bytes()) % u64::from(shards.max(1))) as u16)
    }
}

/// FNV-1a, 64 bit (http://www.isthe.com/chongo/tech/comp/fnv/): fixed for ever, since shards are chosen by it.
fn fold_hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV's low bits are weak for inputs that differ late; the high half is mixed in.
    hash ^ (hash >> 32)
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bare = text.strip_prefix("job-").unwrap_or(text);
        let uuid = parse_uuid(bare).ok_or_else(|| id_error("job", text, "expected job-<uuid>"))?;
        Ok(Self(uuid))
    }
}

/// Accepts the hyphenated form only.
fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    Uuid::try_parse(text).ok()
}

/// A task of a job: numbers start at 1, in document order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub job: JobId,
    pub number: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task-{}-{}", self.job.0, self.number)
    }
}

impl FromStr for TaskId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = |why| id_error("task", text, why);
        let bare = text.strip_prefix("task-").unwrap_or(text);
        let (job, number) = bare
            .rsplit_once('-')
            .ok_or_else(|| wrong("expected task-<job uuid>-<number>"))?;
        let job = parse_uuid(job).ok_or_else(|| wrong("expected task-<job uuid>-<number>"))?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) || number.starts_with('0') {
            return Err(wrong("its number is a whole number from 1"));
        }
        let number = number
            .parse()
            .map_err(|_| wrong("its number is a whole number from 1"))?;
        Ok(Self {
            job: JobId(job),
            number,
        })
    }
}

/// A worker's name, without its prefix: 1 to 100 of letters, digits, `.`, `_`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerName(Arc<str>);

impl WorkerName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of `count` partitions or shards belongs to this worker.
    pub fn slot(&self, count: u16) -> u16 {
        (fold_hash(self.0.as_bytes()) % u64::from(count.max(1))) as u16
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{}", self.0)
    }
}

impl FromStr for WorkerName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bare = text.strip_prefix("worker-").unwrap_or(text);
        let fits = (1..=100).contains(&bare.len())
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(bare.into()))
        } else {
            Err(id_error(
                "worker",
                text,
                "expected worker-<name> with 1 to 100 of letters, digits, '.', '_', '-'",
            ))
        }
    }
}

macro_rules! serde_as_text {
    ($($id:ty),*) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(JobId, TaskId, WorkerName);

impl JsonSchema for WorkerName {
    fn schema_name() -> Cow<'static, str> {
        "WorkerId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "worker-<name>",
            "type": "string",
            "pattern": "^worker-[A-Za-z0-9._-]{1,100}$",
        })
    }
}

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($inner:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

number! {
    /// One try at a task: rises at every scheduling, from 1, never reset. 0: not yet scheduled.
    Attempt(u32),
    /// A shard: one partition of the commands and reports, one writer.
    ShardId(u16),
    /// The fence of a shard: rises at every claim; a commit under an earlier one is refused.
    Epoch(u64),
    /// Place of an event within its shard, from 1, gapless.
    Seq(u64),
    /// One process start of a worker or jobmaster (a v7 uuid): the later one is the greater.
    Incarnation(Uuid),
}

/// Place of an event in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub shard: ShardId,
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0198c2a0-7c00-7000-8000-000000000001";

    #[test]
    fn ids_are_read_with_and_without_prefix() {
        let job: JobId = JOB.parse().unwrap();
        assert_eq!(format!("job-{JOB}").parse::<JobId>().unwrap(), job);
        assert_eq!(job.to_string(), format!("job-{JOB}"));
        let task: TaskId = format!("task-{JOB}-12").parse().unwrap();
        assert_eq!(task, TaskId { job, number: 12 });
        assert_eq!(format!("{JOB}-12").parse::<TaskId>().unwrap(), task);
        assert_eq!(
            "worker-a.b_c-1".parse::<WorkerName>().unwrap().to_string(),
            "worker-a.b_c-1"
        );
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in ["", "job-", "job-1", "job-0198c2a07c0070008000000000000001", "task-1"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        for text in [
            format!("task-{JOB}"),
            format!("task-{JOB}-0"),
            format!("task-{JOB}-01"),
            format!("task-{JOB}-x"),
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        for text in ["", "worker-", "worker-a b", "worker-é"] {
            assert!(text.parse::<WorkerName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_day_is_that_of_the_uuid() {
        let job: JobId = JOB.parse().unwrap();
        assert_eq!(job.created_at().as_ms(), 0x0198_c2a0_7c00);
    }

    #[test]
    fn shards_are_spread_and_fixed() {
        let mut counts = [0_u32; 64];
        for low in 0..6400_u128 {
            counts[usize::from(JobId(Uuid::from_u128((0x0198_c2a0_7c00 << 80) + low)).shard(64).0)] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
        assert_eq!(JOB.parse::<JobId>().unwrap().shard(64), ShardId(21));
    }
}
