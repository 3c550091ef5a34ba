//! A sink that writes one file, whole or not at all.
//!
//! What must stay true: what stands under the final name is always a complete result. Records go to
//! `<path>.part-<attempt>`; only when everything went well is that synced and renamed. A part file is locked while it
//! is written, so that two tasks which by mistake write one path cannot mix their records; one left over by a crash is
//! not locked and is simply overwritten by an attempt of the same number, ignored by others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use vrl::value::Value;

use super::config::FileSinkConfig;
use super::context::RunContext;
use super::encoding::Encoder;
use super::paths::{self, PathRefusal};
use super::report::{PipelineFailure, PipelineFailureReason};

/// What is written to the file at once.
const BUFFER_BYTES: usize = 256 * 1024;

pub(super) struct FileSink {
    id: String,
    path: PathBuf,
    part: PathBuf,
    file: Flock<File>,
    encoder: Encoder,
    buffer: Vec<u8>,
    committed: bool,
}

impl FileSink {
    pub fn open(id: &str, config: &FileSinkConfig, context: &RunContext) -> Result<Self, PipelineFailure> {
        let refused = |refusal| refuse(id, refusal);
        let mut path = paths::resolve(&config.path, context).map_err(refused)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .map_err(|error| PipelineFailure::error(id, format!("cannot make {}", parent.display()), &error))?;
            // Again, now that all of it exists: what was made may lie behind a link that has just appeared.
            path = paths::resolve(&config.path, context).map_err(refused)?;
        }
        if path.is_dir() {
            let message = format!("{} is a folder", path.display());
            return Err(PipelineFailure::new(PipelineFailureReason::Error, id, message));
        }
        let mut part = path.clone().into_os_string();
        part.push(format!(".part-{}", context.attempt));
        let part = PathBuf::from(part);
        let file = lock_part(id, &part)?;
        Ok(Self {
            id: id.to_owned(),
            path,
            part,
            file,
            encoder: Encoder::new(&config.encoder),
            buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
            committed: false,
        })
    }

    /// Takes one record; the outer error is the file's, the inner one the record's. Gives the bytes it became.
    pub fn write(&mut self, record: &Value) -> Result<Result<usize, String>, PipelineFailure> {
        let before = self.buffer.len();
        if let Err(message) = self.encoder.encode(record, &mut self.buffer) {
            return Ok(Err(message));
        }
        let written = self.buffer.len() - before;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(Ok(written))
    }

    /// Everything is on the disk, still under the name of the part file.
    pub fn sync(&mut self) -> Result<(), PipelineFailure> {
        self.encoder.finish(&mut self.buffer);
        self.flush()?;
        self.file
            .sync_all()
            .map_err(|error| self.failure("cannot sync", &self.part, &error))
    }

    /// The result takes its name. Call [`Self::sync`] of all sinks before.
    pub fn commit(&mut self) -> Result<(), PipelineFailure> {
        fs::rename(&self.part, &self.path).map_err(|error| self.failure("cannot rename to", &self.path, &error))?;
        self.committed = true;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("/"));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failure("cannot sync the folder", folder, &error))
    }

    fn flush(&mut self) -> Result<(), PipelineFailure> {
        let result = self.file.write_all(&self.buffer);
        self.buffer.clear();
        result.map_err(|error| self.failure("cannot write", &self.part, &error))
    }

    fn failure(&self, what: &str, path: &Path, error: &io::Error) -> PipelineFailure {
        PipelineFailure::error(&self.id, format!("{what} {}", path.display()), error)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing can be done about a failure here; the next attempt ignores what is left.
            drop(fs::remove_file(&self.part));
        }
    }
}

pub(super) fn refuse(id: &str, refusal: PathRefusal) -> PipelineFailure {
    match refusal {
        PathRefusal::Forbidden(message) => PipelineFailure::new(PipelineFailureReason::InvalidDag, id, message),
        PathRefusal::Io { message, source } => PipelineFailure::error(id, message, &source),
    }
}

/// Opens and locks the part file, empty. Between opening and locking, another run may have renamed or removed what was
/// opened; then it is not ours to write, and the name is opened again.
fn lock_part(id: &str, part: &Path) -> Result<Flock<File>, PipelineFailure> {
    let failure = |error: &io::Error| PipelineFailure::error(id, format!("cannot write {}", part.display()), error);
    for _ in 0..16 {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(part)
            .map_err(|error| failure(&error))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => {
                let message = format!(
                    "another run is writing {}; do two tasks write the same path?",
                    part.display()
                );
                PipelineFailure::new(PipelineFailureReason::Error, id, message)
            }
            errno => failure(&errno.into()),
        })?;
        let ours = file.metadata().map_err(|error| failure(&error))?;
        let named = fs::symlink_metadata(part);
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            file.set_len(0).map_err(|error| failure(&error))?;
            return Ok(file);
        }
    }
    let message = format!("{} is made and removed by others again and again", part.display());
    Err(PipelineFailure::new(PipelineFailureReason::Error, id, message))
}
