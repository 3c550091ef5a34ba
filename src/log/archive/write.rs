//! Writing the file of a day.
//!
//! Must stay true: it is written beside its name, put on the disk, and named at the end; a day that is still written to is
//! not archived, which its closing sees to.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use super::lines::{CommitLine, End, EventLine, FORMAT, Head, Line};
use super::{ArchiveError, Folder, date};
use crate::domain::ShardId;
use crate::log::chain::Hash;
use crate::log::stored::COLUMNS;
use crate::log::{Log, StoredEvent};

const PAGE_EVENTS: i64 = 5_000;
const PAGE_COMMITS: i64 = 2_000;
const LEVEL: i32 = 6;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub events: u64,
    pub commits: u64,
    pub bytes: u64,
    pub sha256: Hash,
}

/// Everything that is written goes through the hash.
struct Hashing {
    to: BufWriter<File>,
    sha: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.to.write(buffer)?;
        self.sha.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A commit that has events of the day, as it stands in the log.
pub(super) struct StoredCommit {
    pub first: u64,
    pub last: u64,
    pub previous: Hash,
    pub hash: Hash,
    pub parts: Vec<u8>,
}

/// Up to so many of a shard's commits with events of a day, after a place and up to another.
pub(super) async fn commits(
    pool: &PgPool,
    (shard, day): (ShardId, i32),
    (after, upto): (u64, u64),
) -> Result<Vec<StoredCommit>, sqlx::Error> {
    let page = "SELECT first_seq, last_seq, prev_hash, hash, parts FROM batches
                WHERE shard = $1 AND last_seq > $2 AND first_seq <= $3 AND days @> ARRAY[$4] ORDER BY last_seq LIMIT $5";
    let rows = sqlx::query(page)
        .bind(shard.0 as i16)
        .bind(after as i64)
        .bind(upto as i64)
        .bind(day)
        .bind(PAGE_COMMITS)
        .fetch_all(pool)
        .await?;
    let read = |row: &PgRow| {
        Ok(StoredCommit {
            first: row.try_get::<i64, _>(0)? as u64,
            last: row.try_get::<i64, _>(1)? as u64,
            previous: Hash::from_slice(row.try_get(2)?).unwrap_or_default(),
            hash: Hash::from_slice(row.try_get(3)?).unwrap_or_default(),
            parts: row.try_get(4)?,
        })
    };
    rows.iter().map(read).collect()
}

/// A file while it is written. Dropped before its end, it is taken away.
struct Writer {
    path: PathBuf,
    to: Option<zstd::Encoder<'static, Hashing>>,
    end: End,
    line: Vec<u8>,
}

impl Writer {
    fn create(path: PathBuf) -> Result<Self, ArchiveError> {
        let open = || {
            let to = Hashing {
                to: BufWriter::new(File::create(&path)?),
                sha: Sha256::new(),
                bytes: 0,
            };
            let mut encoder = zstd::Encoder::new(to, LEVEL)?;
            encoder.include_checksum(true)?;
            Ok(encoder)
        };
        let to = Some(open().map_err(ArchiveError::file(&path))?);
        let (end, line) = (End::default(), Vec::new());
        Ok(Self { path, to, end, line })
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), ArchiveError> {
        match line {
            Line::Commit(_) => self.end.commits += 1,
            Line::Event(_) => self.end.events += 1,
            Line::Archive(_) | Line::End(_) => {}
        }
        self.line.clear();
        let (text, to) = (&mut self.line, &mut self.to);
        let written = serde_json::to_writer(&mut *text, line)
            .map_err(io::Error::from)
            .and_then(|()| {
                text.push(b'\n');
                to.as_mut().map_or(Ok(()), |to| to.write_all(text))
            });
        written.map_err(ArchiveError::file(&self.path))
    }

