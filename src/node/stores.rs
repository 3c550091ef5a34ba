//! The log's database and the topics: preparing and opening them.

use std::time::Duration;

use anyhow::Context;

use super::database::Database;
use super::lost_topics::{self, Lost};
use crate::bus;
use crate::config::Secret;
use crate::config::whole::Config;
use crate::log::{Log, Options, Setup};

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
        .context("the log's database (postgres.url) cannot be reached")?;
    let setup = log.check(shards).await?;
    Ok((log, setup))
}

/// Prepares the database and the topics; repeated, it changes nothing. Gives the cursors that point at nothing.
///
/// # Errors
/// Says what could not be prepared.
pub async fn prepare(config: &Config, owner: &Secret) -> anyhow::Result<Vec<Lost>> {
    let migrated = crate::log::migrate(owner, config.shards.count).await?;
    tracing::info!(
        shards = migrated.setup.shards,
        applied = migrated.migrations_applied,
        days = migrated.days_made,
        begun = migrated.begun,
        "migrate.database"
    );
    if config.kafka.brokers.is_none() {
        return Ok(Vec::new());
    }
    for change in bus::migrate(&config.bus, &config.kafka, config.shards.count).await? {
        tracing::info!(%change, "migrate.topic");
    }
    let bus = bus::open(&config.bus, &config.kafka, config.shards.count).await?;
    let lost = lost_topics::find(owner, &*bus).await;
    bus.close(Duration::from_secs(5)).await?;
    lost
}

/// `grid migrate`: prepares database and topics. Cursors that point at nothing are moved when that is accepted.
///
/// # Errors
/// Says what could not be prepared, or which shards have lost their place in the bus.
pub async fn migrate(config: &Config, accept_lost_topic: bool) -> anyhow::Result<()> {
    let database = Database::open(config).await?;
    let done = async {
        let owner = database.owner_url();
        let lost = prepare(config, &owner).await?;
        if lost.is_empty() {
            return Ok(());
        }
        if accept_lost_topic {
            return lost_topics::accept(&owner, &lost).await;
        }
        let told: Vec<String> = lost.iter().take(MOST_TOLD).map(|one| format!("  {one}")).collect();
        anyhow::bail!(
            "everything is prepared, but {} cursors point at what the topics do not hold, and their shards stay closed:\n\
             {}\nThe topics were lost or made anew, or messages passed their retention. What lay between cannot be had \
             back; to go on without it: grid migrate --accept-lost-topic",
            lost.len(),
            told.join("\n")
        )
    };
    let done = done.await;
    database.close().await?;
    done
}
