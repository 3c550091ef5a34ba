//! Starts a program without a copy of this process: the child borrows its memory until the program begins (as
//! posix_spawn(3) does it, which cannot do all that is to be done in the child). A copy would make every page that this
//! process writes to afterwards a fault on all processors.
//!
//! Must stay true: the child only makes system calls. It takes no memory and no lock, and nothing in it is dropped.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_char};
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};

/// Ample: the child calls a few thin functions.
const STACK_BYTES: usize = 64 * 1024;
/// Where programs are looked for when the environment does not say (confstr(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";
const SHELL: &std::ffi::CStr = c"/bin/sh";

/// A program and all that the child needs, made before there is one.
pub struct Launch {
    /// What the name may mean, in the order in which it is tried.
    candidates: Vec<CString>,
    arguments: Texts,
    /// The same for the shell, which runs a script that names no interpreter: itself, the script, what comes behind.
    shell_arguments: Vec<Cell<*const c_char>>,
    environment: Texts,
    folder: CString,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// Texts as execve(2) takes them.
struct Texts {
    /// Where the pointers point.
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Texts {
    fn new(texts: Vec<CString>) -> Self {
        let ends = std::iter::once(ptr::null());
        let pointers = texts.iter().map(|text| text.as_ptr()).chain(ends).collect();
        Self {
            _texts: texts,
            pointers,
        }
    }
}

/// The ends of pipes and files that the program begins with.
pub struct Streams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Launch {
    /// # Errors
    /// When there is no program, or a text holds a character 0.
    pub fn new(argv: &[String], environment: &[(String, String)], folder: &Path, streams: Streams) -> io::Result<Self> {
        let name = argv.first().ok_or(io::ErrorKind::InvalidInput)?;
        let path = environment.iter().rfind(|(key, _)| key == "PATH");
        let candidates = candidates(name, path.map_or(DEFAULT_PATH, |(_, path)| path))?;
        let arguments = Texts::new(argv.iter().map(text_of).collect::<io::Result<_>>()?);
        // The script takes the place of its name when it is known which it is.
        let behind = arguments.pointers.iter().copied();
        let shell_arguments = std::iter::once(SHELL.as_ptr()).chain(behind).map(Cell::new);
        let variable = |(key, value): &(String, String)| text_of(format!("{key}={value}"));
        let Streams { stdin, stdout, stderr } = streams;
        Ok(Self {
            shell_arguments: shell_arguments.collect(),
            candidates,
            arguments,
            environment: Texts::new(environment.iter().map(variable).collect::<io::Result<_>>()?),
            folder: text_of(folder.as_os_str())?,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Starts the program; the caller reaps it. `prepare` runs in the child, as the module says. Blocks until the program
    /// has begun.
    ///
    /// # Errors
    /// What `prepare` gave, or why no candidate could be executed; `failed` is told of the child before it is reaped.
    pub fn start(&self, prepare: &dyn Fn() -> io::Result<()>, failed: impl FnOnce(Pid)) -> io::Result<Pid> {
        let errno = AtomicI32::new(0);
        let child = || {
            // It does not return when the program begins.
            let Err(error) = self.become_program(prepare);
            errno.store(error as i32, Ordering::Relaxed);
            0
        };
        let mut stack = vec![0; STACK_BYTES];
        let before = block_signals()?;
        // SAFETY: the child has a stack of its own, which outlives its use, since this thread sleeps until the program
        // begins or the child ends (CLONE_VFORK). It makes system calls alone. No handler of this process runs in it:
        // signals are blocked until it has no handlers.
        let cloned = unsafe {
            clone(
                Box::new(child),
                &mut stack,
                CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
                Some(libc::SIGCHLD),
            )
        };
        before.thread_set_mask()?;
        let pid = cloned?;
        match errno.load(Ordering::Relaxed) {
            0 => Ok(pid),
            errno => {
                failed(pid);
                // It has ended, or is about to.
                let _ = nix::sys::wait::waitpid(pid, None);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// In the child.
    fn become_program(&self, prepare: &dyn Fn() -> io::Result<()>) -> Result<Infallible, Errno> {
        dup2_stdin(self.stdin.as_fd())?;
        dup2_stdout(self.stdout.as_fd())?;
        dup2_stderr(self.stderr.as_fd())?;
        nix::unistd::chdir(self.folder.as_c_str())?;
        prepare().map_err(|error| error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))?;
        forget_handlers();
        SigSet::empty().thread_set_mask()?;
        Err(self.execute())
    }

    /// As execvp(3) does it. Returns why not.
    fn execute(&self) -> Errno {
        let mut denied = None;
        let mut last = Errno::ENOENT;
        for candidate in &self.candidates {
            last = execve(candidate, self.arguments.pointers.as_ptr(), &self.environment);
            match last {
                Errno::ENOEXEC => {
                    self.shell_arguments[1].set(candidate.as_ptr());
                    return execve(SHELL, self.shell_arguments.as_ptr().cast(), &self.environment);
                }
                Errno::EACCES => denied = Some(last),
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                _ => return last,
            }
        }
        denied.unwrap_or(last)
    }
}

/// Returns why not. `arguments`: of a list that `Launch` holds.
fn execve(program: &std::ffi::CStr, arguments: *const *const c_char, environment: &Texts) -> Errno {
    // SAFETY: all of them are texts with an end, in lists with an end, which `Launch` holds; a `Cell` is what is in it.
    unsafe { libc::execve(program.as_ptr(), arguments, environment.pointers.as_ptr()) };
    Errno::last()
}

/// What a name may mean: itself where it is a path, else in each folder of the search path.
fn candidates(name: &str, path: &str) -> io::Result<Vec<CString>> {
    if name.contains('/') {
        return Ok(vec![text_of(name)?]);
    }
    if name.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    let of_folder = |folder: &str| match folder {
        // As shells have it: here.
        "" => text_of(name),
        _ => text_of(format!("{folder}/{name}")),
    };
    path.split(':').map(of_folder).collect()
}

fn text_of(text: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(io::Error::from)
}

/// Gives the mask that was.
fn block_signals() -> Result<SigSet, Errno> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)
}

/// What this process handles, and the signal of broken pipes that it ignores, the program has as usual. What whoever
/// started this process wants to be ignored stays so.
fn forget_handlers() {
    for signal in Signal::iterator().map(|signal| signal as i32) {
        // SAFETY: an action is asked for and set whole; zeros are one without flags, whose handler is the default.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, ptr::null(), &raw mut action) != 0 {
                continue;
            }
            let is_ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
            if !is_ignored && action.sa_sigaction != libc::SIG_DFL {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Ran {
        code: i32,
        stdout: String,
        stderr: String,
    }

    fn run_with(argv: &[&str], environment: &[(&str, &str)], folder: &Path) -> io::Result<Ran> {
        let (mut out, stdout) = io::pipe()?;
        let (mut err, stderr) = io::pipe()?;
        let streams = Streams {
            stdin: File::open("/dev/null")?.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let launch = Launch::new(&argv, &environment, folder, streams)?;
        let pid = launch.start(&|| Ok(()), |_| ())?;
        drop(launch);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        out.read_to_string(&mut stdout)?;
        err.read_to_string(&mut stderr)?;
        let code = match nix::sys::wait::waitpid(pid, None)? {
            nix::sys::wait::WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        };
        Ok(Ran { code, stdout, stderr })
    }

    fn run(argv: &[&str]) -> io::Result<Ran> {
        run_with(argv, &[("PATH", "/usr/bin:/bin")], Path::new("/"))
    }

    fn errno_of(ran: io::Result<Ran>) -> Option<Errno> {
        ran.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw)
    }

    #[test]
    fn a_program_has_its_arguments_environment_folder_and_streams() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().canonicalize().unwrap();
        let script = "echo \"$0|$1|$A|${HOME-none}|$PWD\"; echo wrong >&2; cat; exit 7";
        let ran = run_with(
            &["sh", "-c", script, "a b", "c"],
            &[("A", "é=1"), ("PATH", "/bin")],
            &here,
        )
        .unwrap();
        assert_eq!(ran.stdout, format!("a b|c|é=1|none|{}\n", here.display()));
        assert_eq!((ran.code, ran.stderr.as_str()), (7, "wrong\n"));
    }

    #[test]
    fn a_program_begins_with_usual_signals() {
        // SigBlk, SigIgn and SigCgt of proc(5): SIGPIPE, which Rust ignores, is signal 13.
        let status = run(&["cat", "/proc/self/status"]).unwrap().stdout;
        let mask = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0, "{status}");
        assert_eq!(mask("SigIgn:") & (1 << 12), 0, "{status}");
    }

    #[test]
    fn files_of_this_process_stay_its_own() {
        let open = tempfile::NamedTempFile::new().unwrap();
        let files = run(&["ls", "-l", "/proc/self/fd"]).unwrap().stdout;
        assert!(files.contains("/dev/null"), "{files}");
        assert!(!files.contains(open.path().to_str().unwrap()), "{files}");
    }

    #[test]
    fn why_one_does_not_begin_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        fs::write(&path, "echo script $1\n").unwrap();
        let name = path.to_str().unwrap();
        assert_eq!(errno_of(run(&["no-such-program"])), Some(Errno::ENOENT));
        assert_eq!(errno_of(run(&["/no/such/program"])), Some(Errno::ENOENT));
        assert_eq!(errno_of(run(&[""])), Some(Errno::ENOENT));
        assert_eq!(errno_of(run(&[name])), Some(Errno::EACCES));
        let nowhere = run_with(&["true"], &[], Path::new("/no/such/folder"));
        assert_eq!(errno_of(nowhere), Some(Errno::ENOENT));
        assert!(run(&["true\0"]).is_err());
        // What names no interpreter is the shell's, as for execvp(3).
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(run(&[name, "x"]).unwrap().stdout, "script x\n");
    }

    #[test]
    fn programs_are_looked_for_in_their_own_path() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        for (folder, mode, text) in [(&first, 0o644, "first"), (&second, 0o755, "second")] {
            fs::create_dir(folder).unwrap();
            let path = folder.join("tool");
            fs::write(&path, format!("#!/bin/sh\necho {text}\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let path = format!("/nowhere:{}:{}", first.display(), second.display());
        let ran = run_with(&["tool"], &[("PATH", &path)], Path::new("/")).unwrap();
        assert_eq!(ran.stdout, "second\n");
        let only_first = run_with(&["tool"], &[("PATH", first.to_str().unwrap())], Path::new("/"));
        assert_eq!(errno_of(only_first), Some(Errno::EACCES));
    }

    #[test]
    fn a_child_that_was_not_prepared_is_told_of_and_reaped() {
        let streams = || File::open("/dev/null").unwrap().into();
        let streams = Streams {
            stdin: streams(),
            stdout: streams(),
            stderr: streams(),
        };
        let launch = Launch::new(&["true".to_owned()], &[], Path::new("/"), streams).unwrap();
        let mut told = None;
        let started = launch.start(&|| Err(Errno::EPIPE.into()), |pid| told = Some(pid));
        assert_eq!(started.unwrap_err().raw_os_error(), Some(libc::EPIPE));
        let reaped = nix::sys::wait::waitpid(told.unwrap(), None);
        assert_eq!(reaped, Err(Errno::ECHILD));
    }
}
