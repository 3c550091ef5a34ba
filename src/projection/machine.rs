//! Which events are wanted next, and what is to be written: the projector without clock, actor or database.
//!
//! Must stay true: every event of a shard is taken exactly once and in order; what is fed too early makes the shard
//! read the log instead; a write that failed, or whose outcome is unknown, throws away all that was gathered of its
//! shards, whose cursors are then read anew; and so does a cursor that stands before what was written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::change::Changes;
use crate::domain::{Seq, ShardId};
use crate::event::EventRecord;

/// Events of one shard, in order, as they stand in the log from `first_seq` on.
#[derive(Clone, Debug)]
pub struct Feed {
    pub shard: ShardId,
    pub first_seq: Seq,
    pub records: Arc<[EventRecord]>,
}

impl Feed {
    /// The place of the last event; that before the first one when there are none.
    pub fn last_seq(&self) -> Seq {
        Seq((self.first_seq.0 + self.records.len() as u64).saturating_sub(1))
    }
}

/// Events of one shard as they were read from the log.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// In order; with gaps where days were dropped, or an event cannot be read.
    pub events: Vec<(Seq, EventRecord)>,
    /// All that is there up to here is in the page.
    pub through: Seq,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The cursor of the shard, from the database.
    Cursor(ShardId),
    /// A page of the shard's log after this event.
    Log { shard: ShardId, after: Seq },
}

/// How far a shard's cursor moves with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub shard: ShardId,
    pub from: Seq,
    pub to: Seq,
}

/// What is to be written in one transaction.
#[derive(Debug, Default)]
pub struct WriteSet {
    pub moves: Vec<Move>,
    pub changes: Changes,
    pub events: usize,
}

/// What has become of a write. A shard in neither set was not where it was expected: somebody else has moved it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub moved: HashSet<ShardId>,
    /// It failed, or nobody knows; not to be tried again before [`Machine::restart`].
    pub stalled: HashSet<ShardId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Waits for [`Machine::restart`].
    Stalled,
    /// The cursor is being read; events are let go.
    Starting,
    /// The log is being read; events are let go.
    Behind,
    /// Events come as they are committed.
    Live,
}

#[derive(Debug)]
struct Shard {
    mode: Mode,
    /// The last event that was taken.
    taken: Seq,
    /// The last event that is written, or under way to be.
    written: Seq,
    /// The last event of the log that is known of.
    head: Seq,
    /// A question to the outside is under way.
    asked: bool,
}

/// The projector's core.
#[derive(Debug)]
pub struct Machine {
    shards: BTreeMap<ShardId, Shard>,
    gathered: Changes,
    gathered_events: HashMap<ShardId, usize>,
    writing: Option<Vec<Move>>,
    /// Of a write under way: shards that were closed or began anew meanwhile.
    forgotten: HashSet<ShardId>,
    most_events: usize,
}

impl Machine {
    /// `most_events`: how many may be gathered while a write is under way; what comes beyond is read from the log later.
    pub fn new(most_events: usize) -> Self {
        Self {
            shards: BTreeMap::new(),
            gathered: Changes::default(),
            gathered_events: HashMap::new(),
            writing: None,
            forgotten: HashSet::new(),
            most_events: most_events.max(1),
        }
    }

    /// This process owns the shard now, and its log ends with `head`.
    pub fn open(&mut self, shard: ShardId, head: Seq) {
        self.begin_anew(shard);
        if let Some(state) = self.shards.get_mut(&shard) {
            state.head = state.head.max(head);
        }
    }

    /// A stalled shard is tried again.
    pub fn restart(&mut self, shard: ShardId) {
        if let Some(state) = self.shards.get_mut(&shard)
            && state.mode == Mode::Stalled
        {
            state.mode = Mode::Starting;
        }
    }

    /// It no longer does: somebody else writes its rows.
    pub fn close(&mut self, shard: ShardId) {
        self.forget(shard);
        self.shards.remove(&shard);
    }

