//! Bugs put in on purpose, to prove that the simulation finds such bugs. Each is a switch that only tests can set.

use std::cell::Cell;

/// A bug. Where it is put in is found by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The stored cursor passes messages whose effect is not in the log.
    CursorAhead,
    /// Replies leave when they are decided.
    AnswerBeforeCommit,
    /// Acknowledgements of reports leave when they are decided.
    AckBeforeCommit,
    /// Assignments leave when they are decided.
    AssignBeforeCommit,
    /// The log takes commits of any epoch.
    NoEpochCheck,
    /// A timer that was replaced strikes all the same.
    StaleTimer,
    /// The number of an attempt is used again.
    AttemptReuse,
    /// A load does not take up the fan-outs under way.
    LostFanOut,
    /// A load does not set timers.
    LostTimers,
    /// A timed-out attempt counts as ended though its worker has not said so.
    DoublePlacement,
    /// Credits of assignments that were thrown away are not given back.
    LostCredits,
    /// Neither load nor inventory sends a lost assignment again.
    NoResend,
    /// A load does not repeat the cancellations that are under way.
    LostCancellation,
    /// A worker takes assignments of earlier owners of a shard. Not among [`Mutant::ALL`] yet: the storms are too mild
    /// to find it within a few hundred seeds.
    StaleAssignment,
    /// After an unknown outcome the shard goes on with what it has in memory.
    TrustUnknownCommit,
}

impl Mutant {
    pub const ALL: [Self; 14] = [
        Self::CursorAhead,
        Self::AnswerBeforeCommit,
        Self::AckBeforeCommit,
        Self::AssignBeforeCommit,
        Self::NoEpochCheck,
        Self::StaleTimer,
        Self::AttemptReuse,
        Self::LostFanOut,
        Self::LostTimers,
        Self::DoublePlacement,
        Self::LostCredits,
        Self::NoResend,
        Self::LostCancellation,
        Self::TrustUnknownCommit,
    ];
}

thread_local! {
    static PRESENT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether this bug is in.
pub fn is(mutant: Mutant) -> bool {
    PRESENT.get() == Some(mutant)
}

/// Whether any bug is in.
pub fn is_any() -> bool {
    PRESENT.get().is_some()
}

/// Runs `run` on this thread with the bug put in.
pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    PRESENT.set(mutant);
    let result = run();
    PRESENT.set(None);
    result
}
