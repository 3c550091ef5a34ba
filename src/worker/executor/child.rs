//! The process of an attempt: started in a session of its own, known to the guardian, and left unreaped until all of its
//! session is dead, so that its id cannot mean somebody else while signals may still be sent to it.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, setsid};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::guardian::{Guardian, Registration};
use super::limits::ProcessLimits;
use super::session;
use super::verdict::Exit;

/// What is to be started.
pub struct Program<'a> {
    /// Never empty.
    pub argv: &'a [String],
    pub environment: &'a [(String, String)],
    pub folder: &'a Path,
    pub limits: ProcessLimits,
}

/// Starts the program and gives its leader and its output. Blocks for the fork.
pub fn spawn(program: &Program<'_>, guardian: &Guardian) -> io::Result<(Leader, ChildStdout, ChildStderr)> {
    let registration = Arc::new(guardian.registration());
    match try_spawn(program, guardian, &registration) {
        // The guardian died or does not read; a new one takes the registration.
        Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {
            guardian.revive(&registration);
            try_spawn(program, guardian, &Arc::new(guardian.registration()))
        }
        spawned => spawned,
    }
}

fn try_spawn(
    program: &Program<'_>,
    guardian: &Guardian,
    registration: &Arc<Registration>,
) -> io::Result<(Leader, ChildStdout, ChildStderr)> {
    let (name, arguments) = program.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child_registration = Arc::clone(registration);
    let limits = program.limits;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(program.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec only system calls are made: no memory is taken, no lock, nothing is dropped.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            child_registration.register()?;
            limits.apply()
        });
    }
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
    guardian.started(pid, registration);
    let leader = Leader {
        pid,
        guardian: guardian.clone(),
        is_reaped: false,
    };
    // Both are there: they were asked for.
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // std's handle never reaps by itself; from here on the leader does.
    drop(child);
    Ok((leader, stdout, stderr))
}

/// The unreaped leader of a session. Dropping it kills the session.
pub struct Leader {
    pid: Pid,
    guardian: Guardian,
    is_reaped: bool,
}

impl Leader {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// A stream of the ends of this process's children; made before a wait, so that no end is missed.
    pub fn ends() -> io::Result<SignalStream> {
        signal(SignalKind::child())
    }

    /// Waits for the leader's end and leaves it unreaped. May be cancelled and called again.
    pub async fn exited(&self, ends: &mut SignalStream) -> Exit {
        loop {
            if let Some(exit) = self.peek() {
                return exit;
            }
            if ends.recv().await.is_none() {
                // The runtime is shutting down.
                std::future::pending::<()>().await;
            }
        }
    }

    fn peek(&self) -> Option<Exit> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.pid), flags) {
            Ok(WaitStatus::Exited(_, code)) => Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Exit::Signal(signal)),
            Ok(_) | Err(Errno::EINTR) => None,
            // Somebody else reaped it: how it ended is not known.
            Err(_) => Some(Exit::Stuck),
        }
    }

    /// Asks the leader's group to end.
    pub fn terminate(&self) {
        session::signal_group(self.pid, Signal::SIGTERM);
        // One that is stopped could not hear it.
        session::signal_group(self.pid, Signal::SIGCONT);
    }

    /// Kills the whole session. Blocks for a scan of /proc.
    pub fn kill(&self) {
        session::kill_sessions(&HashSet::from([self.pid.as_raw()]));
    }

    /// Kills what is left of the session, waits until it is gone (at most `patience`), and reaps the leader. Blocks.
    /// `false`: something is still there, held by the kernel.
    pub fn finish(mut self, patience: Duration) -> bool {
        self.kill();
        let is_gone = self.wait_gone(patience);
        self.reap();
        is_gone
    }

    /// There is no event for the end of a process that is not one's child, so this looks again, ever less often.
    fn wait_gone(&self, patience: Duration) -> bool {
        let deadline = std::time::Instant::now() + patience;
        let mut pause = Duration::from_micros(500);
        while session::is_alive(self.pid) {
            if std::time::Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        true
    }

    /// Takes the leader off the guardian's list, and only then gives its id back.
    fn reap(&mut self) {
        self.is_reaped = true;
        self.guardian.forget(self.pid);
        let flags = Some(WaitPidFlag::WNOHANG);
        if matches!(waitpid(self.pid, flags), Ok(WaitStatus::StillAlive)) {
            tracing::error!(pid = self.pid.as_raw(), "process.not_reaped");
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        self.kill();
        // Its end is waited for elsewhere: a drop may happen on a thread that must not block.
        let leader = Self {
            pid: self.pid,
            guardian: self.guardian.clone(),
            is_reaped: true,
        };
        let spawned = std::thread::Builder::new()
            .name("grid-reaper".to_owned())
            .spawn(move || {
                let mut leader = leader;
                leader.wait_gone(Duration::from_secs(30));
                leader.reap();
            });
        if let Err(error) = spawned {
            tracing::error!(%error, pid = self.pid.as_raw(), "process.not_reaped");
        }
    }
}
