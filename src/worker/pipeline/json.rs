//! Reads one JSON text into a VRL value, straight from the bytes of the file: strings without escapes are slices of the
//! buffer that was read, and what a [`Projection`] leaves out is checked by the same grammar but never built.
//!
//! What must stay true: a text is accepted or refused regardless of the projection, and as strictly as RFC 8259 says;
//! floats are the nearest double to what is written. A property test compares with serde_json.

use std::collections::BTreeMap;

use bytes::Bytes;
use vrl::prelude::NotNan;
use vrl::value::{KeyString, ObjectMap, Value};

use super::projection::Projection;

/// Lists and objects inside each other; deeper texts are refused, as by serde_json.
const MAX_DEPTH: u32 = 127;

/// Why a text is not JSON; the column counts bytes from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON: {message} at byte {column}")]
pub(super) struct JsonError {
    pub message: &'static str,
    pub column: usize,
}

/// Reads the JSON text `whole[from..to]`, which must be valid UTF-8.
pub(super) fn read(whole: &Bytes, from: usize, to: usize, projection: &Projection) -> Result<Value, JsonError> {
    let mut reader = Reader {
        whole,
        text: &whole[from..to],
        base: from,
        at: 0,
        depth: 0,
    };
    reader.skip_space();
    let value = reader.value(projection)?;
    reader.skip_space();
    if reader.at < reader.text.len() {
        return Err(reader.error("something follows the value"));
    }
    Ok(value)
}

struct Reader<'a> {
    whole: &'a Bytes,
    text: &'a [u8],
    /// Where `text` begins in `whole`.
    base: usize,
    at: usize,
    depth: u32,
}

/// A string as it stands in the text, between its quotes.
#[derive(Clone, Copy)]
struct Quoted {
    from: usize,
    to: usize,
    escaped: bool,
}

type Read<T> = Result<T, JsonError>;

impl<'a> Reader<'a> {
    fn error(&self, message: &'static str) -> JsonError {
        JsonError {
            message,
            column: self.at + 1,
        }
    }

