//! The server that is measured: one that is named, or processes of this program started for it in a folder that is
//! removed again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::config::Secret;
use crate::embedded::{Embedded, Options, Role};
use crate::telemetry::Reading;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Measure this server instead of one started for it
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Start a jobmaster and a worker as processes of their own over these brokers, instead of a standalone
    #[arg(long, value_name = "HOST:PORT,…", conflicts_with = "server")]
    pub kafka: Option<String>,
    /// Slots of each worker that is started
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub slots: u32,
    /// Workers of a standalone that is started
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub workers: u16,
    /// Setting of what is started, as for `grid standalone`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What is measured. Dropping it ends what was started.
pub struct Server {
    pub url: String,
    client: reqwest::Client,
    /// Ended in this order: workers before jobmasters.
    processes: Vec<Process>,
    postgres: Option<Embedded>,
    _folder: Option<Folder>,
}

/// A folder in that of temporary files, removed with it.
pub struct Folder(PathBuf);

/// A process of this program.
pub struct Process {
    child: Child,
    pub url: String,
}

impl Server {
    /// The named server, or what is started for it; ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        if let Some(url) = &target.server {
            let server = Self::at(url.trim_end_matches('/').to_owned())?;
            server.ready().await?;
            return Ok(server);
        }
        let folder = Folder::new()?;
        let mut server = match &target.kafka {
            Some(kafka) => Self::cluster(target, kafka, &folder).await?,
            None => {
                let process = Process::standalone(&folder.0, target)?;
                let mut server = Self::at(process.url.clone())?;
                server.processes.push(process);
                server
            }
        };
        server._folder = Some(folder);
        server.ready().await?;
        Ok(server)
    }

    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn at(url: String) -> anyhow::Result<Self> {
        Ok(Self {
            url,
            client: reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?,
            processes: Vec::new(),
            postgres: None,
            _folder: None,
        })
    }

    async fn cluster(target: &Target, kafka: &str, folder: &Folder) -> anyhow::Result<Self> {
        let postgres = Embedded::start(Options::in_dir(folder.0.join("postgres"))).await?;
        let common = Common {
            kafka,
            prefix: format!("bench-{}.", uuid::Uuid::new_v4().simple()),
            folder: &folder.0,
            target,
        };
        let migrated = common
            .command("migrate")
            .env("GRID__POSTGRES__OWNER_URL", postgres.url(Role::Owner).reveal())
            .output()?;
        let why = String::from_utf8_lossy(&migrated.stderr);
        anyhow::ensure!(migrated.status.success(), "migration failed: {why}");
        let service: Secret = postgres.url(Role::Service);
        let mut jobmaster = common.command("jobmaster");
        jobmaster.env("GRID__POSTGRES__URL", service.reveal());
        let jobmaster = Process::start(jobmaster, &folder.0.join("jobmaster.log"))?;
        let mut worker = common.command("worker");
        worker
            .args(["--api", &jobmaster.url, "--slots", &target.slots.to_string()])
            .arg("--data-dir")
            .arg(folder.0.join("worker"));
        let worker = Process::start(worker, &folder.0.join("worker.log"))?;
        let mut server = Self::at(jobmaster.url.clone())?;
        server.postgres = Some(postgres);
        server.processes = vec![worker, jobmaster];
        Ok(server)
    }

    /// Waits until all of it is ready.
    ///
    /// # Errors
    /// It is not within a minute.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let urls = self.processes.iter().map(|process| &process.url);
        for url in urls.chain([&self.url]) {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let answer = self.client.get(format!("{url}/health/ready")).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    break;
                }
                anyhow::ensure!(Instant::now() < deadline, "{url} did not become ready");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Submits a document; gives the job's id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn submit(&self, document: &Value) -> anyhow::Result<String> {
        let answer = self
            .client
            .post(format!("{}/api/v1/jobs", self.url))
            .json(document)
            .send()
            .await?;
        let status = answer.status();
        let body: Value = answer.json().await?;
        anyhow::ensure!(status.is_success(), "the job was refused: {body}");
        Ok(body["jobId"].as_str().context("no jobId")?.to_owned())
    }

    /// # Errors
    /// When the server does not answer well.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}{path}", self.url));
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Reads the whole answer, or refusal, and lets it go.
    ///
    /// # Errors
    /// When the server does not answer, or fails.
    pub async fn answer(&self, path: &str) -> anyhow::Result<()> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
        anyhow::ensure!(!answer.status().is_server_error(), "{path}: {}", answer.status());
        answer.bytes().await?;
        Ok(())
    }

    /// Reads the whole answer, and lets it go.
    ///
    /// # Errors
    /// When the server does not answer well.
    pub async fn read(&self, path: &str) -> anyhow::Result<()> {
        let request = self.client.get(format!("{}{path}", self.url));
        let mut answer = request.send().await?.error_for_status()?;
        while answer.chunk().await?.is_some() {}
        Ok(())
    }

    /// # Errors
    /// When the server does not answer well.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// # Errors
    /// When the server does not answer well.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.client.delete(format!("{}{path}", self.url));
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Waits until the job's `status` is the one asked for.
    ///
    /// # Errors
    /// When the job ends otherwise, or the server does not answer.
    pub async fn until(&self, job: &str, status: &str) -> anyhow::Result<()> {
        loop {
            let answer = self.get(&format!("/api/v1/jobs/{job}")).await?;
            match answer["status"].as_str() {
                Some(found) if found == status => return Ok(()),
                Some("RUNNING") => tokio::time::sleep(Duration::from_millis(20)).await,
                other => anyhow::bail!("{job} is {other:?}"),
            }
        }
    }

    /// The metric's sum over all label sets and processes.
    ///
    /// # Errors
    /// When a process does not answer.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut urls: Vec<&String> = self.processes.iter().map(|process| &process.url).collect();
        if urls.is_empty() {
            urls.push(&self.url);
        }
        let mut sum = 0.0;
        for url in urls {
            let text = self.client.get(format!("{url}/metrics")).send().await?.text().await?;
            sum += Reading::of(&text).sum(name, "").unwrap_or(0.0);
        }
        Ok(sum)
    }

    /// The most resident memory of the started processes, without Postgres.
    pub fn peak_rss_bytes(&self) -> Option<u64> {
        let known: Option<Vec<u64>> = self.processes.iter().map(Process::peak_rss_bytes).collect();
        known.filter(|known| !known.is_empty()).map(|known| known.iter().sum())
    }

    /// Lets [`Server::peak_rss_bytes`] begin anew; gives what the processes take now.
    pub fn reset_peak_rss(&self) -> Option<u64> {
        let reset: Option<()> = self.processes.iter().map(Process::reset_peak_rss).collect();
        reset.and_then(|()| self.peak_rss_bytes())
    }

    /// Ends all that was started, in order.
    ///
    /// # Errors
    /// When Postgres does not end.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.processes.drain(..).for_each(drop);
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await?;
        }
        Ok(())
    }
}

