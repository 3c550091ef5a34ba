//! Standalone, killed again and again: all of it, and the Postgres that it keeps.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::check::{Ended, check};
use super::load::{Load, Programs, all_finished, get, submitted};
use super::process::{Folder, GRID, Grid, no_stray_processes};
use super::times;
use crate::support::eventually;

/// A standalone on a folder of its own; its private Postgres outlives a kill of grid and is ended with this.
pub struct Standalone {
    grid: Option<Grid>,
    programs: Programs,
    folder: Folder,
}

impl Standalone {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_program(Path::new(GRID), flags).await
    }

    pub async fn start_program(program: &Path, flags: &[&str]) -> Self {
        let folder = Folder::new("/var/tmp");
        let data = folder.path().join("data");
        let arguments = ["standalone", "--data-dir", data.to_str().unwrap(), "--slots", "8"];
        let arguments = [&arguments[..], flags].concat();
        let mut grid = Grid::start_program(
            program,
            folder.path(),
            "standalone",
            arguments.iter().map(|text| (*text).to_owned()).collect(),
        );
        grid.ready().await;
        Self {
            grid: Some(grid),
            programs: Programs::new(folder.path()),
            folder,
        }
    }

    pub fn grid(&mut self) -> &mut Grid {
        self.grid.as_mut().unwrap()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn load(&mut self) -> Load {
        Load::start(vec![self.grid().url.clone()], &self.programs)
    }

    /// In order; nothing may be left.
    pub fn end(mut self) {
        self.grid.take().unwrap().stop();
        self.has_left_nothing();
    }

    /// After an orderly end.
    pub fn has_left_nothing(&self) {
        let postmaster = postmaster(&self.data());
        assert_eq!(postmaster, None, "the private Postgres outlived an orderly end");
    }

    async fn finish(self, load: Load, never: &str) {
        let data = self.data();
        let socket = std::fs::canonicalize(data.join("postgres/run")).unwrap();
        let conninfo = format!("host={} user=postgres dbname=grid", socket.display());
        let ended = Ended {
            folder: self.folder.path(),
            server: &self.grid.as_ref().unwrap().url,
            conninfo: &conninfo,
            verify: &["--data-dir", data.to_str().unwrap()],
            topic: None,
            never,
        };
        check(load, ended).await;
        self.end();
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if let Some(pid) = postmaster(&self.data()) {
            _ = kill(pid, Signal::SIGQUIT);
        }
    }
}

/// The private Postgres, when it runs.
fn postmaster(data: &Path) -> Option<Pid> {
    let file = std::fs::read_to_string(data.join("postgres/data/postmaster.pid")).ok()?;
    let pid = Pid::from_raw(file.lines().next()?.parse().ok()?);
    kill(pid, None).is_ok().then_some(pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_standalone_loses_nothing() {
    let mut standalone = Standalone::start().await;
    let load = standalone.load();
    for _ in 0..times("STANDALONE", 4, 100) {
        load.goes_on().await;
        standalone.grid().kill();
        no_stray_processes(standalone.programs.marker());
        standalone.grid().restart();
        standalone.grid().ready().await;
    }
    standalone.finish(load, "TIMEOUT,KILLED").await;
}

/// Standalone starts a private Postgres that died again, and loses nothing by it; it need not be started anew itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_private_postgres_is_started_again() {
    let mut standalone = Standalone::start().await;
    let load = standalone.load();
    for _ in 0..times("PRIVATE_POSTGRES", 2, 20) {
        load.goes_on().await;
        let data = standalone.data();
        let killed = postmaster(&data).unwrap();
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("the private Postgres to be back", Duration::from_secs(60), async || {
            postmaster(&data).filter(|pid| *pid != killed)
        })
        .await;
        standalone.grid().must_run();
    }
    load.goes_on().await;
    standalone.grid().ready().await;
    // What runs goes on while the log is away.
    standalone.finish(load, "WORKER_LOST,TIMEOUT,KILLED").await;
}

/// A job of many tasks is killed while it is still being written out, and grid is killed while the tasks are being ended.
#[tokio::test(flavor = "multi_thread")]
async fn the_kill_of_a_large_job_survives_crashes() {
    let mut standalone = Standalone::start().await;
    let load = standalone.load();
    load.goes_on().await;
    let tasks = times("LARGE_JOB", 100_000, 1_000_000);
    let nobody = json!({"zone": "nowhere"});
    let document =
        json!({"tasks": [{"externalId": "many", "replicas": tasks, "executor": "noop", "requires": nobody}]});
    let job = submitted(&standalone.grid().url.clone(), &document).await;
    load.note(&job);
    let begun = Instant::now();
    let url = format!("{}/api/v1/jobs/kill/{job}", standalone.grid().url);
    let answer = reqwest::Client::new().delete(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "a kill is answered at once");
    for crash in 0..3 {
        standalone.grid().kill();
        standalone.grid().restart();
        standalone.grid().ready().await;
        let counters = get(&standalone.grid().url, &format!("/api/v1/jobs/{job}")).await["taskCounters"].clone();
        if crash == 0 {
            assert_ne!(
                counters["failed"], tasks,
                "it was ended before the crash, which then shows nothing"
            );
        }
    }
    let url = standalone.grid().url.clone();
    all_finished(&url, std::slice::from_ref(&job), Duration::from_secs(180)).await;
    let ended = get(&url, &format!("/api/v1/jobs/{job}")).await;
    assert_eq!(ended["status"], "FAILED");
    assert_eq!(ended["failureSummary"], json!({"KILLED": tasks}));
    standalone.finish(load, "TIMEOUT").await;
}
