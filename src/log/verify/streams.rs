//! The events of a shard as histories: versions, legal transitions, time, day; and snapshots against the fold.
//!
//! Must stay true: memory holds the jobs that are under way, not those at rest; a job that comes back from rest is folded
//! anew from its first event.

use std::collections::{HashMap, HashSet};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

use super::Witness;
use super::difference::{Difference, DifferenceKind, Differences};
use crate::domain::{Event, Incarnation, Job, JobId, Seq, ShardId, StreamId, Timestamp};
use crate::event::EventRecord;
use crate::log::connect::unhurried;
use crate::log::fold::JobFold;
use crate::log::snapshot::StoredSnapshot;
use crate::log::stored::COLUMNS;
use crate::log::{Error, StoredEvent};

/// Jobs at rest that are compared and dropped together.
const RESTING_JOBS: usize = 512;

struct Followed {
    fold: JobFold,
    /// An event could not be taken in; said once, the rest of the job is passed over.
    broken: bool,
    resting: bool,
}

/// Takes the shard's events in order.
pub(super) struct StreamCheck {
    pool: PgPool,
    shard: ShardId,
    shards: u16,
    witness: Option<Box<dyn Witness>>,
    jobs: HashMap<JobId, Followed>,
    resting: Vec<JobId>,
    /// Compared and dropped.
    done: HashSet<JobId>,
    /// Differences of jobs that are done: void when the job comes back.
    of_done: HashMap<JobId, Vec<Difference>>,
    /// Snapshots that were not compared yet.
    snapshots: HashMap<JobId, Seq>,
    workers: HashMap<Incarnation, u32>,
    latest: Timestamp,
    some_days_retired: bool,
    pub jobs_seen: u64,
}

impl StreamCheck {
    pub async fn new(
        pool: PgPool,
        shard: ShardId,
        shards: u16,
        head: Seq,
        some_days_retired: bool,
        witness: Option<Box<dyn Witness>>,
    ) -> Result<Self, Error> {
        let known = "SELECT job, seq FROM snapshots WHERE shard = $1 AND schema = $2 AND seq <= $3";
        let query = sqlx::query(known)
            .bind(shard.0 as i16)
            .bind(crate::domain::SNAPSHOT_SCHEMA as i16);
        let rows = query.bind(head.0 as i64).fetch_all(&pool).await?;
        let snapshot = |row: &sqlx::postgres::PgRow| {
            Ok::<_, sqlx::Error>((JobId(row.try_get(0)?), Seq(row.try_get::<i64, _>(1)? as u64)))
        };
        let snapshots = rows.iter().map(snapshot).collect::<Result<_, _>>()?;
        Ok(Self {
            pool,
            shard,
            shards,
            witness,
            jobs: HashMap::new(),
            resting: Vec::new(),
            done: HashSet::new(),
            of_done: HashMap::new(),
            snapshots,
            workers: HashMap::new(),
            latest: Timestamp::ZERO,
            some_days_retired,
            jobs_seen: 0,
        })
    }

    /// The next event.
    pub async fn take(&mut self, stored: &StoredEvent, found: &mut Differences) -> Result<(), Error> {
        let record = match read(stored) {
            Ok(record) => record,
            Err(why) => {
                found.add(Difference::of_event(
                    DifferenceKind::Unreadable,
                    stored,
                    "a readable event",
                    why,
                ));
                if let Some(job) = stored.job() {
                    self.follow(job).broken = true;
                }
                return Ok(());
            }
        };
        self.check_place(stored, &record, found);
        match stored.job() {
            Some(job) => self.take_of_job(job, stored, &record, found).await?,
            None => self.take_of_worker(stored, &record, found),
        }
        if self.resting.len() >= RESTING_JOBS {
            self.drop_resting(found).await?;
        }
        Ok(())
    }

    fn follow(&mut self, job: JobId) -> &mut Followed {
        self.jobs.entry(job).or_insert_with(|| {
            self.jobs_seen += 1;
            Followed {
                fold: JobFold::empty(),
                broken: false,
                resting: false,
            }
        })
    }

