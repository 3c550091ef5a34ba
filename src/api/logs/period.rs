//! From when to when: RFC 3339, a day, `now`, or relative to now: -1h, now-1h.

use crate::api::params::{Params, read_time};
use crate::api::problem::Problem;
use crate::domain::Timestamp;
use crate::logs::logsql::parse_duration_ns;

/// The time of a parameter; `None`: not given.
///
/// # Errors
/// 400 when it is none.
pub fn time(params: &Params, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| {
        relative(text, now).map_or_else(
            || {
                read_time(text)
                    .map_err(|message| Problem::bad_parameter(name, format!("{message}; or relative to now, like -1h")))
            },
            Ok,
        )
    };
    params.get(name).map(read).transpose()
}

fn relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let offset = text.strip_prefix("now").unwrap_or(text);
    if offset.is_empty() && text == "now" {
        return Some(now);
    }
    let ns = match offset.strip_prefix('+') {
        Some(ahead) => parse_duration_ns(ahead)?,
        None if offset.starts_with('-') => parse_duration_ns(offset)?,
        None => return None,
    };
    Some(Timestamp::from_ms(now.as_ms().saturating_add(ns / 1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        let now = Timestamp::from_ms(1_800_000_000_000);
        for (text, expected_ms) in [
            ("now", Some(0)),
            ("-1h", Some(-3_600_000)),
            ("now-90s", Some(-90_000)),
            ("now+1m", Some(60_000)),
            ("1h", None),
            ("-1x", None),
            ("", None),
        ] {
            let found = relative(text, now).map(|time| time.as_ms() - now.as_ms());
            assert_eq!(found, expected_ms, "{text}");
        }
    }
}
