//! Arguments of the commands that run a server or touch its store, and how each becomes a layer of the configuration.
//!
//! Must stay true: an argument that has a key in the configuration sets just that key, so that `grid config` with the
//! same flags shows what the command would use.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use figment::value::Value;

use crate::config::whole::{Config, Loaded};
use crate::config::{self, Flag, LogFormat, Sources};

/// Where the configuration comes from besides the command's own flags.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(
        long,
        value_name = "FILE",
        env = "GRID_CONFIG",
        hide_env_values = true,
        help_heading = "Configuration"
    )]
    pub config: Option<PathBuf>,
    /// Set any key of the configuration; `grid config --reference` lists them
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = assignment, help_heading = "Configuration")]
    pub set: Vec<(String, String)>,
    /// How log lines on stderr look
    #[arg(long, value_name = "FORMAT", help_heading = "Configuration")]
    pub log_format: Option<LogFormat>,
    /// Which log lines: a level, or target=level,…
    #[arg(long, value_name = "FILTER", help_heading = "Configuration")]
    pub log_filter: Option<String>,
}

impl ConfigArgs {
    /// Loads all layers; `flags` are the command's own. `--set` stands above them.
    ///
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self, mut flags: Flags) -> Result<Loaded, config::Error> {
        let format = self.log_format.map(|format| config::Setting::show(&format));
        flags.text(
            "--log-format",
            "log.format",
            format.as_ref().and_then(|format| format.as_str()),
        );
        flags.text("--log-filter", "log.filter", self.log_filter.as_deref());
        for (key, value) in &self.set {
            flags.text(&format!("--set {key}"), key, Some(value));
        }
        Config::load(&Sources::of_process(self.config.clone(), flags.0))
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Flags gathered as configuration.
#[derive(Debug, Default)]
pub struct Flags(Vec<Flag>);

impl Flags {
    fn set(&mut self, flag: &str, key: &str, value: Value) {
        self.0.push(Flag {
            flag: flag.to_owned(),
            key: key.to_owned(),
            value,
        });
    }

    pub(super) fn text<T: ToString + ?Sized>(&mut self, flag: &str, key: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.set(flag, key, Value::from(value.to_string()));
        }
    }

    fn path(&mut self, flag: &str, key: &str, value: Option<&PathBuf>) {
        self.text(
            flag,
            key,
            value.map(|path| path.to_string_lossy().into_owned()).as_ref(),
        );
    }

    fn paths(&mut self, flag: &str, key: &str, values: &[PathBuf]) {
        if !values.is_empty() {
            let list: Vec<String> = values.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            self.set(flag, key, Value::from(list));
        }
    }
}

/// Where the store is: of a standalone's data folder, or by URL.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArgs {
    /// Data folder of a standalone [default: grid-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// URL of Postgres, instead of a standalone's own; GRID__POSTGRES__URL keeps it out of the process list
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    pub postgres: Option<String>,
}

impl StoreArgs {
    /// For what only the owner of the tables may do: a URL that is given here is taken for the owner's.
    pub(super) fn add_owner(&self, flags: &mut Flags) {
        self.add(flags);
        flags.text("--postgres", "postgres.owner_url", self.postgres.as_deref());
    }

    fn add(&self, flags: &mut Flags) {
        flags.path("--data-dir", "standalone.data_dir", self.data_dir.as_ref());
        flags.text("--postgres", "postgres.url", self.postgres.as_deref());
        if self.data_dir.is_some() {
            // Asked for by folder: a URL of a lower layer must not win.
            flags.text("--data-dir", "postgres.url", Some(""));
            flags.text("--data-dir", "postgres.owner_url", Some(""));
        }
    }
}

/// What tasks may use.
#[derive(Args, Clone, Debug, Default)]
pub struct TaskArgs {
    /// How many tasks a worker runs at a time
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Folder that pipelines may read and write by absolute path; may be repeated
    #[arg(long, value_name = "DIR")]
    pub allow_path: Vec<PathBuf>,
    /// Folder with a file a secret
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Label that tasks may require; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub label: Vec<(String, String)>,
}

impl TaskArgs {
    fn add(&self, flags: &mut Flags) {
        flags.text("--slots", "worker.slots", self.slots.as_ref());
        flags.paths("--allow-path", "worker.allow_paths", &self.allow_path);
        flags.path("--secrets-dir", "worker.secrets_dir", self.secrets_dir.as_ref());
        for (name, value) in &self.label {
            flags.text("--label", &format!("worker.labels.{name}"), Some(value));
        }
    }
}

const STANDALONE_HELP: &str = "Examples:
  grid standalone
  grid standalone --data-dir /srv/grid --slots 16 --allow-path /data
  grid standalone --kafka 127.0.0.1:9092 --set kafka.replication_factor=3";

