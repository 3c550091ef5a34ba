//! Options of the API.

use std::time::Duration;

use crate::options;

options! {
    /// Options of the API: how long it waits, for how much, and whom it answers.
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
        /// Jobs that one call for many acts on at most.
        bulk_jobs: u32 = 1_000,
        /// Of those, how many are acted on at a time.
        bulk_side_by_side: u16 = 32,
        /// Dead letters that a job keeps; what fails beyond them is counted.
        dead_letters_per_job: u32 = 10_000,
        /// And their bytes.
        dead_letter_bytes_per_job: u64 = 64 * 1024 * 1024,
        /// How long a client may take to send a body.
        body_timeout: Duration = Duration::from_secs(30),
        /// How long a client may take to send the head of a request, and a connection to be made secure.
        header_timeout: Duration = Duration::from_secs(10),
        /// How long an answer may take to begin.
        request_timeout: Duration = Duration::from_secs(60),
        /// Longest body of any request; calls have limits of their own below it.
        max_body_bytes: u32 = 2 * 1024 * 1024,
        /// Connections that a thread holds at a time; further ones wait.
        max_connections: u32 = 10_000,
        /// Names by which the server may be asked for, besides the host of `server.public_url` and the addresses it
        /// listens on; `*` allows any, and leaves a server without tokens open to pages of anybody.
        allowed_hosts: Vec<String> =
            ["localhost", "127.0.0.1", "[::1]", "jobmaster"].map(str::to_owned).to_vec(),
        /// Servers whose pages may call this one from a browser, such as https://board.example:8443.
        cors_origins: Vec<String> = Vec::new(),
        /// Requests a second that one caller may go on with, by principal, or by address without a token; 0: any number.
        rate_per_second: u32 = 2_000,
        /// Requests that one caller may send at once.
        rate_burst: u32 = 10_000,
        /// How long requests under way may take when the server is told to stop.
        stop_timeout: Duration = Duration::from_secs(10),
    }
}
