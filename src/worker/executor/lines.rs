//! What an attempt writes, as lines: split, cut, made valid, masked, and handed to a bounded queue.
//!
//! A reader that is too slow holds the writer up for a stated time, after which lines are dropped and counted: output can
//! be lost, but no attempt hangs for its log's sake.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};

use super::attempt::LiveCounters;
use super::secrets::Secret;
use crate::domain::Timestamp;

/// A line is cut here.
pub const MAX_LINE_BYTES: usize = 32 * 1024;
const CUT_MARK: &str = "… [cut]";
const KEPT_LINES: usize = 20;
const KEPT_LINE_BYTES: usize = 2 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;
/// Shorter secrets would mask half of what is written.
const MIN_MASKED_BYTES: usize = 4;

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: Timestamp,
    pub stream: Stream,
    /// Valid text of at most [`MAX_LINE_BYTES`] and a mark.
    pub text: String,
}

/// The bounded queue for an attempt's lines.
#[derive(Clone, Debug)]
pub struct LineSink {
    sender: Option<mpsc::Sender<LogLine>>,
    /// How long a full queue may hold the writer up before lines are dropped.
    patience: Duration,
}

impl LineSink {
    /// A sink and the end that reads it; `capacity` counts lines.
    pub fn bounded(capacity: usize, patience: Duration) -> (Self, mpsc::Receiver<LogLine>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (
            Self {
                sender: Some(sender),
                patience,
            },
            receiver,
        )
    }

    /// For several attempts that share one queue.
    pub fn new(sender: mpsc::Sender<LogLine>, patience: Duration) -> Self {
        Self {
            sender: Some(sender),
            patience,
        }
    }

    /// A sink that keeps nothing.
    pub fn discard() -> Self {
        Self {
            sender: None,
            patience: Duration::ZERO,
        }
    }
}

/// The way of one stream into a sink: it knows how many lines it had to drop.
pub struct Feed<'a> {
    sink: &'a LineSink,
    stream: Stream,
    dropped: u64,
}

impl<'a> Feed<'a> {
    pub fn new(sink: &'a LineSink, stream: Stream) -> Self {
        Self {
            sink,
            stream,
            dropped: 0,
        }
    }

    /// Remembers the line and hands it on.
    pub async fn hand_on(&mut self, text: String, bytes: usize, record: &Record) {
        record.add(self.stream, &text, bytes);
        self.push(LogLine {
            at: crate::clock::now(),
            stream: self.stream,
            text,
        })
        .await;
    }

    async fn push(&mut self, line: LogLine) {
        let Some(sender) = &self.sink.sender else { return };
        if self.dropped > 0 {
            let text = format!("… [{} lines dropped: the log could not keep up]", self.dropped);
            let notice = LogLine {
                at: line.at,
                stream: self.stream,
                text,
            };
            if sender.try_send(notice).is_err() {
                self.drop_line();
                return;
            }
            self.dropped = 0;
        }
        match sender.try_send(line) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(line)) => {
                if sender.send_timeout(line, self.sink.patience).await.is_err() {
                    self.drop_line();
                }
            }
        }
    }

    fn drop_line(&mut self) {
        self.dropped += 1;
        metrics::counter!("grid_task_lines_dropped_total").increment(1);
    }
}

/// What is remembered of an attempt's output for its end.
#[derive(Debug, Default)]
pub struct Record {
    remembered: Mutex<Remembered>,
    live: LiveCounters,
}

#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Of both streams, in the order of reading, oldest first.
    pub last_lines: VecDeque<String>,
    pub last_stderr_line: String,
    pub lines: u64,
    pub bytes: u64,
}

impl Record {
    /// One whose lines are counted there too.
    pub fn counted(live: &LiveCounters) -> Self {
        Self {
            remembered: Mutex::default(),
            live: live.clone(),
        }
    }

    fn add(&self, stream: Stream, text: &str, bytes: usize) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        self.live.add_line(bytes);
        remembered.lines += 1;
        remembered.bytes += bytes as u64;
        if remembered.last_lines.len() == KEPT_LINES {
            remembered.last_lines.pop_front();
        }
        remembered.last_lines.push_back(cut(text, KEPT_LINE_BYTES));
        if stream == Stream::Stderr && !text.trim().is_empty() {
            text.clone_into(&mut remembered.last_stderr_line);
        }
    }

    pub fn take(&self) -> Remembered {
        std::mem::take(&mut *self.remembered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// At most [`MAX_LINE_BYTES`] of a line that is text already.
pub fn cut_line(text: &str) -> String {
    cut(text, MAX_LINE_BYTES)
}

/// At most `bytes` of the text, its mark included when it had to be cut.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes - CUT_MARK.len());
    format!("{}{CUT_MARK}", &text[..end])
}

/// Replaces the values of secrets.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<Secret>);

impl Mask {
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self(secrets)
    }

    fn apply(&self, mut text: String) -> String {
        for secret in &self.0 {
            // The lines of a longer secret (a key file, say) come one by one.
            for value in secret.expose().lines().filter(|value| value.len() >= MIN_MASKED_BYTES) {
                if text.contains(value) {
                    text = text.replace(value, "***");
                }
            }
        }
        text
    }
}

