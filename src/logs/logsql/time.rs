//! Points in time as LogsQL writes them. A shortened one (a day, an hour, …) stands for all of it where a range ends.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};

use super::duration::parse_duration_ns;
use crate::domain::Timestamp;

const NS_PER_MS: i64 = 1_000_000;

/// A point in time, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub start_ns: i64,
    /// The last nanosecond of what the text stands for.
    pub end_ns: i64,
}

/// Whether a text is a point in time and not a duration.
pub fn is_point(text: &str) -> bool {
    let year = text.as_bytes().get(..4);
    text.starts_with("now") || year.is_some_and(|year| year.iter().all(u8::is_ascii_digit)) && has_no_unit(text)
}

/// `2026` and `2026-…` are times; `2026s` is a duration.
fn has_no_unit(text: &str) -> bool {
    text[4..].is_empty() || text[4..].starts_with('-') || text[4..].starts_with('Z')
}

/// Reads `now`, `now-1h`, or RFC 3339 shortened from its end, in UTC when no zone is given.
pub fn parse_point(text: &str, now: Timestamp) -> Option<Point> {
    if let Some(offset) = text.strip_prefix("now") {
        let offset_ns = match offset.strip_prefix('+') {
            Some(ahead) => parse_duration_ns(ahead)?,
            None if offset.is_empty() => 0,
            None => parse_duration_ns(offset).filter(|_| offset.starts_with('-'))?,
        };
        let at = now.as_ms().checked_mul(NS_PER_MS)?.checked_add(offset_ns)?;
        return Some(Point {
            start_ns: at,
            end_ns: at,
        });
    }
    let (text, zone_minutes) = without_zone(text)?;
    let (start, end) = span(text)?;
    let ns = |time: DateTime<Utc>| {
        let shifted = time.checked_sub_signed(TimeDelta::minutes(zone_minutes))?;
        shifted.timestamp_nanos_opt()
    };
    Some(Point {
        start_ns: ns(start)?,
        end_ns: ns(end)? - 1,
    })
}

/// The text without its zone, and how many minutes that is east of UTC.
fn without_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    // A zone follows a time of day; a minus before it belongs to the date.
    let Some(at) = text.rfind(['+', '-']).filter(|at| text[..*at].contains('T')) else {
        return Some((text, 0));
    };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let sign = if text.as_bytes()[at] == b'-' { -1 } else { 1 };
    Some((&text[..at], sign * i64::from(hours * 60 + minutes)))
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// From when, and until before when.
fn span(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let year = i32::try_from(digits(parts.next()?, 4)?).ok()?;
    let month = parts.next().map(|month| digits(month, 2).ok_or(())).transpose().ok()?;
    let day = parts.next().map(|day| digits(day, 2).ok_or(())).transpose().ok()?;
    if parts.next().is_some() {
        return None;
    }
    let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), day.unwrap_or(1))?;
    let midnight = |date: NaiveDate| date.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    let start = midnight(first)?;
    let end = match (month, day, time) {
        (_, Some(_), Some(time)) => return time_of_day(start, time),
        (Some(_), Some(_), None) => first.checked_add_days(Days::new(1))?,
        (Some(_), None, None) => first.checked_add_months(Months::new(1))?,
        (None, None, None) => first.checked_add_months(Months::new(12))?,
        _ => return None,
    };
    Some((start, midnight(end)?))
}

fn time_of_day(midnight: DateTime<Utc>, text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let (text, fraction) = match text.split_once('.') {
        Some((text, fraction)) => (text, Some(fraction)),
        None => (text, None),
    };
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
    let second = parts.next().map(|part| digits(part, 2).ok_or(())).transpose().ok()?;
    let fits = minute.unwrap_or(0) < 60 && second.unwrap_or(0) < 60 && parts.next().is_none();
    if !fits || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let seconds = hour * 3_600 + minute.unwrap_or(0) * 60 + second.unwrap_or(0);
    let mut start = midnight + TimeDelta::seconds(i64::from(seconds));
    let length = match (minute, second, fraction) {
        (None, ..) => TimeDelta::hours(1),
        (_, None, _) => TimeDelta::minutes(1),
        (.., None) => TimeDelta::seconds(1),
        (.., Some(fraction)) => {
            if fraction.is_empty() || fraction.len() > 9 {
                return None;
            }
            let count = digits(fraction, fraction.len())?;
            start += TimeDelta::nanoseconds(i64::from(count) * 10_i64.pow(9 - fraction.len() as u32));
            match fraction.len() {
                3 => TimeDelta::milliseconds(1),
                6 => TimeDelta::microseconds(1),
                _ => TimeDelta::nanoseconds(1),
            }
        }
    };
    Some((start, start + length))
}

/// The first millisecond at or after.
pub fn ceil_ms(ns: i64) -> i64 {
    ns.div_euclid(NS_PER_MS) + i64::from(ns.rem_euclid(NS_PER_MS) > 0)
}

/// The last millisecond at or before.
pub fn floor_ms(ns: i64) -> i64 {
    ns.div_euclid(NS_PER_MS)
}
