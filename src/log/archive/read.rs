//! Reading the file of a day back: commit by commit, each held against its own hashes.
//!
//! Must stay true: what is read is not trusted; whatever is wrong with a file is found and told, never a panic; memory
//! holds a line and what a commit adds up to.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::lines::{CommitLine, End, EventLine, FORMAT, Head, Line};
use crate::domain::{Position, Seq, ShardId};
use crate::log::chain::{self, Hash, Part, PartsBuilder};

/// A line longer than this is none of an archive: an event and what stands around it is far below.
const MOST_LINE_BYTES: u64 = 256 << 20;

/// A commit as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArchivedCommit {
    pub shard: ShardId,
    pub first: u64,
    pub last: u64,
    pub previous: Hash,
    pub hash: Hash,
    pub parts: Vec<u8>,
}

/// Something that is not as it should be, with the place where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub place: Option<Position>,
    pub expected: String,
    pub found: String,
}

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Step {
    /// A commit whose events have been read.
    Commit(ArchivedCommit),
    /// Something is wrong; the reading goes on.
    Wrong(Wrong),
    /// All has been read, or cannot be.
    End,
}

struct Current {
    commit: ArchivedCommit,
    built: PartsBuilder,
    events: u64,
    /// An event could not be taken in: its hash is of no use.
    broken: bool,
}

/// What a file adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub commits: u64,
    pub events: u64,
    pub bytes: u64,
    pub sha256: Hash,
}

pub(super) struct DayReader {
    day: i32,
    lines: BufReader<zstd::Decoder<'static, BufReader<Hashing>>>,
    line: Vec<u8>,
    head: Option<Head>,
    current: Option<Current>,
    /// The end of the last commit of the shard.
    before: Option<(ShardId, u64, Hash)>,
    said: Option<End>,
    sum: Sum,
    /// What is to be told before the next line is read.
    wrongs: VecDeque<Wrong>,
    over: bool,
}

/// Everything that is read of the file goes through the hash.
struct Hashing {
    file: File,
    sha: Sha256,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sha.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

impl DayReader {
    pub fn open(path: &Path, day: i32) -> Result<Self, ArchiveError> {
        let open = || {
            let file = Hashing {
                file: File::open(path)?,
                sha: Sha256::new(),
                bytes: 0,
            };
            zstd::Decoder::new(file)
        };
        let decoder = open().map_err(ArchiveError::file(path))?;
        Ok(Self {
            day,
            lines: BufReader::new(decoder),
            line: Vec::new(),
            head: None,
            current: None,
            before: None,
            said: None,
            sum: Sum::default(),
            wrongs: VecDeque::new(),
            over: false,
        })
    }

    pub const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// What the file adds up to, once it has been read to its end.
    pub const fn sum(&self) -> Sum {
        self.sum
    }

    /// The next commit, or what is wrong.
    pub fn step(&mut self) -> Step {
        loop {
            if let Some(wrong) = self.wrongs.pop_front() {
                return Step::Wrong(wrong);
            }
            if self.over {
                return Step::End;
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return self.finish(),
                Err(error) => {
                    self.wrong("a file that can be read", error.to_string());
                    return self.finish();
                }
            }
            let line = std::mem::take(&mut self.line);
            let done = self.take(&line);
            self.line = line;
            if let Some(commit) = done {
                return Step::Commit(commit);
            }
        }
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut limited = (&mut self.lines).take(MOST_LINE_BYTES);
        let count = limited.read_until(b'\n', &mut self.line)?;
        if count > 0 && self.line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
        }
        self.line.pop();
        Ok(count > 0)
    }

    fn wrong(&mut self, expected: impl Into<String>, found: impl Into<String>) {
        let place = self.place();
        self.wrongs.push_back(Wrong {
            place,
            expected: expected.into(),
            found: found.into(),
        });
    }

    /// About where the reading is.
    fn place(&self) -> Option<Position> {
        let at = |shard, seq| Position { shard, seq: Seq(seq) };
        match &self.current {
            Some(current) => Some(at(current.commit.shard, current.commit.first)),
            None => self.before.map(|(shard, last, _)| at(shard, last)),
        }
    }

