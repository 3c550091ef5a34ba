//! Random lives: whatever comes in, in whatever order, the promises of the machine hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::*;
use super::given::*;
use crate::domain::{Attempt, FailureReason, Incarnation, ShardId};
use crate::event::{Assignment, AssignmentItem, AttemptRef, Beat, JobmasterBeat, Outcome, ReportItem, ReportKind};
use crate::event::{ReturnedCredits, Version};

const SLOTS: u32 = 3;
const PREFETCH: u32 = 5;

#[derive(Clone, Debug)]
enum Step {
    Pass {
        ms: u64,
        heard: bool,
    },
    Beat {
        jobmaster: usize,
        hungry: bool,
        give_back: bool,
    },
    /// A new attempt; from the known ones when there is no credit: sent again.
    Assign {
        jobmaster: usize,
        shard: u16,
    },
    Again {
        pick: usize,
    },
    Cancel {
        pick: usize,
    },
    CancelUnknown {
        shard: u16,
    },
    Stop {
        pick: usize,
    },
    Started {
        pick: usize,
    },
    Ended {
        pick: usize,
        how: u8,
    },
    AckStarted {
        pick: usize,
    },
    AckEnded {
        pick: usize,
    },
    NewEpoch {
        shard: u16,
    },
    /// The last message of the bus comes twice.
    Redelivered,
    /// From an owner of before.
    Outdated {
        shard: u16,
    },
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0_usize..1_000;
    let shard = 0_u16..SHARDS;
    prop_oneof![
        4 => (0_u64..400, prop::bool::weighted(0.9)).prop_map(|(ms, heard)| Step::Pass { ms, heard }),
        1 => (0_u64..6_000, prop::bool::weighted(0.7)).prop_map(|(ms, heard)| Step::Pass { ms, heard }),
        2 => (0_usize..2, any::<bool>(), any::<bool>())
            .prop_map(|(jobmaster, hungry, give_back)| Step::Beat { jobmaster, hungry, give_back }),
        8 => (0_usize..2, shard.clone()).prop_map(|(jobmaster, shard)| Step::Assign { jobmaster, shard }),
        1 => pick.clone().prop_map(|pick| Step::Again { pick }),
        1 => pick.clone().prop_map(|pick| Step::Cancel { pick }),
        1 => shard.clone().prop_map(|shard| Step::CancelUnknown { shard }),
        1 => pick.clone().prop_map(|pick| Step::Stop { pick }),
        4 => pick.clone().prop_map(|pick| Step::Started { pick }),
        8 => (pick.clone(), 0_u8..3).prop_map(|(pick, how)| Step::Ended { pick, how }),
        2 => pick.clone().prop_map(|pick| Step::AckStarted { pick }),
        6 => pick.prop_map(|pick| Step::AckEnded { pick }),
        1 => shard.clone().prop_map(|shard| Step::NewEpoch { shard }),
        1 => Just(Step::Redelivered),
        1 => shard.prop_map(|shard| Step::Outdated { shard }),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::Drain } else { Step::Redelivered }),
    ]
}

/// A jobmaster that keeps to the protocol.
#[derive(Clone, Copy, Debug, Default)]
struct Master {
    granted: u64,
    charged: u64,
    returned: u64,
}

impl Master {
    fn credits(&self) -> u64 {
        self.granted.saturating_sub(self.charged + self.returned)
    }
}

/// The world around the machine, and what it has seen.
struct World {
    given: Given,
    masters: [Master; 2],
    epochs: BTreeMap<u16, u64>,
    next: u32,
    /// Assigned or answered for, and not acknowledged.
    owed: BTreeSet<AttemptRef>,
    started: BTreeSet<AttemptRef>,
    running: BTreeSet<AttemptRef>,
    /// Reported as ended by the machine, and not acknowledged.
    told: BTreeMap<AttemptRef, Outcome>,
    last: Option<(i64, crate::event::AssignmentMessage)>,
    exited: bool,
}

fn master(index: usize) -> Incarnation {
    [MASTER, OTHER][index]
}

