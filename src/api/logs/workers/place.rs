//! Where a follower of workers stands: behind a position of each.

use std::collections::BTreeMap;

use crate::domain::WorkerName;
use crate::logs::Line;

/// Positions of so many workers are known; of more, the one that stands farthest back is forgotten: it has long left.
const MOST_KNOWN: usize = 128;

/// Positions by worker; as bytes: the base, then name (its length first) and position of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Behind which lines of all other workers are wanted.
    base: i64,
    of: BTreeMap<WorkerName, i64>,
}

impl Place {
    pub const fn new(base: i64) -> Self {
        Self {
            base,
            of: BTreeMap::new(),
        }
    }

    pub fn known(&self) -> impl Iterator<Item = &WorkerName> {
        self.of.keys()
    }

    pub fn knows(&self, worker: &WorkerName) -> bool {
        self.of.contains_key(worker)
    }

    pub fn of(&self, worker: &WorkerName) -> i64 {
        self.of.get(worker).copied().unwrap_or(self.base)
    }

    pub fn pass(&mut self, worker: &WorkerName, position: i64) {
        if let Some(passed) = self.of.get_mut(worker) {
            *passed = position.max(*passed);
            return;
        }
        if self.of.len() >= MOST_KNOWN {
            let farthest = self.of.iter().min_by_key(|(_, position)| **position);
            if let Some(farthest) = farthest.map(|(name, _)| name.clone()) {
                self.of.remove(&farthest);
            }
        }
        self.of.insert(worker.clone(), position);
    }

    /// Whether a line of a worker stands before its place.
    pub fn holds(&self, line: &Line) -> bool {
        !line
            .worker_id
            .parse()
            .is_ok_and(|worker| line.position > self.of(&worker))
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.base.to_be_bytes().to_vec();
        for (worker, position) in &self.of {
            let name = worker.to_string();
            let name = name.trim_start_matches("worker-").as_bytes();
            // A name has at most 100 bytes.
            bytes.push(u8::try_from(name.len()).unwrap_or(0));
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&position.to_be_bytes());
        }
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (base, mut rest) = bytes.split_first_chunk::<8>()?;
        let mut place = Self::new(i64::from_be_bytes(*base));
        while let Some((length, behind)) = rest.split_first() {
            let (name, behind) = behind.split_at_checked(usize::from(*length))?;
            let (position, behind) = behind.split_first_chunk::<8>()?;
            let worker = std::str::from_utf8(name).ok()?.parse().ok()?;
            place.pass(&worker, i64::from_be_bytes(*position));
            rest = behind;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_only_goes_on_and_is_read_as_it_was_written() {
        let (a, b) = ("a".parse().unwrap(), "b-1".parse().unwrap());
        let mut place = Place::new(5);
        place.pass(&a, 9);
        place.pass(&a, 7);
        assert_eq!((place.of(&a), place.of(&b), place.knows(&b)), (9, 5, false));
        place.pass(&b, 11);
        let bytes = place.bytes();
        assert_eq!(Place::read(&bytes), Some(place));
        assert_eq!(Place::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Place::read(&[]), None);
    }

    #[test]
    fn workers_that_left_long_ago_are_forgotten() {
        let mut place = Place::new(0);
        for number in 1..=200 {
            place.pass(&format!("w{number}").parse().unwrap(), number);
        }
        assert_eq!(place.known().count(), MOST_KNOWN);
        assert!(place.knows(&"w200".parse().unwrap()) && !place.knows(&"w1".parse().unwrap()));
    }
}
