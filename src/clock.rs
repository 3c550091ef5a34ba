//! The one place that reads the machine's clock. Everything else takes `now` as an argument, so that the simulation and
//! the tests can choose it.

use std::time::Duration;

use crate::domain::Timestamp;

/// Clocks that are so near to each other agree: NTP keeps those of a cluster within some milliseconds.
pub const AGREE: Duration = Duration::from_secs(2);

/// The time of the machine, in UTC, in whole milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