    /// Takes a line in; gives the commit that ends with it.
    fn take(&mut self, line: &[u8]) -> Option<ArchivedCommit> {
        let line: Line<'_> = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                self.wrong("a line of an archive", format!("{error}"));
                if let Some(current) = &mut self.current {
                    current.broken = true;
                }
                return None;
            }
        };
        if self.said.is_some() {
            self.wrong("nothing after the end", "a line");
            return None;
        }
        match line {
            Line::Archive(head) => self.take_head(head),
            Line::Commit(commit) => return self.take_commit(&commit),
            Line::Event(event) => self.take_event(&event),
            Line::End(end) => {
                self.said = Some(end);
                return self.finish_commit();
            }
        }
        None
    }

    fn take_head(&mut self, head: Head) {
        if self.head.is_some() || self.sum.commits > 0 {
            self.wrong("one head, at the beginning", "another");
        } else if head.format != FORMAT || head.day != self.day {
            let expected = format!("an archive of format {FORMAT} of day {}", self.day);
            self.wrong(expected, format!("one of format {} of day {}", head.format, head.day));
        }
        self.head = Some(head);
    }

    fn take_commit(&mut self, line: &CommitLine<'_>) -> Option<ArchivedCommit> {
        let done = self.finish_commit();
        if self.head.is_none() {
            self.wrong("a head before the first commit", "none");
        }
        let commit = ArchivedCommit {
            shard: ShardId(line.shard),
            first: line.first_seq,
            last: line.last_seq,
            previous: line.prev_hash,
            hash: line.hash,
            parts: line.parts.as_bytes().to_vec(),
        };
        if let Some((shard, last, hash)) = self.before {
            let follows = commit.shard > shard || (commit.shard == shard && commit.first > last);
            if !follows {
                let expected = format!("a commit after {}/{last}", shard.0);
                self.wrong(expected, format!("one from {}/{}", commit.shard.0, commit.first));
            } else if commit.shard == shard && commit.first == last + 1 && commit.previous != hash {
                self.wrong(format!("previous hash {hash}"), commit.previous.to_string());
            }
        }
        self.sum.commits += 1;
        self.current = Some(Current {
            commit,
            built: PartsBuilder::default(),
            events: 0,
            broken: false,
        });
        done
    }

    fn take_event(&mut self, line: &EventLine<'_>) {
        self.sum.events += 1;
        let (position, day) = (line.position(), self.day);
        let (stream, bytes) = (line.stream(), line.bytes());
        let Some(current) = &mut self.current else {
            return self.wrong(
                "a commit before its events",
                format!("event {}/{}", line.shard, line.seq),
            );
        };
        current.events += 1;
        let inside =
            position.shard == current.commit.shard && (current.commit.first..=current.commit.last).contains(&line.seq);
        match (stream, bytes) {
            (Some(stream), Some(bytes)) if inside => current.built.add(day, position, stream, line.version, &bytes),
            _ => {
                current.broken = true;
                self.wrong("an event of the commit", format!("event {}/{}", line.shard, line.seq));
            }
        }
    }

    /// Holds the commit that was read against its hashes.
    fn finish_commit(&mut self) -> Option<ArchivedCommit> {
        let current = self.current.take()?;
        let Current {
            commit,
            built,
            events,
            broken,
        } = current;
        let place = Position {
            shard: commit.shard,
            seq: Seq(commit.first),
        };
        let mut wrong = |expected: String, found: String| {
            self.wrongs.push_back(Wrong {
                place: Some(place),
                expected,
                found,
            });
        };
        let linked = chain::link(commit.previous, &commit.parts);
        if linked != commit.hash {
            wrong(format!("hash {linked}"), commit.hash.to_string());
        }
        let parts = chain::decode_parts(&commit.parts).unwrap_or_default();
        let committed = parts.iter().find(|part| part.day == self.day);
        let built: Vec<Part> = built.finish();
        match committed {
            None => wrong(
                format!("a part of day {}", self.day),
                String::from_utf8_lossy(&commit.parts).into_owned(),
            ),
            Some(_) if broken => {}
            Some(part) if built.first() != Some(part) => {
                let found = built.first().map_or_else(
                    || "no event".to_owned(),
                    |built| format!("{events} events at {:?}: {}", built.ranges, built.sha256),
                );
                wrong(
                    format!("{} events at {:?}: {}", part.events(), part.ranges, part.sha256),
                    found,
                );
            }
            Some(_) => {}
        }
        self.before = Some((commit.shard, commit.last, commit.hash));
        Some(commit)
    }

    fn finish(&mut self) -> Step {
        self.over = true;
        let last = self.finish_commit();
        let counted = End {
            commits: self.sum.commits,
            events: self.sum.events,
        };
        match self.said {
            None => self.wrong("an end", "none: the file is cut off"),
            Some(said) if said != counted => {
                let told = |end: End| format!("{} events of {} commits", end.events, end.commits);
                self.wrong(told(said), told(counted));
            }
            Some(_) => {}
        }
        // What cannot be decompressed is hashed too.
        let hashing = self.lines.get_mut().get_mut();
        if let Err(error) = io::copy(hashing, &mut io::sink()) {
            self.wrong("a file that can be read", error.to_string());
        }
        let hashing = self.lines.get_ref().get_ref().get_ref();
        self.sum.bytes = hashing.bytes;
        self.sum.sha256 = Hash(hashing.sha.clone().finalize().into());
        match last {
            Some(commit) => Step::Commit(commit),
            None => self.wrongs.pop_front().map_or(Step::End, Step::Wrong),
        }
    }
}
