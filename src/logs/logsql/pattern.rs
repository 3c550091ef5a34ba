//! Regular expressions of RE2, written as those of Postgres.
//!
//! Must stay true: a pattern means in Postgres what it means in RE2, whatever the locale of the database. So classes are
//! written out as ranges of characters, and what has no exact equivalent is refused.

use std::fmt::Write;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use super::QueryError;

/// Postgres repeats at most so often.
const MOST_REPEATS: u32 = 255;
/// A pattern that becomes longer in Postgres is refused.
const MOST_BYTES: usize = 64 * 1024;

/// A regular expression of Postgres (ARE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub String);

/// What a client wrote, for both who look for it.
#[derive(Clone, Debug)]
pub struct Expression {
    pub postgres: Pattern,
    /// For lines that are here.
    pub here: Regex,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.postgres == other.postgres
    }
}

impl Expression {
    /// Found anywhere in a value.
    ///
    /// # Errors
    /// When it is no regular expression of RE2, or has no equivalent.
    pub fn anywhere(written: &str) -> Result<Self, QueryError> {
        let postgres = Pattern::of_hir(&read(written)?)?;
        Ok(Self {
            postgres,
            here: compile(written, &ascii_classes(written))?,
        })
    }

    /// As the whole of a value.
    ///
    /// # Errors
    /// As of [`Self::anywhere`].
    pub fn whole(written: &str) -> Result<Self, QueryError> {
        let Pattern(inner) = Pattern::of_hir(&read(written)?)?;
        Ok(Self {
            postgres: Pattern(format!("\\A(?:{inner})\\Z")),
            here: compile(written, &format!("\\A(?:{})\\z", ascii_classes(written)))?,
        })
    }
}

fn compile(written: &str, text: &str) -> Result<Regex, QueryError> {
    let compiled = RegexBuilder::new(text)
        .nest_limit(50)
        .size_limit(MOST_BYTES * 16)
        .build();
    compiled.map_err(|_| QueryError::Unsupported(format!("the regular expression {written:?}: it is too large")))
}

/// The characters of words.
pub struct WordChars(ClassUnicode);

impl WordChars {
    pub fn contains(&self, sign: char) -> bool {
        let found = self.0.ranges().binary_search_by(|range| {
            if range.end() < sign {
                std::cmp::Ordering::Less
            } else if range.start() > sign {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        });
        found.is_ok()
    }
}

/// Letters, decimal digits and the underscore.
pub fn word_chars() -> &'static WordChars {
    static CHARS: LazyLock<WordChars> = LazyLock::new(|| {
        let parsed = regex_syntax::parse(r"[\p{L}\p{Nd}_]").map(Hir::into_kind);
        match parsed {
            Ok(HirKind::Class(Class::Unicode(class))) => WordChars(class),
            _ => WordChars(ClassUnicode::new([ClassUnicodeRange::new('0', '9')])),
        }
    });
    &CHARS
}

/// The class of word characters as Postgres writes it.
fn word_class() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::new();
        ranges(&mut text, &word_chars().0);
        text
    });
    &TEXT
}

impl Pattern {
    fn of_hir(hir: &Hir) -> Result<Self, QueryError> {
        let mut text = String::new();
        print(&mut text, hir)?;
        if text.len() > MOST_BYTES {
            return Err(QueryError::unsupported("a regular expression that is so long"));
        }
        Ok(Self(text))
    }

    /// Phrases one after the other; words at the ends of each are whole, but for the end of a `prefix`.
    ///
    /// # Errors
    /// When they are too long.
    pub fn phrases(phrases: &[&str], any_case: bool, prefix: bool) -> Result<Self, QueryError> {
        let mut text = String::new();
        for (index, phrase) in phrases.iter().enumerate() {
            if index > 0 {
                text.push_str(".*");
            }
            if phrase.chars().next().is_some_and(super::lexer::is_word_char) {
                let _ = write!(text, "(?<![{}])", word_class());
            }
            if any_case {
                let folded = ParserBuilder::new().case_insensitive(true).build();
                let hir = folded.clone().parse(&regex_syntax::escape(phrase));
                print(&mut text, &hir.map_err(|error| invalid(phrase, &error))?)?;
            } else {
                literal(&mut text, phrase);
            }
            if !prefix && phrase.chars().next_back().is_some_and(super::lexer::is_word_char) {
                let _ = write!(text, "(?![{}])", word_class());
            }
        }
        Ok(Self(text))
    }
}

fn invalid(written: &str, error: &regex_syntax::Error) -> QueryError {
    let why = match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => error.to_string(),
    };
    QueryError::unsupported(format!("the regular expression {written:?}: {why}"))
}

fn read(written: &str) -> Result<Hir, QueryError> {
    let ascii = ascii_classes(written);
    let parsed = ParserBuilder::new().nest_limit(50).build().parse(&ascii);
    parsed.map_err(|error| invalid(written, &error))
}

