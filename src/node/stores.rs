//! The log's database and the topics: preparing and opening them.

use std::time::Duration;

use anyhow::Context;

use super::database::Database;
use super::lost_topics::{self, Lost};
use crate::bus;
use crate::config::Secret;
use crate::config::whole::Config;
use crate::log::{Format, Log, Options, Others, Setup, finish_upgrade};

/// Lost cursors that are listed one by one.
const MOST_TOLD: usize = 10;

/// The service role's URL, as configured.
///
/// # Errors
/// When there is none.
pub fn service_url(config: &Config) -> anyhow::Result<Secret> {
    let url = config.postgres.url.clone();
    url.context("postgres.url is not set: give --postgres URL, GRID__POSTGRES__URL, or postgres.url in the file")
}

/// Connects to the log and checks that it is prepared and safe to use.
///
/// # Errors
/// Says what is missing and what to do.
pub async fn open_log(config: &Config, url: Secret, shards: Option<u16>) -> anyhow::Result<(Log, Setup)> {
    let postgres = &config.postgres;
    let options = Options {
        max_connections: postgres.max_connections,
        connect_timeout: postgres.connect_timeout,
        statement_timeout: postgres.statement_timeout,
        lock_timeout: postgres.lock_timeout,
        ..Options::new(url)
    };
    let log = Log::connect(options)
        .await
        .context("the log's database (postgres.url)")?;
    let setup = log.check(shards).await?;
    Ok((log, setup))
}

/// Database and topics, prepared.
pub struct Prepared {
    /// Cursors that point at nothing.
    pub lost: Vec<Lost>,
    /// The log's format.
    pub active: Format,
}

/// Prepares the database and the topics; repeated, it changes nothing.
///
/// # Errors
/// Says what could not be prepared.
pub async fn prepare(config: &Config, owner: &Secret) -> anyhow::Result<Prepared> {
    let migrated = crate::log::migrate(owner, config.shards.count)
        .await
        .context("the log's database (postgres.owner_url, else postgres.url)")?;
    tracing::info!(
        shards = migrated.setup.shards,
        applied = migrated.migrations_applied,
        days = migrated.days_made,
        begun = migrated.begun,
        format = migrated.setup.format.number(),
        "migrate.database"
    );
    let active = migrated.setup.format;
    if config.kafka.brokers.is_none() {
        return Ok(Prepared {
            lost: Vec::new(),
            active,
        });
    }
    for change in bus::migrate(&config.bus, &config.kafka, config.shards.count).await? {
        tracing::info!(%change, "migrate.topic");
    }
    let bus = bus::open(&config.bus, &config.kafka, config.shards.count).await?;
    let lost = lost_topics::find(owner, &*bus).await;
    bus.close(Duration::from_secs(5)).await?;
    Ok(Prepared { lost: lost?, active })
}

/// What `grid migrate` is to do besides preparing.
#[derive(Clone, Copy, Debug, Default)]
pub struct MigrateWishes {
    /// Move cursors that point at nothing.
    pub accept_lost_topic: bool,
    /// Write the newest format from now on.
    pub finish_upgrade: bool,
}

/// The log's formats after `grid migrate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats {
    pub before: Format,
    pub active: Format,
    pub known: Format,
}

/// `grid migrate`: prepares database and topics.
///
/// # Errors
/// Says what could not be prepared, which shards have lost their place in the bus, or who is too old for the upgrade to be
/// finished.
pub async fn migrate(config: &Config, wishes: MigrateWishes) -> anyhow::Result<Formats> {
    let database = Database::open(config).await?;
    let done = migrate_at(config, &database.owner_url(), wishes).await;
    database.close().await?;
    done
}

async fn migrate_at(config: &Config, owner: &Secret, wishes: MigrateWishes) -> anyhow::Result<Formats> {
    let Prepared { lost, active } = prepare(config, owner).await?;
    if wishes.accept_lost_topic {
        lost_topics::accept(owner, &lost).await?;
    } else if !lost.is_empty() {
        let told: Vec<String> = lost.iter().take(MOST_TOLD).map(|one| format!("  {one}")).collect();
        anyhow::bail!(
            "everything is prepared, but {} cursors point at what the topics do not hold, and their shards stay closed:\n\
             {}\nThe topics were lost or made anew, or messages passed their retention. What lay between cannot be had \
             back; to go on without it: grid migrate --accept-lost-topic",
            lost.len(),
            told.join("\n")
        )
    }
    let mut formats = Formats {
        before: active,
        active,
        known: Format::known(),
    };
    if wishes.finish_upgrade {
        let done = finish_upgrade(owner, Others::AsTheySay).await?;
        tracing::info!(
            before = done.before.number(),
            active = done.active.number(),
            contracted = done.contracted,
            "migrate.upgrade_finished"
        );
        formats.before = done.before;
        formats.active = done.active;
    }
    Ok(formats)
}
