//! An archive held against itself, and against the commits that the log keeps for ever.
//!
//! Must stay true: it only reads. With the log, whoever changed a file would have to break SHA-256; without it, an archive
//! only proves that it is the one that its manifest and its own hashes tell of.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use serde::Serialize;
use sqlx::{PgPool, Row};

use super::folder::Day;
use super::read::{ArchivedCommit, DayReader, Step, Wrong};
use super::write::{StoredCommit, commits};
use super::{ArchiveError, Folder};
use crate::domain::{Position, Seq, ShardId};
use crate::log::Log;
use crate::log::connect::unhurried;

/// Differences that are listed; more are counted.
const MOST_LISTED: usize = 1_000;

/// One difference, with the place where it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveDifference {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    pub expected: String,
    pub found: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveCheck {
    pub days: u64,
    pub events: u64,
    pub commits: u64,
    /// Whether the commits were held against those of the log.
    pub with_log: bool,
    /// Days that the log has dropped, and that this folder does not have.
    pub elsewhere: Vec<String>,
    pub differences: Vec<ArchiveDifference>,
    /// Those that are not listed included.
    pub differences_total: u64,
}

impl ArchiveCheck {
    pub const fn is_clean(&self) -> bool {
        self.differences_total == 0
    }

    fn add(&mut self, file: &str, place: Option<Position>, expected: impl Into<String>, found: impl Into<String>) {
        self.differences_total += 1;
        if self.differences.len() < MOST_LISTED {
            self.differences.push(ArchiveDifference {
                file: file.to_owned(),
                shard: place.map(|place| place.shard),
                seq: place.map(|place| place.seq.0),
                expected: expected.into(),
                found: found.into(),
            });
        }
    }

    fn wrong(&mut self, file: &str, wrong: Wrong) {
        self.add(file, wrong.place, wrong.expected, wrong.found);
    }
}

/// Of a shard's commits with events of a day: the first and the last place.
#[derive(Clone, Copy, Debug)]
struct Kept {
    first: u64,
    last: u64,
}

/// Which commits of the log have events of which days.
#[derive(Debug, Default)]
pub struct KeptDays(BTreeMap<i32, BTreeMap<ShardId, Kept>>);

impl Folder {
    /// Holds all days that the manifest lists against themselves, and against the log when there is one.
    ///
    /// # Errors
    /// When it cannot be checked. Differences are no error.
    pub async fn check(&self, log: Option<&Log>) -> Result<ArchiveCheck, ArchiveError> {
        let mut check = ArchiveCheck {
            with_log: log.is_some(),
            ..ArchiveCheck::default()
        };
        let mut kept = KeptDays::default();
        if let Some(log) = log {
            let days: Vec<i32> = self.days().iter().map(|day| day.day).collect();
            kept = KeptDays::read(log, &days).await?;
            let retired = sqlx::query_scalar("SELECT day FROM retired_days WHERE events > 0 ORDER BY day");
            let retired: Vec<i32> = retired.fetch_all(log.pool()).await?;
            let elsewhere = retired.into_iter().filter(|day| self.day(*day).is_none());
            check.elsewhere = elsewhere.map(super::date).collect();
        }
        for name in self.unlisted()? {
            check.add(&name, None, "a file that the manifest lists", "one that it does not");
        }
        for day in self.days() {
            let source = log.map(|log| Source::new(log, day.day, &mut kept));
            self.check_listed(day, source, &mut check).await?;
        }
        Ok(check)
    }

    /// Reads the file of one day back, and holds it against the log: what the manifest may list of it, or what is wrong.
    ///
    /// # Errors
    /// When it cannot be checked.
    pub async fn check_day(
        &self,
        (log, kept): (&Log, &mut KeptDays),
        day: i32,
    ) -> Result<(Day, ArchiveCheck), ArchiveError> {
        let mut check = ArchiveCheck {
            with_log: true,
            ..ArchiveCheck::default()
        };
        let source = Source::new(log, day, kept);
        let path = self.file_of(day);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reader = DayReader::open(&path, day)?;
        let (sum, head) = walk(reader, &name, Some(source), &mut check).await?;
        let day = Day {
            date: super::date(day),
            day,
            file: name,
            bytes: sum.bytes,
            sha256: sum.sha256,
            events: sum.events,
            commits: sum.commits,
            timeline: head.as_ref().map(|head| head.timeline).unwrap_or_default(),
            log_format: head.map_or(0, |head| head.log_format),
        };
        Ok((day, check))
    }

