//! Somebody who follows a scope from a place on: live first, then the log up to the head, spliced by position.

use std::collections::{BTreeMap, VecDeque};

use super::hub::{Hub, Scope, Ticket};
use super::inbox::{Item, Keep};
use crate::api::problem::Problem;
use crate::domain::{Position, Seq, ShardId};
use crate::log::StoredEvent;
use crate::projection::PositionToken;

/// Events that are read from the log at a time.
const PAGE: usize = 1_000;

/// Gives the events of a scope after a place, in the order of their shards.
pub struct Follower {
    ticket: Ticket,
    hub: Hub,
    shards: Vec<ShardId>,
    /// Up to where everything of the scope was given.
    have: BTreeMap<ShardId, Seq>,
    /// Shards of which the log has to be read, up to there.
    behind: BTreeMap<ShardId, Seq>,
    /// Taken from the inbox and not yet looked at.
    taken: VecDeque<Item>,
    /// More has come than was kept, and the log was not yet asked up to where.
    lost: bool,
}

impl Hub {
    /// Follows from after the token on; without one from now on.
    ///
    /// # Errors
    /// 400 when the token is of another log; 503 when the feed or the log cannot be read.
    pub async fn follow(&self, scope: Scope, after: Option<&PositionToken>) -> Result<Follower, Problem> {
        let ticket = self.enter(scope, Keep::Events).await?;
        let shards = self.shards_of(scope);
        let mut follower = Follower {
            ticket,
            hub: self.clone(),
            shards,
            have: BTreeMap::new(),
            behind: BTreeMap::new(),
            taken: VecDeque::new(),
            lost: false,
        };
        let heads = follower.heads().await?;
        let Some(token) = after else {
            follower.have = heads;
            return Ok(follower);
        };
        // A shard that a token does not name had no event when it was given.
        self.check(token, &heads)?;
        follower.have = follower.shards.iter().map(|shard| (*shard, Seq(0))).collect();
        for Position { shard, seq } in token.positions() {
            if let Some(have) = follower.have.get_mut(&shard) {
                *have = seq;
            }
        }
        follower.look_into_log(heads);
        Ok(follower)
    }

    /// The token of places; those before a shard's first event are left out.
    pub fn token(&self, places: &BTreeMap<ShardId, Seq>) -> PositionToken {
        let positions = places.iter().map(|(&shard, &seq)| Position { shard, seq });
        PositionToken::of(self.timeline(), positions.filter(|position| position.seq.0 > 0))
    }

    /// A token of this log, and not of its future.
    fn check(&self, token: &PositionToken, heads: &BTreeMap<ShardId, Seq>) -> Result<(), Problem> {
        self.check_place(token)?;
        let ahead = |place: &Position| heads.get(&place.shard).is_some_and(|head| *head < place.seq);
        match token.positions().find(ahead) {
            None => Ok(()),
            Some(place) => {
                let message = format!(
                    "the log of shard {} does not reach so far: start over without it",
                    place.shard
                );
                Err(Problem::bad_parameter("after", message))
            }
        }
    }

    /// # Errors
    /// 400 when the log does not reach so far.
    pub async fn check_reached(&self, place: Position) -> Result<(), Problem> {
        if self.has_heard(place) {
            return Ok(());
        }
        let heads = self.log().last_seqs().await;
        let heads = heads.map_err(|error| Problem::database(&error))?;
        self.check(
            &self.token(&BTreeMap::from([(place.shard, place.seq)])),
            &heads.into_iter().collect(),
        )
    }

    /// # Errors
    /// 400 when the token is of another log.
    pub fn check_place(&self, token: &PositionToken) -> Result<(), Problem> {
        if token.timeline != self.timeline() {
            let message = "it is of another timeline of the log, which was restored since: start over without it";
            return Err(Problem::bad_parameter("after", message));
        }
        match token.positions().find(|place| place.shard.0 >= self.shards()) {
            None => Ok(()),
            Some(place) => Err(Problem::bad_parameter(
                "after",
                format!("there is no shard {}", place.shard),
            )),
        }
    }
}

