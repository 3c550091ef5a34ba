//! Points that wait on disk while the store is away: one file a batch, the oldest first.
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

use super::point::{Point, StoredPoint};

const ENDING: &str = "points.gz";
/// More than a batch ever takes; a file that unpacks to more is none of ours.
const MOST_UNPACKED: u64 = 256 << 20;

/// Processes that may share a folder.
const MOST_PROCESSES: usize = 64;

/// This process' part of the folder.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    limit_bytes: u64,
    bytes: u64,
    /// Number and size of each file.
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
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Self> {
        let mut opened = Self::open_part(folder.join("0"), limit_bytes);
        for number in 1..MOST_PROCESSES {
            match &opened {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    opened = Self::open_part(folder.join(number.to_string()), limit_bytes);
                }
                Ok(_) | Err(_) => break,
            }
        }
        opened
    }

    fn open_part(folder: PathBuf, limit_bytes: u64) -> io::Result<Self> {
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
            match name.strip_suffix(ENDING).and_then(|name| name.strip_suffix('.')) {
                Some(number) => {
                    if let Ok(number) = number.parse::<u64>() {
                        files.push((number, entry.metadata()?.len()));
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
    pub fn push(&mut self, points: &[Point]) -> io::Result<bool> {
        let packed = pack(points)?;
        let bytes = packed.len() as u64;
        if self.bytes + bytes > self.limit_bytes {
            return Ok(false);
        }
        let part = self.folder.join(format!("{}.part", self.next));
        fs::write(&part, packed)?;
        fs::rename(&part, self.path(self.next))?;
        self.files.push_back((self.next, bytes));
        self.bytes += bytes;
        self.next += 1;
        Ok(true)
    }

    /// The oldest batch; it stays until [`Spill::remove_oldest`]. `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be read, and never will be.
    pub fn oldest(&self) -> Option<io::Result<Vec<Point>>> {
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
            tracing::warn!(%error, folder = %self.folder.display(), "metrics.spill.not_removed");
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.{ENDING}"))
    }
}

fn pack(points: &[Point]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let stored: Vec<StoredPoint<'_>> = points.iter().map(Point::stored).collect();
    packed.write_all(&serde_json::to_vec(&stored)?)?;
    packed.finish()
}

fn unpack(path: &Path) -> io::Result<Vec<Point>> {
    let mut text = Vec::new();
    GzDecoder::new(File::open(path)?)
        .take(MOST_UNPACKED)
        .read_to_end(&mut text)?;
    let stored: Vec<StoredPoint<'_>> = serde_json::from_slice(&text)?;
    Ok(stored.into_iter().map(Point::from_stored).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::metrics::Tags;

    fn points(value: f64) -> Vec<Point> {
        let tags = Tags::from([("worker_id", "worker-a \"b\"".to_owned())]);
        vec![
            Point::new(Timestamp::from_ms(1_700_000_000_123), tags)
                .with("worker_running", value)
                .with("worker_cpu_cores", 0.1),
        ]
    }

    #[test]
    fn batches_come_back_in_order_also_in_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Spill::open(&folder.path().join("spill"), 1 << 20);
        let mut spill = open().unwrap();
        for value in [1.0, 2.0, 3.0] {
            assert!(spill.push(&points(value)).unwrap());
        }
        assert!(open().unwrap().is_empty(), "another process has a part of its own");
        assert_eq!(spill.oldest().unwrap().unwrap(), points(1.0));
        spill.remove_oldest();
        let bytes = spill.bytes();
        drop(spill);
        let mut spill = open().unwrap();
        assert_eq!(spill.bytes(), bytes);
        assert!(spill.push(&points(4.0)).unwrap());
        for value in [2.0, 3.0, 4.0] {
            assert_eq!(spill.oldest().unwrap().unwrap(), points(value));
            spill.remove_oldest();
        }
        assert!(spill.oldest().is_none() && spill.is_empty() && spill.bytes() == 0);
    }

    #[test]
    fn the_limit_holds_and_what_is_broken_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let one = pack(&points(1.0)).unwrap().len() as u64;
        let mut spill = Spill::open(folder.path(), one * 2 + 1).unwrap();
        assert!(spill.push(&points(1.0)).unwrap());
        assert!(spill.push(&points(1.0)).unwrap());
        assert!(!spill.push(&points(1.0)).unwrap());
        assert_eq!(spill.bytes(), 2 * one);
        fs::write(spill.path(1), "no gzip").unwrap();
        assert!(spill.oldest().unwrap().is_err());
        spill.remove_oldest();
        assert_eq!(spill.oldest().unwrap().unwrap(), points(1.0));
    }
}
