//! Bugs put in on purpose, to prove that the simulation finds such bugs. Each is a switch that only tests can set.

use std::cell::Cell;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug. Where it is put in is found by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// Every one: the simulation must find each.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

mutants! {
    /// The stored cursor passes messages whose effect is not in the log.
    CursorAhead,
    /// Replies leave when they are decided.
    AnswerBeforeCommit,
    /// Acknowledgements of reports leave when they are decided.
    AckBeforeCommit,
    /// Assignments leave when they are decided.
    AssignBeforeCommit,
    /// Events are published when they are decided.
    PublishBeforeCommit,
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
    /// An attempt that was given up counts as ended because an inventory, sent before the worker had it, lacks it.
    EarlyInventory,
    /// Credits of assignments that were thrown away are not given back.
    LostCredits,
    /// A credit is used more than once.
    Overbooking,
    /// Neither load nor inventory sends a lost assignment again.
    NoResend,
    /// A load does not repeat the cancellations that are under way.
    LostCancellation,
    /// Neither load nor inventory tells a worker again how it stands.
    ForgottenCordon,
    /// The answer to a registration does not say how the worker stands.
    SilentRegistration,
    /// An acknowledgement goes before what was said of its attempt in the same commit.
    HastyAcknowledgement,
    /// A worker takes assignments of earlier owners of a shard.
    StaleAssignment,
    /// A worker takes a message that it has had before.
    SecondDelivery,
    /// A worker that is cut off runs on.
    OutlivesItsTime,
    /// Silence of a worker counts though its heartbeats could not be heard.
    DeafSilence,
    /// After an unknown outcome the shard goes on with what it has in memory.
    TrustUnknownCommit,
    /// After a failed delivery the publisher goes on behind it.
    PublisherGap,
    /// The cursor of the publisher passes messages that are not acknowledged.
    PublisherAhead,
}

thread_local! {
    static PRESENT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Whether this bug is in.
pub fn is(mutant: Mutant) -> bool {
    PRESENT.get() == Some(mutant)
}

/// Runs `run` on this thread with the bug put in.
pub fn with<T>(mutant: Option<Mutant>, run: impl FnOnce() -> T) -> T {
    PRESENT.set(mutant);
    let result = run();
    PRESENT.set(None);
    result
}
