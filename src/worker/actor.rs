//! The actix shell around the worker's machine: messages in, outputs onto the bus and to the task actors.
//!
//! It decides nothing. An attempt at a no-op is completed here, in the turn that starts it: an actor for each would do
//! nothing but cost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

use super::executor::{ControlState, Guardian};
use super::gauges::Gauges;
use super::load::Load;
use super::machine::{ExitReason, Glance, Input, Output, Totals, WorkerMachine};
use super::pump::News;
use super::steady::SteadyClock;
use super::task_actor::{Bench, TaskActor, Wish};
use crate::bus::{Bus, Message as BusMessage, Topic};
use crate::domain::{ExecutorKind, Incarnation, Timestamp};
use crate::event::{AttemptRef, Beat, Outcome, Wire, WorkerBeat};
use crate::metrics::{Point, Tags};

/// Messages that may wait; who sends more, waits.
const MAILBOX: usize = 256;
/// How often the metrics are brought up to date, at the most.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Messages of the bus, in the order of their partition.
pub(super) struct Arrived(pub(super) Vec<News>);

/// A subscription is over.
pub(super) struct Broken(pub(super) String);

/// Of an attempt, from its actor.
pub(super) enum TaskNews {
    Started(AttemptRef),
    Ended(AttemptRef, Outcome),
}

/// Take no new work, end, and leave.
pub(super) struct Drain;

/// Leave now, whatever runs.
pub(super) struct Halt;

impl Message for Arrived {
    type Result = ();
}

impl Message for Broken {
    type Result = ();
}

impl Message for TaskNews {
    type Result = ();
}

impl Message for Drain {
    type Result = ();
}

impl Message for Halt {
    type Result = ();
}

/// Why a life is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Exit(ExitReason),
    Halted,
    /// The bus does not bring messages any more.
    Broken(String),
}

/// What can be seen of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerState {
    pub incarnation: Incarnation,
    pub glance: Glance,
    pub totals: Totals,
}

/// What the actor is made of.
pub(super) struct Parts {
    pub(super) machine: WorkerMachine,
    pub(super) clock: SteadyClock,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) bench: Arc<Bench>,
    pub(super) guardian: Guardian,
    pub(super) slots: u32,
    pub(super) dead_after: Duration,
    /// Where the attempts' actors run.
    pub(super) tasks_on: ArbiterHandle,
    pub(super) state: watch::Sender<Option<WorkerState>>,
    pub(super) over: oneshot::Sender<Ending>,
}

pub(super) struct WorkerActor {
    machine: WorkerMachine,
    clock: SteadyClock,
    bus: Arc<dyn Bus>,
    bench: Arc<Bench>,
    guardian: Guardian,
    slots: u32,
    dead_after: Duration,
    tasks_on: ArbiterHandle,
    state: watch::Sender<Option<WorkerState>>,
    over: Option<oneshot::Sender<Ending>>,
    /// Attempts that run; bounded by the slots.
    tasks: HashMap<AttemptRef, Addr<TaskActor>>,
    timer: Option<(Timestamp, SpawnHandle)>,
    load: Load,
    gauges: Gauges,
    shown_at: Timestamp,
    measured_at: Timestamp,
    /// How many news there were then.
    measured_news: u64,
}