struct Common<'a> {
    kafka: &'a str,
    prefix: String,
    folder: &'a Path,
    target: &'a Target,
}

impl Common<'_> {
    fn command(&self, role: &str) -> Command {
        let mut command = command(role, &self.target.set);
        command
            .current_dir(self.folder)
            .args(["--kafka", self.kafka])
            .env("GRID__KAFKA__TOPIC_PREFIX", &self.prefix)
            .env("GRID__WORKER__API_TOKEN", "measured");
        command
    }
}

/// This program, found under its name or not.
fn command(role: &str, settings: &[String]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

impl Folder {
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("grid-bench-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays among the temporary files.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Process {
    /// A standalone in a folder, which may hold data.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn standalone(folder: &Path, target: &Target) -> anyhow::Result<Self> {
        let mut command = command("standalone", &target.set);
        command
            .arg("--data-dir")
            .arg(folder)
            .args(["--slots", &target.slots.to_string()])
            .args(["--workers", &target.workers.to_string()]);
        Self::start(command, &folder.join("grid.log"))
    }

    fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        command.args(["--listen", &address]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        Ok(Self {
            child,
            url: format!("http://{address}"),
        })
    }

    /// The most resident memory that it has taken.
    pub fn peak_rss_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
    }

    /// proc(5), `clear_refs`: 5 sets the most to what is taken now.
    fn reset_peak_rss(&self) -> Option<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").ok()
    }

    /// Ends it by `signal`, and waits for it.
    pub fn end(&mut self, signal: Signal) {
        // It may have ended by itself.
        _ = kill(Pid::from_raw(self.child.id() as i32), signal);
        _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::SIGTERM);
    }
}
