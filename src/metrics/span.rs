//! Lengths of windows and moments in time, as people write them in a question: `5m`, `-1h`, `now`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::Timestamp;

const UNITS: [(&str, u64); 7] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
    ("", 0),
];

/// A length of time above zero, of whole milliseconds. Its text has one unit: `90s`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Span {
    /// `None`: it is no time at all.
    pub const fn from_ms(ms: u64) -> Option<Self> {
        if ms == 0 { None } else { Some(Self(ms)) }
    }

    pub const fn as_ms(self) -> u64 {
        self.0
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS.iter().find(|(_, ms)| *ms > 0 && self.0.is_multiple_of(*ms));
        let (unit, ms) = fitting.copied().unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.0 / ms)
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "expected a number and one of ms, s, m, h, d, w, like 5m".to_owned();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let ms = UNITS.iter().find(|(name, _)| *name == unit).map_or(0, |(_, ms)| *ms);
        let number = number.parse::<u64>().map_err(|_| wrong())?;
        // A hundred years are enough for anybody.
        let whole = number.checked_mul(ms).filter(|ms| *ms <= 3_155_760_000_000);
        whole.and_then(Self::from_ms).ok_or_else(wrong)
    }
}

/// A moment: `now`, so long before it (`-1h`, `now-1h`), RFC 3339, or a day.
///
/// # Errors
/// What was expected.
pub fn read_moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if text == "now" {
        return Ok(now);
    }
    let back = text.strip_prefix("now").unwrap_or(text).strip_prefix('-');
    if let Some(back) = back {
        return Ok(now - back.parse::<Span>()?.as_duration());
    }
    let time = text
        .parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>());
    time.map_err(|_| "expected a time like 2026-01-31T10:00:00Z, a day, now, or a time before it like -1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, ms, shown) in [
            ("1m", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("3600s", 3_600_000, "1h"),
            ("14d", 1_209_600_000, "2w"),
            ("250ms", 250, "250ms"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_ms(), span.to_string().as_str()), (ms, shown));
        }
        for text in [
            "",
            "0s",
            "m",
            "5",
            "-5m",
            "5 m",
            "1.5h",
            "99999999999999999999s",
            "9999999w",
            "5min",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_read() {
        let now: Timestamp = "2026-01-31T10:00:00Z".parse().unwrap();
        let read = |text| read_moment(text, now).map(|time| time.to_string());
        assert_eq!(read("now").unwrap(), "2026-01-31T10:00:00.000Z");
        assert_eq!(read("-1h").unwrap(), "2026-01-31T09:00:00.000Z");
        assert_eq!(read("now-30m").unwrap(), "2026-01-31T09:30:00.000Z");
        assert_eq!(read("2026-01-30").unwrap(), "2026-01-30T00:00:00.000Z");
        assert_eq!(read("2026-01-30T12:00:00+02:00").unwrap(), "2026-01-30T10:00:00.000Z");
        for text in ["", "1h", "-h", "now-", "yesterday", "now+1h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
