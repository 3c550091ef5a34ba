//! The log's database and the topics: preparing and opening them.

use anyhow::Context;

use crate::config::Secret;
use crate::config::whole::Config;
use crate::log::{Log, Options, Setup};

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

/// Prepares the database and the topics; repeated, it changes nothing.
///
/// # Errors
/// Says what could not be prepared.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    let owner = config
        .postgres
        .owner_url
        .clone()
        .map_or_else(|| service_url(config), Ok)?;
    let migrated = crate::log::migrate(&owner, config.shards.count).await?;
    tracing::info!(
        shards = migrated.setup.shards,
        applied = migrated.migrations_applied,
        days = migrated.days_made,
        begun = migrated.begun,
        "migrate.database"
    );
    if config.kafka.brokers.is_some() {
        for change in crate::bus::migrate(&config.bus, &config.kafka, config.shards.count).await? {
            tracing::info!(%change, "migrate.topic");
        }
    }
    Ok(())
}
