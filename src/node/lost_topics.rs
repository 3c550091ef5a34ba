//! Cursors in the log that point at nothing, because a topic was lost or made anew, or its messages passed their
//! retention.
//!
//! Must stay true: no cursor is moved unless somebody says that what lay between may be lost.

use std::fmt;

use crate::bus::{Bus, Topic};
use crate::config::Secret;
use crate::log::{CursorReset, StoredCursor, reset_cursor, stored_cursors};

/// A cursor that points at nothing.
#[derive(Clone, Debug)]
pub struct Lost {
    pub reset: CursorReset,
    /// What the partition holds: from, and up to before.
    pub range: (i64, i64),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (
            CursorReset {
                shard, topic, from, to, ..
            },
            (low, high),
        ) = (&self.reset, self.range);
        match *topic {
            "events" => write!(
                f,
                "shard {shard}: events up to {from} were published, and topic events is new"
            )?,
            _ => write!(
                f,
                "shard {shard}: the cursor of {topic} is {from}, and the topic holds {low} to {high}"
            )?,
        }
        write!(f, "; it would go on from {to}")
    }
}

/// Compares the cursors with what the bus holds.
///
/// # Errors
/// When database or brokers do not answer.
pub async fn find(owner: &Secret, bus: &dyn Bus) -> anyhow::Result<Vec<Lost>> {
    let mut lost = Vec::new();
    for stored in stored_cursors(owner).await? {
        if *stored.cursor.bus != *bus.identity() {
            // Of another bus: everything of this one is read from its start anyway.
            continue;
        }
        for topic in [Topic::Commands, Topic::Reports, Topic::Events] {
            let range = bus.range(topic, stored.shard.0).await?;
            lost.extend(compare(&stored, topic, range));
        }
    }
    Ok(lost)
}

fn compare(stored: &StoredCursor, topic: Topic, (low, high): (i64, i64)) -> Option<Lost> {
    let (from, to, is_lost) = match topic {
        Topic::Commands => (
            stored.cursor.commands,
            low,
            !(low..=high).contains(&stored.cursor.commands),
        ),
        Topic::Reports => (
            stored.cursor.reports,
            low,
            !(low..=high).contains(&stored.cursor.reports),
        ),
        // Only a topic that never held a message is known to be another one.
        Topic::Events => (stored.published.0 as i64, 0, high == 0 && stored.published.0 > 0),
        Topic::Assignments | Topic::Heartbeats | Topic::Replies => return None,
    };
    is_lost.then(|| Lost {
        reset: CursorReset {
            shard: stored.shard,
            topic: topic.name(),
            bus: stored.cursor.bus.to_string(),
            from,
            to,
        },
        range: (low, high),
    })
}

/// Lets the shards go on from what is there. What was lost stays lost; it is written down.
///
/// # Errors
/// Says which cursor could not be moved; those before it were.
pub async fn accept(owner: &Secret, lost: &[Lost]) -> anyhow::Result<()> {
    for one in lost {
        let moved = reset_cursor(owner, &one.reset).await?;
        anyhow::ensure!(
            moved,
            "{one}: its owner has moved it meanwhile; look again with `grid migrate`"
        );
        tracing::warn!(lost = %one, "migrate.cursor_reset");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Seq, ShardId};
    use crate::log::Cursor;

    #[test]
    fn a_cursor_is_lost_when_it_lies_outside_of_what_is_there() {
        let stored = StoredCursor {
            shard: ShardId(3),
            cursor: Cursor {
                bus: Arc::from("b"),
                commands: 50,
                reports: 0,
            },
            published: Seq(9),
        };
        let lost = |topic, range| compare(&stored, topic, range).map(|lost| (lost.reset.from, lost.reset.to));
        assert_eq!(lost(Topic::Commands, (50, 50)), None);
        assert_eq!(lost(Topic::Commands, (0, 50)), None);
        assert_eq!(lost(Topic::Commands, (0, 49)), Some((50, 0)));
        assert_eq!(lost(Topic::Commands, (51, 80)), Some((50, 51)));
        assert_eq!(lost(Topic::Reports, (0, 0)), None);
        assert_eq!(lost(Topic::Events, (0, 0)), Some((9, 0)));
        assert_eq!(lost(Topic::Events, (4, 4)), None);
        assert_eq!(lost(Topic::Heartbeats, (0, 0)), None);
    }
}
