//! What leaves a shard in the simulated world: answers, and one message a worker and commit; a process may die between
//! any two of them.

use super::trace;
use super::world::{Happening, TIMELINE, World};
use crate::domain::ShardId;
use crate::event::{AssignmentMessage, Reply, Version};
use crate::shard::{Letters, Output};

/// One message.
enum Letter {
    Reply(Reply),
    Assignment(AssignmentMessage),
}

impl World {
    pub fn send_outputs(&mut self, number: usize, shard: ShardId, outputs: Vec<Output>) {
        let Some(process) = &self.jobmasters[number].process else {
            return;
        };
        let jobmaster = process.incarnation;
        let Some(epoch) = process.shards.get(&shard).map(|owned| owned.machine.epoch()) else {
            return;
        };
        for output in &outputs {
            self.trace(|| format!("jm{number} shard {shard} epoch {epoch}: {}", trace::output(output)));
        }
        let Letters { replies, messages } = Letters::of(outputs);
        let replies = replies.into_iter().map(|(to, result)| {
            Letter::Reply(Reply {
                v: Version,
                node: to.node,
                correlation: to.correlation,
                result,
            })
        });
        let messages = messages.into_iter().map(|(_, incarnation, items)| {
            Letter::Assignment(AssignmentMessage {
                v: Version,
                timeline: TIMELINE,
                shard,
                epoch,
                jobmaster,
                incarnation,
                items,
            })
        });
        let letters = replies.chain(messages).collect();
        self.send_letters(number, shard, letters);
    }

    fn send_letters(&mut self, number: usize, shard: ShardId, letters: Vec<Letter>) {
        let dies = self.is_stormy() && !letters.is_empty() && self.rng_per_mille() < 3;
        let last = if dies {
            self.between(0, letters.len() as i64) as usize
        } else {
            letters.len()
        };
        for letter in letters.into_iter().take(last) {
            match letter {
                Letter::Reply(reply) => {
                    self.check_reply(&reply, shard);
                    if self.is_stormy() && self.chance(2) {
                        self.trace(|| format!("the answer {} is lost", reply.correlation));
                    } else {
                        self.send(1, u128::from(shard.0), Happening::Reply(reply));
                    }
                }
                Letter::Assignment(message) => {
                    self.check.sent(&message);
                    // A bus that is full takes no message: what is told to workers must bear that.
                    if self.is_stormy() && self.chance(3) {
                        self.trace(|| {
                            format!(
                                "jm{number} shard {shard}: its message to {} is lost",
                                message.incarnation
                            )
                        });
                    } else {
                        let sender = message.jobmaster.0.as_u128() ^ u128::from(shard.0);
                        self.send(2, sender, Happening::Assignment(message));
                    }
                }
            }
        }
        if dies {
            self.crash_jobmaster(number);
        }
    }

    /// What an answer says is in the log, and so is what was asked for.
    fn check_reply(&mut self, reply: &Reply, shard: ShardId) {
        let Ok(accepted) = &reply.result else { return };
        if accepted.position.seq >= self.log[&shard].next_seq() {
            self.check.wrong.push(format!(
                "an answer stands at {:?}, which is not in the log",
                accepted.position
            ));
        }
        if let Some((id, command)) = self.client.asked(reply.correlation) {
            self.check.accepted(id, command);
        }
    }
}