    fn check_place(&mut self, stored: &StoredEvent, record: &EventRecord, found: &mut Differences) {
        if record.meta.at < self.latest {
            let earliest = format!("{} or later", self.latest);
            found.add(Difference::of_event(
                DifferenceKind::Time,
                stored,
                earliest,
                record.meta.at.to_string(),
            ));
        }
        self.latest = self.latest.max(record.meta.at);
        if record.day() != stored.day {
            let (expected, got) = (format!("day {}", record.day()), format!("day {}", stored.day));
            found.add(Difference::of_event(DifferenceKind::Day, stored, expected, got));
        }
        let shard = match &record.event {
            Event::WorkerRegistered(registered) => registered.worker.slot(self.shards),
            Event::WorkerLeft(left) => left.worker.slot(self.shards),
            Event::WorkerCordoned(event) => event.worker.slot(self.shards),
            Event::WorkerUncordoned(event) => event.worker.slot(self.shards),
            Event::WorkerDrainRequested(event) => event.worker.slot(self.shards),
            _ => match stored.job() {
                Some(job) => job.shard(self.shards).0,
                None => return,
            },
        };
        if shard != self.shard.0 {
            let (expected, got) = (format!("shard {shard}"), format!("shard {}", self.shard));
            found.add(Difference::of_event(DifferenceKind::Shard, stored, expected, got));
        }
    }

    fn take_of_worker(&mut self, stored: &StoredEvent, record: &EventRecord, found: &mut Differences) {
        let StreamId::Worker(incarnation) = stored.stream else {
            return;
        };
        let before = self.workers.get(&incarnation).copied();
        let next = before.unwrap_or(0) + 1;
        // The beginning may have gone with a dropped day.
        if stored.version != next && !(before.is_none() && self.some_days_retired) {
            let (expected, got) = (format!("version {next}"), format!("version {}", stored.version));
            found.add(Difference::of_event(DifferenceKind::Version, stored, expected, got));
        }
        self.workers.insert(incarnation, stored.version);
        if !matches!(
            record.event,
            Event::WorkerRegistered(_)
                | Event::WorkerLeft(_)
                | Event::WorkerCordoned(_)
                | Event::WorkerUncordoned(_)
                | Event::WorkerDrainRequested(_)
        ) {
            let got = record.event.type_name();
            found.add(Difference::of_event(
                DifferenceKind::Transition,
                stored,
                "an event of a worker",
                got,
            ));
        }
        if let Some(witness) = &mut self.witness {
            witness.event(stored, record);
        }
    }

    async fn take_of_job(
        &mut self,
        id: JobId,
        stored: &StoredEvent,
        record: &EventRecord,
        found: &mut Differences,
    ) -> Result<(), Error> {
        if self.done.remove(&id) {
            self.of_done.remove(&id);
            self.fold_anew(id, stored.position.seq).await?;
        }
        if let Some(seq) = self.snapshots.get(&id).copied()
            && stored.position.seq > seq
        {
            // The snapshot is of the job as it was before this event.
            self.compare_snapshots(&[id], found).await?;
        }
        let followed = self.follow(id);
        if followed.broken {
            return Ok(());
        }
        let version = match (followed.fold.job(), stored.task()) {
            (Some(job), 0) => job.version(),
            (Some(job), number) => job.task_version(number),
            (None, _) => 0,
        };
        let difference = if stored.version != version + 1 {
            let (expected, got) = (
                format!("version {}", version + 1),
                format!("version {}", stored.version),
            );
            Some(Difference::of_event(DifferenceKind::Version, stored, expected, got))
        } else {
            let applied = followed.fold.apply(id, stored, &record.meta, &record.event);
            let illegal = |why| Difference::of_event(DifferenceKind::Transition, stored, "a legal event", why);
            applied.err().map(illegal)
        };
        if let Some(difference) = difference {
            followed.broken = true;
            found.add(difference);
            return Ok(());
        }
        let at_rest = followed.fold.job().is_some_and(Job::is_at_rest);
        if at_rest && !followed.resting {
            followed.resting = true;
            self.resting.push(id);
        }
        if let Some(witness) = &mut self.witness {
            witness.event(stored, record);
        }
        Ok(())
    }

