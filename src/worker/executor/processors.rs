//! Processors for commands that may keep only so many busy: each gets those that the fewest others have.
//!
//! Must stay true: what was taken is given back when the command has ended; a set of processors is inherited by all
//! processes of a command. Like the other limits it holds programs that mean no harm: one may set it anew for itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::libc;

/// How many commands of this process have each processor.
static TAKEN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn taken() -> MutexGuard<'static, Vec<u32>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As the kernel takes it.
#[derive(Clone, Copy)]
pub struct ProcessorSet(libc::cpu_set_t);

impl ProcessorSet {
    fn empty() -> Self {
        // SAFETY: a set of bits, all of them zero.
        Self(unsafe { std::mem::zeroed() })
    }

    /// Those that this process may use.
    fn allowed() -> Self {
        let mut set = Self::empty();
        // SAFETY: the set is as large as is said, and lives for the call.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set.0) };
        if Errno::result(result).is_err() {
            tracing::warn!(error = %Errno::last(), "process.processors.unknown");
        }
        set
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        // SAFETY: the numbers lie within the set.
        (0..8 * size_of::<libc::cpu_set_t>()).filter(|number| unsafe { libc::CPU_ISSET(*number, &self.0) })
    }

    /// Sets it for the calling process. Only a system call: may be made between fork and exec.
    pub fn apply(&self) -> Result<(), Errno> {
        // SAFETY: the set is as large as is said, and lives for the call.
        let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
        Errno::result(result).map(drop)
    }
}

impl std::fmt::Debug for ProcessorSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.numbers()).finish()
    }
}

/// Processors of a command; given back when dropped.
#[derive(Debug)]
pub struct Processors(Vec<usize>);

impl Processors {
    /// `None`: there are no more than `count` anyway.
    pub fn take(count: u32) -> Option<Self> {
        let mut numbers: Vec<usize> = ProcessorSet::allowed().numbers().collect();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count >= numbers.len() {
            return None;
        }
        let mut taken = taken();
        let most = numbers.iter().max().map_or(0, |number| number + 1);
        if taken.len() < most {
            taken.resize(most, 0);
        }
        numbers.sort_by_key(|number| taken[*number]);
        numbers.truncate(count);
        numbers.iter().for_each(|number| taken[*number] += 1);
        Some(Self(numbers))
    }

    pub fn set(&self) -> ProcessorSet {
        let mut set = ProcessorSet::empty();
        // SAFETY: the numbers came from such a set.
        self.0
            .iter()
            .for_each(|number| unsafe { libc::CPU_SET(*number, &mut set.0) });
        set
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        let mut taken = taken();
        for number in &self.0 {
            taken[*number] = taken[*number].saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_spread_over_the_processors_and_give_them_back() {
        let there = ProcessorSet::allowed().numbers().count();
        assert!(there > 0 && Processors::take(there as u32).is_none());
        if there < 2 {
            return;
        }
        let (one, other) = (Processors::take(1).unwrap(), Processors::take(1).unwrap());
        assert_eq!(one.set().numbers().count(), 1);
        assert_ne!(one.0, other.0);
        let freed = one.0.clone();
        drop(one);
        assert_eq!(Processors::take(1).unwrap().0, freed);
    }
}
