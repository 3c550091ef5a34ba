//! The worker as a whole: a thread of its own with the actors of one incarnation after the other.
//!
//! Must stay true: an incarnation that ended, in whatever way, has its attempts killed before the next begins; each is
//! made anew by a factory, so that a panic poisons nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::actor::{Drain, Ending, Halt, Parts, WorkerActor, WorkerState};
use super::checkpoints::{Checkpoints, CheckpointsSetup};
use super::documents::Documents;
use super::executor::{Cgroups, Executors, Guardian, ProcessOptions, Secrets};
use super::letters::{LetterPost, LetterSetup};
use super::log_feed::Outlets;
use super::log_shipper::{ApiSetup, Shipper, Shipping, Way};
use super::machine::{ExitReason, Identity, WorkerMachine};
use super::options::{InvalidWorkerOptions, WorkerOptions};
use super::pump::Pump;
use super::reported::Reported;
use super::steady::SteadyClock;
use super::task_actor::Bench;
use super::together::Together;
use crate::bus::{Bus, BusError, Start, Topic};
use crate::config::Secret;
use crate::domain::{Incarnation, WorkerName};
use crate::logs::capture::Rate;
use crate::logs::recent::Recent;
use crate::metrics::Points;
use crate::spill::Spill;

/// How long to wait before the next incarnation, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A life that was so long starts the pauses anew.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// How long the attempts' thread may take to end; its processes are killed by then, or by the guardian.
const THREAD_PATIENCE: Duration = Duration::from_secs(5);

/// What a worker needs of the rest of the process.
#[derive(Clone)]
pub struct WorkerSetup {
    pub name: WorkerName,
    pub options: WorkerOptions,
    pub bus: Arc<dyn Bus>,
    /// Of the log.
    pub timeline: Uuid,
    /// Where documents are fetched: one or more addresses, separated by commas.
    pub api_url: String,
    pub api_token: Secret,
    /// Where health and metrics of the process are served; told to everybody.
    pub endpoint_url: String,
    pub guardian: Guardian,
    /// Where what is measured goes.
    pub points: Points,
    /// Its last lines, for who follows them.
    pub recent: Arc<Recent>,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Options(#[from] InvalidWorkerOptions),
    #[error("the worker's folder {folder} cannot be made (worker.data_dir)")]
    Folder { folder: String, source: io::Error },
    #[error("the worker's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// What is wanted of a worker. Only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Run,
    Drain,
    Halt,
}

/// How a worker ended, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEnded {
    /// It was drained: what it held is finished or given back, and it said goodbye.
    Drained,
    /// It was ended with whatever it ran.
    Halted,
    /// A newer process has its name; starting this one again would drive that one out.
    Superseded,
    /// The log was restored from a backup and has a new timeline, which only a new start asks for.
    Restored,
}

/// The way to a running worker. When it is dropped, the worker halts.
pub struct WorkerHandle {
    name: WorkerName,
    wish: watch::Sender<Wish>,
    state: watch::Receiver<Option<WorkerState>>,
    ended: watch::Receiver<Option<WorkerEnded>>,
}

impl WorkerHandle {
    pub fn name(&self) -> &WorkerName {
        &self.name
    }

    /// What it looks like now; `None` until its first incarnation is connected.
    pub fn state(&self) -> Option<WorkerState> {
        *self.state.borrow()
    }

    /// Changes of the state, for who waits for one.
    pub fn states(&self) -> watch::Receiver<Option<WorkerState>> {
        self.state.clone()
    }

    /// Takes no new work, hands back what waits, lets finish what runs within `worker.drain_grace`, and ends.
    pub fn drain(&self) {
        self.want(Wish::Drain);
    }

    /// Ends at once; what runs is killed, and its shard learns it by silence.
    pub fn halt(&self) {
        self.want(Wish::Halt);
    }

    fn want(&self, wish: Wish) {
        self.wish.send_if_modified(|wanted| {
            let rises = wish > *wanted;
            *wanted = (*wanted).max(wish);
            rises
        });
    }

    /// Waits for its end, whatever brings it.
    pub async fn ended(&self) -> WorkerEnded {
        let mut ended = self.ended.clone();
        // Without a word: its thread is gone, and all that ran on it.
        let seen = ended.wait_for(Option::is_some).await;
        seen.ok().and_then(|ended| *ended).unwrap_or(WorkerEnded::Halted)
    }
}

/// Starts workers.
pub struct Worker;

impl Worker {
    /// Starts a worker on a thread of its own; it connects, registers and works until it is told to end.
    ///
    /// # Errors
    /// When its options contradict each other, or its folder or thread cannot be made. A bus that does not answer is
    /// waited for.
    pub fn start(setup: WorkerSetup) -> Result<WorkerHandle, WorkerError> {
        if let Some(problem) = setup.options.problems().into_iter().next() {
            return Err(problem.into());
        }
        let folder = &setup.options.data_dir;
        std::fs::create_dir_all(folder).map_err(|source| WorkerError::Folder {
            folder: folder.display().to_string(),
            source,
        })?;
        let (wish, wanted) = watch::channel(Wish::Run);
        let (show, state) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let name = setup.name.clone();
        let service = Service {
            setup,
            wanted,
            state: show,
        };
        let thread = std::thread::Builder::new().name(format!("grid-{name}"));
        let run = move || {
            let ending = System::new().block_on(service.run());
            // Nobody asks any more when the handle is gone.
            end.send_replace(Some(ending));
        };
        thread.spawn(run).map_err(WorkerError::Thread)?;
        Ok(WorkerHandle {
            name,
            wish,
            state,
            ended,
        })
    }
}

