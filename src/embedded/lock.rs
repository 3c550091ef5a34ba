//! The lock of a data folder: one process at a time, and a second one is told who holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Error;

const LOCK_FILE: &str = "grid.lock";

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
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(mut file, errno)| {
            if errno == Errno::EWOULDBLOCK {
                Error::InUse {
                    path: path.clone(),
                    holder: holder(&mut file),
                }
            } else {
                Error::io("lock", &file_path)(errno.into())
            }
        })?;
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

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The holder writes its name after it has the lock: for a moment there is none.
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}