impl World {
    fn new() -> Self {
        let options = WorkerOptions {
            slots: SLOTS,
            prefetch_max: PREFETCH,
            ..WorkerOptions::default()
        };
        let mut given = fresh(options);
        given.input(Input::Tick).register();
        Self {
            given,
            masters: [Master::default(); 2],
            epochs: BTreeMap::new(),
            next: 1,
            owed: BTreeSet::new(),
            started: BTreeSet::new(),
            running: BTreeSet::new(),
            told: BTreeMap::new(),
            last: None,
            exited: false,
        }
    }

    fn message(&mut self, jobmaster: usize, shard: u16, epoch: u64, items: Vec<AssignmentItem>) {
        let mut message = self.given.message(epoch, items);
        message.shard = ShardId(shard);
        message.jobmaster = master(jobmaster);
        let offset = self.given.offset;
        self.last = Some((offset, message.clone()));
        self.given.input(Input::Assignments { offset, message });
    }

    fn epoch(&self, shard: u16) -> u64 {
        self.epochs.get(&shard).copied().unwrap_or(5)
    }

    fn owner_says(&mut self, shard: u16, item: AssignmentItem) {
        let epoch = self.epoch(shard);
        self.message(0, shard, epoch, vec![item]);
    }

    fn pick(set: impl ExactSizeIterator<Item = AttemptRef> + Clone, pick: usize) -> Option<AttemptRef> {
        let count = set.len();
        (count > 0).then(|| set.clone().nth(pick % count)).flatten()
    }

    fn take_step(&mut self, step: Step) {
        match step {
            Step::Pass { ms, heard } => {
                self.given.pass(Duration::from_millis(ms), heard);
            }
            Step::Beat {
                jobmaster,
                hungry,
                give_back,
            } => {
                let mine = &mut self.masters[jobmaster];
                if give_back {
                    mine.returned += mine.credits();
                }
                let returned = vec![ReturnedCredits {
                    worker: ME,
                    returned: mine.returned,
                    used: 0,
                    unwanted: false,
                }];
                self.given.input(Input::Beat(Beat::Jobmaster(JobmasterBeat {
                    v: Version,
                    jobmaster: master(jobmaster),
                    timeline: None,
                    sent_at: self.given.now,
                    hungry,
                    leaving: false,
                    returned,
                })));
            }
            Step::Assign { jobmaster, shard } => {
                let charged = self.masters[jobmaster].credits() > 0;
                self.masters[jobmaster].charged += u64::from(charged);
                let attempt = attempt_in(shard, self.next);
                self.next += 1;
                self.owed.insert(attempt);
                let assignment = Assignment {
                    charged,
                    ..assignment(attempt)
                };
                let epoch = self.epoch(shard);
                self.message(jobmaster, shard, epoch, vec![AssignmentItem::Assign { assignment }]);
            }
            Step::Again { pick } => {
                if let Some(attempt) = Self::pick(self.owed.iter().copied(), pick) {
                    let assignment = Assignment {
                        charged: false,
                        ..assignment(attempt)
                    };
                    self.owner_says(attempt.task.job.shard(SHARDS).0, AssignmentItem::Assign { assignment });
                }
            }
            Step::Cancel { pick } => {
                if let Some(attempt) = Self::pick(self.owed.iter().copied(), pick) {
                    self.owner_says(attempt.task.job.shard(SHARDS).0, AssignmentItem::Cancel { attempt });
                }
            }
            Step::CancelUnknown { shard } => {
                let attempt = AttemptRef {
                    attempt: Attempt(9),
                    ..attempt_in(shard, self.next)
                };
                self.next += 1;
                self.owed.insert(attempt);
                self.owner_says(shard, AssignmentItem::Cancel { attempt });
            }
            Step::Stop { pick } => {
                if let Some(attempt) = Self::pick(self.owed.iter().copied(), pick) {
                    self.owner_says(attempt.task.job.shard(SHARDS).0, AssignmentItem::Stop { attempt });
                }
            }
            Step::Started { pick } => {
                if let Some(attempt) = Self::pick(self.running.iter().copied(), pick) {
                    self.given.input(Input::AttemptStarted(attempt));
                }
            }
            Step::Ended { pick, how } => {
                if let Some(attempt) = Self::pick(self.running.iter().copied(), pick) {
                    self.end(attempt, how);
                }
            }
            Step::AckStarted { pick } => {
                if let Some(attempt) = Self::pick(self.started.iter().copied(), pick) {
                    self.owner_says(attempt.task.job.shard(SHARDS).0, ack(ReportKind::Started, attempt));
                }
            }
            Step::AckEnded { pick } => {
                if let Some(attempt) = Self::pick(self.told.keys().copied(), pick) {
                    self.acknowledge(attempt);
                }
            }
            Step::NewEpoch { shard } => {
                let epoch = self.epoch(shard) + 1;
                self.epochs.insert(shard, epoch);
                self.message(1, shard, epoch, Vec::new());
            }
            Step::Redelivered => {
                if let Some((offset, message)) = self.last.clone() {
                    self.given.input(Input::Assignments { offset, message });
                }
            }
            Step::Outdated { shard } => {
                // Nobody is owed anything for it: its shard sends it again under the new epoch.
                let attempt = attempt_in(shard, self.next);
                self.next += 1;
                let epoch = self.epoch(shard);
                self.epochs.insert(shard, epoch + 1);
                self.message(1, shard, epoch + 1, Vec::new());
                let assignment = Assignment {
                    charged: false,
                    ..assignment(attempt)
                };
                self.message(0, shard, epoch, vec![AssignmentItem::Assign { assignment }]);
            }
            Step::Drain => {
                self.given.input(Input::Drain);
            }
        }
    }

