//! What goes into the machine and what comes out.

use uuid::Uuid;

use crate::domain::{Epoch, Incarnation, ShardId, Timestamp, WorkerName};
use crate::event::{Assignment, AssignmentMessage, AttemptRef, Beat, Outcome, ReportMessage, WorkerBeat};

/// Who this worker is, for its whole life.
#[derive(Clone, Debug)]
pub struct Identity {
    pub worker: WorkerName,
    pub incarnation: Incarnation,
    /// Of the log: assignments of another one are not for this worker.
    pub timeline: Uuid,
    pub shards: u16,
    /// Where health, metrics and the live log of the process are.
    pub endpoint_url: String,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// From the worker's partition of the assignments, with the place in it: the bus may deliver one twice.
    Assignments { offset: i64, message: AssignmentMessage },
    /// From the heartbeats: jobmasters' and workers', this one's own too.
    Beat(Beat),
    /// The bus has the heartbeat that was sent then.
    BeatAcknowledged { sent_at: Timestamp },
    /// The attempt runs.
    AttemptStarted(AttemptRef),
    /// The attempt has ended, or never started. Exactly one for each [`Output::Start`].
    AttemptEnded(AttemptRef, Outcome),
    /// Time has passed; see [`super::WorkerMachine::next_wakeup`].
    Tick,
    /// Take no new work, end, and leave.
    Drain,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Run the attempt.
    Start {
        assignment: Box<Assignment>,
        epoch: Epoch,
    },
    /// End the attempt now: SIGTERM, the grace, SIGKILL. Its end is awaited.
    Cancel {
        attempt: AttemptRef,
    },
    /// Let the attempt end in order. Its end is awaited.
    Stop {
        attempt: AttemptRef,
    },
    Report {
        shard: ShardId,
        message: ReportMessage,
    },
    /// With zero for CPU and memory: who sends it fills them in, and says when it is acknowledged.
    Beat(WorkerBeat),
    /// The last output: this incarnation is over, and whatever it still runs must die.
    Exit {
        reason: ExitReason,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// As it was told to; it has said goodbye.
    Drained,
    /// A newer process bears its name. It must not come back.
    Superseded,
    /// The log has a later timeline, which this process does not know.
    Restored,
    /// Its heartbeats were not acknowledged for `dead_after`; a new incarnation may begin.
    CutOff,
}
