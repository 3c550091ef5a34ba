//! What was asked of a job as a whole, folded from its own stream, without its tasks: for looking at it.
//!
//! Must stay true: what is under way is what [`super::Job`] has under way.

use std::collections::VecDeque;

use super::event::Event;
use super::{FanOut, FanOutKind, Timestamp};

/// A request, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub fan_out: FanOut,
    pub at: Timestamp,
}

/// A job's own stream while its events are taken in, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobRequests {
    tasks: u32,
    version: u32,
    under_way: VecDeque<Request>,
    stopping: bool,
    ended: Option<Request>,
}

impl JobRequests {
    /// Takes in the event with that version.
    pub fn apply(&mut self, version: u32, at: Timestamp, event: &Event) {
        self.version = version;
        let request = |kind| Request {
            fan_out: FanOut {
                kind,
                request: version,
                next_task: 1,
            },
            at,
        };
        match event {
            Event::JobSubmitted(submitted) => {
                self.tasks = submitted.spec.task_count;
                if self.tasks > 0 {
                    self.under_way.push_back(request(FanOutKind::Submission));
                }
            }
            Event::JobKillRequested(_) => self.end(request(FanOutKind::Kill)),
            Event::JobStopRequested(_) => {
                self.stopping = true;
                self.end(request(FanOutKind::Stop));
            }
            Event::JobDeadlineReached(_) => self.end(request(FanOutKind::Deadline)),
            Event::JobRetryRequested(_) => {
                self.stopping = false;
                self.ended = None;
                self.under_way.push_back(request(FanOutKind::Retry));
            }
            Event::FanOutAdvanced(advanced) => {
                if let Some(front) = self.under_way.front_mut() {
                    front.fan_out.next_task = advanced.next_task;
                }
                if advanced.next_task > self.tasks {
                    self.under_way.pop_front();
                }
            }
            Event::JobFinished(_)
            | Event::TaskReady(_)
            | Event::TaskScheduled(_)
            | Event::TaskStarted(_)
            | Event::TaskCompleted(_)
            | Event::TaskFailed(_)
            | Event::RetryScheduled(_)
            | Event::RetryCancelled(_)
            | Event::AttemptEnded(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerLeft(_)
            | Event::WorkerCordoned(_)
            | Event::WorkerUncordoned(_)
            | Event::WorkerDrainRequested(_) => {}
        }
    }

    fn end(&mut self, request: Request) {
        self.under_way.clear();
        self.under_way.push_back(request);
        self.ended = Some(request);
    }

    /// Version of the job's own stream.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What is being written out.
    pub fn under_way(&self) -> Option<Request> {
        self.under_way.front().copied()
    }

    /// A stop was asked for: what runs may end in order.
    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The kill, stop or deadline that ended the job, or is about to; none when it was tried again since.
    pub const fn ended(&self) -> Option<Request> {
        self.ended
    }
}
