//! The server's process: found, started, awaited, ended.
//!
//! Its end is an event of the kernel (a pidfd), also for a server that an earlier process of grid started.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{ConnectOptions, Connection};
use tokio::process::Child;

use super::Error;
use super::cluster::Cluster;
use super::roles;
use crate::process_end::ProcessEnd;

/// How often a starting server is asked; it says by no event that it is ready.
const ASK_EVERY: Duration = Duration::from_millis(20);
const TAIL_BYTES: u64 = 2_000;

/// A running postmaster.
#[derive(Debug)]
pub struct Server {
    pid: Pid,
    end: ProcessEnd,
    /// Kept to be reaped, when this process started it.
    child: Option<Child>,
}

impl Server {
    pub fn of_child(child: Child) -> Result<Self, Error> {
        let number = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
        let pid = Pid::from_raw(number);
        let end = ProcessEnd::watch(pid).map_err(Error::io("watch process", format!("/proc/{pid}")))?;
        Ok(Self {
            pid,
            end,
            child: Some(child),
        })
    }

    /// The server that runs on the cluster, whoever started it.
    pub fn running(cluster: &Cluster) -> Result<Option<Self>, Error> {
        let Some(pid) = recorded(cluster)?.filter(|pid| is_ours(*pid, cluster)) else {
            return Ok(None);
        };
        match ProcessEnd::watch(pid) {
            // Asked again: between the two looks the number may have gone to another process.
            Ok(end) if is_ours(pid, cluster) => Ok(Some(Self { pid, end, child: None })),
            Ok(_) => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(Error::io("watch process", format!("/proc/{pid}"))(error)),
        }
    }

    /// Removes a pid file whose number belongs to a process that is no server of ours.
    pub fn forget_stale(cluster: &Cluster) -> Result<(), Error> {
        let foreign = |pid: &Pid| kill(*pid, None) != Err(nix::errno::Errno::ESRCH) && !is_ours(*pid, cluster);
        if recorded(cluster)?.is_some_and(|pid| foreign(&pid)) {
            let path = cluster.data().join("postmaster.pid");
            std::fs::remove_file(&path).map_err(Error::io("remove the stale", &path))?;
        }
        Ok(())
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Returns when the process has ended. May be dropped and called again.
    pub async fn ended(&mut self) {
        // A watch that fails is taken for the end: the next start looks for a running server first.
        self.end.ended().await;
        if let Some(child) = &mut self.child {
            // Reaps; how it ended is in the server's log.
            let _ = child.try_wait();
        }
    }

    /// Ends the server: first in order, then at once (the next start recovers).
    pub async fn stop(&mut self, timeout: Duration) -> Result<(), Error> {
        for (signal, wait) in [(Signal::SIGINT, timeout), (Signal::SIGQUIT, Duration::from_secs(5))] {
            if !self.end.signal(signal) || tokio::time::timeout(wait, self.ended()).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(pid = self.pid(), ?signal, ?wait, "postgres.slow_stop");
        }
        Err(Error::WillNotStop {
            pid: self.pid(),
            within: timeout,
        })
    }
}

/// The pid that the cluster's pid file names.
fn recorded(cluster: &Cluster) -> Result<Option<Pid>, Error> {
    let path = cluster.data().join("postmaster.pid");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .map(Pid::from_raw)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A postmaster works in the folder of its cluster; a process that has ended (also one not yet reaped) has no folder.
fn is_ours(pid: Pid, cluster: &Cluster) -> bool {
    let here = std::fs::read_link(format!("/proc/{pid}/cwd"));
    here.is_ok_and(|here| same(&here, &cluster.data()))
}

fn same(left: &Path, right: &Path) -> bool {
    left == right || right.canonicalize().is_ok_and(|right| left == right)
}

/// Waits until the server answers.
pub async fn ready(cluster: &Cluster, server: &mut Server, timeout: Duration) -> Result<(), Error> {
    let begun = Instant::now();
    let mut last = "no answer yet".to_owned();
    while begun.elapsed() < timeout {
        let options = roles::superuser(cluster.socket_dir(), "postgres");
        let answer = tokio::time::timeout(timeout.saturating_sub(begun.elapsed()), options.connect());
        tokio::select! {
            () = server.ended() => return Err(Error::Ended { log: cluster.log(), tail: tail(&cluster.log()) }),
            answer = answer => match answer {
                Ok(Ok(connection)) => return Ok(connection.close().await?),
                Ok(Err(error)) if will_pass(&error) => last = error.to_string(),
                Ok(Err(error)) => return Err(error.into()),
                Err(_elapsed) => break,
            },
        }
        // Also ends at once when the server does.
        let _ = tokio::time::timeout(ASK_EVERY, server.ended()).await;
    }
    Err(Error::Silent {
        within: timeout,
        last,
        log: cluster.log(),
        tail: tail(&cluster.log()),
    })
}

/// No socket yet, or "the database system is starting up", or "shutting down", or cut off meanwhile.
fn will_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "57P01" | "53300")),
        _ => false,
    }
}

/// The end of the server's log, for an error message.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}