    fn end(&mut self, attempt: AttemptRef, how: u8) {
        let outcome = match how {
            0 => completed(),
            1 => failed(FailureReason::Error),
            _ => Outcome::HandedBack,
        };
        self.running.remove(&attempt);
        self.given.input(Input::AttemptEnded(attempt, outcome));
    }

    fn acknowledge(&mut self, attempt: AttemptRef) {
        self.told.remove(&attempt);
        self.owed.remove(&attempt);
        self.owner_says(attempt.task.job.shard(SHARDS).0, ack(ReportKind::Ended, attempt));
    }

    /// Looks at what came out; gives what was reported.
    fn look(&mut self) -> Vec<ReportItem> {
        let mut items = Vec::new();
        for output in self.given.take() {
            assert!(!self.exited, "after its exit: {output:?}");
            match output {
                Output::Start { assignment, .. } => {
                    let attempt = assignment.attempt;
                    assert!(self.owed.contains(&attempt), "{attempt:?} was not for it");
                    assert!(self.started.insert(attempt), "{attempt:?} was started twice");
                    assert!(self.running.insert(attempt));
                }
                Output::Cancel { attempt } | Output::Stop { attempt } => {
                    assert!(self.running.contains(&attempt) || self.given.machine.glance().exited);
                }
                Output::Report { shard, message } => {
                    message.grants.iter().for_each(|grant| self.grant(grant));
                    for item in &message.items {
                        self.reported(shard, item);
                    }
                    items.extend(message.items);
                }
                Output::Beat(beat) => beat.grants.iter().for_each(|grant| self.grant(grant)),
                Output::Exit { .. } => self.exited = true,
            }
        }
        items
    }

    fn grant(&mut self, grant: &crate::event::Grant) {
        let index = usize::from(grant.jobmaster == OTHER);
        let mine = &mut self.masters[index];
        assert!(grant.granted >= mine.granted, "totals only rise");
        mine.granted = grant.granted;
    }

    fn reported(&mut self, shard: ShardId, item: &ReportItem) {
        match item {
            ReportItem::Started { attempt } => {
                assert_eq!(attempt.task.job.shard(SHARDS), shard);
                assert!(self.started.contains(attempt));
            }
            ReportItem::Ended { attempt, outcome } => {
                assert_eq!(attempt.task.job.shard(SHARDS), shard);
                assert!(
                    !self.running.contains(attempt),
                    "{attempt:?} runs and is said to have ended"
                );
                if let Some(before) = self.told.insert(*attempt, outcome.clone()) {
                    assert_eq!(&before, outcome, "an end is said the same way each time");
                }
            }
            ReportItem::Began { .. } | ReportItem::Left {} => {}
            ReportItem::Inventory { attempts, .. } => {
                let owed = self
                    .owed
                    .iter()
                    .filter(|attempt| attempt.task.job.shard(SHARDS) == shard);
                assert_eq!(attempts, &owed.copied().collect::<Vec<_>>());
            }
        }
    }

