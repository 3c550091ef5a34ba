//! The whole log after a place, for who reads all of it and then follows.
//!
//! Must stay true: the place after a page names every event before it and none behind it, so that reading on from any
//! page gives each event once; no shard keeps the others waiting, however much it has.

use std::collections::BTreeMap;

use super::stored::StoredEvent;
use super::{Error, Log};
use crate::domain::{JobId, Position, Seq, ShardId};

/// A place in each shard; one that is not named is before its first event.
pub type Places = BTreeMap<ShardId, Seq>;

/// Some of the log: shard by shard, each in order.
#[derive(Clone, Debug)]
pub struct FeedPage {
    pub events: Vec<StoredEvent>,
    /// The place after the page. Further than its last events where others were passed over or dropped.
    pub through: Places,
    /// That was everything up to the head as it was when the page was read.
    pub caught_up: bool,
}

impl FeedPage {
    /// Each event with the place after it. `from` is the place after which the page was read; behind the last event of a
    /// page follows [`FeedPage::through`].
    pub fn with_places(self, from: Places) -> impl Iterator<Item = (StoredEvent, Places)> {
        let last = self.events.len().saturating_sub(1);
        let through = self.through;
        self.events
            .into_iter()
            .enumerate()
            .scan(from, move |places, (index, event)| {
                let Position { shard, seq } = event.position;
                if index == last {
                    places.clone_from(&through);
                } else {
                    places.insert(shard, seq);
                }
                Some((event, places.clone()))
            })
    }
}

impl Log {
    /// The place after everything that there is now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end(&self) -> Result<Places, Error> {
        let heads = self.heads().await?;
        Ok(heads.iter().map(|head| (head.shard, last(head.next_seq))).collect())
    }

    /// Up to `limit` events after the place, every shard that has some in turn.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn feed(&self, after: &Places, limit: usize) -> Result<FeedPage, Error> {
        let ends = self.end().await?;
        let mut through = after.clone();
        let behind: Vec<(ShardId, Seq, Seq)> = ends
            .into_iter()
            .map(|(shard, end)| (shard, after.get(&shard).copied().unwrap_or_default(), end))
            .filter(|(_, at, end)| at < end)
            .collect();
        let mut events = Vec::new();
        let mut caught_up = true;
        for (index, &(shard, at, end)) in behind.iter().enumerate() {
            let room = limit - events.len();
            let share = room.div_ceil(behind.len() - index);
            if share == 0 {
                caught_up = false;
                break;
            }
            let page = self.events_after(shard, at, share).await?;
            through.insert(shard, page.through);
            caught_up &= page.through >= end;
            events.extend(page.events);
        }
        Ok(FeedPage {
            events,
            through,
            caught_up,
        })
    }

    /// As [`Log::feed`], of one job and its tasks, in its `shard`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn feed_of_job(&self, job: JobId, shard: ShardId, after: Seq, limit: usize) -> Result<FeedPage, Error> {
        // First the end: what comes in between is behind it, and found the next time.
        let end = self.end().await?.get(&shard).copied().unwrap_or_default();
        let page = self.job_events(job, after, limit).await?;
        let last = page.events.last().map_or(after, |event| event.position.seq);
        let through = if page.more { last } else { last.max(end) };
        Ok(FeedPage {
            events: page.events,
            through: Places::from([(shard, through)]),
            caught_up: !page.more,
        })
    }
}

const fn last(next: Seq) -> Seq {
    Seq(next.0.saturating_sub(1))
}