/// Splits bytes into lines, of which it holds at most one, cut.
#[derive(Debug, Default)]
pub struct Splitter {
    partial: Vec<u8>,
    /// The line went on beyond the limit.
    is_cut: bool,
    line_bytes: usize,
}

impl Splitter {
    /// Calls `emit` with each line that ends in `chunk`, and how many bytes it had.
    pub fn feed(&mut self, chunk: &[u8], mut emit: impl FnMut(String, usize)) {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.keep(&rest[..end]);
            self.line_bytes += 1;
            let (text, bytes) = self.line();
            emit(text, bytes);
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// The last line, when it had no end.
    pub fn end(&mut self) -> Option<(String, usize)> {
        (self.line_bytes > 0).then(|| self.line())
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line_bytes += bytes.len();
        let room = MAX_LINE_BYTES - self.partial.len();
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn line(&mut self) -> (String, usize) {
        let bytes = std::mem::take(&mut self.line_bytes);
        let mut content = self.partial.as_slice();
        if std::mem::take(&mut self.is_cut) {
            content = without_divided_end(content);
            let text = format!("{}{CUT_MARK}", String::from_utf8_lossy(content));
            self.partial.clear();
            return (text, bytes);
        }
        content = content.strip_suffix(b"\r").unwrap_or(content);
        let text = String::from_utf8_lossy(content).into_owned();
        self.partial.clear();
        (text, bytes)
    }
}

/// Without the first bytes of a character whose others were cut off.
fn without_divided_end(bytes: &[u8]) -> &[u8] {
    let from = bytes.len().saturating_sub(4);
    let Some(lead) = (from..bytes.len()).rev().find(|at| bytes[*at] & 0xC0 != 0x80) else {
        return bytes;
    };
    match std::str::from_utf8(&bytes[lead..]) {
        Err(error) if error.error_len().is_none() => &bytes[..lead],
        _ => bytes,
    }
}

/// Reads a stream to its end, or until `leave` says so, and hands its lines on.
pub async fn pump(
    mut pipe: impl AsyncRead + Unpin,
    stream: Stream,
    (sink, record, mask): (&LineSink, &Record, &Mask),
    mut leave: watch::Receiver<bool>,
) {
    let mut splitter = Splitter::default();
    let mut feed = Feed::new(sink, stream);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            biased;
            read = pipe.read(&mut chunk) => read,
            _ = leave.wait_for(|leave| *leave) => break,
        };
        // A pipe that cannot be read is at its end: its writer is gone or going.
        let Ok(count @ 1..) = read else { break };
        let mut lines = Vec::new();
        splitter.feed(&chunk[..count], |text, bytes| lines.push((text, bytes)));
        for (text, bytes) in lines {
            feed.hand_on(mask.apply(text), bytes, record).await;
        }
    }
    if let Some((text, bytes)) = splitter.end() {
        feed.hand_on(mask.apply(text), bytes, record).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<(String, usize)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, |text, bytes| lines.push((text, bytes)));
        }
        lines.extend(splitter.end());
        lines
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference_and_no_byte_is_lost(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), size in 1..20_usize,
        ) {
            let lines = split(bytes.chunks(size));
            prop_assert_eq!(&lines, &split(std::iter::once(bytes.as_slice())));
            prop_assert_eq!(lines.iter().map(|(_, bytes)| bytes).sum::<usize>(), bytes.len());
            let expected: Vec<String> = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
                .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
                .collect();
            prop_assert_eq!(lines.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn a_cut_divides_no_character(character in any::<char>(), before in 0..8_usize) {
            let line = format!("{}{}", "x".repeat(before), character.to_string().repeat(MAX_LINE_BYTES + 1));
            prop_assume!(!matches!(character, '\n' | '\r'));
            let lines = split(line.as_bytes().chunks(4_096));
            let text = lines[0].0.strip_suffix(CUT_MARK).unwrap();
            prop_assert!(line.starts_with(text) && text.len() + 4 > MAX_LINE_BYTES, "{}", text.len());
        }
    }

    #[test]
    fn secrets_are_masked_line_by_line() {
        let mask = Mask::new(vec![Secret::new("first line\nsecond line\nab"), Secret::new("ab")]);
        let masked = |text: &str| mask.apply(text.to_owned());
        assert_eq!(masked("a first line, a second line"), "a ***, a ***");
        // Too short to be told from anything else.
        assert_eq!(masked("cab"), "cab");
    }
}