    /// Whether the file of a listed day is the one that the manifest lists, byte for byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_as_listed(&self, day: &Day) -> Result<bool, ArchiveError> {
        use sha2::{Digest, Sha256};
        let path = self.file_of(day.day);
        let mut sha = Sha256::new();
        let mut hash = || io::copy(&mut std::fs::File::open(&path)?, &mut HashWriter(&mut sha));
        let read = hash();
        match read {
            Ok(bytes) => Ok(bytes == day.bytes && sha.finalize()[..] == day.sha256.0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ArchiveError::file(&path)(error)),
        }
    }

    async fn check_listed(
        &self,
        day: &Day,
        source: Option<Source<'_>>,
        check: &mut ArchiveCheck,
    ) -> Result<(), ArchiveError> {
        let name = &day.file;
        let reader = match DayReader::open(&self.file_of(day.day), day.day) {
            Err(ArchiveError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                check.add(name, None, "a file", "none");
                return Ok(());
            }
            other => other?,
        };
        check.days += 1;
        let (sum, head) = walk(reader, name, source, check).await?;
        if (sum.bytes, sum.sha256) != (day.bytes, day.sha256) {
            check.add(
                name,
                None,
                format!("{} bytes with SHA-256 {}", day.bytes, day.sha256),
                format!("{} bytes with SHA-256 {}", sum.bytes, sum.sha256),
            );
        }
        if (sum.events, sum.commits) != (day.events, day.commits) {
            check.add(
                name,
                None,
                format!("{} events of {} commits", day.events, day.commits),
                format!("{} events of {} commits", sum.events, sum.commits),
            );
        }
        if let Some(head) = head.filter(|head| (head.timeline, head.log_format) != (day.timeline, day.log_format)) {
            check.add(
                name,
                None,
                format!("timeline {} and log format {}", day.timeline, day.log_format),
                format!("timeline {} and log format {}", head.timeline, head.log_format),
            );
        }
        Ok(())
    }
}

struct HashWriter<'a>(&'a mut sha2::Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a file to its end, and holds it against the log's commits.
async fn walk(
    mut reader: DayReader,
    name: &str,
    mut source: Option<Source<'_>>,
    check: &mut ArchiveCheck,
) -> Result<(super::read::Sum, Option<super::lines::Head>), ArchiveError> {
    loop {
        match reader.step() {
            Step::Commit(commit) => {
                if let Some(source) = &mut source {
                    source.take(&commit, name, check).await?;
                }
            }
            Step::Wrong(wrong) => check.wrong(name, wrong),
            Step::End => break,
        }
    }
    if let Some(source) = &mut source {
        source.finish(name, check).await?;
    }
    let sum = reader.sum();
    check.events += sum.events;
    check.commits += sum.commits;
    Ok((sum, reader.head().cloned()))
}

impl KeptDays {
    /// By one look at all commits.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn read(log: &Log, days: &[i32]) -> Result<Self, ArchiveError> {
        if days.is_empty() {
            return Ok(Self::default());
        }
        let mut reading = unhurried(log.pool()).await?;
        let sums = "SELECT d.day, b.shard, min(b.first_seq), max(b.last_seq) FROM batches b, unnest(b.days) AS d(day)
                    WHERE b.days && $1 AND d.day = ANY($1) GROUP BY 1, 2";
        let rows = sqlx::query(sums).bind(days).fetch_all(&mut *reading).await?;
        let mut kept = Self::default();
        for row in rows {
            let sum = Kept {
                first: row.try_get::<i64, _>(2)? as u64,
                last: row.try_get::<i64, _>(3)? as u64,
            };
            let shard = ShardId(row.try_get::<i16, _>(1)? as u16);
            kept.0.entry(row.try_get(0)?).or_default().insert(shard, sum);
        }
        Ok(kept)
    }
}

