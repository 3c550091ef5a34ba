//! The topics and how many partitions each has.

use std::fmt;

use super::options::BusOptions;

/// What travels where. The name on Kafka is a prefix (`grid.`) and [`Topic::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// To a shard: what somebody wishes.
    Commands,
    /// To a shard: what a worker did.
    Reports,
    /// To a worker: assignments, cancellations, acknowledgements.
    Assignments,
    /// To everybody: who lives.
    Heartbeats,
    /// To an API node: what became of its commands.
    Replies,
    /// To anybody: what happened, from the log.
    Events,
}

impl Topic {
    pub const ALL: [Self; 6] = [
        Self::Commands,
        Self::Reports,
        Self::Assignments,
        Self::Heartbeats,
        Self::Replies,
        Self::Events,
    ];

    /// What a worker sees: it writes reports and heartbeats, and reads assignments and heartbeats.
    pub const OF_WORKERS: [Self; 3] = [Self::Reports, Self::Assignments, Self::Heartbeats];

    /// The name without prefix; also the label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Reports => "reports",
            Self::Assignments => "assignments",
            Self::Heartbeats => "heartbeats",
            Self::Replies => "replies",
            Self::Events => "events",
        }
    }

    /// Its place in [`Topic::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// Whether the local bus keeps messages until they are trimmed: a shard reads these again after a reload. All
    /// others are for those who listen at the moment.
    pub(super) const fn is_kept(self) -> bool {
        matches!(self, Self::Commands | Self::Reports)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many partitions each topic has. The same for every process of a cluster: names are hashed to partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions([u16; 6]);

impl Partitions {
    pub fn new(options: &BusOptions, shards: u16) -> Self {
        Self(Topic::ALL.map(|topic| match topic {
            Topic::Commands | Topic::Reports | Topic::Events => shards,
            Topic::Assignments => options.assignment_partitions.max(1),
            Topic::Replies => options.reply_partitions.max(1),
            Topic::Heartbeats => 1,
        }))
    }

    pub const fn of(&self, topic: Topic) -> u16 {
        self.0[topic.index()]
    }
}