impl Follower {
    async fn heads(&self) -> Result<BTreeMap<ShardId, Seq>, Problem> {
        let heads = self.hub.log().last_seqs().await;
        let heads = heads.map_err(|error| Problem::database(&error))?;
        Ok(heads
            .into_iter()
            .filter(|(shard, _)| self.shards.contains(shard))
            .collect())
    }

    fn look_into_log(&mut self, upto: BTreeMap<ShardId, Seq>) {
        for (shard, seq) in upto {
            if self.have.get(&shard).is_some_and(|have| *have < seq) {
                let behind = self.behind.entry(shard).or_default();
                *behind = seq.max(*behind);
            }
        }
    }

    /// Up to where everything of the scope was given.
    pub const fn have(&self) -> &BTreeMap<ShardId, Seq> {
        &self.have
    }

    /// The same as a token.
    pub fn token(&self) -> PositionToken {
        self.hub.token(&self.have)
    }

    /// The next events, at least one; waits for them. Cancelling loses nothing.
    ///
    /// # Errors
    /// 503 when the log cannot be read.
    pub async fn next(&mut self) -> Result<Vec<StoredEvent>, Problem> {
        loop {
            if let Some((&shard, &upto)) = self.behind.first_key_value() {
                let events = self.read_log(shard, upto).await?;
                if !events.is_empty() {
                    return Ok(events);
                }
                continue;
            }
            let events = self.sort_out();
            if !events.is_empty() {
                return Ok(events);
            }
            if !self.behind.is_empty() {
                continue;
            }
            if !self.lost {
                let taken = self.ticket.inbox.take();
                (self.lost, self.taken) = (taken.lost, taken.items);
            }
            if self.lost {
                let heads = self.heads().await?;
                self.look_into_log(heads);
                self.lost = false;
            } else if self.taken.is_empty() {
                self.ticket.inbox.arrival().await;
            }
        }
    }

    /// What is at hand without waiting; to be added to what [`Follower::next`] gave.
    pub fn at_hand(&mut self) -> Vec<StoredEvent> {
        if !self.behind.is_empty() || self.lost {
            return Vec::new();
        }
        let mut events = self.sort_out();
        if self.behind.is_empty() && self.taken.is_empty() {
            self.taken = self.ticket.inbox.take_unless_lost();
            events.extend(self.sort_out());
        }
        events
    }

    async fn read_log(&mut self, shard: ShardId, upto: Seq) -> Result<Vec<StoredEvent>, Problem> {
        let have = self.have.get(&shard).copied().unwrap_or_default();
        if have >= upto {
            self.behind.remove(&shard);
            return Ok(Vec::new());
        }
        let scope = self.ticket.scope;
        let page = self.hub.log().selected_after(scope, shard, (have, upto), PAGE).await;
        let page = page.map_err(|error| Problem::database(&error))?;
        metrics::counter!("grid_live_log_pages_total").increment(1);
        self.have.insert(shard, page.through);
        if page.through >= upto {
            self.behind.remove(&shard);
        }
        Ok(page.events)
    }

    /// The new ones of what was taken, up to the first gap.
    fn sort_out(&mut self) -> Vec<StoredEvent> {
        let mut events = Vec::new();
        while let Some(item) = self.taken.pop_front() {
            match item {
                Item::Event(event) => {
                    let Position { shard, seq } = event.position;
                    let have = self.have.entry(shard).or_default();
                    if *have < seq {
                        *have = seq;
                        events.push(event);
                    }
                }
                Item::Gap(Position { shard, seq }) => {
                    self.look_into_log(BTreeMap::from([(shard, seq)]));
                    if !self.behind.is_empty() {
                        break;
                    }
                }
            }
        }
        events
    }

    /// Moves the place forward over what was not of the scope, when there is nothing else to do.
    pub fn settle(&mut self) {
        if !self.behind.is_empty() || !self.taken.is_empty() || self.lost {
            return;
        }
        for (shard, seq) in self.hub.settled(&self.ticket, &self.shards).unwrap_or_default() {
            let have = self.have.entry(shard).or_default();
            *have = seq.max(*have);
        }
    }
}
