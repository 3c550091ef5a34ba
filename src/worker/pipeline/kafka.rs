//! How the nodes `kafkasource` and `kafkasink` reach their brokers, and what these complain of.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use super::context::RunContext;
use super::remote_config::KafkaConfig;
use super::report::{PipelineFailure, PipelineFailureReason};

/// What a client was told, by the brokers and of its messages. It is given out by polling.
#[derive(Default)]
pub(super) struct Told(Mutex<Complaints>);

#[derive(Default)]
struct Complaints {
    /// They do not let us in, or not to this.
    refused: Option<String>,
    /// A message that was not delivered.
    lost: Option<String>,
    other: Option<String>,
}

impl Told {
    fn complaints(&self) -> MutexGuard<'_, Complaints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, code: Option<RDKafkaErrorCode>, message: String) {
        let mut complaints = self.complaints();
        match code {
            Some(code) if is_refusal(code) => complaints.refused = Some(message),
            // A connection that breaks while it is secured says nothing; what is said of a certificate does. The answer
            // to ours comes when the handshake is over, as an error of the connection.
            _ if message.contains("SSL alert") || message.contains("certificate verify failed") => {
                complaints.refused = Some(message);
            }
            // Says nothing that the others have not said.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => complaints.other = Some(message),
        }
    }

    /// Whether the run has to end for what was told.
    pub fn check(&self, id: &str, config: &KafkaConfig) -> Result<(), PipelineFailure> {
        let complaints = self.complaints();
        if let Some(why) = &complaints.refused {
            return Err(refusal(id, config, why.clone()));
        }
        match &complaints.lost {
            Some(why) => Err(failure(id, config, "does not take what is sent", why.clone())),
            None => Ok(()),
        }
    }

    /// What was said last, when nothing comes from the brokers.
    pub fn last(&self) -> String {
        let other = self.complaints().other.clone();
        other.unwrap_or_else(|| "no broker answers".to_owned())
    }
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

fn told(id: &str, config: &KafkaConfig, reason: PipelineFailureReason, what: &str, why: String) -> PipelineFailure {
    let message = format!("Kafka at {} {what} (topic `{}`)", config.brokers, config.topic);
    let mut failure = PipelineFailure::new(reason, id, message);
    failure.causes.push(why);
    failure
}

pub(super) fn refusal(id: &str, config: &KafkaConfig, why: String) -> PipelineFailure {
    told(
        id,
        config,
        PipelineFailureReason::Authentication,
        "refuses this client",
        why,
    )
}

pub(super) fn failure(id: &str, config: &KafkaConfig, what: &str, why: String) -> PipelineFailure {
    told(id, config, PipelineFailureReason::Error, what, why)
}

/// As the code says: refused, or failed in this way.
pub(super) fn of_error(id: &str, config: &KafkaConfig, what: &str, error: &KafkaError) -> PipelineFailure {
    match error.rdkafka_error_code() {
        Some(code) if is_refusal(code) => refusal(id, config, error.to_string()),
        _ => failure(id, config, what, error.to_string()),
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "pipeline.kafka.client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::info!(%error, reason, "pipeline.kafka.complaint");
        self.take_in(error.rdkafka_error_code(), reason.to_owned());
    }
}

impl ConsumerContext for Told {}

impl ProducerContext for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Err((error, _)) = result else { return };
        match error.rdkafka_error_code() {
            Some(code) if is_refusal(code) => self.complaints().refused = Some(error.to_string()),
            _ => {
                self.complaints().lost.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// What both kinds of client have.
pub(super) fn client(id: &str, config: &KafkaConfig, context: &RunContext) -> Result<ClientConfig, PipelineFailure> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("client.id", "grid-pipeline")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("log.connection.close", "false");
    for (name, text) in &config.properties {
        client.set(name, text.reveal(id, context)?);
    }
    Ok(client)
}

/// The properties do not fit each other, or a value does not fit its property.
pub(super) fn unfit(id: &str, error: &KafkaError) -> PipelineFailure {
    let message = "`properties` cannot be used".to_owned();
    let mut failure = PipelineFailure::new(PipelineFailureReason::InvalidDag, id, message);
    failure.causes.push(error.to_string());
    failure
}