    /// The last event of the shard's log that is known of, when the shard is open.
    pub fn head(&self, shard: ShardId) -> Option<Seq> {
        self.shards.get(&shard).map(|state| state.head)
    }

    /// Events gathered and not yet under way to be written.
    pub fn gathered_events(&self) -> usize {
        self.gathered_events.values().sum()
    }

    pub fn gathered_rows(&self) -> usize {
        self.gathered.rows()
    }

    /// Events of the log that are known of and not written.
    pub fn lag_events(&self) -> u64 {
        self.shards
            .values()
            .map(|shard| shard.head.0.max(shard.taken.0).saturating_sub(shard.written.0))
            .sum()
    }

    /// Whether every open shard takes its events as they are committed.
    pub fn is_live(&self) -> bool {
        self.behind() == 0
    }

    /// Open shards that do not take their events as they are committed.
    pub fn behind(&self) -> usize {
        self.shards.values().filter(|shard| shard.mode != Mode::Live).count()
    }

    /// Events that were just committed. Those of a shard that is not live are let go: the log has them.
    pub fn feed(&mut self, feed: &Feed) {
        let full = self.gathered_events() >= self.most_events;
        let Some(shard) = self.shards.get_mut(&feed.shard) else {
            return;
        };
        shard.head = shard.head.max(feed.last_seq());
        if shard.mode != Mode::Live {
            return;
        }
        if full || feed.first_seq.0 > shard.taken.0 + 1 {
            shard.mode = Mode::Behind;
            return;
        }
        self.take(feed);
    }

