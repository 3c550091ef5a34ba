//! Options of the API.

use std::time::Duration;

use crate::options;

options! {
    /// Options of the API: how long it waits, and for how much.
    pub struct ApiOptions {
        /// Threads that serve requests.
        threads: u16 = 2,
        /// How long a command is wanted: a shard refuses a later one, and the client is told that the outcome is
        /// unknown.
        command_timeout: Duration = Duration::from_secs(10),
        /// How long an answer waits until a reading call would find what it tells of.
        read_model_wait: Duration = Duration::from_secs(1),
        /// The longest wait for `minPosition`.
        position_wait: Duration = Duration::from_secs(5),
        /// The most events that are read to know a job as it was at a time (`asOf`).
        as_of_events: u32 = 500_000,
        /// Commands to one shard that may be unanswered; beyond it clients are told to come again.
        unanswered_per_shard: u32 = 1_000,
        /// How long an `Idempotency-Key` stands for its first request.
        idempotency_keep: Duration = Duration::from_secs(24 * 60 * 60),
        /// How often keys that have had their time are swept away.
        idempotency_sweep_interval: Duration = Duration::from_secs(60),
        /// How long a client may take to send a document.
        body_timeout: Duration = Duration::from_secs(30),
        /// How long requests under way may take when the server is told to stop.
        stop_timeout: Duration = Duration::from_secs(10),
    }
}