    fn check(&self) {
        if self.exited {
            assert_eq!(self.given.machine.next_wakeup(), None);
            return;
        }
        let glance = self.given.machine.glance();
        assert!(self.running.len() <= SLOTS as usize);
        assert_eq!(glance.running as usize, self.running.len());
        let held: BTreeSet<AttemptRef> = self.given.machine.held().map(|(attempt, _)| attempt).collect();
        assert_eq!(held, self.owed, "held until its end is acknowledged");
        assert_eq!(
            held.len(),
            (glance.running + glance.queued + glance.unacknowledged) as usize
        );
        let wakeup = self.given.machine.next_wakeup().expect("it lives");
        assert!(wakeup > self.given.now, "a timer that is due was passed over");
    }

    /// All that runs ends; nothing is acknowledged for a while, then everything.
    fn settle(&mut self) {
        for attempt in self.running.clone() {
            self.end(attempt, 0);
        }
        self.look();
        // Heard again, in case it was cut off.
        self.given.input(Input::BeatAcknowledged {
            sent_at: self.given.now,
        });
        self.look();
        while !self.exited && (!self.running.is_empty() || self.given.machine.glance().queued > 0) {
            for attempt in self.running.clone() {
                self.end(attempt, 0);
            }
            self.given.pass(Duration::from_secs(1), true);
            self.look();
        }
        self.look();
        // The longest back-off is 5 s.
        self.given.pass(Duration::from_millis(5_100), true);
        let items = self.look();
        if self.exited {
            return;
        }
        for attempt in &self.owed {
            let again = items
                .iter()
                .any(|item| matches!(item, ReportItem::Ended { attempt: ended, .. } if ended == attempt));
            assert!(again, "{attempt:?} is not said again");
        }
        for attempt in self.owed.clone() {
            self.acknowledge(attempt);
        }
        self.look();
        self.check();
        assert_eq!(self.given.machine.held().count(), 0);
    }
}

proptest! {
    #[test]
    fn every_attempt_is_started_at_most_once_held_and_told_until_acknowledged(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in steps {
            world.take_step(step);
            world.look();
            world.check();
            if world.exited {
                return Ok(());
            }
        }
        world.settle();
    }

    /// With jobmasters that beat and keep to their credits, nothing is ever overbooked.
    #[test]
    fn what_is_held_and_what_may_still_come_fit_into_slots_and_prefetch(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Pass { ms, .. } => world.take_step(Step::Pass { ms: ms.min(3_000), heard: true }),
                Step::Assign { jobmaster, .. } if world.masters[jobmaster].credits() == 0 => {}
                Step::Assign { .. } | Step::Beat { .. } | Step::Ended { .. } | Step::AckEnded { .. } => {
                    world.take_step(step);
                }
                _ => {}
            }
            for jobmaster in 0..2 {
                let hungry = jobmaster == 0;
                world.take_step(Step::Beat { jobmaster, hungry, give_back: false });
            }
            world.look();
            world.check();
            let glance = world.given.machine.glance();
            let open: u64 = world.masters.iter().map(Master::credits).sum();
            prop_assert!(open <= glance.outstanding);
            let all = u64::from(glance.running + glance.queued) + glance.outstanding;
            prop_assert!(all <= u64::from(SLOTS + PREFETCH), "{all}: {glance:?}");
        }
    }
}

/// The same inputs give the same outputs: nothing depends on the order of a hash map.
#[test]
fn it_is_deterministic() {
    let life = || {
        let mut world = World::new();
        let mut all = Vec::new();
        for n in 0..200_usize {
            let step = match n % 5 {
                0 => Step::Beat {
                    jobmaster: n % 2,
                    hungry: n % 3 == 0,
                    give_back: n % 7 == 0,
                },
                1 | 2 => Step::Assign {
                    jobmaster: n % 2,
                    shard: (n % 4) as u16,
                },
                3 => Step::Pass {
                    ms: (n % 300) as u64,
                    heard: true,
                },
                _ => Step::Ended { pick: n, how: 0 },
            };
            world.take_step(step);
            all.extend(world.given.outputs.iter().map(|output| format!("{output:?}")));
            world.look();
        }
        all
    };
    assert_eq!(life(), life());
    assert_ne!(master(0), Incarnation(Uuid::nil()));
}