    #[inline]
    fn peek(&self) -> u8 {
        // Zero never begins anything, so the end needs no case of its own.
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_space(&mut self) {
        // Texts from machines have no space between their tokens: one comparison tells.
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn value(&mut self, projection: &Projection) -> Read<Value> {
        match self.peek() {
            b'{' => self.object(projection),
            b'"' => {
                let quoted = self.quoted()?;
                self.bytes(quoted).map(Value::Bytes)
            }
            b'[' => self.list(),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    /// Checks a value and leaves it.
    fn pass(&mut self) -> Read<()> {
        match self.peek() {
            b'"' => {
                let quoted = self.quoted()?;
                if quoted.escaped {
                    self.unescape(quoted).map(drop)
                } else {
                    Ok(())
                }
            }
            b'{' => self.pass_object(),
            b'[' => {
                let mut more = self.open(b']')?;
                while more {
                    self.pass()?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            b'-' | b'0'..=b'9' => self.pass_number(),
            _ => self.word().map(drop),
        }
    }

    fn word(&mut self) -> Read<Value> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let (length, value) = match rest.first() {
            Some(b'n') if rest.starts_with(b"null") => (4, Value::Null),
            Some(b't') if rest.starts_with(b"true") => (4, Value::Boolean(true)),
            Some(b'f') if rest.starts_with(b"false") => (5, Value::Boolean(false)),
            None => return Err(self.error("it ends too early")),
            Some(_) => return Err(self.error("expected a value")),
        };
        self.at += length;
        Ok(value)
    }

    /// Enters a list or object; whether it has an item.
    fn open(&mut self, close: u8) -> Read<bool> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("too many lists and objects inside each other"));
        }
        self.skip_space();
        if self.peek() == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an item: whether another follows.
    fn more(&mut self, close: u8) -> Read<bool> {
        self.skip_space();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if self.at >= self.text.len() => Err(self.error("it ends too early")),
            _ => Err(self.error("expected a comma or the end of the list or object")),
        }
    }

    fn key(&mut self) -> Read<Quoted> {
        if self.peek() != b'"' {
            return Err(self.error("expected a name in quotes"));
        }
        let key = self.quoted()?;
        self.skip_space();
        if self.peek() != b':' {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        self.skip_space();
        Ok(key)
    }

    fn list(&mut self) -> Read<Value> {
        let mut items = Vec::new();
        let mut more = self.open(b']')?;
        while more {
            items.push(self.value(&Projection::Whole)?);
            more = self.more(b']')?;
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self, projection: &Projection) -> Read<Value> {
        let mut map: ObjectMap = BTreeMap::new();
        let mut more = self.open(b'}')?;
        while more {
            let key = self.key()?;
            let below = match projection {
                Projection::Whole => Some(projection),
                Projection::Fields(fields) => self.wanted(key, fields)?,
            };
            match below {
                Some(below) => {
                    let name = self.name(key)?;
                    let value = self.value(below)?;
                    map.insert(name, value);
                }
                None => self.pass()?,
            }
            more = self.more(b'}')?;
        }
        Ok(Value::Object(map))
    }

    fn pass_object(&mut self) -> Read<()> {
        let mut more = self.open(b'}')?;
        while more {
            let key = self.key()?;
            if key.escaped {
                self.unescape(key)?;
            }
            self.pass()?;
            more = self.more(b'}')?;
        }
        Ok(())
    }

    fn wanted<'p>(&self, key: Quoted, fields: &'p [(String, Projection)]) -> Read<Option<&'p Projection>> {
        // The first byte tells most names apart without a call to compare them.
        let is = |field: &str, name: &[u8]| field.as_bytes().first() == name.first() && field.as_bytes() == name;
        let find = |name: &[u8]| fields.iter().find(|(field, _)| is(field, name)).map(|(_, below)| below);
        if key.escaped {
            return self.unescape(key).map(|name| find(&name));
        }
        Ok(find(&self.text[key.from..key.to]))
    }

    fn name(&self, key: Quoted) -> Read<KeyString> {
        let utf8 = |_| JsonError {
            message: "not UTF-8",
            column: key.from + 1,
        };
        if key.escaped {
            return String::from_utf8(self.unescape(key)?)
                .map(KeyString::from)
                .map_err(|_| utf8(()));
        }
        std::str::from_utf8(&self.text[key.from..key.to])
            .map(KeyString::from)
            .map_err(|_| utf8(()))
    }

    fn bytes(&self, quoted: Quoted) -> Read<Bytes> {
        if quoted.escaped {
            return self.unescape(quoted).map(Bytes::from);
        }
        Ok(self.whole.slice(self.base + quoted.from..self.base + quoted.to))
    }

    /// From the opening quote to behind the closing one.
    #[inline]
    fn quoted(&mut self) -> Read<Quoted> {
        self.at += 1;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at = end_of_plain(self.text, self.at);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Quoted {
                        from,
                        to: self.at - 1,
                        escaped,
                    });
                }
                Some(b'\\') => {
                    // What follows is judged when the string is unescaped; here only an escaped quote matters.
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => return Err(self.error("a control character inside a string")),
                None => return Err(self.error("a string has no end")),
            }
        }
    }

    fn unescape(&self, quoted: Quoted) -> Read<Vec<u8>> {
        let text = &self.text[quoted.from..quoted.to];
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(offset) = memchr::memchr(b'\\', &text[at..]) {
            out.extend_from_slice(&text[at..at + offset]);
            at += offset + 1;
            let wrong = |message| JsonError {
                message,
                column: quoted.from + at,
            };
            let plain = match text.get(at) {
                Some(b'"') => b'"',
                Some(b'\\') => b'\\',
                Some(b'/') => b'/',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let (character, used) = unicode(&text[at + 1..]).ok_or_else(|| wrong("an invalid \\u escape"))?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    at += 1 + used;
                    continue;
                }
                _ => return Err(wrong("an unknown escape")),
            };
            out.push(plain);
            at += 1;
        }
        out.extend_from_slice(&text[at..]);
        Ok(out)
    }

    fn number(&mut self) -> Read<Value> {
        let from = self.at;
        let shape = self.number_shape()?;
        let text = &self.text[from..self.at];
        if shape == Shape::Integer
            && let Some(integer) = integer(text)
        {
            return Ok(Value::Integer(integer));
        }
        float(text).map(Value::Float).ok_or(JsonError {
            message: "a number out of range",
            column: from + 1,
        })
    }

    fn pass_number(&mut self) -> Read<()> {
        let from = self.at;
        let shape = self.number_shape()?;
        // Only with an exponent, or very many digits, can a number be beyond the largest double.
        if (shape == Shape::Exponent || self.at - from > 300) && float(&self.text[from..self.at]).is_none() {
            return Err(JsonError {
                message: "a number out of range",
                column: from + 1,
            });
        }
        Ok(())
    }

    fn digits(&mut self) -> Read<()> {
        let from = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == from {
            Err(self.error("expected a digit"))
        } else {
            Ok(())
        }
    }

    fn number_shape(&mut self) -> Read<Shape> {
        let mut shape = Shape::Integer;
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
            if self.peek().is_ascii_digit() {
                return Err(self.error("a number begins with a needless zero"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
            shape = Shape::Fraction;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
            shape = Shape::Exponent;
        }
        Ok(shape)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Integer,
    Fraction,
    Exponent,
}

/// `None` when it does not fit, and for `-0`, which only a float can hold.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let size = digits
        .iter()
        .fold(0_i64, |size, digit| size * 10 + i64::from(digit - b'0'));
    match (negative, size) {
        (true, 0) => None,
        (true, size) => Some(-size),
        (false, size) => Some(size),
    }
}

fn float(text: &[u8]) -> Option<NotNan<f64>> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if number.is_infinite() {
        None
    } else {
        NotNan::new(number).ok()
    }
}

/// The character of a `\u` escape and how many bytes after the `u` it took.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let first = hex(text.get(..4)?)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).map(|character| (character, 4));
    }
    let [b'\\', b'u', low @ ..] = text.get(4..10)? else {
        return None;
    };
    let second = hex(low)?;
    if !(0xDC00..0xE000).contains(&second) {
        return None;
    }
    char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).map(|character| (character, 10))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The first quote, backslash or control character at or after `at`, eight bytes at a time. The lowest flagged byte is
/// always right (a borrow can only flag bytes above a true one), and only that is used.
#[inline]
fn end_of_plain(text: &[u8], mut at: usize) -> usize {
    while let Some(eight) = text.get(at..at + 8).and_then(|slice| <[u8; 8]>::try_from(slice).ok()) {
        let word = u64::from_le_bytes(eight);
        let zero_at = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = zero_at(word ^ (ONES * u64::from(b'"')));
        let backslash = zero_at(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGHS;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text
        .get(at)
        .is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\')
    {
        at += 1;
    }
    at
}
