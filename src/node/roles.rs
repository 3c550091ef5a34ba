//! The three ways to run: all in one process, a jobmaster, a worker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use uuid::Uuid;

use super::core::{Core, CoreParts};
use super::measure::{Measuring, OfWorker};
use super::recent_lines::RecentLines;
use super::restore::{left_behind, refuse_if_left_behind};
use super::stores::{open_log, prepare, service_url};
use super::tailing::OwnWorkers;
use super::vitals::Whose;
use super::{access, endpoint, signals, tailing};
use crate::api::{self, ApiParts, Tailing};
use crate::bus::{self, Bus, Topic};
use crate::config::Secret;
use crate::config::whole::Config;
use crate::domain::{Incarnation, WorkerName};
use crate::embedded::{self, DataDir, Embedded, Role};
use crate::log::{Error as LogError, Log, Others, Setup, finish_upgrade};
use crate::logs::recent::Recent;
use crate::metrics::Points;
use crate::telemetry::Telemetry;
use crate::worker::executor::{Guardian, GuardianOptions};
use crate::worker::{Worker, WorkerEnded, WorkerHandle, WorkerOptions, WorkerSetup, api_urls, trust};

/// Runs `work` on an actix system over a runtime of several threads, so that the log and the bus are never held up by
/// an actor.
///
/// # Errors
/// Those of `work`, or when the runtime cannot be made.
pub fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("grid")
        .build()?;
    // An actix system makes its runtime by a function that it calls once.
    let runtime = std::sync::Mutex::new(Some(runtime));
    let system = actix::System::with_tokio_rt(move || {
        let made = runtime.lock().ok().and_then(|mut runtime| runtime.take());
        made.unwrap_or_else(|| unreachable!("a system makes one runtime"))
    });
    system.block_on(work)
}

/// What a name or URL is made of when none is configured.
fn public_url(config: &Config, address: SocketAddr, secured: bool) -> String {
    let scheme = if secured { "https" } else { "http" };
    let public = config.server.public_url.clone();
    public.unwrap_or_else(|| format!("{scheme}://{address}"))
}

/// Sees to it that a process that decides jobs has a name wherever it shows.
fn name_jobmaster(config: &mut Config, incarnation: Incarnation) {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let default = || format!("{}-{}", host().trim(), std::process::id());
    let name = config.jobmaster.name.get_or_insert_with(default).clone();
    tracing::info!(name, %incarnation, "node.named");
    metrics::gauge!("grid_node_info", "name" => name.clone(), "incarnation" => incarnation.to_string()).set(1);
    config.kafka.properties.set_default("client.id", name);
}

/// Who is let in besides those with tokens.
struct Keys {
    worker_token: Option<Secret>,
    anonymous_role: Option<api::Role>,
    inner_workers: bool,
}

fn api_parts(
    core: &Core,
    measuring: &Measuring,
    config: &Config,
    telemetry: Telemetry,
    (keys, tailing): (Keys, Option<Tailing>),
) -> ApiParts {
    let host = || Arc::clone(core.host());
    let (live, placing, ready, trouble) = (host(), host(), host(), host());
    ApiParts {
        options: config.api.clone(),
        graphql: config.graphql.clone(),
        log: core.log.clone(),
        bus: Arc::clone(&core.bus),
        watermarks: core.watermarks.clone(),
        live: core.live.clone(),
        timeline: core.setup.timeline,
        node: core.host().jobmaster,
        node_name: config.jobmaster.name.clone().unwrap_or_default(),
        server: config.server.clone(),
        inner_workers: keys.inner_workers,
        live_workers: Arc::new(move |name| live.live_worker(name, crate::clock::now())),
        placing: Arc::new(move |shard| placing.placing(shard, crate::clock::now())),
        trouble: Arc::new(move |shard| trouble.trouble(shard)),
        waiting_for: Arc::new(move || ready.waiting_for()),
        metrics: Arc::new(move || telemetry.render()),
        metric_store: Arc::clone(&measuring.store),
        keeping: measuring.keeping,
        logs: Arc::clone(&core.logs),
        tailing,
        worker_token: keys.worker_token,
        anonymous_role: keys.anonymous_role,
    }
}

async fn measure(
    core: &Core,
    config: &Config,
    telemetry: &Telemetry,
    component: &'static str,
) -> anyhow::Result<Measuring> {
    let folder = &config.standalone.data_dir;
    let whose = Whose {
        component,
        process: config.jobmaster.name.clone().unwrap_or_default(),
        folder: if folder.exists() { folder.clone() } else { ".".into() },
        spill: folder.exists().then(|| folder.join("metrics-spill")),
        telemetry: telemetry.clone(),
    };
    let measuring = Measuring::start((&core.log, &core.watermarks), config, whose).await;
    measuring.context("the database cannot be made ready for points of metrics")
}

