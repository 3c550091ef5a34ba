//! Archiving on the log's database beside, or without, a running process; and archives held against it.

use std::path::Path;

use anyhow::Context;

use super::database::Database;
use super::verify::with_log;
use crate::archive::{self, Archived, ArchivedDay, Options};
use crate::config::Secret;
use crate::config::whole::Config;
use crate::log::archive::{ArchiveCheck, Folder};
use crate::log::{self, Log};

/// Archives days, and drops them when that is wanted; `tell` hears of each.
///
/// # Errors
/// See [`archive::Error`].
pub async fn archive(config: &Config, options: &Options, tell: impl FnMut(&ArchivedDay)) -> anyhow::Result<Archived> {
    let database = Database::open(config).await?;
    let owner = database.owner_url();
    let done = match open(config, &owner).await {
        Ok(log) => {
            let done = archive::archive(&log, &owner, options, tell).await;
            log.close().await;
            done.map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    database.close().await?;
    done
}

/// With the owner's rights, which dropping days takes.
async fn open(config: &Config, owner: &Secret) -> anyhow::Result<Log> {
    let options = log::Options {
        connect_timeout: config.postgres.connect_timeout,
        statement_timeout: config.postgres.statement_timeout,
        lock_timeout: config.postgres.lock_timeout,
        ..log::Options::new(owner.clone())
    };
    let log = Log::connect(options)
        .await
        .context("the log's database cannot be reached")?;
    log.check_as_owner().await?;
    Ok(log)
}

/// Holds an archive against itself and against the log.
///
/// # Errors
/// When it could not be checked; differences are no error.
pub async fn verify_archive(config: &Config, folder: &Path) -> anyhow::Result<ArchiveCheck> {
    let folder = open_folder(folder)?;
    with_log(config, async |log, _| Ok(folder.check(Some(&log)).await?)).await
}

/// Holds an archive against itself.
///
/// # Errors
/// When it could not be checked; differences are no error.
pub async fn verify_archive_alone(folder: &Path) -> anyhow::Result<ArchiveCheck> {
    Ok(open_folder(folder)?.check(None).await?)
}

fn open_folder(path: &Path) -> anyhow::Result<Folder> {
    let folder = Folder::open(path)?;
    anyhow::ensure!(!folder.days().is_empty(), "there is no archive in {}", path.display());
    Ok(folder)
}
