//! Faults that tests put into the running program on purpose, where no input could bring them about.
//!
//! Must stay true: nothing arms one but a test, from inside the process; where none is armed, a failpoint costs the
//! reading of one number.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ARMED: AtomicUsize = AtomicUsize::new(0);
static FAULTS: Mutex<Vec<Fault>> = Mutex::new(Vec::new());

struct Fault {
    id: u64,
    name: &'static str,
    about: String,
    left: u32,
}

fn faults() -> MutexGuard<'static, Vec<Fault>> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A fault; it is taken out when this is dropped.
#[must_use = "dropping it takes the fault out again"]
pub struct Armed(u64);

impl Armed {
    /// How often it may still strike.
    pub fn left(&self) -> u32 {
        faults()
            .iter()
            .find(|fault| fault.id == self.0)
            .map_or(0, |fault| fault.left)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        faults().retain(|fault| fault.id != self.0);
        ARMED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets the failpoint `name` panic the next `times` times that what it is about contains `about`.
pub fn panic_at(name: &'static str, about: impl Into<String>, times: u32) -> Armed {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    faults().push(Fault {
        id,
        name,
        about: about.into(),
        left: times,
    });
    ARMED.fetch_add(1, Ordering::Relaxed);
    Armed(id)
}

/// A place where a fault may strike; `about` tells what is being done.
pub(crate) fn hit(name: &'static str, about: impl FnOnce() -> String) {
    if ARMED.load(Ordering::Relaxed) > 0 {
        strike(name, &about());
    }
}

fn strike(name: &'static str, about: &str) {
    let struck = {
        let mut faults = faults();
        let fault = faults
            .iter_mut()
            .find(|fault| fault.name == name && fault.left > 0 && about.contains(&fault.about));
        fault.map(|fault| fault.left -= 1)
    };
    assert!(struck.is_none(), "failpoint {name}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_strikes_where_it_was_armed_and_as_often() {
        let armed = panic_at("test.here", "apple", 2);
        let strikes = |name, about: &str| std::panic::catch_unwind(|| hit(name, || about.to_owned())).is_err();
        assert!(!strikes("test.here", "a pear") && !strikes("test.there", "an apple"));
        assert!(strikes("test.here", "an apple"));
        assert_eq!(armed.left(), 1);
        assert!(strikes("test.here", "the apple"));
        assert!(!strikes("test.here", "an apple"));
        let again = panic_at("test.here", "apple", 1);
        drop(again);
        assert!(!strikes("test.here", "an apple"));
    }
}
