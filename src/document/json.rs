//! JSON (RFC 8259) into the tree, with the place of every node, which serde_json does not tell.
//!
//! Accepts what serde_json accepts and gives the same values; a property test compares them. Repeated keys are kept for
//! the check that follows. The first mistake ends it.

use serde_json::Number;

use super::error::{DocumentError, ErrorCode};
use super::node::{Kind, Member, Node, Place};
use super::rules::MAX_DEPTH;

pub fn load(text: &str) -> Result<Node, Box<DocumentError>> {
    let mut reader = Reader {
        text,
        rest: text.as_bytes(),
        at: Place::START,
    };
    reader.skip_blanks();
    let root = reader.value(1)?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(root),
        Some(_) => Err(reader.unexpected("the end of the document")),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// The unread end of `text`.
    rest: &'a [u8],
    at: Place,
}

type Read<T> = Result<T, Box<DocumentError>>;

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Moves past one byte; columns count characters, so the later bytes of one do not move them.
    fn advance(&mut self) {
        let Some((byte, rest)) = self.rest.split_first() else {
            return;
        };
        self.rest = rest;
        if *byte == b'\n' {
            self.at = Place {
                line: self.at.line.saturating_add(1),
                column: 1,
            };
        } else if byte & 0xC0 != 0x80 {
            self.at.column = self.at.column.saturating_add(1);
        }
    }

    fn offset(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.advance();
        }
    }

    fn error(&self, at: Place, message: impl Into<String>) -> Box<DocumentError> {
        Box::new(DocumentError::at(at, String::new(), ErrorCode::Syntax, message))
    }

    fn unexpected(&self, expected: &str) -> Box<DocumentError> {
        let message = match self.text[self.offset()..].chars().next() {
            Some(found) => format!("this is not JSON: expected {expected}, found {found:?}"),
            None => format!("this is not JSON: expected {expected}, found the end of the document"),
        };
        self.error(self.at, message)
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        let at = self.at;
        if depth > MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(Box::new(DocumentError::at(
                at,
                String::new(),
                ErrorCode::TooLarge,
                message,
            )));
        }
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Kind::Text(self.text()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node::new(at, kind))
    }

    fn word(&mut self, word: &'static str, kind: Kind) -> Read<Kind> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected(&format!("`{word}`")));
            }
            self.advance();
        }
        Ok(kind)
    }

    fn list(&mut self, depth: usize) -> Read<Kind> {
        let mut nodes = Vec::new();
        self.advance();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.advance();
            return Ok(Kind::List(nodes));
        }
        loop {
            self.skip_blanks();
            nodes.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.comma(b']')?,
                Some(b']') => {
                    self.advance();
                    return Ok(Kind::List(nodes));
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    /// Moves past a comma, which must not be the last thing before `close`.
    fn comma(&mut self, close: u8) -> Read<()> {
        let at = self.at;
        self.advance();
        self.skip_blanks();
        if self.peek() == Some(close) {
            return Err(self.error(
                at,
                format!("this is not JSON: a comma before the closing `{}`", char::from(close)),
            ));
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Read<Kind> {
        let mut members = Vec::new();
        self.advance();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.advance();
            return Ok(Kind::Object(members));
        }
        loop {
            self.skip_blanks();
            let name_at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a field's name in double quotes"));
            }
            let name = self.text()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.advance();
            self.skip_blanks();
            let node = self.value(depth + 1)?;
            members.push(Member { name, name_at, node });
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.comma(b'}')?,
                Some(b'}') => {
                    self.advance();
                    return Ok(Kind::Object(members));
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            }
        }
    }

    fn text(&mut self) -> Read<String> {
        let open = self.at;
        self.advance();
        let mut out = String::new();
        let mut from = self.offset();
        loop {
            match self.peek() {
                None => return Err(self.error(open, "this is not JSON: this text has no closing quote")),
                Some(b'"') => {
                    out.push_str(&self.text[from..self.offset()]);
                    self.advance();
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[from..self.offset()]);
                    out.push(self.escape()?);
                    from = self.offset();
                }
                Some(byte) if byte < 0x20 => {
                    let message =
                        format!("this is not JSON: a raw control character (U+{byte:04X}) in text; escape it");
                    return Err(self.error(self.at, message));
                }
                Some(_) => self.advance(),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let at = self.at;
        self.advance();
        let Some(byte) = self.peek() else {
            return Err(self.unexpected("an escape"));
        };
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.advance();
                return self.unicode(at);
            }
            _ => {
                let found = self.text[self.offset()..].chars().next().unwrap_or_default();
                return Err(self.error(at, format!("this is not JSON: unknown escape `\\{found}`")));
            }
        };
        self.advance();
        Ok(plain)
    }

    /// What follows `\u`: four digits, or two such for a character beyond U+FFFF.
    fn unicode(&mut self, at: Place) -> Read<char> {
        let lone = |reader: &Self| reader.error(at, "this is not JSON: half of a surrogate pair");
        let first = self.four_digits()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !self.rest.starts_with(b"\\u") {
                    return Err(lone(self));
                }
                self.advance();
                self.advance();
                let second = self.four_digits()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(lone(self));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| lone(self))
    }

    fn four_digits(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("four hexadecimal digits after `\\u`"));
            };
            code = code * 16 + digit;
            self.advance();
        }
        Ok(code)
    }

    fn digits(&mut self) -> Read<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected("a digit"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.advance();
        }
        Ok(())
    }

    fn number(&mut self) -> Read<Number> {
        let (at, from) = (self.at, self.offset());
        if self.peek() == Some(b'-') {
            self.advance();
        }
        if self.peek() == Some(b'0') {
            self.advance();
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.error(at, "this is not JSON: a number with a leading zero"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.advance();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.advance();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.advance();
            }
            self.digits()?;
        }
        let literal = &self.text[from..self.offset()];
        number(literal).ok_or_else(|| self.error(at, format!("the number {literal} is too large")))
    }
}

/// The number of a JSON literal: whole where it fits 64 bits, else the nearest double; `None` beyond those.
pub fn number(literal: &str) -> Option<Number> {
    // "-0" is the double: its sign would be lost.
    if literal != "-0" {
        if let Ok(whole) = literal.parse::<u64>() {
            return Some(whole.into());
        }
        if let Ok(whole) = literal.parse::<i64>() {
            return Some(whole.into());
        }
    }
    Number::from_f64(literal.parse::<f64>().ok()?)
}
