//! The one place that reads the machine's clock. Everything else takes `now` as an argument, so that the simulation and
//! the tests can choose it.

use crate::domain::Timestamp;

/// The time of the machine, in UTC, in whole milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
