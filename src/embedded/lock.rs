//! The lock of a data folder: one process at a time, and a second one is told who holds it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Error;

const LOCK_FILE: &str = "grid.lock";

/// A process that was killed while it started another leaves the lock to that one for a moment: from its fork until it
/// has become the other program. The kernel tells nobody when that is over.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(10);
const LEFTOVER_PAUSE: Duration = Duration::from_millis(20);

/// A data folder that this process holds; released on drop, and by the kernel when the process ends in any way.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl DataDir {
    /// Makes the folder when missing, and locks it.
    ///
    /// # Errors
    /// The folder cannot be made or written; or another process holds it.
    pub fn lock(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(Error::io("make the folder", path))?;
        let path = path.canonicalize().map_err(Error::io("open the folder", path))?;
        let file_path = path.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file_path)
            .map_err(Error::io("open", &file_path))?;
        let begun = Instant::now();
        let mut lock = file;
        let mut lock = loop {
            match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => break locked,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    let holder = holder(&mut file);
                    if begun.elapsed() >= LEFTOVER_PATIENCE || !is_over(&holder) {
                        return Err(Error::InUse { path, holder });
                    }
                    std::thread::sleep(LEFTOVER_PAUSE);
                    lock = file;
                }
                Err((_, errno)) => return Err(Error::io("lock", &file_path)(errno.into())),
            }
        };
        write_holder(&mut lock).map_err(Error::io("write", &file_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let command: Vec<String> = std::env::args_os()
        .take(2)
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(
        file,
        "process {} ({}) since {}",
        std::process::id(),
        command.join(" "),
        crate::clock::now()
    )
}

/// Whether the process that wrote its name has ended. One that cannot be told counts as living.
fn is_over(holder: &str) -> bool {
    let pid = holder
        .strip_prefix("process ")
        .and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    let program = |pid| std::fs::read_link(format!("/proc/{pid}/exe"));
    pid.is_some_and(|pid| program(pid).is_err_and(|error| error.kind() == ErrorKind::NotFound))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The holder writes its name after it has the lock: for a moment there is none.
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_folder_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::lock(folder.path()).unwrap();
        let begun = Instant::now();
        let refused = DataDir::lock(folder.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        assert!(
            begun.elapsed() < LEFTOVER_PATIENCE / 2,
            "a living holder is told at once"
        );
        drop(held);
        DataDir::lock(folder.path()).unwrap();
    }

    /// As after a kill in the middle of a fork: the name is that of a process that is over, and a child of it has the lock.
    #[test]
    fn what_a_killed_process_leaves_behind_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        let mut over = Command::new("true").spawn().unwrap();
        over.wait().unwrap();
        std::fs::write(&path, format!("process {} (grid standalone) since then\n", over.id())).unwrap();
        let lock = File::open(&path).unwrap();
        lock.try_lock().unwrap();
        // From here on only the child has it.
        let mut child = Command::new("sleep").arg("1").stdin(Stdio::from(lock)).spawn().unwrap();
        let begun = Instant::now();
        DataDir::lock(folder.path()).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(500));
        child.wait().unwrap();
    }
}
