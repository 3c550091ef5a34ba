//! A jobmaster within a process: journal, read models, shards, and the directory of workers.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter};
use tokio::task::JoinHandle;

use super::follow::Following;
use crate::api::live::{Hub, HubParts, Source};
use crate::bus::Bus;
use crate::config::whole::Config;
use crate::domain::Incarnation;
use crate::log::{Beats, Format, Jobmaster, Journal, JournalHandle, JournalOptions, Log, Setup};
use crate::logs::{Embedded as EmbeddedLogs, LogStore, Victoria};
use crate::projection::{ProjectorHandle, ProjectorParts, Watermarks, Writer};
use crate::publish::{Publisher, PublisherHandle, ReadLog};
use crate::shard::{Directory, DirectoryOptions, Host, HostParts, Supervisor, SupervisorHandle, WorkerDirectory};

/// What a jobmaster is made of.
pub struct CoreParts<'a> {
    pub config: &'a Config,
    pub log: Log,
    pub setup: Setup,
    pub bus: Arc<dyn Bus>,
    pub incarnation: Incarnation,
    /// Worker processes older than this are dead: only a standalone that holds its data folder knows that.
    pub dead_before: Option<Incarnation>,
}

/// The running parts.
pub struct Core {
    pub log: Log,
    pub setup: Setup,
    pub bus: Arc<dyn Bus>,
    pub journal: JournalHandle,
    pub projector: ProjectorHandle,
    pub watermarks: Watermarks,
    pub live: Hub,
    pub supervisor: SupervisorHandle,
    /// Lines of tasks.
    pub logs: Arc<dyn LogStore>,
    publisher: Option<PublisherHandle>,
    directory: Addr<WorkerDirectory>,
    days: JoinHandle<()>,
    beats: Option<Beats>,
    /// Where this process has to drop old lines.
    log_sweep: Option<JoinHandle<()>>,
}

impl Core {
    /// Starts serving shards. Must run on an actix system.
    ///
    /// # Errors
    /// When the bus cannot be read.
    pub async fn start(parts: CoreParts<'_>) -> anyhow::Result<Self> {
        let CoreParts {
            config,
            log,
            setup,
            bus,
            incarnation,
            dead_before,
        } = parts;
        let is_alone = dead_before.is_some();
        let journal = Journal::start_here(log.clone(), JournalOptions::default());
        let watermarks = Watermarks::new(setup.shards, log.pool().clone());
        let projector = ProjectorHandle::start(
            ProjectorParts {
                options: config.projection.clone(),
                writer: Writer::new(log.pool()),
                log: Arc::new(log.clone()),
                watermarks: watermarks.clone(),
            },
            Arbiter::current(),
        );
        let publisher = match &config.kafka.brokers {
            None => None,
            Some(_) => Some(publisher(config, &log, &setup, &*bus)?),
        };
        let live = Hub::new(HubParts {
            log: log.clone(),
            timeline: setup.timeline,
            shards: setup.shards,
            source: match &config.kafka.brokers {
                None => Source::Commits,
                Some(_) => Source::Topic(Arc::clone(&bus)),
            },
        });
        let options = config.jobmaster.clone();
        let directory = Directory::new(DirectoryOptions {
            jobmaster: incarnation,
            timeline: setup.timeline,
            inactive_after: options.worker_inactive_after,
            lost_after: options.worker_lost_after,
            feed_fresh_for: 2 * options.heartbeat_interval,
            dead_before,
        });
        let host = Arc::new(Host::new(HostParts {
            bus: Arc::clone(&bus),
            log: log.clone(),
            journal: journal.clone(),
            followers: Arc::new(Following {
                projector: projector.clone(),
                live: live.clone(),
                publisher: publisher.clone(),
            }),
            jobmaster: incarnation,
            timeline: setup.timeline,
            shards: setup.shards,
            options,
            directory,
        }));
        let days = log.keep_days();
        let beats = begin_beating(&log, config, incarnation).await?;
        // Nobody else is there to hear them where the database is this process's own.
        let beats = if is_alone { None } else { Some(log.keep_beating(beats)) };
        let (logs, log_sweep) = logs(config, &log)?;
        let directory = WorkerDirectory::start(Arc::clone(&host)).await?;
        let supervisor = Supervisor::start(host, bus.join().await?);
        Ok(Self {
            log,
            setup,
            bus,
            journal,
            projector,
            watermarks,
            live,
            supervisor,
            logs,
            publisher,
            directory,
            days,
            beats,
            log_sweep,
        })
    }

    pub fn host(&self) -> &Arc<Host> {
        self.supervisor.host()
    }

    /// Closes the shards, so that others take over at once, and lets the log and the read models come to an end.
    pub async fn stop(self) {
        self.supervisor.leave().await;
        let patience = Duration::from_secs(10);
        self.journal.drained(patience).await;
        if tokio::time::timeout(patience, self.projector.drained()).await.is_err() {
            tracing::warn!("node.projector.not_drained");
        }
        if let Some(publisher) = &self.publisher {
            publisher.stop();
        }
        self.days.abort();
        // No shard is open any more.
        if let Some(beats) = self.beats
            && let Err(error) = beats.stop().await
        {
            tracing::warn!(%error, "node.goodbye_not_said");
        }
        if let Some(sweep) = &self.log_sweep {
            sweep.abort();
        }
        drop(self.directory);
        self.log.close().await;
    }
}

/// Before the first claim, so that nobody raises the log's format without this process knowing it.
async fn begin_beating(log: &Log, config: &Config, incarnation: Incarnation) -> anyhow::Result<Jobmaster> {
    let jobmaster = Jobmaster {
        incarnation,
        name: config.jobmaster.name.clone().unwrap_or_default(),
    };
    let (active, known) = (log.beat(&jobmaster).await?, Format::known());
    anyhow::ensure!(active <= known, log.outgrown().await);
    tracing::info!(active = active.number(), known = known.number(), "node.log_format");
    if active < known {
        tracing::warn!(todo = "grid migrate --finish-upgrade", "node.upgrade_unfinished");
    }
    Ok(jobmaster)
}

/// Where lines are kept, and what drops the old ones where nobody else does.
type Lines = (Arc<dyn LogStore>, Option<JoinHandle<()>>);

fn logs(config: &Config, log: &Log) -> anyhow::Result<Lines> {
    if let Some(victoria) = Victoria::new(&config.victorialogs, &config.logs)? {
        return Ok((Arc::new(victoria), None));
    }
    let embedded = EmbeddedLogs::new(log.pool().clone(), config.logs.clone());
    let sweep = embedded.sweep();
    Ok((Arc::new(embedded), Some(sweep)))
}

fn publisher(config: &Config, log: &Log, setup: &Setup, bus: &dyn Bus) -> anyhow::Result<PublisherHandle> {
    let log = log.clone();
    let read: ReadLog = Arc::new(move |shard, after, limit| {
        let log = log.clone();
        Box::pin(async move { log.events_after(shard, after, limit).await })
    });
    let most_bytes = config.bus.max_message_bytes as usize;
    Ok(Publisher::start(
        config.publish.clone(),
        bus,
        read,
        setup.timeline,
        most_bytes,
    )?)
}
