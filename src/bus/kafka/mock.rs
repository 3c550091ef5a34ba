//! A broker that librdkafka plays, for faults that a real one does not do on request.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::client::{Client, ClientContext};
use rdkafka::producer::{BaseProducer, Producer};

use super::settings::Settings;
use crate::bus::{BusOptions, KafkaOptions};

/// Settings for a broker with one topic, for the commands of four shards. It lives as long as the producer.
pub(super) fn mocked(prefix: &str) -> (BaseProducer, Arc<Settings>) {
    let host: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create().unwrap();
    let brokers = {
        let mock = host.client().mock_cluster().unwrap();
        mock.create_topic(&format!("{prefix}commands"), 4, 1).unwrap();
        mock.bootstrap_servers()
    };
    let kafka = KafkaOptions {
        brokers: Some(brokers),
        topic_prefix: prefix.to_owned(),
        ..KafkaOptions::default()
    };
    (
        host,
        Arc::new(Settings::new(&BusOptions::default(), &kafka, 4).unwrap()),
    )
}

/// The client takes itself to have failed for good.
pub(super) fn fail_for_good<C: ClientContext>(client: &Client<C>) {
    let code = rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the client is alive, the text is static; the call is there for tests.
    unsafe { rdkafka::bindings::rd_kafka_test_fatal_error(client.native_ptr(), code, c"by the test".as_ptr()) };
}
