//! The log's database for a command: by URL, of a running standalone, or started for this work alone.

use anyhow::Context;

use crate::config::Secret;
use crate::config::whole::Config;
use crate::embedded::{self, Embedded, Role};

/// A private server that another process runs, or that was started for this work alone.
pub enum Database {
    Running { service: Secret, owner: Secret },
    Started(Box<Embedded>),
}

impl Database {
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let given = |url: &Option<Secret>| url.clone().filter(|url| !url.reveal().is_empty());
        let (service, owner) = (given(&config.postgres.url), given(&config.postgres.owner_url));
        if let Some(any) = service.clone().or_else(|| owner.clone()) {
            return Ok(Self::Running {
                service: service.unwrap_or_else(|| any.clone()),
                owner: owner.unwrap_or(any),
            });
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

    pub fn url(&self) -> Secret {
        match self {
            Self::Running { service, .. } => service.clone(),
            Self::Started(server) => server.url(Role::Service),
        }
    }

    pub fn owner_url(&self) -> Secret {
        match self {
            Self::Running { owner, .. } => owner.clone(),
            Self::Started(server) => server.url(Role::Owner),
        }
    }

    pub async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Running { .. } => Ok(()),
            Self::Started(server) => Ok(server.stop().await?),
        }
    }
}