    /// It is whole, and on the disk.
    fn finish(mut self, folder: &Folder, day: i32) -> Result<Written, ArchiveError> {
        self.write(&Line::End(self.end))?;
        let Some(encoder) = self.to.take() else {
            return Err(ArchiveError::file(&self.path)(io::ErrorKind::BrokenPipe.into()));
        };
        let close = || -> io::Result<Hashing> {
            let mut hashing = encoder.finish()?;
            hashing.flush()?;
            hashing.to.get_ref().sync_all()?;
            Ok(hashing)
        };
        let hashing = close().map_err(ArchiveError::file(&self.path))?;
        folder.name(day, &self.path)?;
        Ok(Written {
            events: self.end.events,
            commits: self.end.commits,
            bytes: hashing.bytes,
            sha256: Hash(hashing.sha.finalize().into()),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Once it has its name, there is none beside it.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Log {
    /// Writes the file of a day that is closed. One that is there is written anew.
    ///
    /// # Errors
    /// When it cannot be written, or the log's events and commits do not fit together. Nothing is left behind.
    pub async fn write_day(&self, folder: &Folder, day: i32, timeline: Uuid) -> Result<Written, ArchiveError> {
        let pool = self.pool();
        let meta = sqlx::query("SELECT shards, log_format FROM log_meta")
            .fetch_one(pool)
            .await?;
        let (shards, log_format): (i16, i32) = (meta.try_get(0)?, meta.try_get(1)?);
        let mut part = folder.file_of(day).into_os_string();
        part.push(".part");
        let mut writer = Writer::create(PathBuf::from(part))?;
        writer.write(&Line::Archive(Head {
            format: FORMAT,
            day,
            date: date(day),
            timeline,
            shards: shards as u16,
            log_format,
        }))?;
        for shard in 0..shards as u16 {
            write_shard(pool, &mut writer, ShardId(shard), day).await?;
        }
        writer.finish(folder, day)
    }
}

/// Places of the first and the last event that a shard has of the day.
pub(super) async fn bounds(pool: &PgPool, shard: ShardId, day: i32) -> Result<Option<(u64, u64)>, sqlx::Error> {
    let row = sqlx::query("SELECT min(seq), max(seq) FROM events WHERE day = $1 AND shard = $2")
        .bind(day)
        .bind(shard.0 as i16)
        .fetch_one(pool)
        .await?;
    let (first, last): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    Ok(first.zip(last).map(|(first, last)| (first as u64, last as u64)))
}

async fn write_shard(pool: &PgPool, writer: &mut Writer, shard: ShardId, day: i32) -> Result<(), ArchiveError> {
    let Some((first, last)) = bounds(pool, shard, day).await? else {
        return Ok(());
    };
    let mut ahead = std::collections::VecDeque::new();
    let (mut read_to, mut covered) = (first - 1, 0..=0);
    let mut after = first - 1;
    loop {
        let page = events(pool, (shard, day), (after, last)).await?;
        for stored in &page {
            let seq = stored.position.seq.0;
            while seq > *covered.end() {
                if ahead.is_empty() {
                    ahead.extend(commits(pool, (shard, day), (read_to, last)).await?);
                }
                let Some(commit) = ahead.pop_front() else { break };
                (read_to, covered) = (commit.last, commit.first..=commit.last);
                write_commit(writer, shard, &commit)?;
            }
            if !covered.contains(&seq) {
                return Err(ArchiveError::Log {
                    place: format!("{}/{seq}", shard.0),
                    why: "an event that no commit covers".to_owned(),
                });
            }
            writer.write(&Line::Event(EventLine::of(stored)))?;
        }
        match page.last() {
            Some(stored) if page.len() == PAGE_EVENTS as usize => after = stored.position.seq.0,
            _ => return Ok(()),
        }
    }
}

fn write_commit(writer: &mut Writer, shard: ShardId, commit: &StoredCommit) -> Result<(), ArchiveError> {
    let parts = std::str::from_utf8(&commit.parts).map_err(|error| ArchiveError::Log {
        place: format!("{}/{}", shard.0, commit.first),
        why: format!("the parts of a commit are no text: {error}"),
    })?;
    writer.write(&Line::Commit(CommitLine {
        shard: shard.0,
        first_seq: commit.first,
        last_seq: commit.last,
        prev_hash: commit.previous,
        hash: commit.hash,
        parts: parts.into(),
    }))
}

async fn events(
    pool: &PgPool,
    (shard, day): (ShardId, i32),
    (after, upto): (u64, u64),
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let page = format!(
        "SELECT {COLUMNS} FROM events WHERE day = $1 AND shard = $2 AND seq > $3 AND seq <= $4 ORDER BY seq LIMIT $5"
    );
    let rows = sqlx::query(AssertSqlSafe(page))
        .bind(day)
        .bind(shard.0 as i16)
        .bind(after as i64)
        .bind(upto as i64)
        .bind(PAGE_EVENTS)
        .fetch_all(pool)
        .await?;
    rows.iter().map(StoredEvent::read).collect()
}
