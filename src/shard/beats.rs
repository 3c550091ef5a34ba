//! The actor that hears heartbeats for all shards of the process, and sends its own.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::clocks::{Clocks, Kind, News};
use super::host::Host;
use crate::bus::{BusError, Message as BusMessage, Record, Start, Subscription, Topic};
use crate::clock;
use crate::event::{Beat, Wire};

struct Heard(Vec<Record>);

impl Message for Heard {
    type Result = ();
}

/// Hunger has changed: workers should know at once.
#[derive(Clone, Copy)]
pub(super) struct BeatSoon;

impl Message for BeatSoon {
    type Result = ();
}

/// Whether beats that were asked for follow each other too quickly.
const SOONEST: Duration = Duration::from_millis(5);
/// How often silence is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the directory of workers for all shards of the process.
pub struct WorkerDirectory {
    host: Arc<Host>,
    clocks: Clocks,
    soon: Option<SpawnHandle>,
}

impl WorkerDirectory {
    /// Starts hearing from the end of the heartbeats on.
    ///
    /// # Errors
    /// When the bus cannot be read.
    pub async fn start(host: Arc<Host>) -> Result<Addr<Self>, BusError> {
        let mut subscription = host.bus.subscribe(Topic::Heartbeats, 0, Start::End).await?;
        let address = Self {
            host: Arc::clone(&host),
            clocks: Clocks::default(),
            soon: None,
        }
        .start();
        host.set_beats(address.clone().recipient());
        let to = address.clone();
        crate::task::spawn("read_heartbeats", async move {
            loop {
                let mut records = Vec::new();
                match subscription.recv_many(&mut records, 1_024).await {
                    Ok(_) if to.send(Heard(records)).await.is_ok() => {}
                    Ok(_) => return,
                    Err(error) => {
                        tracing::error!(%error, "directory.reader.ended");
                        let Some(again) = heard_anew(&host).await else { return };
                        subscription = again;
                    }
                }
            }
        });
        Ok(address)
    }

    fn beat(&self, leaving: bool) {
        let beat = {
            let directory = self.host.directory();
            directory.beat(clock::now(), leaving, &self.host.credits())
        };
        self.host
            .bus
            .post(Topic::Heartbeats, 0, BusMessage::new(Beat::Jobmaster(beat).encode()));
    }

    fn tick(&mut self) {
        self.clocks.tick(clock::now());
        for kind in Kind::ALL {
            metrics::gauge!("grid_clock_difference_seconds", "of" => kind.label()).set(self.clocks.worst_seconds(kind));
        }
        let gone = {
            let mut directory = self.host.directory();
            let mut credits = self.host.credits();
            let gone = directory.tick(clock::now(), &mut credits);
            directory.return_credits(&mut credits);
            gone
        };
        self.host.tell_gone(&gone);
    }
}

fn tell(news: &News) {
    let News { of, ahead_ms, differs } = news;
    if *differs {
        let advice = "set the clocks of both machines by NTP: times of lines, points and retries are off by that";
        tracing::warn!(of, ahead_ms, advice, "clock.differs");
    } else {
        tracing::info!(of, ahead_ms, "clock.agrees");
    }
}

/// Beats are worth only what is new: from the end on, as soon as the bus can be read again. `None`: it is closed.
async fn heard_anew(host: &Host) -> Option<Subscription> {
    loop {
        match host.bus.subscribe(Topic::Heartbeats, 0, Start::End).await {
            Ok(subscription) => return Some(subscription),
            Err(BusError::Closed) => return None,
            Err(error) => tracing::warn!(%error, "directory.reader.not_begun"),
        }
        tokio::time::sleep(TICK).await;
    }
}

impl Actor for WorkerDirectory {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.beat(false);
        ctx.run_interval(TICK, |actor, _| actor.tick());
        ctx.run_interval(self.host.options.heartbeat_interval, |actor, _| actor.beat(false));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.beat(true);
    }
}

impl Handler<Heard> for WorkerDirectory {
    type Result = ();
    fn handle(&mut self, Heard(records): Heard, _: &mut Context<Self>) {
        let mut gone = Vec::new();
        for record in records {
            match Beat::decode(&record.message.payload) {
                Ok(beat) => {
                    let news = self.clocks.heard(&beat, self.host.jobmaster, clock::now());
                    news.iter().for_each(tell);
                    let mut directory = self.host.directory();
                    gone.extend(directory.on_beat(beat, clock::now(), &mut self.host.credits()));
                }
                Err(error) => {
                    metrics::counter!("grid_heartbeats_unreadable_total").increment(1);
                    tracing::warn!(%error, "directory.beat.unreadable");
                }
            }
        }
        self.host.tell_gone(&gone);
        let newer = self.host.directory().newer_timeline();
        if let Some(newer) = newer {
            self.host.heard_of(newer);
        }
        self.host.wake_next(None);
    }
}

impl Handler<BeatSoon> for WorkerDirectory {
    type Result = ();
    fn handle(&mut self, _: BeatSoon, ctx: &mut Context<Self>) {
        if self.soon.is_some() {
            return;
        }
        self.beat(false);
        self.soon = Some(ctx.run_later(SOONEST, |actor, _| {
            actor.soon = None;
            if actor.host.hunger_is_news() {
                actor.beat(false);
            }
        }));
    }
}
