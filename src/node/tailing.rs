//! How the API reaches lines while they are written: in the memory of workers in this process, and at the endpoints of those
//! in others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::core::Core;
use crate::api::{HeardWorkers, Tailing, WayToLines};
use crate::config::Secret;
use crate::config::whole::Config;
use crate::domain::WorkerName;
use crate::logs::recent::Recent;
use crate::worker::{WorkerOptions, trust};

/// The workers of a standalone, by name, and the memory for their lines.
pub type OwnWorkers = BTreeMap<WorkerName, Arc<Recent>>;

/// What a worker keeps at most.
pub fn recent_bytes(options: &WorkerOptions) -> usize {
    usize::try_from(options.log_recent_bytes).unwrap_or(usize::MAX)
}

/// Those that the options say.
///
/// # Errors
/// When the configured name can be none.
pub fn own_workers(config: &Config, core: &Core) -> anyhow::Result<OwnWorkers> {
    let name = config.worker.name.clone().unwrap_or_else(|| "local".to_owned());
    // A store that finds lines at once tells who follows them as soon.
    let bytes = if core.logs.lag().is_zero() {
        0
    } else {
        recent_bytes(&config.worker)
    };
    let named = |number| match config.standalone.workers {
        1 => name.clone(),
        _ => format!("{name}-{number}"),
    };
    let numbers = 1..=config.standalone.workers;
    numbers
        .map(|number| Ok((named(number).parse()?, Arc::new(Recent::new(bytes)))))
        .collect()
}

/// For a jobmaster, whose workers are other processes. Without a token that they know, lines come from their store alone.
///
/// # Errors
/// When the authorities that it shall trust cannot be read.
pub fn of_jobmaster(config: &Config, core: &Core) -> anyhow::Result<Option<Tailing>> {
    match config.worker.api_token.clone() {
        Some(token) if !token.reveal().is_empty() => tailing(config, core, OwnWorkers::new(), token).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// For a standalone, when its store is slower than the memory of its workers.
///
/// # Errors
/// As [`of_jobmaster`].
pub fn of_standalone(config: &Config, core: &Core, own: &OwnWorkers) -> anyhow::Result<Option<Tailing>> {
    let token = config.worker.api_token.clone().unwrap_or_default();
    // Over Kafka there may be others, which have to know the token.
    let reaches_all = config.kafka.brokers.is_none() || !token.reveal().is_empty();
    if core.logs.lag().is_zero() || !reaches_all {
        return Ok(None);
    }
    tailing(config, core, own.clone(), token).map(Some)
}

fn tailing(config: &Config, core: &Core, own: OwnWorkers, token: Secret) -> anyhow::Result<Tailing> {
    let host = Arc::clone(core.host());
    let heard: HeardWorkers = Arc::new(move || {
        let endpoints = host.worker_endpoints(crate::clock::now()).into_iter();
        let mut ways: BTreeMap<_, _> = endpoints.map(|(name, url)| (name, WayToLines::Endpoint(url))).collect();
        let own = own.iter();
        ways.extend(own.map(|(name, recent)| (name.clone(), WayToLines::Memory(Arc::clone(recent)))));
        ways
    });
    let client = trust(reqwest::Client::builder(), config.jobmaster.worker_ca.as_deref())?;
    Ok(Tailing::new(heard, token, client)?)
}
