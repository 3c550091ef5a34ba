//! Divides a file among replicas.
//!
//! The rule: the file's bytes are divided into equal ranges, one a replica, and a record belongs to the replica in
//! whose range its first byte lies. So none is lost or doubled as long as every replica sees the same file and agrees
//! on where records begin. For lines that is plain: behind every line feed. In csv a line end inside quotes begins no
//! record, and whether a byte is inside quotes depends on everything before it: so the part before the range is scanned
//! once, hopping from quote to quote (at memory speed when there are none).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SCAN_BYTES: usize = 1024 * 1024;
/// UTF-8's byte order mark, which some programs put first in a file.
pub(super) const BYTE_ORDER_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// The part of `size` that belongs to replica `index` of `count`: from, to.
pub(super) fn share(size: u64, index: u32, count: u32) -> (u64, u64) {
    let cut = |index: u32| {
        let at = u128::from(size) * u128::from(index) / u128::from(count.max(1));
        u64::try_from(at).unwrap_or(size)
    };
    (cut(index), cut(index.saturating_add(1)))
}

/// Whether the file begins with a byte order mark.
pub(super) fn has_mark(file: &File) -> io::Result<bool> {
    let mut first = [0; 3];
    Ok(read_at(file, &mut first, 0)? == 3 && first == *BYTE_ORDER_MARK)
}

/// Where the first line begins at or after `from`; the size of the file when there is none.
pub(super) fn first_line(file: &File, from: u64) -> io::Result<u64> {
    if from == 0 {
        return Ok(0);
    }
    scan(file, from - 1, |chunk| memchr::memchr(b'\n', chunk).map(|at| at + 1))
}

/// Where the first csv record begins at or after `from`, given a place `begin` at or before it where one begins.
pub(super) fn first_csv_record(file: &File, begin: u64, from: u64, delimiter: u8) -> io::Result<u64> {
    if from <= begin {
        return Ok(begin);
    }
    let mut scanner = CsvScanner {
        delimiter,
        state: Quotes::Outside,
        before: b'\n',
        wanted: from - begin,
    };
    scan(file, begin, |chunk| scanner.scan(chunk))
}

/// Calls `find` with one piece of the file after the other until it gives a place in the piece; the place in the file,
/// or the file's size.
fn scan(file: &File, from: u64, mut find: impl FnMut(&[u8]) -> Option<usize>) -> io::Result<u64> {
    let mut buffer = vec![0; SCAN_BYTES];
    let mut offset = from;
    loop {
        let length = read_at(file, &mut buffer, offset)?;
        if length == 0 {
            return Ok(offset);
        }
        if let Some(at) = find(&buffer[..length]) {
            return Ok(offset + at as u64);
        }
        offset += length as u64;
    }
}

/// Fills the buffer, or to the end of the file.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Outside,
    Inside,
    /// Behind a quote inside a quoted field: another one makes it text, anything else closed the field.
    Closing,
}

/// Follows the quotes from the beginning of a record to the first record at or after `wanted`.
struct CsvScanner {
    delimiter: u8,
    state: Quotes,
    /// The byte before the piece.
    before: u8,
    /// How far into the pieces to come the place lies that is looked for.
    wanted: u64,
}

impl CsvScanner {
    fn scan(&mut self, piece: &[u8]) -> Option<usize> {
        // From the byte before the wanted place on, a line end outside quotes is what is looked for.
        let last = usize::try_from(self.wanted.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut at = 0;
        while at < piece.len() {
            match self.state {
                Quotes::Inside => match memchr::memchr(b'"', &piece[at..]) {
                    Some(found) => {
                        at += found + 1;
                        self.state = Quotes::Closing;
                    }
                    None => break,
                },
                Quotes::Closing if piece[at] == b'"' => {
                    at += 1;
                    self.state = Quotes::Inside;
                }
                Quotes::Closing => self.state = Quotes::Outside,
                Quotes::Outside if at < last => {
                    let end = last.min(piece.len());
                    match memchr::memchr(b'"', &piece[at..end]) {
                        Some(found) => at = self.quote(piece, at + found),
                        None => at = end,
                    }
                }
                Quotes::Outside => {
                    let found = at + memchr::memchr3(b'\n', b'\r', b'"', &piece[at..]).unwrap_or(piece.len() - at);
                    match piece.get(found) {
                        Some(b'"') => at = self.quote(piece, found),
                        Some(_) => return Some(found + 1),
                        None => break,
                    }
                }
            }
        }
        self.before = piece.last().copied().unwrap_or(self.before);
        self.wanted = self.wanted.saturating_sub(piece.len() as u64);
        None
    }

    /// A quote outside quotes opens a field only where one begins; elsewhere it is text.
    fn quote(&mut self, piece: &[u8], at: usize) -> usize {
        let before = if at == 0 { self.before } else { piece[at - 1] };
        if before == self.delimiter || matches!(before, b'\n' | b'\r') {
            self.state = Quotes::Inside;
        }
        at + 1
    }
}
