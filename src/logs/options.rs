//! Options of the lines of tasks.

use std::time::Duration;

use crate::config::Secret;
use crate::options;

options! {
    /// Options of the lines of tasks; what is said of space and age holds where Postgres keeps them.
    pub struct LogsOptions {
        /// Disk space for lines; the oldest hours are dropped when there is more.
        max_bytes: u64 = 10_000_000_000,
        /// How long lines are kept at most.
        max_age: Duration = Duration::from_secs(30 * 24 * 60 * 60),
        /// How long after lines came it is looked at whether others must be dropped.
        sweep_interval: Duration = Duration::from_secs(60),
        /// The longest time that one search may take.
        search_timeout: Duration = Duration::from_secs(10),
        /// How often those who follow look for lines that other processes took in.
        tail_interval: Duration = Duration::from_millis(400),
    }
}

options! {
    /// Options of a VictoriaLogs that keeps the lines instead of Postgres.
    pub struct VictoriaOptions {
        /// Its URL; without it, Postgres keeps the lines.
        url: Option<String> = None,
        /// A bearer token, where something before it asks for one.
        token: Option<Secret> = None,
        /// The longest time that connecting may take; a search may take logs.search_timeout.
        connect_timeout: Duration = Duration::from_secs(3),
        /// How long lines are on their way to it: who follows them there is so far behind. Vector alone gathers for 5 s.
        settle: Duration = Duration::from_secs(8),
    }
}
