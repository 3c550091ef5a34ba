//! Cuts a range of a file into records.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Bytes, BytesMut};

/// What is read from the file at once: large enough to make calls rare, small enough to stay in the cache.
const CHUNK_BYTES: usize = 256 * 1024;
/// A longer record is not kept in memory: it fails, with its beginning told.
pub(super) const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// Where records end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// At a line feed.
    Lines,
    /// At a line feed or carriage return outside quotes; a quote opens only at the beginning of a field.
    Csv { delimiter: u8 },
}

/// A record as a range of the current chunk, without its line end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub from: usize,
    pub to: usize,
    /// It exceeds [`MAX_RECORD_BYTES`]; the range holds only its beginning.
    pub too_long: bool,
}

/// Why records cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("reading failed")]
    Io(#[from] io::Error),
    /// For lines the rest can be passed over; in csv nobody knows where the next record begins.
    #[error(
        "the csv record that begins at byte {offset} does not end within {MAX_RECORD_BYTES} bytes; is a closing quote \
         missing?"
    )]
    EndlessCsv { offset: u64 },
}

impl Framing {
    /// The end of the record that begins at `from`: (end of its text, beginning of what follows). `None` when the end
    /// is not within `data`; at the end of the file that is where it ends.
    fn end(self, data: &[u8], from: usize, last: bool) -> Option<(usize, usize)> {
        let at = match self {
            Self::Lines => memchr::memchr(b'\n', &data[from..]).map(|offset| from + offset),
            Self::Csv { delimiter } => csv_end(data, from, delimiter),
        };
        match at {
            Some(at) => Some((at, at + 1)),
            None if last => Some((data.len(), data.len())),
            None => None,
        }
    }
}

/// The first line end outside quotes at or after `from`, where a record begins.
fn csv_end(data: &[u8], from: usize, delimiter: u8) -> Option<usize> {
    let mut at = from;
    loop {
        let found = at + memchr::memchr3(b'\n', b'\r', b'"', &data[at..])?;
        if data[found] != b'"' {
            return Some(found);
        }
        at = found + 1;
        if found == from || data[found - 1] == delimiter {
            at = csv_closing(data, at)?;
        }
    }
}

/// Behind the quote that closes the field whose text begins at `at`; a doubled quote is one inside the text.
fn csv_closing(data: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(b'"', &data[at..])? + 1;
        match data.get(at) {
            Some(b'"') => at += 1,
            // Whether another quote follows is not known yet at the end of the data.
            None => return None,
            Some(_) => return Some(at),
        }
    }
}

/// The records of one range of a file, one after the other.
pub(super) struct Records {
    file: File,
    framing: Framing,
    chunk: Bytes,
    /// Where `chunk` begins in the file.
    chunk_offset: u64,
    /// Where the next record begins in `chunk`.
    at: usize,
    /// Records that begin here or later are another replica's.
    end: u64,
    at_end_of_file: bool,
    /// Inside a line that is too long and was told already: pass over what is left of it.
    skipping: bool,
    bytes_read: u64,
}

impl Records {
    /// The records that begin in `[start, end)`; `start` must be where a record begins.
    pub fn new(mut file: File, framing: Framing, start: u64, end: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            file,
            framing,
            chunk: Bytes::new(),
            chunk_offset: start,
            at: 0,
            end,
            at_end_of_file: false,
            skipping: false,
            bytes_read: 0,
        })
    }

    /// What frames refer to.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// Bytes of the records given out so far, with their line ends.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Where the next record begins in the file.
    pub fn offset(&self) -> u64 {
        self.chunk_offset + self.at as u64
    }

    /// The same, when a record begins there indeed: not in the middle of one that is being passed over.
    pub fn resumable_offset(&self) -> Option<u64> {
        (!self.skipping).then(|| self.offset())
    }

    fn is_done(&self) -> bool {
        !self.skipping && self.offset() >= self.end
    }

    /// The next record within the current chunk; `None` when another chunk is needed.
    pub fn next_in_chunk(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            if self.at >= self.chunk.len() || self.is_done() {
                return Ok(None);
            }
            let from = self.at;
            let Some((to, next)) = self.framing.end(&self.chunk, from, self.at_end_of_file) else {
                return self.endless(from);
            };
            self.at = next;
            self.bytes_read += (next - from) as u64;
            if !std::mem::take(&mut self.skipping) {
                let too_long = to - from > MAX_RECORD_BYTES;
                let to = if too_long { from + MAX_RECORD_BYTES } else { to };
                return Ok(Some(Frame { from, to, too_long }));
            }
        }
    }

    /// A record whose end is not in sight: beyond the limit it is told once, and what follows is passed over.
    fn endless(&mut self, from: usize) -> Result<Option<Frame>, ReadError> {
        if !self.skipping && self.chunk.len() - from <= MAX_RECORD_BYTES {
            return Ok(None);
        }
        if self.framing != Framing::Lines {
            return Err(ReadError::EndlessCsv { offset: self.offset() });
        }
        self.at = self.chunk.len();
        self.bytes_read += (self.at - from) as u64;
        let first = !std::mem::replace(&mut self.skipping, true);
        Ok(first.then_some(Frame {
            from,
            to: from + MAX_RECORD_BYTES,
            too_long: true,
        }))
    }

    /// Reads on. `false` when the range is done.
    pub fn next_chunk(&mut self) -> io::Result<bool> {
        if self.at_end_of_file || self.is_done() {
            return Ok(false);
        }
        let (mut buffer, mut filled) = self.take_buffer();
        let wanted = buffer.len();
        while filled < wanted {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => {
                    self.at_end_of_file = true;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        self.chunk = buffer.freeze();
        Ok(!self.chunk.is_empty())
    }

    /// A buffer that begins with what is left of the current chunk, and how much that is. Nothing usually holds on to
    /// records of the chunk before, so its memory is used again.
    fn take_buffer(&mut self) -> (BytesMut, usize) {
        let chunk = std::mem::take(&mut self.chunk);
        let (at, left) = (self.at, chunk.len() - self.at);
        self.chunk_offset += at as u64;
        self.at = 0;
        // A record longer than a chunk doubles the buffer, so that it is scanned a few times only.
        let wanted = CHUNK_BYTES.max(left * 2);
        let mut buffer = match chunk.try_into_mut() {
            Ok(mut buffer) if buffer.len() <= wanted && buffer.capacity() >= wanted => {
                buffer.copy_within(at.., 0);
                buffer
            }
            Ok(buffer) => grown(&buffer[at..], wanted),
            Err(shared) => grown(&shared[at..], wanted),
        };
        buffer.resize(wanted, 0);
        (buffer, left)
    }
}

fn grown(left: &[u8], wanted: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(wanted);
    buffer.extend_from_slice(left);
    buffer
}
