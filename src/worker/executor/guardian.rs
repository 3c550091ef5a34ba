//! The guardian: a small process beside each worker process that kills what the worker runs when the worker can no longer
//! do it: when it dies (the pipe between them closes) or hangs (the deadline that it renews passes).
//!
//! The pipe carries frames of nine bytes, in order: a letter and a number. A process registers **itself**, after fork and
//! before its program begins, so that no moment of the worker's death leaves it unknown; the worker takes it off before
//! it lets the kernel give the id away again.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, signal};
use nix::unistd::{Pid, setsid};

use super::session;

/// The hidden subcommand: `grid __guardian` must call [`guardian_main`] before anything else.
pub const GUARDIAN_ARGUMENT: &str = "__guardian";

const FRAME_BYTES: usize = 9;
const REGISTER: u8 = b'R';
const FORGET: u8 = b'F';
const RENEW: u8 = b'D';
/// What a guardian writes once it watches. (ASCII "acknowledge": nothing prints that by chance.)
const READY: u8 = 6;
/// A program that is there in time and does not say so is no guardian.
const START_PATIENCE: Duration = Duration::from_secs(10);

fn frame(kind: u8, number: u64) -> [u8; FRAME_BYTES] {
    let mut frame = [kind; FRAME_BYTES];
    frame[1..].copy_from_slice(&number.to_le_bytes());
    frame
}

