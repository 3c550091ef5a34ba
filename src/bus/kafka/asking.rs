//! A client that only asks the brokers, and remembers what they complain of.
//!
//! Must stay true: all of it waits for brokers, so all of it is called where waiting is allowed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::settings::{Settings, log_error, log_line};
use crate::bus::BusError;

pub(super) type Asking = BaseConsumer<Complaints>;

/// The last of each kind.
#[derive(Default)]
pub(super) struct Complaints(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Of who we are, or of who they are: trying again does not help.
    refused: Option<String>,
    other: Option<String>,
}

impl Complaints {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
        let mut told = self.told();
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism,
            ) => told.refused = Some(reason.to_owned()),
            // The answer to a certificate comes when the handshake is over, as an error of the connection.
            _ if reason.contains("SSL alert") => told.refused = Some(reason.to_owned()),
            // Says nothing that the others have not said.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => told.other = Some(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Complaints {}

pub(super) fn asking(settings: &Settings) -> Result<Asking, BusError> {
    let made = settings.asking().create_with_context(Complaints::default());
    made.map_err(|error| BusError::Properties(error.to_string()))
}

/// The cluster's id, as soon as a broker answers. A refusal is told when no other broker has answered shortly after it.
pub(super) fn cluster_id(asking: &Asking, settings: &Settings) -> Result<String, BusError> {
    const STEP: Duration = Duration::from_millis(250);
    const AFTER_REFUSAL: Duration = Duration::from_secs(1);
    let patience = settings.kafka.connect_timeout;
    let brokers = settings.kafka.brokers.as_deref().unwrap_or("no broker");
    let (mut deadline, mut refused) = (Instant::now() + patience, false);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(id) = asking.client().fetch_cluster_id(left.min(STEP)) {
            return Ok(id);
        }
        // Complaints are given out by polling; there are no messages.
        while asking.poll(Duration::ZERO).is_some() {}
        let told = asking.client().context().told();
        if told.refused.is_some() && !std::mem::replace(&mut refused, true) {
            deadline = deadline.min(Instant::now() + AFTER_REFUSAL);
        }
        if Instant::now() < deadline {
            continue;
        }
        return Err(match (&told.refused, &told.other) {
            (Some(why), _) => BusError::Refused {
                brokers: brokers.to_owned(),
                why: why.clone(),
            },
            (None, other) => BusError::Unavailable {
                what: "the id of the cluster".to_owned(),
                waited: patience,
                why: other.clone().unwrap_or_else(|| format!("no answer from {brokers}")),
            },
        });
    }
}
