//! Work on the log's database beside, or without, a running process.

use anyhow::Context;

use super::stores::{open_log, service_url};
use crate::config::Secret;
use crate::config::whole::Config;
use crate::embedded::{self, Embedded, Role};
use crate::log::{Log, VerifyOptions, VerifyReport};
use crate::projection::{self, ReadModelCheck, Rebuilt};

/// A private server that another process runs, or that was started for this work alone.
enum Database {
    Running { service: Secret, owner: Secret },
    Started(Box<Embedded>),
}

impl Database {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        if config.postgres.url.as_ref().is_some_and(|url| !url.reveal().is_empty()) {
            let service = service_url(config)?;
            let owner = config.postgres.owner_url.clone().unwrap_or_else(|| service.clone());
            return Ok(Self::Running { service, owner });
        }
        let folder = &config.standalone.data_dir;
        anyhow::ensure!(
            folder.is_dir(),
            "there is no data folder {}; name it with --data-dir, or give --postgres URL",
            folder.display()
        );
        if let Some(attached) = Embedded::attach(folder)? {
            return Ok(Self::Running {
                service: attached.url(Role::Service),
                owner: attached.url(Role::Owner),
            });
        }
        let options = embedded::Options::of(&config.postgres, &config.standalone);
        Ok(Self::Started(Box::new(
            Embedded::start(options)
                .await
                .context("the private Postgres cannot be started")?,
        )))
    }

    fn url(&self) -> Secret {
        match self {
            Self::Running { service, .. } => service.clone(),
            Self::Started(server) => server.url(Role::Service),
        }
    }

    fn owner_url(&self) -> Secret {
        match self {
            Self::Running { owner, .. } => owner.clone(),
            Self::Started(server) => server.url(Role::Owner),
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Running { .. } => Ok(()),
            Self::Started(server) => Ok(server.stop().await?),
        }
    }
}

/// Opens the log, lets `work` use it (with the URL of the tables' owner), and leaves everything as it was found.
async fn with_log<T>(config: &Config, work: impl AsyncFnOnce(Log, Secret) -> anyhow::Result<T>) -> anyhow::Result<T> {
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