/// How the guardian is started.
#[derive(Clone, Debug)]
pub struct GuardianOptions {
    /// This program itself by default, also when its file has been replaced.
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for GuardianOptions {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: vec![GUARDIAN_ARGUMENT.into()],
            environment: Vec::new(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum GuardianError {
    #[error("the guardian {program:?}, which kills tasks when this worker dies, cannot be started")]
    Start { program: PathBuf, source: io::Error },
    #[error("{program:?} was started as the guardian and does not behave as one")]
    NotReady { program: PathBuf },
}

/// The worker's end: one for all workers of a process. Cheap to clone.
#[derive(Clone)]
pub struct Guardian {
    options: Arc<GuardianOptions>,
    state: Arc<Mutex<State>>,
}

struct State {
    child: Child,
    pipe: Arc<PipeWriter>,
    /// Rises when a new guardian takes the place of one that died.
    generation: u64,
    /// Leaders that the guardian must know.
    leaders: HashSet<i32>,
    lease: Option<Instant>,
}

/// What a process needs to register itself.
pub struct Registration {
    pipe: Arc<PipeWriter>,
    generation: u64,
}

impl Registration {
    /// Tells the guardian of the calling process. Called between fork and exec: only system calls, no memory, no locks.
    pub fn register(&self) -> io::Result<()> {
        // A dead guardian's pipe would end this process by SIGPIPE, and look like a program that started.
        let mut pipes = SigSet::empty();
        pipes.add(Signal::SIGPIPE);
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&pipes), Some(&mut before))?;
        let written = nix::unistd::write(&*self.pipe, &frame(REGISTER, u64::from(std::process::id())));
        if written != Ok(FRAME_BYTES) {
            return Err(Errno::EPIPE.into());
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
        Ok(())
    }
}

impl Guardian {
    /// Starts the guardian; it ends when every clone of the handle is gone, or this process.
    pub fn start(options: GuardianOptions) -> Result<Self, GuardianError> {
        let (child, pipe) = launch(&options)?;
        let state = State {
            child,
            pipe: Arc::new(pipe),
            generation: 0,
            leaders: HashSet::new(),
            lease: None,
        };
        Ok(Self {
            options: Arc::new(options),
            state: Arc::new(Mutex::new(state)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything that is registered is killed unless the next renewal comes within `lease`.
    pub fn renew(&self, lease: Duration) {
        let mut state = self.lock();
        state.lease = Some(Instant::now() + lease);
        self.send(&mut state, &frame(RENEW, millis(lease)));
    }

    /// For a process about to be forked; [`Self::started`] must follow.
    pub fn registration(&self) -> Registration {
        let state = self.lock();
        Registration {
            pipe: Arc::clone(&state.pipe),
            generation: state.generation,
        }
    }

    /// The process has been started and has registered itself.
    pub fn started(&self, leader: Pid, registration: &Registration) {
        let mut state = self.lock();
        state.leaders.insert(leader.as_raw());
        if state.generation != registration.generation {
            self.send(&mut state, &frame(REGISTER, id(leader)));
        }
    }

    /// The process is dead and all of its session; its id may be given away from now on.
    pub fn forget(&self, leader: Pid) {
        let mut state = self.lock();
        state.leaders.remove(&leader.as_raw());
        self.send(&mut state, &frame(FORGET, id(leader)));
    }

    /// The registration failed: starts a new guardian, unless that has been done since.
    pub fn revive(&self, failed: &Registration) {
        let mut state = self.lock();
        if state.generation == failed.generation {
            self.replace(&mut state);
        }
    }

    fn send(&self, state: &mut State, frame: &[u8; FRAME_BYTES]) {
        // The pipe never blocks; one that is full has a reader that does not read.
        if !matches!((&*state.pipe).write(frame), Ok(FRAME_BYTES)) {
            self.replace(state);
        }
    }

    /// The state is sent whole to the new guardian, so the frame that failed is in it.
    fn replace(&self, state: &mut State) {
        tracing::error!(pid = state.child.id(), "guardian.lost");
        metrics::counter!("grid_guardian_restarts_total").increment(1);
        let _ = state.child.kill();
        let _ = state.child.wait();
        let (child, pipe) = match launch(&self.options) {
            Ok(launched) => launched,
            Err(error) => {
                // The next frame tries again.
                tracing::error!(%error, "guardian.start_failed");
                return;
            }
        };
        state.child = child;
        state.pipe = Arc::new(pipe);
        state.generation += 1;
        let left = state
            .lease
            .map(|lease| frame(RENEW, millis(lease.saturating_duration_since(Instant::now()))));
        let leaders = state
            .leaders
            .iter()
            .map(|leader| frame(REGISTER, id(Pid::from_raw(*leader))));
        for frame in leaders.chain(left) {
            if let Err(error) = (&*state.pipe).write_all(&frame) {
                tracing::error!(%error, "guardian.lost_again");
                return;
            }
        }
    }

    /// The guardian's process, for tests and for what lists processes.
    pub fn pid(&self) -> u32 {
        self.lock().child.id()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Its pipe closes with this value; being killed instead of ending by itself makes no difference, since nothing is
        // left to guard, and leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn id(leader: Pid) -> u64 {
    u64::from(leader.as_raw().unsigned_abs())
}

fn launch(options: &GuardianOptions) -> Result<(Child, PipeWriter), GuardianError> {
    let failed = |source| GuardianError::Start {
        program: options.program.clone(),
        source,
    };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let flags = fcntl(&writer, FcntlArg::F_GETFL).map_err(|errno| failed(errno.into()))?;
    let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
    fcntl(&writer, FcntlArg::F_SETFL(flags)).map_err(|errno| failed(errno.into()))?;
    let mut command = Command::new(&options.program);
    command
        .args(&options.arguments)
        .envs(options.environment.iter().cloned())
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(reader)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        command.pre_exec(|| {
            // Out of the terminal's reach: Ctrl-C is the worker's to hear.
            setsid()?;
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    let is_ready = child
        .stdout
        .take()
        .is_some_and(|stdout| becomes_ready(&File::from(OwnedFd::from(stdout))));
    if !is_ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(GuardianError::NotReady {
            program: options.program.clone(),
        });
    }
    Ok((child, writer))
}

/// Waits for the guardian's word, past anything else that its program may print first.
fn becomes_ready(mut stdout: &File) -> bool {
    let deadline = Instant::now() + START_PATIENCE;
    let mut chunk = [0; 256];
    while wait_readable(stdout, Some(deadline)) {
        match stdout.read(&mut chunk) {
            Ok(count @ 1..) if chunk[..count].contains(&READY) => return true,
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
    false
}

/// The guardian's own program: reads frames from its standard input until that closes.
pub fn guardian_main() -> ExitCode {
    for ignored in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGPIPE,
    ] {
        // SAFETY: no handler is set, so nothing runs in a signal's context.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
    // Unbuffered, so that what was read and what can be polled never differ.
    let Ok(mut input) = io::stdin().as_fd().try_clone_to_owned().map(File::from) else {
        return ExitCode::FAILURE;
    };
    // Nobody reads on after this, and nothing more is written.
    if io::stdout()
        .write_all(&[READY])
        .and_then(|()| io::stdout().flush())
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    let mut watch = Watch::default();
    let mut buffer = Vec::new();
    loop {
        if !wait_readable(&input, watch.deadline) {
            watch.expire();
            continue;
        }
        let mut chunk = [0; 4096];
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                watch.take_frames(&mut buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    session::kill_sessions(&watch.leaders);
    ExitCode::SUCCESS
}

/// Waits for input; `false` when the deadline came first.
fn wait_readable(input: &File, deadline: Option<Instant>) -> bool {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                // Rounded up, so that it does not turn in circles for the last part of a millisecond.
                PollTimeout::from(u16::try_from(millis(left).saturating_add(1)).unwrap_or(u16::MAX))
            }
        };
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => {}
            // An error as well: the read will tell.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// What the guardian knows.
#[derive(Default)]
struct Watch {
    leaders: HashSet<i32>,
    deadline: Option<Instant>,
    /// The deadline has passed: what is started in spite of that is killed as well, until the next renewal.
    has_expired: bool,
}

impl Watch {
    fn take_frames(&mut self, buffer: &mut Vec<u8>) {
        let whole = buffer.len() - buffer.len() % FRAME_BYTES;
        for frame in buffer[..whole].chunks_exact(FRAME_BYTES) {
            let number = u64::from_le_bytes(frame[1..].try_into().unwrap_or_default());
            let leader = i32::try_from(number).unwrap_or_default();
            match frame[0] {
                // 0 and 1 would be this process's own group, and everything.
                REGISTER if leader > 1 => {
                    self.leaders.insert(leader);
                    if self.has_expired {
                        session::kill_sessions(&HashSet::from([leader]));
                    }
                }
                FORGET => {
                    self.leaders.remove(&leader);
                }
                RENEW => {
                    self.deadline = Instant::now().checked_add(Duration::from_millis(number));
                    self.has_expired = false;
                }
                _ => {}
            }
        }
        buffer.drain(..whole);
    }

    /// The worker hangs. It may wake up again and will find its tasks killed.
    fn expire(&mut self) {
        session::kill_sessions(&self.leaders);
        self.has_expired = true;
        self.deadline = None;
    }
}
