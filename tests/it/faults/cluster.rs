//! Jobmasters and workers over real Kafka and Postgres.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::check::{Ended, check, finds_what_is_wrong, psql};
use super::load::{Load, Programs, get};
use super::process::{Folder, GRID, Grid};
use crate::support::{Kafka, Postgres};

/// How long silence lasts before something counts as lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As configured by default.
    Default,
    /// A quarter of that: for tests that wait for it.
    Short,
}

/// Two jobmasters and some workers.
pub struct Cluster<'a> {
    postgres: &'a Postgres,
    kafka: &'a Kafka,
    prefix: String,
    pub database: String,
    patience: Patience,
    /// The executable that processes are started from.
    pub program: PathBuf,
    pub jobmasters: Vec<Grid>,
    pub workers: Vec<Grid>,
    pub programs: Programs,
    folder: Folder,
}

const SHORT: [&str; 5] = [
    "kafka.session_timeout=3s",
    "jobmaster.worker_lost_after=12s",
    "worker.dead_after=10s",
    "worker.lost_after=12s",
    "worker.grace=1s",
];

impl<'a> Cluster<'a> {
    pub async fn start(postgres: &'a Postgres, kafka: &'a Kafka, patience: Patience, workers: usize) -> Self {
        Self::start_program(postgres, kafka, patience, workers, Path::new(GRID)).await
    }

    /// As [`Cluster::start`], of another executable.
    pub async fn start_program(
        postgres: &'a Postgres,
        kafka: &'a Kafka,
        patience: Patience,
        workers: usize,
        program: &Path,
    ) -> Self {
        let folder = Folder::new("/tmp");
        let mut cluster = Self {
            postgres,
            kafka,
            prefix: kafka.fresh_prefix(),
            database: postgres.fresh_database(),
            patience,
            program: program.to_owned(),
            jobmasters: Vec::new(),
            workers: Vec::new(),
            programs: Programs::new(folder.path()),
            folder,
        };
        let migrated = cluster.migrate(&cluster.program, &[]);
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        cluster.start_jobmasters(2);
        cluster.workers = (0..workers).map(|number| cluster.worker(number)).collect();
        cluster.ready().await;
        cluster
    }

    /// So many jobmasters, on the database as it is named now.
    pub fn start_jobmasters(&mut self, count: usize) {
        self.jobmasters = (0..count).map(|number| self.jobmaster(number)).collect();
    }

    /// Another process for the worker of that number.
    pub fn start_worker_anew(&mut self, number: usize) {
        self.workers[number] = self.worker(number);
    }

    /// Waits until all processes are.
    pub async fn ready(&mut self) {
        for process in self.jobmasters.iter_mut().chain(&mut self.workers) {
            process.ready().await;
        }
    }

    /// `grid migrate` of an executable.
    pub fn migrate(&self, program: &Path, flags: &[&str]) -> Output {
        Command::new(program)
            .args(["migrate", "--shards", "8", "--postgres", &self.database])
            .args(["--kafka", &self.kafka.brokers(), "--set", &self.topics()])
            .args(flags)
            .output()
            .unwrap()
    }

    /// As the service role: the owner may change the log, and is refused.
    fn service(&self) -> String {
        self.database.replace("//postgres@", "//grid@")
    }

    fn topics(&self) -> String {
        format!("kafka.topic_prefix={}", self.prefix)
    }

    fn process(&self, name: &str, role: &[&str]) -> Grid {
        let topics = self.topics();
        let settings = match self.patience {
            Patience::Default => &SHORT[..0],
            Patience::Short => &SHORT,
        };
        let settings = [topics.as_str(), "worker.api_token=of-the-test"]
            .into_iter()
            .chain(settings.iter().copied());
        let mut arguments: Vec<String> = role.iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(["--name", name, "--kafka", &self.kafka.brokers()].map(str::to_owned));
        arguments.extend(settings.flat_map(|setting| ["--set".to_owned(), setting.to_owned()]));
        Grid::start_program(&self.program, self.folder.path(), name, arguments)
    }

