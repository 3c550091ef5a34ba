//! The process of an attempt: started in a session of its own, known to the guardian, and left unreaped until all of its
//! session is dead, so that its id cannot mean somebody else while signals may still be sent to it.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStderr, ChildStdout};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, setsid};

use super::cgroup;
use super::guardian::{Guardian, Registration};
use super::launch::{Launch, Streams};
use super::limits::ProcessLimits;
use super::session;
use super::verdict::Exit;
use crate::process_end::ProcessEnd;

/// What is to be started.
pub struct Program<'a> {
    /// Never empty.
    pub argv: &'a [String],
    pub environment: &'a [(String, String)],
    pub folder: &'a Path,
    pub limits: ProcessLimits,
    /// Where it enters its cgroup.
    pub entrance: Option<File>,
}

/// Starts the program and gives its leader and its output. Blocks until the program begins.
pub fn spawn(program: &Program<'_>, guardian: &Guardian) -> io::Result<(Leader, ChildStdout, ChildStderr)> {
    let registration = guardian.registration();
    match try_spawn(program, guardian, &registration) {
        // The guardian died or does not read; a new one takes the registration.
        Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {
            guardian.revive(&registration);
            try_spawn(program, guardian, &guardian.registration())
        }
        spawned => spawned,
    }
}

fn try_spawn(
    program: &Program<'_>,
    guardian: &Guardian,
    registration: &Registration,
) -> io::Result<(Leader, ChildStdout, ChildStderr)> {
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    let streams = Streams {
        stdin: File::open("/dev/null")?.into(),
        stdout: stdout_end.into(),
        stderr: stderr_end.into(),
    };
    let launch = Launch::new(program.argv, program.environment, program.folder, streams)?;
    let prepare = || {
        setsid()?;
        registration.register()?;
        program.entrance.as_ref().map_or(Ok(()), cgroup::enter)?;
        program.limits.apply()
    };
    let pid = launch.start(&prepare, |pid| guardian.forget(pid))?;
    guardian.started(pid, registration);
    // From here on dropping it ends the process.
    let leader = Leader {
        pid,
        guardian: guardian.clone(),
        is_reaped: false,
    };
    Ok((leader, OwnedFd::from(stdout).into(), OwnedFd::from(stderr).into()))
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

    /// The end of the leader alone: a signal of all ends would wake everybody who waits for one.
    ///
    /// # Errors
    /// When this process has no room for another file.
    pub fn end(&self) -> io::Result<ProcessEnd> {
        ProcessEnd::watch(self.pid)
    }

    /// Waits for the leader's end and leaves it unreaped. May be cancelled and called again.
    pub async fn exited(&self, end: &ProcessEnd) -> Exit {
        end.ended().await;
        self.peek().unwrap_or(Exit::Stuck)
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

    /// Kills the whole session. Blocks for a scan of /proc. `true`: nothing of it was left.
    pub fn kill(&self) -> bool {
        session::kill_sessions(&HashSet::from([self.pid.as_raw()]))
    }

    /// Kills what is left of the session, waits until it is gone (at most `patience`), and reaps the leader. Blocks.
    /// `false`: something is still there, held by the kernel.
    pub fn finish(mut self, patience: Duration) -> bool {
        let is_gone = self.kill() || self.wait_gone(patience);
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
