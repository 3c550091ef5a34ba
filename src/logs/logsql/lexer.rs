//! The tokens of a query.

use super::QueryError;

/// What stands at a place of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Letters, digits and underscores.
    Word(String),
    Quoted(String),
    /// Any other sign; `=~`, `!~` and `!=` are one.
    Sign(&'static str),
    /// A sign that means nothing outside of quotes.
    Other(char),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// Where it begins, in bytes.
    pub at: usize,
    /// Whether white space stands before it.
    pub spaced: bool,
}

const SIGNS: [&str; 23] = [
    "=~", "!~", "!=", "=", "!", "~", "(", ")", "[", "]", "{", "}", ",", "|", ":", "*", "<", ">", "-", "+", "/", ".",
    "$",
];

/// What words are made of.
pub fn is_word_char(sign: char) -> bool {
    // As VictoriaLogs has it: letters and decimal digits, but no other numbers.
    if sign.is_ascii() {
        return sign.is_ascii_alphanumeric() || sign == '_';
    }
    super::pattern::word_chars().contains(sign)
}

/// All tokens of a query.
///
/// # Errors
/// When a quote is not closed, or quotes what is no text.
pub fn tokens(query: &str) -> Result<Vec<Token>, QueryError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    let mut spaced = false;
    while let Some(sign) = query[at..].chars().next() {
        let rest = &query[at..];
        if sign.is_whitespace() {
            at += sign.len_utf8();
            spaced = true;
            continue;
        }
        if sign == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (kind, length) = token(rest, sign, at)?;
        tokens.push(Token { kind, at, spaced });
        spaced = false;
        at += length;
    }
    Ok(tokens)
}

fn token(rest: &str, sign: char, at: usize) -> Result<(Kind, usize), QueryError> {
    let word = rest.find(|sign| !is_word_char(sign)).unwrap_or(rest.len());
    if word > 0 {
        return Ok((Kind::Word(rest[..word].to_owned()), word));
    }
    if matches!(sign, '"' | '\'' | '`') {
        return quoted(rest, sign).ok_or_else(|| QueryError::Syntax {
            at,
            message: format!("improperly quoted text; it must end with {sign}"),
        });
    }
    let known = SIGNS.iter().find(|known| rest.starts_with(**known));
    Ok(known.map_or((Kind::Other(sign), sign.len_utf8()), |known| {
        (Kind::Sign(known), known.len())
    }))
}

/// The text in quotes, as Go reads it, and how many bytes it takes.
fn quoted(rest: &str, quote: char) -> Option<(Kind, usize)> {
    let mut text = String::new();
    let mut signs = rest.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        if sign == quote {
            return Some((Kind::Quoted(text), at + 1));
        }
        if sign != '\\' || quote == '`' {
            // A line ends no quotes but raw ones.
            if sign == '\n' && quote != '`' {
                return None;
            }
            text.push(sign);
            continue;
        }
        let (_, escaped) = signs.next()?;
        let mut hex = |digits: usize| {
            let digits: String = signs.by_ref().take(digits).map(|(_, sign)| sign).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        };
        text.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' => '\\',
            // Beyond ASCII it would be a byte, not a character.
            'x' => hex(2).filter(char::is_ascii)?,
            'u' => hex(4)?,
            'U' => hex(8)?,
            other if other == quote => quote,
            _ => return None,
        });
    }
    None
}
