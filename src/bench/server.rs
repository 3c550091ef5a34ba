//! The server that is measured: one that is named, or a standalone started for it in a folder that is removed again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::time::Instant;

/// What is measured.
pub struct Server {
    pub url: String,
    client: reqwest::Client,
    child: Option<Started>,
}

struct Started {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// The server at `url`, or a new standalone with so many slots.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn open(url: Option<String>, slots: u32, workers: u16) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let (url, child) = match url {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => {
                let started = Started::start(slots, workers)?;
                (started.url()?, Some(started))
            }
        };
        let server = Self { url, client, child };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.client.get(format!("{}/health/ready", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "{} did not become ready", self.url);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
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
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.json().await?)
    }

    /// Resident memory of the started process, without Postgres.
    pub fn rss_bytes(&self) -> Option<u64> {
        let pid = self.child.as_ref()?.child.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()? * 1024)
    }
}

impl Started {
    fn start(slots: u32, workers: u16) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("grid-bench-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join("grid.log"))?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        drop(listener);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("standalone")
            .arg("--data-dir")
            .arg(&folder)
            .arg("--listen")
            .arg(address.to_string());
        command
            .arg("--slots")
            .arg(slots.to_string())
            .arg("--workers")
            .arg(workers.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        std::fs::write(folder.join("address"), address.to_string())?;
        Ok(Self { child, folder })
    }

    fn url(&self) -> anyhow::Result<String> {
        Ok(format!(
            "http://{}",
            std::fs::read_to_string(self.folder.join("address"))?
        ))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        // It may have ended by itself.
        _ = kill(pid, Signal::SIGTERM);
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}
