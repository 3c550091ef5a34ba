//! Kafka over TLS and with SASL: `kafka.properties` reach every client, and what is wrong with them is told at once.

use std::time::{Duration, Instant};

use grid::bus::{Bus, BusError, BusOptions, KafkaBus, KafkaOptions, Start, Topic, migrate};
use grid::config::Properties;

use super::kafka_only::made;
use super::ownership::Holder;
use super::{PATIENCE, SHARDS, number, numbered, receive};
use crate::support::{PASSWORD, Secured};

/// How to reach a listener of the broker.
struct Way<'a> {
    broker: &'a Secured,
    brokers: String,
    properties: Vec<(&'static str, String)>,
}

impl<'a> Way<'a> {
    fn new(broker: &'a Secured, brokers: String, protocol: &str, authority: &str) -> Self {
        let authority = broker.certificates.authority(authority);
        let properties = vec![
            ("security.protocol", protocol.to_owned()),
            ("ssl.ca.location", authority.to_str().unwrap().to_owned()),
        ];
        Self {
            broker,
            brokers,
            properties,
        }
    }

    fn certificate(broker: &'a Secured, authority: &str) -> Self {
        let mut way = Self::new(broker, broker.tls_brokers(), "ssl", authority);
        let store = broker.certificates.store("client");
        way.properties.extend([
            ("ssl.keystore.location", store.to_str().unwrap().to_owned()),
            ("ssl.keystore.password", PASSWORD.to_owned()),
        ]);
        way
    }

    fn login(broker: &'a Secured, mechanism: &str, password: &str) -> Self {
        let mut way = Self::new(broker, broker.login_brokers(), "sasl_ssl", "authority");
        way.properties.extend([
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.username", "grid".to_owned()),
            ("sasl.password", password.to_owned()),
        ]);
        way
    }

    fn options(&self) -> KafkaOptions {
        KafkaOptions {
            brokers: Some(self.brokers.clone()),
            topic_prefix: self.broker.kafka.fresh_prefix(),
            session_timeout: Duration::from_millis(1500),
            properties: self.properties.iter().cloned().collect::<Properties>(),
            ..KafkaOptions::default()
        }
    }

    /// Every kind of client has the properties.
    async fn leads_there(self) {
        let bus = made(&self.options()).await;
        let mut reader = bus.subscribe(Topic::Commands, 0, Start::End).await.unwrap();
        bus.send(Topic::Commands, 0, numbered(1)).unwrap().await.unwrap();
        assert_eq!(number(&receive(&mut reader, 1).await[0]), 1);
        let mut events = bus.ordered_producer().unwrap();
        events.publish(vec![(0, numbered(1))], PATIENCE).await.unwrap();
        let mut member = Holder::new(bus.join().await.unwrap());
        member.until_holding(usize::from(SHARDS)).await;
    }

    /// Told with these words, long before the time to connect is over.
    async fn must_be_refused(self, words: &[&str]) {
        let options = self.options();
        let begun = Instant::now();
        for refused in [
            migrate(&BusOptions::default(), &options, SHARDS).await.err(),
            KafkaBus::connect(&BusOptions::default(), &options, SHARDS).await.err(),
        ] {
            let refused = refused.unwrap();
            assert!(matches!(refused, BusError::Refused { .. }), "{refused}");
            let said = refused.to_string();
            for word in words.iter().chain(&[self.brokers.as_str(), "kafka.properties"]) {
                assert!(said.contains(word), "{word}: {said}");
            }
            assert!(!said.contains("open") && !said.contains(PASSWORD), "{said}");
        }
        assert!(begun.elapsed() < options.connect_timeout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_logins_pass_through_and_mistakes_are_told() {
    let broker = Secured::start();
    Way::certificate(&broker, "authority").leads_there().await;
    Way::login(&broker, "PLAIN", "open sesame").leads_there().await;
    Way::login(&broker, "SCRAM-SHA-256", "open sesame").leads_there().await;

    Way::certificate(&broker, "stranger")
        .must_be_refused(&["certificate"])
        .await;
    Way::login(&broker, "PLAIN", "open barley")
        .must_be_refused(&["uthentication"])
        .await;
    Way::login(&broker, "SCRAM-SHA-256", "open barley")
        .must_be_refused(&["uthentication"])
        .await;
    // Nobody without a certificate, and nobody in plain text.
    Way::new(&broker, broker.tls_brokers(), "ssl", "authority")
        .must_be_refused(&["certificate"])
        .await;
    let mut plain = Way::new(&broker, broker.tls_brokers(), "plaintext", "authority").options();
    plain.connect_timeout = Duration::from_secs(3);
    let refused = migrate(&BusOptions::default(), &plain, SHARDS).await.err().unwrap();
    assert!(refused.to_string().contains("security.protocol"), "{refused}");
}