    /// Folds a job that was dropped from its first event up to before `seq`.
    async fn fold_anew(&mut self, id: JobId, seq: Seq) -> Result<(), Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM events WHERE day = $1 AND job = $2 AND NOT worker AND shard + 0 = $3 AND seq < $4
             ORDER BY seq"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(id.day())
            .bind(id.0)
            .bind(self.shard.0 as i16);
        let mut followed = Followed {
            fold: JobFold::empty(),
            broken: false,
            resting: false,
        };
        let mut reading = unhurried(&self.pool).await?;
        let mut rows = query.bind(seq.0 as i64).fetch(&mut *reading);
        while let Some(row) = rows.try_next().await? {
            let stored = StoredEvent::read(&row)?;
            // It was whole the first time.
            if let Ok(record) = read(&stored)
                && followed.fold.apply(id, &stored, &record.meta, &record.event).is_ok()
                && let Some(witness) = &mut self.witness
            {
                witness.event(&stored, &record);
            }
        }
        self.jobs.insert(id, followed);
        Ok(())
    }

    async fn drop_resting(&mut self, found: &mut Differences) -> Result<(), Error> {
        let mut ids = std::mem::take(&mut self.resting);
        ids.retain(|id| {
            let Some(followed) = self.jobs.get_mut(id) else {
                return false;
            };
            followed.resting = false;
            !followed.broken && followed.fold.job().is_some_and(Job::is_at_rest)
        });
        self.compare(&ids, found).await?;
        for id in ids {
            self.jobs.remove(&id);
            self.done.insert(id);
        }
        Ok(())
    }

    async fn compare(&mut self, ids: &[JobId], found: &mut Differences) -> Result<(), Error> {
        self.compare_snapshots(ids, found).await?;
        let Some(witness) = &mut self.witness else {
            return Ok(());
        };
        let jobs: Vec<&Job> = ids.iter().filter_map(|id| self.jobs.get(id)?.fold.job()).collect();
        for difference in witness.jobs(&jobs).await? {
            match difference.job {
                Some(job) => self.of_done.entry(job).or_default().push(difference),
                None => found.add(difference),
            }
        }
        Ok(())
    }

    /// Compares snapshots with the jobs as they are now.
    async fn compare_snapshots(&mut self, ids: &[JobId], found: &mut Differences) -> Result<(), Error> {
        let wanted: Vec<Uuid> = ids
            .iter()
            .filter(|id| self.snapshots.contains_key(id))
            .map(|id| id.0)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT {}, at_rest FROM snapshots WHERE job = ANY($1)",
            StoredSnapshot::COLUMNS
        );
        for row in sqlx::query(AssertSqlSafe(sql))
            .bind(wanted)
            .fetch_all(&self.pool)
            .await?
        {
            let snapshot = StoredSnapshot::read(&row)?;
            let at_rest: bool = row.try_get(5)?;
            // A newer one was written meanwhile: it is of events that are not looked at here.
            if self.snapshots.remove(&snapshot.job) != Some(snapshot.seq) {
                continue;
            }
            let Some(job) = self
                .jobs
                .get(&snapshot.job)
                .filter(|it| !it.broken)
                .and_then(|it| it.fold.job())
            else {
                continue;
            };
            let same = snapshot
                .job()
                .is_some_and(|other| other.to_snapshot() == job.to_snapshot());
            if !same || at_rest != job.is_at_rest() {
                let expected = format!("the fold up to {}, at rest: {}", snapshot.seq, job.is_at_rest());
                let got = format!(
                    "{}, at rest: {at_rest}",
                    if same { "the same" } else { "another state" }
                );
                let difference = Difference::new(DifferenceKind::Snapshot, self.shard, expected, got);
                found.add(difference.of_job(snapshot.job));
            }
        }
        Ok(())
    }

    /// No event is left.
    pub async fn finish(mut self, head: Seq, found: &mut Differences) -> Result<u64, Error> {
        self.drop_resting(found).await?;
        let mut left: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|(_, it)| !it.broken)
            .map(|(id, _)| *id)
            .collect();
        left.sort_unstable();
        for ids in left.chunks(RESTING_JOBS) {
            self.compare(ids, found).await?;
        }
        for (job, seq) in &self.snapshots {
            if !self.jobs.contains_key(job) && !self.done.contains(job) {
                let got = format!("a snapshot up to {seq}");
                let difference = Difference::new(DifferenceKind::Snapshot, self.shard, "no snapshot: no events", got);
                found.add(difference.of_job(*job));
            }
        }
        self.of_done
            .into_values()
            .flatten()
            .for_each(|difference| found.add(difference));
        if let Some(witness) = &mut self.witness {
            witness
                .end(head)
                .await?
                .into_iter()
                .for_each(|difference| found.add(difference));
        }
        Ok(self.jobs_seen)
    }

    /// Time of the latest event.
    pub const fn latest(&self) -> Timestamp {
        self.latest
    }
}

fn read(stored: &StoredEvent) -> Result<EventRecord, String> {
    let header = stored.header().map_err(|error| error.to_string())?;
    let event = header.event().map_err(|error| error.to_string())?;
    Ok(EventRecord {
        stream: stored.stream,
        version: stored.version,
        meta: header.meta(),
        event,
    })
}
