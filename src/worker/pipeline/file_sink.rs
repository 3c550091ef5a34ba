//! A sink that writes one file, whole or not at all.
//!
//! What must stay true: what stands under the final name is always a complete result. Records go to
//! `<path>.part-<attempt>`; only when everything went well is that synced and renamed. A part file is locked while it
//! is written, so that two tasks which by mistake write one path cannot mix their records; one left over by a crash is
//! not locked and is simply overwritten by an attempt of the same number. An attempt that goes on from a checkpoint
//! copies the beginning of the earlier one's part file into its own; the earlier one is only read, until the result has
//! its name: then those that nobody writes are removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use vrl::value::Value;

use super::checkpoint::SinkState;
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
    /// What was written to the file.
    length: u64,
    attempt: u32,
    committed: bool,
    /// A checkpoint tells of the part file: a later attempt may go on from it.
    kept: bool,
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
        let part = part_of(&path, context.attempt);
        let file = lock_part(id, &part)?;
        Ok(Self {
            id: id.to_owned(),
            path,
            part,
            file,
            encoder: Encoder::new(&config.encoder),
            buffer: Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 4),
            length: 0,
            attempt: context.attempt,
            committed: false,
            kept: false,
        })
    }

    /// Begins with what an earlier attempt had written by its checkpoint. `false`: that is not there (any more).
    pub fn take_over(&mut self, attempt: u32, state: &SinkState) -> io::Result<bool> {
        let earlier = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(part_of(&self.path, attempt));
        let earlier = match earlier {
            Ok(earlier) => earlier,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let metadata = earlier.metadata()?;
        if !metadata.is_file() || metadata.len() < state.length {
            return Ok(false);
        }
        let copied = io::copy(&mut earlier.take(state.length), &mut &*self.file)?;
        self.length = copied;
        self.encoder.restore(state.columns.clone(), state.header_written);
        Ok(copied == state.length)
    }

    /// Begins with nothing after all.
    pub fn start_over(&mut self, config: &FileSinkConfig) -> Result<(), PipelineFailure> {
        self.encoder = Encoder::new(&config.encoder);
        self.length = 0;
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| self.failure("cannot write", &self.part, &error))
    }

    /// What a later attempt must know to go on from here, with the file to be synced before anybody relies on it.
    pub fn checkpoint(&mut self) -> Result<(SinkState, (PathBuf, File)), PipelineFailure> {
        self.flush()?;
        let file = self.file.try_clone();
        let file = file.map_err(|error| self.failure("cannot sync", &self.part, &error))?;
        let (columns, header_written) = self.encoder.state();
        let state = SinkState {
            length: self.length,
            columns: columns.map(<[String]>::to_vec),
            header_written,
        };
        Ok((state, (self.part.clone(), file)))
    }

    /// Whether the part file stays when the run ends without a result.
    pub fn keep(&mut self, keep: bool) {
        self.kept = keep;
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
        self.remove_earlier_parts();
        let folder = self.path.parent().unwrap_or_else(|| Path::new("/"));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failure("cannot sync the folder", folder, &error))
    }

    /// What earlier attempts left: nobody needs it once the result is there. One that is still written stays its
    /// writer's, and a failure leaves a file that is ignored.
    fn remove_earlier_parts(&self) {
        for attempt in 1..self.attempt {
            let part = part_of(&self.path, attempt);
            let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let file = OpenOptions::new().write(true).custom_flags(flags.bits()).open(&part);
            let locked = file
                .ok()
                .and_then(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok());
            if locked.is_some() {
                drop(fs::remove_file(&part));
            }
        }
    }

    fn flush(&mut self) -> Result<(), PipelineFailure> {
        let result = self.file.write_all(&self.buffer);
        self.length += self.buffer.len() as u64;
        self.buffer.clear();
        result.map_err(|error| self.failure("cannot write", &self.part, &error))
    }

    fn failure(&self, what: &str, path: &Path, error: &io::Error) -> PipelineFailure {
        PipelineFailure::error(&self.id, format!("{what} {}", path.display()), error)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.committed && !self.kept {
            // Nothing can be done about a failure here; the next attempt ignores what is left.
            drop(fs::remove_file(&self.part));
        }
    }
}

fn part_of(path: &Path, attempt: u32) -> PathBuf {
    let mut part = path.to_path_buf().into_os_string();
    part.push(format!(".part-{attempt}"));
    part.into()
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