impl WorkerActor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            gauges: Gauges::new(&parts.bench.worker),
            machine: parts.machine,
            clock: parts.clock,
            bus: parts.bus,
            bench: parts.bench,
            guardian: parts.guardian,
            slots: parts.slots,
            dead_after: parts.dead_after,
            tasks_on: parts.tasks_on,
            state: parts.state,
            over: Some(parts.over),
            tasks: HashMap::new(),
            timer: None,
            load: Load::new(),
            shown_at: Timestamp::ZERO,
            measured_at: Timestamp::ZERO,
            measured_news: 0,
        }
    }

    /// A turn: all inputs, then what is to be sent.
    fn turn(&mut self, inputs: impl IntoIterator<Item = Input>, ctx: &mut Context<Self>) {
        let now = self.clock.now();
        let mut outputs = Vec::new();
        for input in inputs {
            self.handle(input, now, &mut outputs);
        }
        let mut fresh = Vec::new();
        self.machine.end_turn(now, &mut fresh);
        if self.complete_noops(fresh, now, &mut outputs) {
            self.machine.end_turn(now, &mut outputs);
        }
        outputs.into_iter().for_each(|output| self.perform(output, now, ctx));
        self.show(now);
        self.set_timer(now, ctx);
    }

    fn handle(&mut self, input: Input, now: Timestamp, outputs: &mut Vec<Output>) {
        let mut fresh = Vec::new();
        self.machine.handle(input, now, &mut fresh);
        self.complete_noops(fresh, now, outputs);
    }

    /// Hands outputs on but for attempts at no-ops, which are over at once and make room for the next. Tells whether
    /// there were any.
    fn complete_noops(&mut self, mut fresh: Vec<Output>, now: Timestamp, outputs: &mut Vec<Output>) -> bool {
        let mut any = false;
        let mut over = Vec::new();
        loop {
            for output in fresh.drain(..) {
                match output {
                    Output::Start { assignment, .. } if assignment.executor == ExecutorKind::Noop => {
                        over.push(assignment.attempt);
                    }
                    other => outputs.push(other),
                }
            }
            if over.is_empty() {
                return any;
            }
            any = true;
            for attempt in over.drain(..) {
                let outcome = Outcome::Completed {
                    counters: BTreeMap::new(),
                };
                self.machine
                    .handle(Input::AttemptEnded(attempt, outcome), now, &mut fresh);
            }
        }
    }

    fn perform(&mut self, output: Output, now: Timestamp, ctx: &mut Context<Self>) {
        match output {
            Output::Start { assignment, epoch } => {
                let (attempt, bench, worker) = (assignment.attempt, Arc::clone(&self.bench), ctx.address());
                let make = move |_: &mut Context<TaskActor>| TaskActor::new(bench, assignment, epoch, worker);
                self.tasks
                    .insert(attempt, TaskActor::start_in_arbiter(&self.tasks_on, make));
            }
            Output::Cancel { attempt } => self.wish(attempt, ControlState::Kill),
            Output::Stop { attempt } => self.wish(attempt, ControlState::Stop),
            Output::Report { shard, message } => self.post(Topic::Reports, shard.0, message.encode()),
            Output::Beat(beat) => self.beat(beat, ctx),
            Output::Exit { reason } => {
                self.show(now);
                self.leave(Ending::Exit(reason), ctx);
            }
        }
    }

    fn wish(&self, attempt: AttemptRef, wish: ControlState) {
        let Some(task) = self.tasks.get(&attempt) else { return };
        // It has room for more wishes than there are; one that is over wants none.
        if let Err(SendError::Full(_)) = task.try_send(Wish(wish)) {
            tracing::error!(task = %attempt.task, attempt = attempt.attempt.0, ?wish, "worker.wish_lost");
        }
    }

    /// What is not taken is sent again: the machine repeats it until it is answered.
    fn post(&self, topic: Topic, partition: u16, payload: bytes::Bytes) {
        if !self.bus.post(topic, partition, BusMessage::new(payload)) {
            metrics::counter!("grid_worker_refused_sends_total").increment(1);
        }
    }

    fn beat(&mut self, mut beat: WorkerBeat, ctx: &mut Context<Self>) {
        (beat.cpu_cores, beat.memory_bytes) = self.load.look();
        beat.clock = Some(crate::clock::now());
        let sent_at = beat.sent_at;
        let message = BusMessage::new(Beat::Worker(beat).encode());
        match self.bus.send(Topic::Heartbeats, 0, message) {
            Ok(delivery) => {
                let heard = delivery
                    .into_actor(self)
                    .map(move |delivered, actor, ctx| match delivered {
                        Ok(_) => actor.heard(sent_at, ctx),
                        Err(error) => tracing::warn!(%error, "worker.heartbeat_lost"),
                    });
                ctx.spawn(heard);
            }
            Err(error) => {
                metrics::counter!("grid_worker_refused_sends_total").increment(1);
                tracing::warn!(%error, "worker.heartbeat_refused");
            }
        }
    }

    /// The heartbeat that was sent then has been acknowledged: the attempts may live on.
    fn heard(&mut self, sent_at: Timestamp, ctx: &mut Context<Self>) {
        let left = self.dead_after.saturating_sub(self.clock.now().since(sent_at));
        if !left.is_zero() {
            self.guardian.renew(left);
        }
        self.turn([Input::BeatAcknowledged { sent_at }], ctx);
    }

    fn leave(&mut self, ending: Ending, ctx: &mut Context<Self>) {
        if let Some(over) = self.over.take() {
            // Nobody waits any more when the process ends.
            drop(over.send(ending));
        }
        ctx.stop();
    }

    fn show(&mut self, now: Timestamp) {
        let (glance, totals) = (self.machine.glance(), self.machine.totals());
        let state = WorkerState {
            incarnation: self.machine.identity().incarnation,
            glance,
            totals,
        };
        self.state.send_if_modified(|shown| shown.replace(state) != Some(state));
        if now.since(self.shown_at) >= SHOW_EVERY || glance.exited {
            self.shown_at = now;
            self.gauges.show(self.slots, &glance, &totals);
        }
        self.measure(now, &glance);
    }

    /// A turn comes with every heartbeat at the least, so no timer is needed.
    fn measure(&mut self, now: Timestamp, glance: &Glance) {
        let Some(pace) = self.bench.points.pace() else { return };
        let since = now.since(self.measured_at);
        let news = self.bench.points.news();
        let is_idle = glance.running == 0 && glance.queued == 0 && news == self.measured_news;
        if since < pace.every || (is_idle && since < pace.idle) {
            return;
        }
        (self.measured_at, self.measured_news) = (now, news);
        let (cpu_cores, memory_bytes) = self.load.look();
        let tags = Tags::from([("worker_id", self.bench.worker.to_string())]);
        let point = Point::new(crate::clock::now(), tags)
            .with("worker_cpu_cores", cpu_cores)
            .with("worker_memory_bytes", memory_bytes as f64)
            .with("worker_capacity", f64::from(self.slots))
            .with("worker_running", f64::from(glance.running))
            .with("worker_queued", f64::from(glance.queued));
        self.bench.points.put_quietly(point);
    }

    /// A timer that strikes early does no harm, so one is set only for what is sooner.
    fn set_timer(&mut self, now: Timestamp, ctx: &mut Context<Self>) {
        let Some(next) = self.machine.next_wakeup() else { return };
        match self.timer {
            Some((at, _)) if at <= next => return,
            Some((_, timer)) => {
                ctx.cancel_future(timer);
            }
            None => {}
        }
        let delay = next.since(now).max(Duration::from_millis(1));
        let timer = ctx.run_later(delay, |actor, ctx| {
            actor.timer = None;
            actor.turn([Input::Tick], ctx);
        });
        self.timer = Some((next, timer));
    }
}