/// `grid standalone`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = STANDALONE_HELP)]
pub struct StandaloneArgs {
    /// Folder that holds everything [default: grid-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to serve on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// How many workers to run [default: 1]
    #[arg(long, value_name = "N")]
    pub workers: Option<u16>,
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// URL of Postgres, instead of a private one; GRID__POSTGRES__URL keeps it out of the process list
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Kafka brokers, instead of the bus inside the process
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl StandaloneArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        flags.path("--data-dir", "standalone.data_dir", self.data_dir.as_ref());
        flags.text("--listen", "server.listen", self.listen.as_ref());
        flags.text("--workers", "standalone.workers", self.workers.as_ref());
        self.tasks.add(&mut flags);
        flags.text("--postgres", "postgres.url", self.postgres.as_deref());
        flags.text("--kafka", "kafka.brokers", self.kafka.as_deref());
        self.config.load(flags)
    }
}

const JOBMASTER_HELP: &str = "Example:
  GRID__POSTGRES__URL=postgres://grid@db/grid grid jobmaster --kafka broker:9092 --listen 0.0.0.0:8080";

/// `grid jobmaster`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = JOBMASTER_HELP)]
pub struct JobmasterArgs {
    /// Its name in logs, metrics and the consumer group
    #[arg(long)]
    pub name: Option<String>,
    /// Address to serve on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// URL of Postgres; GRID__POSTGRES__URL keeps it out of the process list
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Kafka brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl JobmasterArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        flags.text("--name", "jobmaster.name", self.name.as_deref());
        flags.text("--listen", "server.listen", self.listen.as_ref());
        flags.text("--postgres", "postgres.url", self.postgres.as_deref());
        flags.text("--kafka", "kafka.brokers", self.kafka.as_deref());
        self.config.load(flags)
    }
}

const WORKER_HELP: &str = "Example:
  grid worker --kafka broker:9092 --api http://jobmaster:8080 --name rack7 --slots 8 --label zone=a";

/// `grid worker`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = WORKER_HELP)]
pub struct WorkerArgs {
    /// Its name, kept over restarts; a newer process of the same name takes over [default: a new one each start]
    #[arg(long)]
    pub name: Option<String>,
    /// Folder for its files; relative paths of pipelines are under it [default: grid-worker]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub tasks: TaskArgs,
    /// Kafka brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    /// URL of the API, from which documents are fetched; any of several will do
    #[arg(long, value_name = "URL,…")]
    pub api: Option<String>,
    /// Address to serve its health, metrics and live logs on
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl WorkerArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        flags.text("--name", "worker.name", self.name.as_deref());
        flags.path("--data-dir", "worker.data_dir", self.data_dir.as_ref());
        self.tasks.add(&mut flags);
        flags.text("--kafka", "kafka.brokers", self.kafka.as_deref());
        flags.text("--api", "worker.api_url", self.api.as_deref());
        flags.text("--listen", "server.listen", self.listen.as_ref());
        self.config.load(flags)
    }
}

const MIGRATE_HELP: &str = "Examples:
  grid migrate --postgres postgres://owner@db/grid --kafka broker:9092 --shards 64
  grid migrate --postgres postgres://owner@db/grid --kafka broker:9092 --accept-lost-topic
  grid migrate --postgres postgres://owner@db/grid --kafka broker:9092 --finish-upgrade";

/// `grid migrate`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = MIGRATE_HELP)]
pub struct MigrateArgs {
    /// URL of Postgres as the owner of the tables; GRID__POSTGRES__OWNER_URL keeps it out of the process list
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// Kafka brokers: creates and checks the topics
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    /// Data folder of a standalone, instead of a URL
    #[arg(long, value_name = "DIR", conflicts_with = "postgres")]
    pub data_dir: Option<PathBuf>,
    /// Number of shards, fixed at the first migration [default: 64]
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Let shards whose place in a topic is gone go on from what the topic holds; what lay between is lost
    #[arg(long)]
    pub accept_lost_topic: bool,
    /// Write what only this program and newer ones can read from now on, and refuse older ones; refused while one of them
    /// runs
    #[arg(long)]
    pub finish_upgrade: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl MigrateArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        let store = StoreArgs {
            data_dir: self.data_dir.clone(),
            postgres: None,
        };
        store.add(&mut flags);
        flags.text("--postgres", "postgres.owner_url", self.postgres.as_deref());
        flags.text("--kafka", "kafka.brokers", self.kafka.as_deref());
        flags.text("--shards", "shards.count", self.shards.as_ref());
        self.config.load(flags)
    }
}