    /// Events of the shard up to `head` were committed, of which some were not fed.
    pub fn missed(&mut self, shard: ShardId, head: Seq) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.head = shard.head.max(head);
            if shard.mode == Mode::Live && shard.taken < shard.head {
                shard.mode = Mode::Behind;
            }
        }
    }

    /// The cursor that was asked for.
    pub fn cursor(&mut self, shard: ShardId, cursor: Option<Seq>) {
        let Some(shard) = self.shards.get_mut(&shard) else {
            return;
        };
        shard.asked = false;
        let Some(cursor) = cursor else { return };
        if shard.mode == Mode::Starting {
            shard.taken = cursor;
            shard.written = cursor;
            shard.mode = if cursor >= shard.head { Mode::Live } else { Mode::Behind };
        }
    }

    /// The page of the log after `after` that was asked for; `None` when it could not be read.
    pub fn log(&mut self, shard: ShardId, after: Seq, page: Option<LogPage>) {
        let Some(state) = self.shards.get_mut(&shard) else {
            return;
        };
        state.asked = false;
        let Some(page) = page.filter(|_| state.mode == Mode::Behind && state.taken == after) else {
            return;
        };
        for (seq, record) in &page.events {
            self.gathered.apply(shard, *seq, record);
        }
        state.taken = state.taken.max(page.through);
        // A part without events moves the cursor too, or it would be read again for ever.
        if state.taken > after {
            *self.gathered_events.entry(shard).or_default() += page.events.len();
        }
        // What was fed meanwhile and is not in the page yet is asked for again.
        if state.taken >= state.head {
            state.head = state.taken;
            state.mode = Mode::Live;
        }
    }

    fn take(&mut self, feed: &Feed) {
        let Some(shard) = self.shards.get_mut(&feed.shard) else {
            return;
        };
        let skip = (shard.taken.0 + 1).saturating_sub(feed.first_seq.0) as usize;
        let Some(fresh) = feed.records.get(skip..).filter(|fresh| !fresh.is_empty()) else {
            return;
        };
        for record in fresh {
            shard.taken.0 += 1;
            self.gathered.apply(feed.shard, shard.taken, record);
        }
        shard.head = shard.head.max(shard.taken);
        *self.gathered_events.entry(feed.shard).or_default() += fresh.len();
    }

    /// The questions that are open now; each is given once, until it is answered.
    pub fn wants(&mut self) -> Vec<Want> {
        let room = self.gathered_events() < self.most_events;
        let mut wants = Vec::new();
        for (&id, shard) in &mut self.shards {
            if shard.asked {
                continue;
            }
            let want = match shard.mode {
                Mode::Starting => Want::Cursor(id),
                Mode::Behind if room => Want::Log {
                    shard: id,
                    after: shard.taken,
                },
                Mode::Behind | Mode::Live | Mode::Stalled => continue,
            };
            shard.asked = true;
            wants.push(want);
        }
        wants
    }

    /// The cursors as they should stand in the database: of the shards with no write under way.
    pub fn believed(&self) -> Vec<(ShardId, Seq)> {
        let at_rest = |(id, shard): (&ShardId, &Shard)| {
            let known = matches!(shard.mode, Mode::Live | Mode::Behind) && !self.is_writing(*id);
            known.then_some((*id, shard.written))
        };
        self.shards.iter().filter_map(at_rest).collect()
    }

    /// The cursor that the database has where `believed` should stand. When it is earlier the database has lost what was
    /// written, and the shard begins anew: true.
    pub fn doubt(&mut self, shard: ShardId, believed: Seq, cursor: Seq) -> bool {
        let unchanged = self.shards.get(&shard).is_some_and(|state| {
            matches!(state.mode, Mode::Live | Mode::Behind) && state.written == believed && !self.is_writing(shard)
        });
        let is_lost = unchanged && cursor < believed;
        if is_lost {
            self.begin_anew(shard);
        }
        is_lost
    }

    fn is_writing(&self, shard: ShardId) -> bool {
        self.writing
            .as_ref()
            .is_some_and(|moves| moves.iter().any(|step| step.shard == shard))
    }

    /// All that is gathered, unless a write is under way or nothing is gathered.
    pub fn begin_write(&mut self) -> Option<WriteSet> {
        if self.writing.is_some() || self.gathered_events.is_empty() {
            return None;
        }
        let events = self.gathered_events();
        let mut moves = Vec::with_capacity(self.gathered_events.len());
        for shard in std::mem::take(&mut self.gathered_events).into_keys() {
            if let Some(state) = self.shards.get_mut(&shard) {
                moves.push(Move {
                    shard,
                    from: state.written,
                    to: state.taken,
                });
                state.written = state.taken;
            }
        }
        moves.sort_by_key(|step| step.shard);
        self.writing = Some(moves.clone());
        Some(WriteSet {
            moves,
            changes: std::mem::take(&mut self.gathered),
            events,
        })
    }

    /// What has become of the write; tells how far the shards have come.
    pub fn end_write(&mut self, outcome: &Written) -> Vec<(ShardId, Seq)> {
        let moves = self.writing.take().unwrap_or_default();
        let mut advanced = Vec::with_capacity(moves.len());
        for step in moves {
            if outcome.moved.contains(&step.shard) {
                advanced.push((step.shard, step.to));
            } else if self.shards.contains_key(&step.shard) && !self.forgotten.contains(&step.shard) {
                self.begin_anew(step.shard);
                if let Some(state) = self
                    .shards
                    .get_mut(&step.shard)
                    .filter(|_| outcome.stalled.contains(&step.shard))
                {
                    state.mode = Mode::Stalled;
                }
            }
        }
        self.forgotten.clear();
        advanced
    }

    fn begin_anew(&mut self, shard: ShardId) {
        self.forget(shard);
        let head = self.shards.get(&shard).map_or(Seq(0), |state| state.head);
        let fresh = Shard {
            mode: Mode::Starting,
            taken: Seq(0),
            written: Seq(0),
            head,
            asked: false,
        };
        self.shards.insert(shard, fresh);
    }

    fn forget(&mut self, shard: ShardId) {
        if self.gathered_events.remove(&shard).is_some() {
            self.gathered.forget(shard);
        }
        if self.writing.is_some() {
            self.forgotten.insert(shard);
        }
    }
}