/// The log's commits with events of a day, shard by shard, in order.
struct Source<'a> {
    pool: &'a PgPool,
    day: i32,
    /// Shards that have not been come to yet.
    left: BTreeMap<ShardId, Kept>,
    /// The shard at hand, from where on its commits are not read yet, and up to where there are any.
    shard: Option<(ShardId, u64, u64)>,
    ahead: VecDeque<StoredCommit>,
}

impl<'a> Source<'a> {
    fn new(log: &'a Log, day: i32, kept: &mut KeptDays) -> Self {
        Self {
            pool: log.pool(),
            day,
            left: kept.0.remove(&day).unwrap_or_default(),
            shard: None,
            ahead: VecDeque::new(),
        }
    }

    /// The next commit of the shard at hand.
    async fn peek(&mut self) -> Result<Option<&StoredCommit>, sqlx::Error> {
        if self.ahead.is_empty()
            && let Some((shard, after, upto)) = &mut self.shard
            && *after < *upto
        {
            let page = commits(self.pool, (*shard, self.day), (*after, *upto)).await?;
            *after = page.last().map_or(*upto, |last| last.last);
            self.ahead = page.into();
        }
        Ok(self.ahead.front())
    }

    /// Everything that the log has before this shard and place is missing in the file.
    async fn skip_to(
        &mut self,
        to: Option<(ShardId, u64)>,
        name: &str,
        check: &mut ArchiveCheck,
    ) -> Result<(), sqlx::Error> {
        loop {
            if let Some((shard, ..)) = self.shard {
                let reached = |stored: &StoredCommit| to.is_some_and(|to| (shard, stored.first) >= to);
                while let Some(stored) = self.peek().await? {
                    if reached(stored) {
                        return Ok(());
                    }
                    let place = Position {
                        shard,
                        seq: Seq(stored.first),
                    };
                    check.add(name, Some(place), format!("the commit {}", told(stored)), "none");
                    self.ahead.pop_front();
                }
            }
            let next = self.left.first_key_value().map(|(shard, kept)| (*shard, *kept));
            match next {
                Some((shard, kept)) if to.is_none_or(|(to, _)| shard <= to) => {
                    self.left.remove(&shard);
                    self.shard = Some((shard, kept.first - 1, kept.last));
                }
                _ => return Ok(()),
            }
        }
    }

    async fn take(&mut self, commit: &ArchivedCommit, name: &str, check: &mut ArchiveCheck) -> Result<(), sqlx::Error> {
        let at = (commit.shard, commit.first);
        self.skip_to(Some(at), name, check).await?;
        let place = Some(Position {
            shard: commit.shard,
            seq: Seq(commit.first),
        });
        let at_hand = self.shard.is_some_and(|(shard, ..)| shard == commit.shard);
        let same_place = at_hand && self.ahead.front().is_some_and(|stored| stored.first == commit.first);
        if !same_place {
            check.add(name, place, "no such commit in the log", commit.hash.to_string());
            return Ok(());
        }
        if let Some(stored) = self.ahead.pop_front() {
            let same = (stored.last, stored.previous, stored.hash, &stored.parts)
                == (commit.last, commit.previous, commit.hash, &commit.parts);
            if !same {
                let found = format!(
                    "up to {}, {} after {}: {}",
                    commit.last,
                    commit.hash,
                    commit.previous,
                    String::from_utf8_lossy(&commit.parts)
                );
                check.add(name, place, format!("the commit {}", told(&stored)), found);
            }
        }
        Ok(())
    }

    async fn finish(&mut self, name: &str, check: &mut ArchiveCheck) -> Result<(), sqlx::Error> {
        self.skip_to(None, name, check).await
    }
}

fn told(stored: &StoredCommit) -> String {
    format!(
        "up to {}, {} after {}: {}",
        stored.last,
        stored.hash,
        stored.previous,
        String::from_utf8_lossy(&stored.parts)
    )
}
