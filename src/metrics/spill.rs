//! Points that wait on disk while the store is away.

use std::io;
use std::path::Path;

use super::point::{Point, StoredPoint};

const ENDING: &str = "points.gz";

/// This process' part of a folder.
#[derive(Debug)]
pub struct Spill(crate::spill::Spill);

impl Spill {
    /// # Errors
    /// See [`crate::spill::Spill::open`].
    pub fn open(folder: &Path, limit_bytes: u64) -> io::Result<Self> {
        crate::spill::Spill::open(folder, ENDING, limit_bytes).map(Self)
    }

    pub const fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the batch; `false`: the limit is reached, and it is not kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, points: &[Point]) -> io::Result<bool> {
        let stored: Vec<StoredPoint<'_>> = points.iter().map(Point::stored).collect();
        self.0.push(&serde_json::to_vec(&stored)?)
    }

    /// The oldest batch; it stays until [`Spill::remove_oldest`]. `None`: there is none.
    ///
    /// # Errors
    /// The file cannot be read, and never will be.
    pub fn oldest(&self) -> Option<io::Result<Vec<Point>>> {
        let read = |text: Vec<u8>| {
            let stored: Vec<StoredPoint<'_>> = serde_json::from_slice(&text)?;
            Ok(stored.into_iter().map(Point::from_stored).collect())
        };
        Some(self.0.oldest()?.and_then(read))
    }

    /// The oldest batch is in the store, or given up.
    pub fn remove_oldest(&mut self) {
        self.0.remove_oldest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::metrics::Tags;

    #[test]
    fn points_come_back_as_they_were_and_what_is_none_is_said() {
        let tags = Tags::from([("worker_id", "worker-a \"b\"".to_owned())]);
        let points = vec![
            Point::new(Timestamp::from_ms(1_700_000_000_123), tags)
                .with("worker_running", 1.0)
                .with("worker_cpu_cores", 0.1),
        ];
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::open(folder.path(), 1 << 20).unwrap();
        assert!(spill.push(&points).unwrap());
        assert!(spill.0.push(b"no points").unwrap());
        assert_eq!(spill.oldest().unwrap().unwrap(), points);
        spill.remove_oldest();
        assert!(spill.oldest().unwrap().is_err());
        spill.remove_oldest();
        assert!(spill.is_empty() && spill.bytes() == 0);
    }
}