/// `\d`, `\s` and `\w` know ASCII alone in RE2.
fn ascii_classes(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut signs = written.chars();
    while let Some(sign) = signs.next() {
        if sign != '\\' {
            text.push(sign);
            continue;
        }
        match signs.next() {
            Some('d') => text.push_str("[0-9]"),
            Some('D') => text.push_str("[^0-9]"),
            Some('s') => text.push_str(r"[\t\n\x0C\r ]"),
            Some('S') => text.push_str(r"[^\t\n\x0C\r ]"),
            Some('w') => text.push_str("[0-9A-Za-z_]"),
            Some('W') => text.push_str("[^0-9A-Za-z_]"),
            Some('b') => text.push_str(r"(?-u:\b)"),
            Some('B') => text.push_str(r"(?-u:\B)"),
            Some(other) => text.extend(['\\', other]),
            None => text.push('\\'),
        }
    }
    text
}

fn print(out: &mut String, hir: &Hir) -> Result<(), QueryError> {
    if out.len() > MOST_BYTES {
        return Err(QueryError::unsupported("a regular expression that is so long"));
    }
    match hir.kind() {
        HirKind::Empty => out.push_str("(?:)"),
        HirKind::Literal(bytes) => {
            let text = std::str::from_utf8(&bytes.0)
                .map_err(|_| QueryError::unsupported("a regular expression of bytes that are no text"))?;
            literal(out, text);
        }
        HirKind::Class(class) => print_class(out, class)?,
        HirKind::Look(look) => out.push_str(match look {
            Look::Start => r"\A",
            Look::End => r"\Z",
            Look::StartLF => r"(?:\A|(?<=\n))",
            Look::EndLF => r"(?:\Z|(?=\n))",
            Look::WordAscii => r"(?:(?<![0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<=[0-9A-Za-z_])(?![0-9A-Za-z_]))",
            Look::WordAsciiNegate => r"(?:(?<![0-9A-Za-z_])(?![0-9A-Za-z_])|(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_]))",
            _ => return Err(QueryError::unsupported("this boundary in a regular expression")),
        }),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(0).max(repetition.min);
            if most > MOST_REPEATS {
                let message = format!("more than {MOST_REPEATS} repetitions in a regular expression");
                return Err(QueryError::Unsupported(message));
            }
            out.push_str("(?:");
            print(out, &repetition.sub)?;
            out.push(')');
            // Writing to a text cannot fail.
            let _ = match (repetition.min, repetition.max) {
                (min, None) => write!(out, "{{{min},}}"),
                (min, Some(max)) => write!(out, "{{{min},{max}}}"),
            };
        }
        HirKind::Capture(capture) => {
            out.push_str("(?:");
            print(out, &capture.sub)?;
            out.push(')');
        }
        HirKind::Concat(parts) => {
            for part in parts {
                print(out, part)?;
            }
        }
        HirKind::Alternation(parts) => {
            out.push_str("(?:");
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                print(out, part)?;
            }
            out.push(')');
        }
    }
    Ok(())
}

fn literal(out: &mut String, text: &str) {
    for sign in text.chars() {
        one(out, sign);
    }
}

/// A character that means itself, within brackets too.
fn one(out: &mut String, sign: char) {
    if sign.is_ascii_alphanumeric() {
        out.push(sign);
    } else if u32::from(sign) <= 0xFFFF {
        let _ = write!(out, "\\u{:04X}", u32::from(sign));
    } else {
        let _ = write!(out, "\\U{:08X}", u32::from(sign));
    }
}

fn print_class(out: &mut String, class: &Class) -> Result<(), QueryError> {
    let class = match class {
        Class::Unicode(class) => class.clone(),
        Class::Bytes(class) => class
            .to_unicode_class()
            .ok_or_else(|| QueryError::unsupported("a class of bytes that are no characters"))?,
    };
    let mut others = class.clone();
    others.negate();
    if class.ranges().is_empty() {
        // Nothing matches.
        out.push_str("(?!)");
    } else if others.ranges().is_empty() {
        out.push_str("(?:.|\\u000A)");
    } else if others.ranges().len() < class.ranges().len() || reaches_all(&class) {
        out.push_str("[^");
        ranges(out, &others);
        out.push(']');
    } else {
        out.push('[');
        ranges(out, &class);
        out.push(']');
    }
    Ok(())
}

/// Whether it ends with the last character: then it is written by what is missing.
fn reaches_all(class: &ClassUnicode) -> bool {
    class.ranges().last().is_some_and(|range| range.end() == char::MAX)
}

fn ranges(out: &mut String, class: &ClassUnicode) {
    for range in class.ranges() {
        // No text of Postgres has the character 0.
        if range.end() == '\0' {
            continue;
        }
        let start = range.start().max('\u{1}');
        one(out, start);
        if start != range.end() {
            out.push('-');
            one(out, range.end());
        }
    }
}
