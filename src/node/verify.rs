//! Work on the log's database beside, or without, a running process.

use super::database::Database;
use super::stores::open_log;
use crate::config::Secret;
use crate::config::whole::Config;
use crate::log::{Log, VerifyOptions, VerifyReport};
use crate::projection::{self, ReadModelCheck, Rebuilt};

/// Opens the log, lets `work` use it (with the URL of the tables' owner), and leaves everything as it was found.
pub(super) async fn with_log<T>(
    config: &Config,
    work: impl AsyncFnOnce(Log, Secret) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let database = Database::open(config).await?;
    let opened = open_log(config, database.url(), None).await;
    let result = match opened {
        Ok((log, _)) => {
            let result = work(log.clone(), database.owner_url()).await;
            log.close().await;
            result
        }
        Err(error) => Err(error),
    };
    database.close().await?;
    result
}

/// Checks the log, its hash chain, its snapshots and the read models against each other.
///
/// # Errors
/// When it could not be checked; differences are no error.
pub async fn verify(config: &Config) -> anyhow::Result<VerifyReport> {
    with_log(config, async |log, _| {
        let read_models = ReadModelCheck::prepare(&log).await?;
        let witnesses = |shard, _| read_models.witness(shard);
        Ok(log.verify(VerifyOptions::default(), Some(&witnesses)).await?)
    })
    .await
}

/// Makes the read models anew from the log, beside those that a running process may be writing and reading.
///
/// # Errors
/// The old ones are as they were.
pub async fn rebuild(config: &Config) -> anyhow::Result<Rebuilt> {
    with_log(config, async |log, owner| Ok(projection::rebuild(&log, &owner).await?)).await
}
