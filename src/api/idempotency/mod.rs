//! `Idempotency-Key`: a call that is sent again has its effect once.
//!
//! A key belongs to its principal for `api.idempotency_keep`. It is reserved, together with the ids of the job and of the
//! command, before the command is sent. The same call again: its answer, when there is one; 409 while the first may still
//! be decided; afterwards the log decides: there is its effect, or the command is sent again, with the same ids. Another
//! call under the key is a mistake (422). A call that was refused frees its key: it has had no effect.
//!
//! Must stay true: the reservation is on the disk before its command leaves; every repeat carries the reserved ids, by
//! which its shard knows it, so that no race of clocks or processes makes it count twice.

mod key;
mod table;

pub use key::IdempotencyKey;
pub(super) use table::Reservations;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::Api;
use super::auth::Caller;
use super::commands::{Commands, Sought, Submission, Ticket, Unanswered};
use super::problem::Problem;
use super::view::At;
use crate::clock;
use crate::domain::{JobId, Position};
use crate::event::Command;
use crate::failpoint;
use table::{Owner, Reservation};

/// What came of a call.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub job: JobId,
    pub position: Position,
    /// By an earlier call under the same key.
    pub replayed: bool,
}

/// A call under a key.
struct Call {
    owner: Owner,
    /// SHA-256 of what it asks for.
    hash: [u8; 32],
}

/// What a call under a key may do.
enum Admission {
    Send {
        job: JobId,
        ticket: Ticket,
        room: OwnedSemaphorePermit,
    },
    Answered(Done),
}

/// A command's answer: the object as it is then, and where to read it at least as new.
pub struct CarriedOut<T> {
    pub at: At<T>,
    pub done: Done,
}

impl<T: Serialize> CarriedOut<T> {
    /// The answer, in `response` as far as it is made.
    pub fn answer(&self, mut response: HttpResponseBuilder) -> HttpResponse {
        if self.done.replayed {
            response.insert_header(("idempotency-replayed", "true"));
        }
        response.json(&self.at)
    }
}

impl Api {
    pub(super) fn carried_out<T>(&self, done: Done, object: T) -> CarriedOut<T> {
        let position = self.token(done.position);
        CarriedOut {
            at: At { object, position },
            done,
        }
    }
}

impl Commands {
    /// As [`Commands::submit`], once under its key, which stands for the bytes beside it.
    ///
    /// # Errors
    /// As there; 422 when the key stands for another call; 409 while the outcome of the first is open.
    pub async fn submit_once(
        &self,
        submission: Submission,
        key: Option<(IdempotencyKey, Vec<u8>)>,
        caller: &Caller,
    ) -> Result<Done, Problem> {
        let Some((key, what)) = key else {
            let (job, position) = self.submit(submission, caller).await?;
            let replayed = false;
            return Ok(Done {
                job,
                position,
                replayed,
            });
        };
        let call = Call::new(key, caller, b"submit", &what);
        let fresh = Self::new_job_id(clock::now());
        let sought = |job, _| Sought::submission(job);
        let (job, ticket, room) = match self.admit(&call, fresh, sought).await? {
            Admission::Answered(done) => return Ok(done),
            Admission::Send { job, ticket, room } => (job, ticket, room),
        };
        let sent = match self.keep(job, submission).await {
            Ok(command) => self.send(command, job, ticket, room, caller).await,
            Err(problem) => Err(Unanswered { problem, is_void: true }),
        };
        self.conclude(&call, job, ticket, sent).await
    }