const VERIFY_HELP: &str = "Exit codes: 0 clean, 2 differences, 3 could not check.

Examples:
  grid verify --data-dir grid-data
  grid verify --postgres postgres://grid@db/grid --output json
  grid verify --archive /srv/grid-archive --postgres postgres://grid@db/grid
  grid verify --archive /srv/grid-archive --offline";

/// `grid verify`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    /// Check the files of this archive instead: each event against the hashes that the log keeps for ever
    #[arg(long, value_name = "FOLDER")]
    pub archive: Option<PathBuf>,
    /// Without the log: only whether the archive is the one that its manifest and its own hashes tell of
    #[arg(long, requires = "archive", conflicts_with_all = ["data_dir", "postgres"])]
    pub offline: bool,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl VerifyArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        self.store.add(&mut flags);
        self.config.load(flags)
    }
}

/// `grid rebuild`
#[derive(Args, Clone, Debug, Default)]
pub struct RebuildArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl RebuildArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        self.store.add(&mut flags);
        self.config.load(flags)
    }
}

const REPUBLISH_HELP: &str =
    "A topic that was made anew or emptied is filled from its beginning; one that a run left half full, from where that
run stopped. Days that `grid archive` has dropped are in its files alone and are passed over. Jobmasters may run meanwhile. Readers skip what they have; one that wants everything waits for the message
with ce_prevposition 0.

Example:
  grid events republish --postgres postgres://grid@db/grid --kafka broker:9092";

/// `grid events republish`
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = REPUBLISH_HELP)]
pub struct RepublishArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Kafka brokers
    #[arg(long, value_name = "HOST:PORT,…")]
    pub kafka: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl RepublishArgs {
    /// # Errors
    /// See [`Config::load`].
    pub fn load(&self) -> Result<Loaded, config::Error> {
        let mut flags = Flags::default();
        self.store.add(&mut flags);
        flags.text("--kafka", "kafka.brokers", self.kafka.as_deref());
        self.config.load(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use clap::Parser;

    #[derive(Parser)]
    struct Command<T: Args> {
        #[command(flatten)]
        args: T,
    }

    fn parse<T: Args>(flags: &[&str]) -> T {
        Command::<T>::try_parse_from(["grid"].iter().chain(flags)).unwrap().args
    }

    #[test]
    fn every_flag_of_standalone_reaches_its_key() {
        let args: StandaloneArgs = parse(&[
            "--data-dir=/d",
            "--listen=0.0.0.0:1",
            "--workers=3",
            "--slots=7",
            "--allow-path=/a,b",
            "--allow-path=/c",
            "--secrets-dir=/s",
            "--label=zone=a",
            "--label=a.b=c",
            "--kafka=k:1,k:2",
            "--log-format=json",
            "--set=worker.grace=4s",
            "--set=kafka.properties.client.id=x",
        ]);
        let loaded = args.load().unwrap();
        let config = &loaded.config;
        assert_eq!(config.standalone.data_dir, PathBuf::from("/d"));
        assert_eq!(config.server.listen.to_string(), "0.0.0.0:1");
        assert_eq!((config.standalone.workers, config.worker.slots), (3, 7));
        assert_eq!(config.worker.allow_paths, [PathBuf::from("/a,b"), PathBuf::from("/c")]);
        assert_eq!(config.worker.labels.len(), 2);
        assert_eq!(config.kafka.brokers.as_deref(), Some("k:1,k:2"));
        assert_eq!(config.kafka.properties.get("client.id"), Some("x"));
        assert_eq!(config.worker.grace.as_secs(), 4);
        assert_eq!(
            loaded.origin("worker.grace"),
            Origin::Flag("--set worker.grace".to_owned())
        );
        assert_eq!(loaded.origin("server.listen"), Origin::Flag("--listen".to_owned()));
    }

    #[test]
    fn a_store_is_named_by_folder_or_by_url_and_not_both() {
        let by_folder: VerifyArgs = parse(&["--data-dir=/d", "--set=postgres.max_connections=5"]);
        assert_eq!(by_folder.load().unwrap().config.postgres.url, None);
        let by_url: RebuildArgs = parse(&["--postgres=postgres://x"]);
        assert_eq!(
            by_url.load().unwrap().config.postgres.url.unwrap().reveal(),
            "postgres://x"
        );
        assert!(Command::<VerifyArgs>::try_parse_from(["grid", "--data-dir=/d", "--postgres=x"]).is_err());
    }

    #[test]
    fn a_set_without_a_value_is_refused() {
        assert!(Command::<StandaloneArgs>::try_parse_from(["grid", "--set=worker.grace"]).is_err());
    }
}
