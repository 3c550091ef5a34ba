//! Checkpoints of a run: how far its sources were read, and how long its part files were then.
//!
//! One is taken between two batches, when no record is under way, and at most once in an interval; the run hands it over
//! and goes on. Whoever takes it syncs the part files first and only then keeps it, so that a kept checkpoint never says
//! more than is on the disk. A later attempt copies that much of the part files into its own and reads on from there.
//!
//! Must stay true: the part files of earlier attempts are only read; when anything does not fit (a source that has
//! changed, a part file that is missing or shorter), the run starts from zero; so the result is the same either way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

const VERSION: u16 = 1;

/// What an earlier attempt kept, as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Which attempt: its part files carry the number.
    pub attempt: u32,
    pub data: String,
}

/// Everything that a run must know to go on: by node.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    v: u16,
    pub sources: BTreeMap<String, SourceState>,
    pub sinks: BTreeMap<String, SinkState>,
    /// How many records had failed.
    #[serde(default)]
    pub letters: u64,
}

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", rename_all_fields = "camelCase")]
pub(super) enum SourceState {
    File {
        identity: FileIdentity,
        /// Where the next record begins.
        offset: u64,
    },
    Generate {
        next: u64,
    },
    Kafka {
        topic: String,
        places: Vec<Place>,
    },
}

/// How far a partition of a topic was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub partition: i32,
    /// The offset to be read next.
    pub next: i64,
    /// The first offset that is not wanted any more; `None`: there is no end.
    pub end: Option<i64>,
}

impl Place {
    pub fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether the message is one that is wanted and has not been read.
    pub fn holds(&self, offset: i64) -> bool {
        offset >= self.next && self.end.is_none_or(|end| offset < end)
    }

    /// Nothing is left before the end; whether that is news.
    pub fn come_to_end(&mut self) -> bool {
        let is_news = self.end.is_some() && !self.is_done();
        self.next = self.end.unwrap_or(self.next).max(self.next);
        is_news
    }
}

/// By which a file is known to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileIdentity {
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
}

impl FileIdentity {
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            size: metadata.len(),
            modified_ns: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
        }
    }
}

/// What a file sink has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SinkState {
    pub length: u64,
    /// csv: the columns, when they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    #[serde(default)]
    pub header_written: bool,
}

impl State {
    pub fn new() -> Self {
        Self {
            v: VERSION,
            ..Self::default()
        }
    }

    /// `None`: of a version that this program does not know, or not what a run has kept.
    pub fn read(data: &str) -> Option<Self> {
        let state: Self = serde_json::from_str(data).ok()?;
        (state.v == VERSION).then_some(state)
    }
}

/// Part files, open for syncing, with their paths.
pub(super) type Parts = Vec<(PathBuf, File)>;

/// A checkpoint that was taken and is to be kept.
#[derive(Debug)]
pub struct Taken {
    pub data: String,
    parts: Parts,
}

impl Taken {
    /// Everything that it tells of is on the disk when this returns. Blocks.
    ///
    /// # Errors
    /// When a file cannot be synced: then the checkpoint must not be kept.
    pub fn sync(&self) -> io::Result<()> {
        self.parts.iter().try_for_each(|(_, file)| file.sync_data())
    }

    /// The part files that it tells of.
    pub fn parts(&self) -> impl Iterator<Item = &PathBuf> {
        self.parts.iter().map(|(path, _)| path)
    }
}

/// Where a run hands its checkpoints over; clones are the same place. It has room for one, and a run takes no other before
/// that is gone.
#[derive(Debug, Clone)]
pub struct Keeper {
    every: Duration,
    place: mpsc::Sender<Taken>,
}

impl Keeper {
    /// One at most in `every`; and where they arrive.
    pub fn every(every: Duration) -> (Self, mpsc::Receiver<Taken>) {
        let (place, taken) = mpsc::channel(1);
        (Self { every, place }, taken)
    }
}

/// When a run takes its next checkpoint.
pub(super) struct Pace {
    keeper: Keeper,
    due: Instant,
    /// One was taken: part files are worth keeping.
    pub has_taken: bool,
}

impl Pace {
    pub fn new(keeper: Keeper) -> Self {
        Self {
            due: Instant::now() + keeper.every,
            keeper,
            has_taken: false,
        }
    }

    /// Calls `take` when the time has come and there is room; it gives the state and the files, or `None` when there is
    /// nothing at the moment from which a run could go on.
    pub fn take_if_due<E>(&mut self, take: impl FnOnce() -> Result<Option<(State, Parts)>, E>) -> Result<(), E> {
        let now = Instant::now();
        if now < self.due {
            return Ok(());
        }
        let Ok(room) = self.keeper.place.try_reserve() else {
            return Ok(());
        };
        if let Some((state, parts)) = take()? {
            // Numbers, texts and string keys: cannot fail.
            let data = serde_json::to_string(&state).unwrap_or_default();
            room.send(Taken { data, parts });
            self.has_taken = true;
            self.due = Instant::now() + self.keeper.every;
        }
        Ok(())
    }
}
