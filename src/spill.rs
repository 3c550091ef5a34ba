//! Batches that wait on disk while the one that they are for is away: one file a batch, the oldest first.
//!
//! Must stay true: the files together never take more than the limit; a batch is there whole or not at all; what cannot
//! be read any more is given up, never read again and again. Processes that share a folder each have a part of it.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// More than a batch ever takes; a file that unpacks to more is none of ours.
const MOST_UNPACKED: u64 = 256 << 20;

/// What a file takes at least, and in steps of what: many small ones must not take more than the limit.
const BLOCK_BYTES: u64 = 4096;

/// Processes that may share a folder.
const MOST_PROCESSES: usize = 64;

/// This process' part of the folder.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    /// What its files are called behind their numbers.
    ending: &'static str,
    limit_bytes: u64,
    bytes: u64,
    /// Number of each file, and the bytes that it takes.
    files: VecDeque<(u64, u64)>,
    next: u64,
    /// Held for as long as the folder is ours.
    _lock: File,
}

impl Spill {
    /// Opens the first part of the folder that no other process has, and finds what an earlier one left there.
    ///
    /// # Errors
    /// It cannot be made, or others have all parts.
    pub fn open(folder: &Path, ending: &'static str, limit_bytes: u64) -> io::Result<Self> {
        let mut opened = Self::open_part(folder.join("0"), ending, limit_bytes);
        for number in 1..MOST_PROCESSES {
            match &opened {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    opened = Self::open_part(folder.join(number.to_string()), ending, limit_bytes);
                }
                Ok(_) | Err(_) => break,
            }
        }
        opened
    }

    fn open_part(folder: PathBuf, ending: &'static str, limit_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process has it"),
            TryLockError::Error(error) => error,
        })?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            match name.strip_suffix(ending).and_then(|name| name.strip_suffix('.')) {
                Some(number) => {
                    if let Ok(number) = number.parse::<u64>() {
                        files.push((number, taken(entry.metadata()?.len())));
                    }
                }
                None if name.ends_with(".part") => fs::remove_file(entry.path())?,
                None => {}
            }
        }
        files.sort_unstable();
        Ok(Self {
            bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            next: files.last().map_or(1, |(number, _)| number + 1),
            files: files.into(),
            folder,
            ending,
            limit_bytes,
            _lock: lock,
        })
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Keeps the batch; `false`: the limit is reached, and it is not kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, batch: &[u8]) -> io::Result<bool> {
        let kept = self.write(self.next, batch)?;
        if let Some(file) = kept {
            self.files.push_back(file);
            self.next += 1;
        }
        Ok(kept.is_some())
    }

    /// The same for a batch that is older than all that are here.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push_first(&mut self, batch: &[u8]) -> io::Result<bool> {
        // Numbers below the first are free again.
        let first = self.files.front().and_then(|(number, _)| number.checked_sub(1));
        let Some(number) = first else {
            return self.push(batch);
        };
        let kept = self.write(number, batch)?;
        if let Some(file) = kept {
            self.files.push_front(file);
        }
        Ok(kept.is_some())
    }

    /// Writes the file, if there is room.
    fn write(&mut self, number: u64, batch: &[u8]) -> io::Result<Option<(u64, u64)>> {
        let packed = pack(batch)?;
        let bytes = taken(packed.len() as u64);
        if self.bytes + bytes > self.limit_bytes {
            return Ok(None);
        }
        let part = self.folder.join(format!("{number}.part"));
        let written = fs::write(&part, packed).and_then(|()| fs::rename(&part, self.path(number)));
        if written.is_err() {
            // Half of it would take room that nobody counts.
            let _ = fs::remove_file(&part);
        }
        written?;
        self.bytes += bytes;
        Ok(Some((number, bytes)))
    }

    /// The oldest batch; it stays until [`Spill::remove_oldest`]. `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be read, and never will be.
    pub fn oldest(&self) -> Option<io::Result<Vec<u8>>> {
        let (number, _) = self.files.front()?;
        Some(unpack(&self.path(*number)))
    }

    /// The oldest batch is in the store, or given up.
    pub fn remove_oldest(&mut self) {
        let Some((number, bytes)) = self.files.pop_front() else {
            return;
        };
        self.bytes -= bytes;
        if let Err(error) = fs::remove_file(self.path(number)) {
            tracing::warn!(%error, folder = %self.folder.display(), "spill.not_removed");
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.{}", self.ending))
    }
}

const fn taken(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

fn pack(batch: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(batch)?;
    packed.finish()
}

fn unpack(path: &Path) -> io::Result<Vec<u8>> {
    let mut batch = Vec::new();
    GzDecoder::new(File::open(path)?)
        .take(MOST_UNPACKED)
        .read_to_end(&mut batch)?;
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDING: &str = "batch.gz";

    fn batch(number: u8) -> Vec<u8> {
        vec![number; 100]
    }

    #[test]
    fn batches_come_back_in_order_also_in_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Spill::open(&folder.path().join("spill"), ENDING, 1 << 20);
        let mut spill = open().unwrap();
        for number in 1..=3 {
            assert!(spill.push(&batch(number)).unwrap());
        }
        assert!(open().unwrap().is_empty(), "another process has a part of its own");
        assert_eq!(spill.oldest().unwrap().unwrap(), batch(1));
        spill.remove_oldest();
        let bytes = spill.bytes();
        drop(spill);
        let mut spill = open().unwrap();
        assert_eq!(spill.bytes(), bytes);
        assert!(spill.push(&batch(4)).unwrap());
        assert!(spill.push_first(&batch(9)).unwrap());
        drop(spill);
        let mut spill = open().unwrap();
        for number in [9, 2, 3, 4] {
            assert_eq!(spill.oldest().unwrap().unwrap(), batch(number));
            spill.remove_oldest();
        }
        assert!(spill.oldest().is_none() && spill.is_empty() && spill.bytes() == 0);
    }

    #[test]
    fn the_limit_holds_and_what_is_broken_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::open(folder.path(), ENDING, BLOCK_BYTES * 2 + 1).unwrap();
        assert!(spill.push(&batch(1)).unwrap());
        assert!(spill.push(&batch(1)).unwrap());
        assert!(!spill.push(&batch(1)).unwrap() && !spill.push_first(&batch(1)).unwrap());
        assert_eq!(spill.bytes(), 2 * BLOCK_BYTES);
        fs::write(spill.path(1), "no gzip").unwrap();
        assert!(spill.oldest().unwrap().is_err());
        spill.remove_oldest();
        assert_eq!(spill.oldest().unwrap().unwrap(), batch(1));
    }
}