/// Everything in one process: `grid standalone`.
///
/// # Errors
/// Says what could not be started and what to do.
pub async fn standalone(mut config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    let is_given = config.postgres.url.as_ref().is_some_and(|url| !url.reveal().is_empty());
    if let Err(taken) = api::can_listen(&config.server) {
        // Who starts the same twice is told who has its folder.
        if !is_given && config.standalone.data_dir.exists() {
            drop(DataDir::lock(&config.standalone.data_dir)?);
        }
        return Err(taken.into());
    }
    let incarnation = Incarnation(Uuid::now_v7());
    name_jobmaster(&mut config, incarnation);
    let database = if is_given {
        None
    } else {
        Some(Embedded::start(embedded::Options::of(&config.postgres, &config.standalone)).await?)
    };
    let served = serve_all(config, telemetry, (incarnation, database.as_ref())).await;
    let stopped = match database {
        Some(database) => database.stop().await,
        None => Ok(()),
    };
    match (&served, stopped) {
        (Ok(()), stopped) => stopped?,
        (Err(_), Ok(())) => {}
        (Err(_), Err(error)) => tracing::warn!(%error, "node.database.not_stopped"),
    }
    tracing::info!("node.ended");
    served
}

/// All of a standalone but its private database.
async fn serve_all(
    mut config: Config,
    telemetry: Telemetry,
    (incarnation, database): (Incarnation, Option<&Embedded>),
) -> anyhow::Result<()> {
    let url = match database {
        Some(database) => {
            config.postgres.owner_url = Some(database.url(Role::Owner));
            database.url(Role::Service)
        }
        None => service_url(&config)?,
    };
    let (log, setup, anonymous_role) = open_store(&config, url, database.is_some()).await?;
    let bus = bus::open(&config.bus, &config.kafka, setup.shards).await?;
    refuse_if_left_behind(&*bus, setup.timeline).await?;
    // Only who holds the lock of the data folder, and the whole bus, knows that earlier workers are gone.
    let dead_before = (database.is_some() && config.kafka.brokers.is_none()).then_some(incarnation);
    let parts = CoreParts {
        config: &config,
        log,
        setup,
        bus: Arc::clone(&bus),
        incarnation,
        dead_before,
    };
    let core = Core::start(parts).await?;
    if let Some(database) = database {
        await_database(&core, database);
    }
    let measuring = measure(&core, &config, &telemetry, "standalone").await?;
    // Workers in processes of their own show the configured one.
    let token = config.worker.api_token.clone();
    let token = token.unwrap_or_else(|| Secret::new(Uuid::new_v4().to_string()));
    let keys = Keys {
        worker_token: Some(token.clone()),
        anonymous_role,
        inner_workers: config.standalone.workers > 0,
    };
    let own = tailing::own_workers(&config, &core)?;
    let tailing = tailing::of_standalone(&config, &core, &own)?;
    let parts = api_parts(&core, &measuring, &config, telemetry, (keys, tailing));
    let server = api::serve(config.server.listen, parts).await?;
    let url = public_url(&config, server.address, server.secured);
    tracing::info!(address = %server.address, url, "node.serving");
    let addresses = Addresses {
        api_url: format!("http://{}", server.workers_address),
        endpoint_url: url,
    };
    let workers = start_workers(&config, &core, &addresses, (&token, &measuring.points), own)?;
    let outgrown = until_end(&core).await?;
    drain(&workers).await;
    drop(workers);
    server.stop().await;
    measuring.stop().await;
    core.stop().await;
    close_bus(&*bus).await;
    outgrown
}

/// Until the process is told to end, or may not go on because an upgrade was finished that it is too old for, or because the
/// log was restored elsewhere: that is the inner error.
async fn until_end(core: &Core) -> anyhow::Result<anyhow::Result<()>> {
    tokio::select! {
        why = signals::told_to_end() => {
            tracing::info!(why = why?, "node.ending");
            Ok(Ok(()))
        }
        error = core.log.outgrown() => {
            tracing::error!(%error, "node.outgrown");
            Ok(Err(error.into()))
        }
        newer = core.host().restored() => {
            let error = left_behind(core.setup.timeline, newer);
            tracing::error!(%error, "node.left_behind");
            Ok(Err(error))
        }
    }
}