struct Service {
    setup: WorkerSetup,
    wanted: watch::Receiver<Wish>,
    state: watch::Sender<Option<WorkerState>>,
}

impl Service {
    async fn run(mut self) -> WorkerEnded {
        let mut pause = PAUSES.0;
        loop {
            let begun = tokio::time::Instant::now();
            let why = tokio::select! {
                biased;
                wish = wanted(&mut self.wanted, Wish::Drain) => return not_running(wish),
                life = Life::begin(&self.setup, &self.state) => match life {
                    Ok(life) => life.live(&mut self.wanted).await,
                    Err(error) => Ending::Broken(error.to_string()),
                },
            };
            match &why {
                Ending::Exit(ExitReason::Drained) => return WorkerEnded::Drained,
                Ending::Exit(ExitReason::Superseded) => {
                    tracing::error!(worker = %self.setup.name, "worker.superseded");
                    return WorkerEnded::Superseded;
                }
                Ending::Exit(ExitReason::Restored) => {
                    tracing::error!(worker = %self.setup.name, "worker.log_restored");
                    return WorkerEnded::Restored;
                }
                Ending::Halted => return WorkerEnded::Halted,
                Ending::Exit(ExitReason::CutOff) | Ending::Broken(_) => {}
            }
            if begun.elapsed() >= LONG_LIFE {
                pause = PAUSES.0;
            }
            tracing::warn!(worker = %self.setup.name, ?why, ?pause, "worker.begins_anew");
            let label = match why {
                Ending::Exit(_) | Ending::Halted => "cut_off",
                Ending::Broken(_) => "broken",
            };
            metrics::counter!("grid_worker_incarnations_total", "after" => label).increment(1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                wish = wanted(&mut self.wanted, Wish::Drain) => return not_running(wish),
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// It was told to end while it did not run.
fn not_running(wish: Wish) -> WorkerEnded {
    match wish {
        Wish::Drain => WorkerEnded::Drained,
        Wish::Run | Wish::Halt => WorkerEnded::Halted,
    }
}

/// Waits until this or more is wanted. A handle that is gone wants the end.
async fn wanted(wish: &mut watch::Receiver<Wish>, least: Wish) -> Wish {
    wish.wait_for(|wanted| *wanted >= least)
        .await
        .map_or(Wish::Halt, |wanted| *wanted)
}

/// One incarnation.
struct Life {
    actor: Addr<WorkerActor>,
    over: oneshot::Receiver<Ending>,
    tasks: Arbiter,
    /// Each way that lines go, and that of dead letters.
    lines: Vec<Shipping>,
    /// End with it.
    _pumps: [Pump; 2],
}

impl Life {
    async fn begin(setup: &WorkerSetup, state: &watch::Sender<Option<WorkerState>>) -> Result<Self, BeginError> {
        let (bus, name) = (&setup.bus, &setup.name);
        let partitions = bus.partitions();
        let of = |topic| name.slot(partitions.of(topic));
        // First all ears, then the registration: nothing that is meant for this incarnation is missed.
        let heartbeats = bus.subscribe(Topic::Heartbeats, 0, Start::End).await?;
        let assignments = bus
            .subscribe(Topic::Assignments, of(Topic::Assignments), Start::End)
            .await?;
        let clock = SteadyClock::start();
        let identity = Identity {
            worker: name.clone(),
            incarnation: Incarnation(Uuid::now_v7()),
            timeline: setup.timeline,
            shards: partitions.of(Topic::Commands),
            endpoint_url: setup.endpoint_url.clone(),
        };
        tracing::info!(worker = %name, incarnation = %identity.incarnation, "worker.begins");
        let incarnation = identity.incarnation;
        let machine = WorkerMachine::new(identity, setup.options.clone(), clock.now())?;
        let tasks = Arbiter::try_new()?;
        let (shippers, mut lines) = ship(setup, incarnation)?;
        let (letters, letters_way) = Shipper::start(Way::of_letters(&api_setup(setup, incarnation)), None, None)?;
        lines.push(letters_way);
        let (tell, over) = oneshot::channel();
        let parts = Parts {
            machine,
            clock,
            bus: Arc::clone(bus),
            bench: Arc::new(bench(setup, incarnation, shippers, letters)),
            guardian: setup.guardian.clone(),
            slots: setup.options.slots,
            dead_after: setup.options.dead_after,
            tasks_on: tasks.handle(),
            state: state.clone(),
            over: tell,
        };
        let actor = WorkerActor::new(parts).start();
        let pump = |topic, subscription| Pump::start(topic, subscription, name, actor.clone());
        let pumps = [
            pump(Topic::Assignments, assignments),
            pump(Topic::Heartbeats, heartbeats),
        ];
        Ok(Self {
            actor,
            over,
            tasks,
            lines,
            _pumps: pumps,
        })
    }

    async fn live(mut self, wish: &mut watch::Receiver<Wish>) -> Ending {
        let mut least = Wish::Drain;
        let ending = loop {
            tokio::select! {
                biased;
                ending = &mut self.over => {
                    break ending.unwrap_or_else(|_| Ending::Broken("the worker's actor panicked".to_owned()));
                }
                wish = wanted(wish, least) => {
                    // An actor that is gone says so through `over`.
                    if wish == Wish::Halt {
                        let _ = self.actor.send(Halt).await;
                        break Ending::Halted;
                    }
                    let _ = self.actor.send(Drain).await;
                    least = Wish::Halt;
                }
            }
        };
        self.end().await;
        ending
    }

    /// Kills what still runs, and waits until its thread has ended.
    async fn end(self) {
        self.tasks.stop();
        let joined = tokio::task::spawn_blocking(move || self.tasks.join());
        match tokio::time::timeout(THREAD_PATIENCE, joined).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_) => tracing::error!("worker.attempts_thread_panicked"),
            Err(_) => tracing::error!("worker.attempts_thread_hangs"),
        }
        futures::future::join_all(self.lines.into_iter().map(Shipping::finish)).await;
    }
}

/// Why an incarnation could not begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Options(#[from] InvalidWorkerOptions),
    #[error("a thread for the attempts cannot be started: {0}")]
    Thread(#[from] io::Error),
}

fn api_setup(setup: &WorkerSetup, incarnation: Incarnation) -> ApiSetup<'_> {
    ApiSetup {
        url: &setup.api_url,
        token: setup.api_token.clone(),
        authorities: setup.options.api_ca.as_deref(),
        incarnation,
        to_vector: setup.options.vector.is_some(),
    }
}

/// The ways of lines: to the API unless it is told not to, and to a Vector when there is one.
fn ship(setup: &WorkerSetup, incarnation: Incarnation) -> io::Result<(Vec<Arc<Shipper>>, Vec<Shipping>)> {
    let options = &setup.options;
    let api = options.send_logs.then(|| Way::to_api(&api_setup(setup, incarnation)));
    let to_vector = |address: &String| Way::to_vector(address, options.vector_ca.as_deref());
    let vector = options.vector.as_ref().map(to_vector);
    // The first of them says what is in a store.
    let mut recent = Some(Arc::clone(&setup.recent));
    let mut started = Vec::new();
    for (way, spill) in api
        .map(|api| (api, None))
        .into_iter()
        .chain(vector.map(|way| (way, spill(options))))
    {
        started.push(Shipper::start(way, recent.take(), spill)?);
    }
    Ok(started.into_iter().unzip())
}

/// Where lines to a Vector wait on disk. Without it they wait in memory.
fn spill(options: &WorkerOptions) -> Option<Spill> {
    if options.vector_spill_bytes == 0 {
        return None;
    }
    let folder = options.data_dir.join(".lines-spill");
    let opened = Spill::open(&folder, "lines.gz", options.vector_spill_bytes);
    let failed = |error: &io::Error| tracing::warn!(%error, folder = %folder.display(), "worker.lines.no_spill");
    opened.inspect_err(failed).ok()
}

fn bench(setup: &WorkerSetup, incarnation: Incarnation, shippers: Vec<Arc<Shipper>>, letters: Arc<Shipper>) -> Bench {
    let options = &setup.options;
    let process = ProcessOptions {
        kill_grace_ms: u64::try_from(options.grace.as_millis()).unwrap_or(u64::MAX),
        ..ProcessOptions::default()
    };
    let cgroups = Cgroups::of_process(options.cgroup.as_deref()).cloned();
    Bench {
        worker: setup.name.clone(),
        executors: Executors::new(process, setup.guardian.clone()).within(cgroups),
        documents: Documents::trusting(&setup.api_url, setup.api_token.clone(), options.api_ca.as_deref()),
        checkpoints: Checkpoints::new(CheckpointsSetup {
            api_url: &setup.api_url,
            token: setup.api_token.clone(),
            authorities: options.api_ca.as_deref(),
            incarnation,
            every: options.checkpoint_interval,
        }),
        data_dir: options.data_dir.clone(),
        allow_paths: options.allow_paths.clone(),
        secrets: Secrets::new(options.secrets_dir.clone()),
        points: setup.points.clone(),
        together: Arc::new(Together::new(setup.points.clone())),
        reported: Reported::start(setup.points.clone()),
        log_rate: Rate {
            lines_per_second: options.log_lines_per_second,
            bytes_per_second: options.log_bytes_per_second,
            burst_seconds: options.log_burst_seconds,
        },
        lines_to: Outlets {
            shippers: shippers.into(),
            recent: Arc::clone(&setup.recent),
        },
        letters: LetterPost::new(LetterSetup {
            api_url: &setup.api_url,
            token: setup.api_token.clone(),
            authorities: options.api_ca.as_deref(),
            shipper: letters,
        }),
    }
}