    pub fn jobmaster(&self, number: usize) -> Grid {
        self.process(
            &format!("jobmaster-{number}"),
            &["jobmaster", "--postgres", &self.service()],
        )
    }

    fn worker(&self, number: usize) -> Grid {
        self.worker_with(number, &[])
    }

    /// Another worker, with settings of its own.
    pub async fn add_worker(&mut self, settings: &[&str]) {
        let worker = self.worker_with(self.workers.len(), settings);
        self.workers.push(worker);
        for worker in &mut self.workers {
            worker.ready().await;
        }
    }

    fn worker_with(&self, number: usize, settings: &[&str]) -> Grid {
        let name = format!("w{number}");
        let data = self.folder.path().join(&name);
        let (data, api) = (data.to_str().unwrap(), self.urls().join(","));
        let role = ["worker", "--data-dir", data, "--slots", "8", "--api", &api];
        let settings = settings.iter().flat_map(|setting| ["--set", *setting]);
        self.process(&name, &role.into_iter().chain(settings).collect::<Vec<_>>())
    }

    pub fn urls(&self) -> Vec<String> {
        self.jobmasters.iter().map(|jobmaster| jobmaster.url.clone()).collect()
    }

    pub fn load(&self) -> Load {
        Load::start(self.urls(), &self.programs)
    }

    /// The topic of events.
    pub fn topic(&self) -> String {
        format!("{}events", self.prefix)
    }

    /// Up to where every shard's history goes: `SHARD:POSITION,…`.
    pub fn heads(&self) -> String {
        let heads = "SELECT string_agg(shard || ':' || next_seq - 1, ',') FROM shards WHERE next_seq > 1";
        psql(&self.database, heads)
    }

    /// A command that works on the database and the topics, as the service role; to be completed and run.
    pub fn command(&self, name: &[&str]) -> Command {
        self.command_on(&self.service(), name)
    }

    /// As [`Cluster::command`], on another database, as whom its URL says.
    pub fn command_on(&self, database: &str, name: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grid"));
        command.args(name).args(["--postgres", database]);
        command.args(["--kafka", &self.kafka.brokers(), "--set", &self.topics()]);
        command
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Ends all processes in order.
    pub fn stop(mut self) {
        for process in self.workers.drain(..).chain(self.jobmasters.drain(..)) {
            process.stop();
        }
    }

    /// A jobmaster's incarnation, as it stands in the rows of its shards.
    pub async fn incarnation(&self, jobmaster: usize) -> String {
        let info = get(&self.jobmasters[jobmaster].url, "/api/v1/info").await;
        info["node"].as_str().unwrap().to_owned()
    }

    /// How many shards that incarnation has claimed last.
    pub fn owned(&self, incarnation: &str) -> u32 {
        let sql = format!("SELECT count(*) FROM shards WHERE owner = '{incarnation}'");
        psql(&self.database, &sql).parse().unwrap_or(0)
    }

    /// Checks everything, and ends it. `never`: reasons for which no task may have failed.
    pub async fn finish(mut self, load: Load, never: &str) {
        self.end(load, never).await;
    }

    /// As [`Cluster::finish`]; then shows that the checker would have found what is wrong.
    pub async fn finish_and_doubt(mut self, load: Load, never: &str) {
        self.end(load, never).await;
        finds_what_is_wrong(self.postgres, self.folder.path(), &self.database);
    }

    async fn end(&mut self, load: Load, never: &str) {
        for process in self.jobmasters.iter_mut().chain(&mut self.workers) {
            process.ready().await;
        }
        let topic = self.topic();
        let ended = Ended {
            folder: self.folder.path(),
            server: &self.jobmasters[0].url,
            conninfo: &self.database,
            verify: &["--postgres", &self.service()],
            topic: Some((self.kafka, &topic)),
            never,
        };
        check(load, ended).await;
        for process in self.workers.drain(..).chain(self.jobmasters.drain(..)) {
            process.stop();
        }
        let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'grid'";
        assert_eq!(self.postgres.psql(&self.database, left), "0");
    }
}
