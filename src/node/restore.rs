//! A new timeline for a log that was restored from a backup, when nobody works on the old one any more.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use super::database::Database;
use crate::bus::{self, Bus, Start, Topic};
use crate::clock;
use crate::config::Secret;
use crate::config::whole::Config;
use crate::domain::{Incarnation, Timestamp};
use crate::embedded::Role;
use crate::event::{Beat, Wire};
use crate::log::{self, Ends, Restored};

/// Heartbeats at the end of their topic that are looked at.
const LOOK_BACK: i64 = 5_000;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever was silent for so long beats no more; a process beats every two seconds, unless it is configured otherwise.
const SILENT: Duration = Duration::from_secs(6);

/// `grid restore`: begins a new timeline of the log, once nobody is connected to its database and, where Kafka is named, no
/// jobmaster beats there. `dump`: of `pg_dump`, loaded into the private server of a standalone first.
///
/// # Errors
/// Says who still works, or what is wrong with the database; then the log is as it was.
pub async fn restore(config: &Config, dump: Option<&Path>, again: bool) -> anyhow::Result<Restored> {
    let database = Database::open(config).await?;
    let loaded = match dump {
        Some(file) => load(&database, file).await,
        None => Ok(()),
    };
    let done = match loaded {
        Ok(()) => restore_in(config, &database.owner_url(), again).await,
        Err(error) => Err(error),
    };
    database.close().await?;
    done
}

/// Loads a dump whole, or nothing of it.
async fn load(database: &Database, file: &Path) -> anyhow::Result<()> {
    let Database::Started(server) = database else {
        anyhow::bail!(
            "a dump is loaded into a data folder that no process uses; into any other database by pg_restore"
        );
    };
    anyhow::ensure!(
        !log::holds_log(&server.url(Role::Owner)).await?,
        "the data folder holds a log already; name an empty folder, so that nothing is lost"
    );
    let program = server.program("pg_restore")?;
    let ran = tokio::process::Command::new(&program)
        .args(["--exit-on-error", "--single-transaction", "--dbname"])
        // The superuser has no password: the system says who asks.
        .arg(server.url(Role::Superuser).reveal())
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{} cannot be run", program.display()))?;
    anyhow::ensure!(
        ran.status.success(),
        "{} did not load {}: {}",
        program.display(),
        file.display(),
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    Ok(())
}

async fn restore_in(config: &Config, owner: &Secret, again: bool) -> anyhow::Result<Restored> {
    let setup = log::look(owner).await?;
    let mut ends = None;
    if config.kafka.brokers.is_some() {
        for change in bus::migrate(&config.bus, &config.kafka, setup.shards).await? {
            tracing::info!(%change, "migrate.topic");
        }
        let topics = [Topic::Heartbeats, Topic::Commands, Topic::Reports];
        let bus = bus::open_to(&topics, &config.bus, &config.kafka, setup.shards).await?;
        let found = end_of(&*bus, setup.shards).await;
        bus.close(Duration::from_secs(5)).await?;
        ends = Some(found?);
    }
    // A backup may be older than this program.
    log::migrate(owner, setup.shards).await?;
    let restored = log::restore(owner, ends.as_ref(), again).await?;
    tracing::info!(
        timeline = %restored.timeline,
        previous = %restored.previous,
        epoch = restored.epoch,
        already = restored.already,
        "restore.timeline"
    );
    Ok(restored)
}

/// Where the topics end, when nobody beats.
async fn end_of(bus: &dyn Bus, shards: u16) -> anyhow::Result<Ends> {
    let beating = jobmasters_beating(bus).await?;
    anyhow::ensure!(
        beating.is_empty(),
        "jobmasters beat on these topics ({}); stop them first: they would go on with a log that has not happened",
        beating.join(", ")
    );
    let mut offsets = Vec::new();
    for shard in 0..shards {
        let (_, commands) = bus.range(Topic::Commands, shard).await?;
        let (_, reports) = bus.range(Topic::Reports, shard).await?;
        offsets.push((commands, reports));
    }
    Ok(Ends {
        bus: bus.identity().to_owned(),
        offsets,
    })
}

/// Those whose last beat is young and not their last.
async fn jobmasters_beating(bus: &dyn Bus) -> anyhow::Result<Vec<String>> {
    let mut last: BTreeMap<Incarnation, (Timestamp, bool)> = BTreeMap::new();
    for beat in last_beats(bus).await? {
        if let Beat::Jobmaster(beat) = beat {
            last.insert(beat.jobmaster, (beat.sent_at, beat.leaving));
        }
    }
    let now = clock::now();
    let beats = |(jobmaster, (sent_at, leaving)): (Incarnation, (Timestamp, bool))| {
        (!leaving && now.since(sent_at) < SILENT).then(|| format!("{jobmaster} at {sent_at}"))
    };
    Ok(last.into_iter().filter_map(beats).collect())
}

/// Refuses to work on a log of which the bus knows a later timeline.
///
/// # Errors
/// When there is one, or the bus cannot be read.
pub async fn refuse_if_left_behind(bus: &dyn Bus, timeline: Uuid) -> anyhow::Result<()> {
    let newer = last_beats(bus).await?.iter().filter_map(Beat::timeline).max();
    match newer.filter(|newer| *newer > timeline) {
        Some(newer) => Err(left_behind(timeline, newer)),
        None => Ok(()),
    }
}

/// What to tell of a process that works on a log that was restored elsewhere.
pub fn left_behind(timeline: Uuid, newer: Uuid) -> anyhow::Error {
    anyhow::anyhow!(
        "the log was restored: others work on its timeline {newer}, and this database has {timeline}; name the restored \
         database as postgres.url, or, to go on with this one instead, stop the others and run `grid restore --again` on it"
    )
}

/// What stands at the end of the heartbeats.
async fn last_beats(bus: &dyn Bus) -> anyhow::Result<Vec<Beat>> {
    let (low, high) = bus.range(Topic::Heartbeats, 0).await?;
    let from = low.max(high - LOOK_BACK);
    let mut beats = Vec::new();
    if from >= high {
        return Ok(beats);
    }
    let mut reader = bus.subscribe(Topic::Heartbeats, 0, Start::Offset(from)).await?;
    let mut records = Vec::new();
    while reader.position() < high {
        tokio::time::timeout(PATIENCE, reader.recv_many(&mut records, 1_000))
            .await
            .context("the last heartbeats do not arrive")??;
        // One that cannot be read is of a program that this one does not know.
        let read = records
            .drain(..)
            .filter_map(|record| Beat::decode(&record.message.payload).ok());
        beats.extend(read);
    }
    Ok(beats)
}
