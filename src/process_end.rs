//! The end of one process as an event of the kernel (a pidfd), whoever started it.
//!
//! Must stay true: what is watched and signalled is the process that had the id when the watch began, never one that got
//! its id later.

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watched process.
#[derive(Debug)]
pub struct ProcessEnd(AsyncFd<OwnedFd>);

impl ProcessEnd {
    /// Must be called inside a runtime. One that has ended and is not reaped is found, as ended.
    ///
    /// # Errors
    /// ESRCH when there is no such process; when this process has no room for another file.
    pub fn watch(pid: Pid) -> io::Result<Self> {
        let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidInput)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: an OwnedFd keeps one descriptor, the same for as long as the AsyncFd has it.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self(watched))
    }

    /// Returns when the process has ended. May be dropped and called again.
    pub async fn ended(&self) {
        // An error means that the descriptor is useless, and with it the watch: who waits looks for himself.
        let _ = self.0.ready(Interest::READABLE).await;
    }

    /// Sends a signal to this very process; false: it has ended.
    pub fn signal(&self, signal: Signal) -> bool {
        rustix::process::Signal::from_named_raw(signal as i32)
            .is_some_and(|signal| pidfd_send_signal(self.0.get_ref(), signal).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start() -> (Child, Pid) {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        (child, pid)
    }

    #[tokio::test]
    async fn an_end_is_seen_also_before_it_is_asked_for() {
        let (mut child, pid) = start();
        let end = ProcessEnd::watch(pid).unwrap();
        assert!(end.signal(Signal::SIGTERM));
        end.ended().await;
        // Not reaped yet: found, as ended.
        ProcessEnd::watch(pid).unwrap().ended().await;
        child.wait().unwrap();
        end.ended().await;
        assert!(!end.signal(Signal::SIGTERM));
        assert!(ProcessEnd::watch(pid).is_err());
    }

    #[tokio::test]
    async fn one_that_runs_has_not_ended() {
        let (mut child, pid) = start();
        let end = ProcessEnd::watch(pid).unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), end.ended()).await;
        assert!(early.is_err());
        child.kill().unwrap();
        end.ended().await;
        child.wait().unwrap();
    }
}