    /// As [`Commands::command`], once under its key.
    ///
    /// # Errors
    /// As [`Commands::submit_once`].
    pub async fn command_once(
        &self,
        command: Command,
        job: JobId,
        key: Option<IdempotencyKey>,
        caller: &Caller,
    ) -> Result<Done, Problem> {
        let Some(key) = key else {
            let position = self.command(command, job, caller).await?;
            let replayed = false;
            return Ok(Done {
                job,
                position,
                replayed,
            });
        };
        let text = serde_json::to_vec(&command).map_err(|error| Problem::internal("write a command", &error))?;
        let call = Call::new(key, caller, b"command", &text);
        let sought = |job: JobId, id| Sought::of(&command, &job.into(), id);
        let (job, ticket, room) = match self.admit(&call, job, sought).await? {
            Admission::Answered(done) => return Ok(done),
            Admission::Send { job, ticket, room } => (job, ticket, room),
        };
        let sent = self.send(command, job, ticket, room, caller).await;
        self.conclude(&call, job, ticket, sent).await
    }

    /// Whether the call is to be sent, and with which ids; or what came of it before.
    async fn admit(
        &self,
        call: &Call,
        fresh: JobId,
        sought: impl Fn(JobId, Uuid) -> Sought,
    ) -> Result<Admission, Problem> {
        let known = self.reservations.find(&call.owner).await?;
        let (job, mut ticket, before) = match known {
            None => (fresh, self.ticket(), None),
            Some(known) if known.call != call.hash => return Err(call.reused()),
            Some(known) => {
                let position = match known.answered {
                    Some(position) => Some(position),
                    None => self.look_up(call, &known, &sought).await?,
                };
                if let Some(position) = position {
                    self.settle(position).await;
                    let (job, replayed) = (known.job, true);
                    return Ok(Admission::Answered(Done {
                        job,
                        position,
                        replayed,
                    }));
                }
                if clock::now() <= known.not_after {
                    return Err(call.in_flight());
                }
                metrics::counter!("grid_api_idempotent_resends_total").increment(1);
                (known.job, self.ticket(), Some((known.command, known.not_after)))
            }
        };
        if let Some((command, _)) = before {
            ticket.id = command;
        }
        let room = self.room(job)?;
        let reservation = Reservation {
            call: call.hash,
            job,
            command: ticket.id,
            not_after: ticket.not_after,
            answered: None,
        };
        let before = before.map(|(_, not_after)| not_after);
        if !self.reservations.reserve(&call.owner, &reservation, before).await? {
            // Another one was quicker.
            return Err(call.in_flight());
        }
        failpoint::hit("api.reserved", || call.owner.key.to_string());
        Ok(Admission::Send { job, ticket, room })
    }

    async fn look_up(
        &self,
        call: &Call,
        known: &Reservation,
        sought: &impl Fn(JobId, Uuid) -> Sought,
    ) -> Result<Option<Position>, Problem> {
        let found = self.find(sought(known.job, known.command)).await;
        let found = found.map_err(|error| Problem::database(&error))?;
        if let Some(position) = found {
            self.reservations.answered(&call.owner, known.command, position).await;
        }
        Ok(found)
    }

    async fn conclude(
        &self,
        call: &Call,
        job: JobId,
        ticket: Ticket,
        sent: Result<Position, Unanswered>,
    ) -> Result<Done, Problem> {
        match sent {
            Ok(position) => {
                self.reservations.answered(&call.owner, ticket.id, position).await;
                let replayed = false;
                Ok(Done {
                    job,
                    position,
                    replayed,
                })
            }
            Err(unanswered) => {
                if unanswered.is_void {
                    self.reservations.release(&call.owner, ticket.id).await;
                }
                Err(unanswered.problem)
            }
        }
    }
}

impl Call {
    fn new(key: IdempotencyKey, caller: &Caller, kind: &[u8], what: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update([0]);
        hash.update(what);
        Self {
            owner: Owner {
                principal: Arc::clone(&caller.principal),
                key,
            },
            hash: hash.finalize().into(),
        }
    }

    fn reused(&self) -> Problem {
        let detail = format!(
            "the key {} was sent with another request before: one key stands for one request, byte for byte; make a new \
             key for a new request",
            self.owner.key
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED", detail)
    }

    fn in_flight(&self) -> Problem {
        let detail = format!(
            "the outcome of an earlier request under the key {} is not known yet; send it again in a moment",
            self.owner.key
        );
        Problem::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_IN_FLIGHT", detail).retry_after(1)
    }
}
