//! The log as the projector reads it.

use futures::future::BoxFuture;

use super::actor::{LogError, LogPages};
use super::machine::LogPage;
use crate::domain::{Seq, ShardId};
use crate::event::EventRecord;
use crate::log::{Log, Poison, QuarantineSource, StoredEvent};

impl LogPages for Log {
    fn page(&self, shard: ShardId, after: Seq, most: u32) -> BoxFuture<'static, Result<LogPage, LogError>> {
        let log = self.clone();
        Box::pin(async move {
            let page = log.events_after(shard, after, most as usize).await?;
            let mut events = Vec::with_capacity(page.events.len());
            for stored in &page.events {
                match read(stored) {
                    Ok(record) => events.push((stored.position.seq, record)),
                    Err(error) => set_aside(&log, stored, error.to_string()).await?,
                }
            }
            Ok(LogPage {
                events,
                through: page.through,
            })
        })
    }
}

/// The record that was once committed.
pub(super) fn read(stored: &StoredEvent) -> Result<EventRecord, crate::event::Unreadable> {
    let header = stored.header()?;
    let event = header.event()?;
    Ok(EventRecord {
        stream: stored.stream,
        version: stored.version,
        meta: header.meta(),
        event,
    })
}

/// One event that cannot be read must not hold back its shard; `verify` tells which rows lack it.
async fn set_aside(log: &Log, stored: &StoredEvent, reason: String) -> Result<(), crate::log::Error> {
    metrics::counter!("grid_projection_unreadable_events_total").increment(1);
    let poison = Poison {
        shard: stored.position.shard,
        source: QuarantineSource::Event,
        bus: String::new(),
        place: stored.position.seq.0 as i64,
        reason,
        payload: stored.payload.to_vec(),
        principal: "system".to_owned(),
    };
    log.note_failure(poison, 1).await?;
    Ok(())
}