impl Actor for WorkerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.turn([Input::Tick], ctx);
    }
}

impl Handler<Arrived> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Arrived(news): Arrived, ctx: &mut Self::Context) {
        let inputs = news.into_iter().map(|news| match news {
            News::Assignments { offset, message } => Input::Assignments { offset, message },
            News::Beat(beat) => Input::Beat(beat),
        });
        self.turn(inputs, ctx);
    }
}

impl Handler<TaskNews> for WorkerActor {
    type Result = ();

    fn handle(&mut self, news: TaskNews, ctx: &mut Self::Context) {
        let input = match news {
            TaskNews::Started(attempt) => Input::AttemptStarted(attempt),
            TaskNews::Ended(attempt, outcome) => {
                self.tasks.remove(&attempt);
                Input::AttemptEnded(attempt, outcome)
            }
        };
        self.turn([input], ctx);
    }
}

impl Handler<Drain> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.turn([Input::Drain], ctx);
    }
}

impl Handler<Halt> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: Halt, ctx: &mut Self::Context) {
        self.leave(Ending::Halted, ctx);
    }
}

impl Handler<Broken> for WorkerActor {
    type Result = ();

    fn handle(&mut self, Broken(why): Broken, ctx: &mut Self::Context) {
        self.leave(Ending::Broken(why), ctx);
    }
}
