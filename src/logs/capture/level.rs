//! Levels: TRACE, DEBUG, INFO, WARN, ERROR, FATAL.

const WORDS: [(&str, &str); 15] = [
    ("TRACE", "TRACE"),
    ("DEBUG", "DEBUG"),
    ("INFO", "INFO"),
    ("INFORMATION", "INFO"),
    ("NOTICE", "INFO"),
    ("WARN", "WARN"),
    ("WARNING", "WARN"),
    ("ERROR", "ERROR"),
    ("ERR", "ERROR"),
    ("SEVERE", "ERROR"),
    ("FATAL", "FATAL"),
    ("CRITICAL", "FATAL"),
    ("PANIC", "FATAL"),
    ("ALERT", "FATAL"),
    ("EMERGENCY", "FATAL"),
];

/// All words that name a level.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

/// The level that a word names, in any case.
pub fn named(word: &str) -> Option<&'static str> {
    let found = WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    found.map(|(_, level)| *level)
}

/// The level of a number, as pino and bunyan write them.
pub fn numbered(number: u64) -> Option<&'static str> {
    match number {
        10 => Some("TRACE"),
        20 => Some("DEBUG"),
        30 => Some("INFO"),
        40 => Some("WARN"),
        50 => Some("ERROR"),
        60 => Some("FATAL"),
        _ => None,
    }
}

/// The level word at the start of a text, which times and brackets may stand before; else `otherwise`.
pub fn of(text: &str, otherwise: &str) -> String {
    at_start(text).unwrap_or(otherwise).to_owned()
}

fn at_start(text: &str) -> Option<&'static str> {
    // A date and a time, at most.
    text.split_ascii_whitespace()
        .take(3)
        .map_while(|part| match word(part) {
            Some(level) => Some(Some(level)),
            None if is_time(part) => Some(None),
            None => None,
        })
        .find_map(|level| level)
}

/// A level word that stands out: in capitals, in brackets, or before a colon. `Error` may begin a sentence.
fn word(part: &str) -> Option<&'static str> {
    let inner = part.trim_start_matches(['[', '<', '(']);
    let end = inner
        .find(|sign: char| !sign.is_ascii_alphabetic())
        .unwrap_or(inner.len());
    let (word, after) = inner.split_at(end);
    let stands_out = inner.len() < part.len() || after.starts_with([':', ']', '|']);
    let in_capitals = word.bytes().all(|byte| byte.is_ascii_uppercase());
    // `ERROR_CODE=5` is another word.
    let ends = after.is_empty() || after.starts_with([':', ']', '>', ')', '|', ',']);
    named(word).filter(|_| ends && (stands_out || in_capitals))
}

/// Digits with what stands between them in dates, times and zones.
fn is_time(part: &str) -> bool {
    part.starts_with(|sign: char| sign.is_ascii_digit() || sign == '[')
        && part.bytes().any(|byte| byte.is_ascii_digit())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"-:./,+TZ[]".contains(&byte))
}