/// The log, prepared and opened, and what may be done without a token. `sure`: nobody else can work on it.
async fn open_store(config: &Config, url: Secret, sure: bool) -> anyhow::Result<(Log, Setup, Option<api::Role>)> {
    let owner = config.postgres.owner_url.clone().unwrap_or_else(|| url.clone());
    for lost in prepare(config, &owner).await?.lost {
        tracing::error!(%lost, "node.cursor_lost");
    }
    if config.kafka.brokers.is_none() {
        finish_alone(&owner, sure).await?;
    }
    let (log, setup) = open_log(config, url, Some(config.shards.count)).await?;
    match access::anonymous_role(config, &log).await {
        Ok(role) => Ok((log, setup, role)),
        Err(refused) => {
            log.close().await;
            Err(refused)
        }
    }
}

/// Without Kafka there is nobody beside a standalone, so nobody to wait for: what it knows is written from now on.
async fn finish_alone(owner: &Secret, sure: bool) -> anyhow::Result<()> {
    let others = if sure { Others::Nobody } else { Others::AsTheySay };
    match finish_upgrade(owner, others).await {
        Ok(done) if done.before < done.active => {
            tracing::info!(
                before = done.before.number(),
                active = done.active.number(),
                "node.upgrade_finished"
            );
        }
        Ok(_) => {}
        Err(error @ LogError::OlderProcesses { .. }) => tracing::warn!(%error, "node.upgrade_unfinished"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// While the private database is away, the process is not ready.
fn await_database(core: &Core, database: &Embedded) {
    let state = database.state();
    core.host().wait_for("postgres", move || match &*state.borrow() {
        embedded::State::Down { why, .. } => Some(format!("it ended and is started again: {why}")),
        embedded::State::Ready { .. } | embedded::State::Stopped => None,
    });
}

/// Where workers inside this process find it, and others them.
struct Addresses {
    api_url: String,
    endpoint_url: String,
}

fn start_workers(
    config: &Config,
    core: &Core,
    addresses: &Addresses,
    (token, points): (&Secret, &Points),
    own: OwnWorkers,
) -> anyhow::Result<Vec<WorkerHandle>> {
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let guardian = Guardian::start(GuardianOptions::default())?;
    let mut workers = Vec::new();
    for (name, recent) in own {
        let mut options = config.worker.clone();
        // Relative paths of pipelines are under the folder that people named.
        if options.data_dir == WorkerOptions::default().data_dir {
            options.data_dir = config.standalone.data_dir.join("files");
        }
        options.data_dir = std::path::absolute(&options.data_dir)?;
        workers.push(Worker::start(WorkerSetup {
            name,
            options,
            bus: Arc::clone(&core.bus),
            timeline: core.setup.timeline,
            api_url: addresses.api_url.clone(),
            api_token: token.clone(),
            endpoint_url: addresses.endpoint_url.clone(),
            guardian: guardian.clone(),
            points: points.clone(),
            recent,
        })?);
    }
    let watched: Vec<_> = workers
        .iter()
        .map(|worker| (worker.name().clone(), worker.states()))
        .collect();
    core.host().wait_for("workers", move || {
        let pending = watched
            .iter()
            .find(|(_, state)| state.borrow().is_none_or(|state| !state.glance.registered));
        pending.map(|(name, _)| format!("{name} to register"))
    });
    Ok(workers)
}

async fn drain(workers: &[WorkerHandle]) {
    for worker in workers {
        worker.drain();
    }
    for worker in workers {
        let ended = worker.ended().await;
        tracing::info!(worker = %worker.name(), ?ended, "node.worker.ended");
    }
}

async fn close_bus(bus: &dyn Bus) {
    if let Err(error) = bus.close(Duration::from_secs(5)).await {
        tracing::warn!(%error, "node.bus.not_closed");
    }
}

/// A process that decides jobs and serves the API: `grid jobmaster`.
///
/// # Errors
/// Says what could not be started and what to do.
pub async fn jobmaster(mut config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.kafka.brokers.is_some(),
        "kafka.brokers is not set: a jobmaster needs Kafka; give --kafka"
    );
    api::can_listen(&config.server)?;
    let incarnation = Incarnation(Uuid::now_v7());
    name_jobmaster(&mut config, incarnation);
    let (log, setup) = open_log(&config, service_url(&config)?, None).await?;
    let anonymous_role = access::anonymous_role(&config, &log).await?;
    let bus = bus::open(&config.bus, &config.kafka, setup.shards).await?;
    refuse_if_left_behind(&*bus, setup.timeline).await?;
    let parts = CoreParts {
        config: &config,
        log,
        setup,
        bus: Arc::clone(&bus),
        incarnation,
        dead_before: None,
    };
    let core = Core::start(parts).await?;
    let measuring = measure(&core, &config, &telemetry, "jobmaster").await?;
    let keys = Keys {
        worker_token: config.worker.api_token.clone(),
        anonymous_role,
        inner_workers: false,
    };
    let tailing = tailing::of_jobmaster(&config, &core)?;
    let parts = api_parts(&core, &measuring, &config, telemetry, (keys, tailing));
    let server = api::serve(config.server.listen, parts).await?;
    let url = public_url(&config, server.address, server.secured);
    tracing::info!(address = %server.address, url, "node.serving");
    let outgrown = until_end(&core).await?;
    // Others take the shards over while requests under way still get their answers.
    core.supervisor.leave().await;
    server.stop().await;
    measuring.stop().await;
    core.stop().await;
    close_bus(&*bus).await;
    tracing::info!("node.ended");
    outgrown
}

/// What a worker has to know of the log, as the API tells.
#[derive(serde::Deserialize)]
struct Info {
    timeline: Uuid,
    shards: u16,
}

/// A process that runs tasks: `grid worker`.
///
/// # Errors
/// Says what could not be started and what to do.
pub async fn worker(config: Config, telemetry: Telemetry) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.kafka.brokers.is_some(),
        "kafka.brokers is not set: a worker needs Kafka; give --kafka"
    );
    api::can_listen(&config.server)?;
    let api_url = config
        .worker
        .api_url
        .clone()
        .context("worker.api_url is not set: give --api URL of a jobmaster")?;
    let token = config.worker.api_token.clone().unwrap_or_default();
    let client = trust(reqwest::Client::builder(), config.worker.api_ca.as_deref())?;
    let info = info(&api_url, &token, client.timeout(Duration::from_secs(5)).build()?).await?;
    let bus = bus::open_to(&Topic::OF_WORKERS, &config.bus, &config.kafka, info.shards).await?;
    let mut options = config.worker.clone();
    options.data_dir = std::path::absolute::<&PathBuf>(&options.data_dir)?;
    let name: WorkerName = match &options.name {
        Some(name) => name.parse()?,
        None => Uuid::now_v7().to_string().parse()?,
    };
    let lines = RecentLines::new(token.clone());
    let recent = Arc::new(Recent::new(tailing::recent_bytes(&options)));
    lines.show(Arc::clone(&recent));
    let endpoint = endpoint::serve(&config.server, telemetry.clone(), lines)?;
    let whose = Whose {
        component: "worker",
        process: name.to_string(),
        folder: options.data_dir.clone(),
        spill: Some(options.data_dir.join(".metrics-spill")),
        telemetry,
    };
    let measuring = OfWorker::start(&config, whose)?;
    let worker = Worker::start(WorkerSetup {
        name,
        options,
        bus: Arc::clone(&bus),
        timeline: info.timeline,
        api_url,
        api_token: token,
        endpoint_url: public_url(&config, endpoint.address, endpoint.secured),
        guardian: Guardian::start(GuardianOptions::default())?,
        points: measuring.points(),
        recent,
    })?;
    endpoint.show(worker.states());
    tracing::info!(worker = %worker.name(), address = %endpoint.address, "node.serving");
    tokio::select! {
        why = signals::told_to_end() => tracing::info!(why = why?, "node.ending"),
        ended = worker.ended() => tracing::info!(?ended, "node.ending"),
    }
    worker.drain();
    let ended = worker.ended().await;
    drop(worker);
    measuring.stop().await;
    endpoint.stop().await;
    close_bus(&*bus).await;
    tracing::info!(?ended, "node.ended");
    anyhow::ensure!(
        ended != WorkerEnded::Restored,
        "the log was restored from a backup and has a new timeline: start this worker again, so that it works on that one"
    );
    Ok(())
}

/// Asks the API, which may come up later than the worker, at one of its addresses.
async fn info(api_url: &str, token: &Secret, client: reqwest::Client) -> anyhow::Result<Info> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        for base in api_urls(api_url) {
            let url = format!("{base}/api/v1/internal/setup");
            let request = client.get(&url).bearer_auth(token.reveal());
            let asked = async { request.send().await?.error_for_status()?.json::<Info>().await };
            match asked.await {
                Ok(info) => return Ok(info),
                Err(error)
                    if error
                        .status()
                        .is_some_and(|status| matches!(status.as_u16(), 401 | 403)) =>
                {
                    return Err(error).context(
                        "the API does not take worker.api_token: it must be a token of the role worker, or be the same \
                         as worker.api_token of the jobmasters",
                    );
                }
                Err(error) if tokio::time::Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("{url} (worker.api_url) does not answer"));
                }
                Err(error) => tracing::warn!(%error, url, "node.api.unanswered"),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
