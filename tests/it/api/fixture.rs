//! A server with everything behind it but workers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix::{Addr, Arbiter};
use grid::api::auth::{self, Wanted};
use grid::api::graphql::GraphqlOptions;
use grid::api::live::{Hub, HubParts, Source};
use grid::api::{ApiOptions, ApiParts, Role, Server, serve};
use grid::bus::{Bus, BusOptions, LocalBus};
use grid::config::{Secret, ServerOptions};
use grid::domain::{Epoch, Incarnation, JobId, Seq, ShardId};
use grid::log::{Journal, JournalHandle, JournalOptions, Log, migrate};
use grid::metrics::{Embedded, Keeping};
use grid::projection::{Feed, ProjectionOptions, ProjectorHandle, ProjectorParts, Watermarks, Writer};
use grid::shard::{
    Committed, Directory, DirectoryOptions, Followers, Host, HostParts, JobmasterOptions, Supervisor, SupervisorHandle,
    WorkerDirectory,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::contract;
use crate::log::service;
use crate::support::Postgres;

pub const SHARDS: u16 = 4;
/// As configured by default.
const KEEPING: Keeping = Keeping {
    raw_days: 7,
    rollup_days: 90,
};
pub const TOKEN: &str = "a worker's token";

pub struct Options {
    pub api: ApiOptions,
    pub graphql: GraphqlOptions,
    pub jobmaster: JobmasterOptions,
    /// Default: one inside the process.
    pub bus: Option<Arc<dyn Bus>>,
    /// Without shards no command is ever answered.
    pub shards: bool,
    /// Of those who show no token.
    pub anonymous_role: Option<Role>,
    /// Default: a new one of the shared Postgres.
    pub database: Option<String>,
    /// How it is served, but for the address.
    pub server: ServerOptions,
}

/// A token that does not expire.
pub fn wanted(role: Role, principal: &str) -> Wanted {
    Wanted {
        role,
        principal: Some(principal.to_owned()),
        expires_at: None,
    }
}

/// The jobmaster of the process, once it is there.
type Known = Arc<RwLock<Option<Arc<Host>>>>;

impl Default for Options {
    fn default() -> Self {
        Self {
            api: ApiOptions::default(),
            graphql: GraphqlOptions::default(),
            jobmaster: JobmasterOptions::default(),
            bus: None,
            shards: true,
            anonymous_role: Some(Role::Operator),
            database: None,
            server: ServerOptions::default(),
        }
    }
}

struct Following(ProjectorHandle, Hub);

impl Followers for Following {
    fn owned(&self, shard: ShardId, _: Epoch, next: Seq, _: Seq) {
        self.0.open(shard, Seq(next.0 - 1));
        self.1.owned(shard, Seq(next.0 - 1));
    }
    fn committed(&self, committed: Committed) {
        self.1.committed(&committed);
        let Committed {
            shard,
            first_seq,
            records,
            ..
        } = committed;
        self.0.feed(Feed {
            shard,
            first_seq,
            records,
        });
    }
    fn disowned(&self, shard: ShardId) {
        self.0.close(shard);
    }
    fn published(&self, _: ShardId) -> Option<Seq> {
        None
    }
}

pub struct Fixture {
    pub url: String,
    pub address: SocketAddr,
    pub log: Log,
    pub live: Hub,
    pub ready: Arc<AtomicBool>,
    pub bus: Arc<dyn Bus>,
    pub timeline: Uuid,
    projector: ProjectorHandle,
    known: Known,
    /// For another server over the same.
    pub parts: ApiParts,
    http: reqwest::Client,
    server: Server,
    running: Option<(SupervisorHandle, JournalHandle, Addr<WorkerDirectory>)>,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        crate::support::show_log();
        let url = options.database.unwrap_or_else(|| Postgres::shared().fresh_database());
        migrate(&Secret::new(url.clone()), SHARDS).await.unwrap();
        let log = Log::connect(service(&url)).await.unwrap();
        let setup = log.check(Some(SHARDS)).await.unwrap();
        let bus = options
            .bus
            .unwrap_or_else(|| Arc::new(LocalBus::new(&BusOptions::default(), SHARDS)));
        let watermarks = Watermarks::new(SHARDS, log.pool().clone());
        let projector = ProjectorHandle::start(
            ProjectorParts {
                options: ProjectionOptions::default(),
                writer: Writer::new(log.pool()),
                log: Arc::new(log.clone()),
                watermarks: watermarks.clone(),
            },
            Arbiter::current(),
        );
        let live = live(&log, SHARDS).await;
        let node = Incarnation(Uuid::now_v7());
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = ready.clone();
        let known = Known::default();
        let (beating, placing) = (Arc::clone(&known), Arc::clone(&known));
        let metric_store = Arc::new(Embedded::new(log.pool().clone(), KEEPING));
        metric_store.tidy(grid::clock::now()).await.unwrap();
        let parts = ApiParts {
            options: options.api,
            graphql: options.graphql,
            live: live.clone(),
            log: log.clone(),
            bus: bus.clone(),
            watermarks,
            timeline: setup.timeline,
            node,
            node_name: "of-the-test".to_owned(),
            server: options.server,
            inner_workers: false,
            live_workers: Arc::new(move |name| {
                let host = beating.read().unwrap().clone()?;
                host.live_worker(name, grid::clock::now())
            }),
            placing: Arc::new(move |shard| {
                let host = placing.read().unwrap().clone();
                host.expect("a jobmaster").placing(shard, grid::clock::now())
            }),
            trouble: Arc::new(|_| None),
            waiting_for: Arc::new(move || {
                if is_ready.load(Ordering::Relaxed) {
                    Vec::new()
                } else {
                    vec!["the tide".to_owned()]
                }
            }),
            metrics: Arc::new(|| "grid_up 1\n".to_owned()),
            metric_store: metric_store.clone(),
            keeping: KEEPING,
            logs: Arc::new(grid::logs::Embedded::new(
                log.pool().clone(),
                grid::logs::LogsOptions::default(),
            )),
            tailing: None,
            worker_token: Some(Secret::new(TOKEN)),
            anonymous_role: options.anonymous_role,
        };
        let server = serve("127.0.0.1:0".parse().unwrap(), parts.clone()).await.unwrap();
        let running = if options.shards {
            let running = shards(&log, &bus, (&projector, &live), node, options.jobmaster).await;
            *known.write().unwrap() = Some(Arc::clone(running.0.host()));
            Some(running)
        } else {
            None
        };
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self {
            url,
            address: server.address,
            log,
            live,
            ready,
            bus,
            timeline: setup.timeline,
            projector,
            known,
            parts,
            http,
            server,
            running,
        }
    }

    /// The jobmaster goes, and another one takes over.
    pub async fn restart_shards(&mut self) {
        if let Some((supervisor, journal, _directory)) = self.running.take() {
            supervisor.leave().await;
            journal.drained(Duration::from_secs(10)).await;
        }
        let options = JobmasterOptions::default();
        let running = shards(
            &self.log,
            &self.bus,
            (&self.projector, &self.live),
            Incarnation(Uuid::now_v7()),
            options,
        )
        .await;
        *self.known.write().unwrap() = Some(Arc::clone(running.0.host()));
        self.running = Some(running);
    }

    pub async fn stop(self) {
        self.server.stop().await;
        if let Some((supervisor, journal, _directory)) = self.running {
            supervisor.leave().await;
            journal.drained(Duration::from_secs(10)).await;
        }
        self.log.close().await;
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let mut request = self
            .http
            .request(method.clone(), format!("http://{}{path}", self.address))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        contract::checked(&method, path, response).await
    }

    /// Where only those may ask who show that they may.
    pub async fn closed() -> Self {
        Self::with(Options {
            anonymous_role: None,
            ..Options::default()
        })
        .await
    }

    /// Everybody who may come, by what they show: nobody, somebody with a token that is none, the workers' shared secret,
    /// and a token of each role.
    pub async fn callers(&self) -> Vec<(Option<Role>, Option<String>)> {
        let unknown = format!("Bearer grid_{}_{}", "0".repeat(16), "0".repeat(64));
        let mut callers = vec![
            (None, None),
            (None, Some(unknown)),
            (Some(Role::Worker), Some(format!("Bearer {TOKEN}"))),
        ];
        for role in Role::ALL {
            let token = self.token(wanted(role, &format!("a-{role}"))).await;
            callers.push((Some(role), Some(token)));
        }
        callers
    }

    /// Makes a token; gives the header that shows it.
    pub async fn token(&self, wanted: Wanted) -> String {
        let (token, _) = auth::create(&self.owner().await, &wanted).await.unwrap();
        format!("Bearer {}", token.text.reveal())
    }

    /// A token of each role as it is shown, and `revoked`, of a viewer, which is there to be revoked.
    pub async fn tokens(&self) -> Value {
        let named = Role::ALL.map(|role| (role.name(), role)).into_iter();
        let mut tokens = Value::Null;
        for (name, role) in named.chain([("revoked", Role::Viewer)]) {
            let header = self.token(wanted(role, &format!("a-{role}"))).await;
            tokens[name] = header.trim_start_matches("Bearer ").into();
        }
        tokens
    }

    /// Where metrics are open.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.server.metrics_address
    }

    /// The database as its owner sees it.
    pub async fn owner(&self) -> PgPool {
        PgPool::connect(&self.url).await.unwrap()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Value> {
        self.json(Method::GET, path, StatusCode::OK)
    }

    pub async fn json(&self, method: Method, path: &str, expected: StatusCode) -> Value {
        let response = self.call(method, path, &[], Vec::new()).await;
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, expected, "{path}: {body:#}");
        body
    }

    /// Submits a document in YAML; gives the answer.
    pub async fn submit(&self, document: &str) -> Value {
        let headers = [("content-type", "application/yaml")];
        let response = self
            .call(Method::POST, "/api/v1/jobs", &headers, document.as_bytes().to_vec())
            .await;
        let status = response.status();
        let location = response
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        let body: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{body:#}");
        assert_eq!(location, Some(format!("/api/v1/jobs/{}", text(&body["jobId"]))));
        body
    }

    /// Empty jobs, until every shard has some.
    pub async fn submit_to_each_shard(&self) {
        let mut missing: BTreeSet<ShardId> = (0..SHARDS).map(ShardId).collect();
        while !missing.is_empty() {
            let job = self.submit("tasks: []").await;
            missing.remove(&text(&job["jobId"]).parse::<JobId>().unwrap().shard(SHARDS));
        }
    }

    pub fn psql(&self, sql: &str) -> String {
        Postgres::shared().psql(&self.url, sql)
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The live feed of a process that has every shard.
pub async fn live(log: &Log, shards: u16) -> Hub {
    Hub::new(HubParts {
        log: log.clone(),
        timeline: log.timeline().await.unwrap(),
        shards,
        source: Source::Commits,
    })
}

/// Serves what the bus assigns, as a jobmaster does.
pub async fn shards(
    log: &Log,
    bus: &Arc<dyn Bus>,
    (projector, live): (&ProjectorHandle, &Hub),
    jobmaster: Incarnation,
    options: JobmasterOptions,
) -> (SupervisorHandle, JournalHandle, Addr<WorkerDirectory>) {
    let setup = log.check(None).await.unwrap();
    let journal = Journal::start_here(log.clone(), JournalOptions::default());
    let directory = Directory::new(DirectoryOptions {
        jobmaster,
        timeline: setup.timeline,
        inactive_after: options.worker_inactive_after,
        lost_after: options.worker_lost_after,
        feed_fresh_for: 2 * options.heartbeat_interval,
        dead_before: None,
    });
    let host = Arc::new(Host::new(HostParts {
        bus: Arc::clone(bus),
        log: log.clone(),
        journal: journal.clone(),
        followers: Arc::new(Following(projector.clone(), live.clone())),
        jobmaster,
        timeline: setup.timeline,
        shards: setup.shards,
        options,
        directory,
    }));
    let directory = WorkerDirectory::start(Arc::clone(&host)).await.unwrap();
    (Supervisor::start(host, bus.join().await.unwrap()), journal, directory)
}
