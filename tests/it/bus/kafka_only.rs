//! What only the bus over Kafka has: brokers that go away, retention, topics that must be made.

use std::time::Duration;

use grid::bus::{Bus, BusError, BusOptions, Change, KafkaBus, KafkaOptions, Message, RecvError, Start, Topic, migrate};
use grid::config::Properties;

use super::ownership::Holder;
use super::{PATIENCE, SHARDS, kafka_options, number, numbered, numbers, receive};
use crate::support::{Kafka, eventually};

pub async fn made(kafka: &KafkaOptions) -> KafkaBus {
    let options = BusOptions::default();
    migrate(&options, kafka, SHARDS).await.unwrap();
    KafkaBus::connect(&options, kafka, SHARDS).await.unwrap()
}

pub async fn another(kafka: &KafkaOptions) -> KafkaBus {
    KafkaBus::connect(&BusOptions::default(), kafka, SHARDS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_once_and_checked() {
    let mut kafka = kafka_options(Kafka::shared());
    let mut options = BusOptions::default();
    let missing = KafkaBus::connect(&options, &kafka, SHARDS).await.err().unwrap();
    assert!(missing.to_string().contains("grid migrate"), "{missing}");
    let changes = migrate(&options, &kafka, SHARDS).await.unwrap();
    assert_eq!(changes.len(), 6);
    assert!(
        changes.iter().all(|change| matches!(change, Change::Created { .. })),
        "{changes:?}"
    );
    assert_eq!(migrate(&options, &kafka, SHARDS).await.unwrap(), []);
    KafkaBus::connect(&options, &kafka, SHARDS).await.unwrap();

    for shards in [SHARDS - 1, SHARDS + 1] {
        let wrong = migrate(&options, &kafka, shards).await.err().unwrap();
        assert!(wrong.to_string().contains("shards.count"), "{wrong}");
        assert_eq!(KafkaBus::connect(&options, &kafka, shards).await.err().unwrap(), wrong);
    }
    options.reply_partitions += 4;
    options.max_message_bytes += 1_000_000;
    let unready = KafkaBus::connect(&options, &kafka, SHARDS)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        unready.contains("bus.reply_partitions") && unready.contains("max.message.bytes"),
        "{unready}"
    );
    let changes = migrate(&options, &kafka, SHARDS).await.unwrap();
    let grown = changes
        .iter()
        .filter(|change| matches!(change, Change::Grown { from: 16, to: 20, .. }))
        .count();
    let raised = changes
        .iter()
        .filter(|change| matches!(change, Change::LimitRaised { .. }))
        .count();
    assert_eq!((grown, raised), (1, 6), "{changes:?}");
    KafkaBus::connect(&options, &kafka, SHARDS).await.unwrap();

    let reserved = [("acks", "1")].into_iter().collect::<Properties>();
    kafka.properties = reserved;
    let refused = KafkaBus::connect(&options, &kafka, SHARDS).await.err().unwrap();
    assert!(
        matches!(&refused, BusError::Properties(why) if why.contains("acks")),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_are_away_are_named() {
    let mut kafka = kafka_options(Kafka::shared());
    kafka.brokers = Some("127.0.0.1:1".to_owned());
    kafka.connect_timeout = Duration::from_millis(500);
    let unreached = KafkaBus::connect(&BusOptions::default(), &kafka, SHARDS)
        .await
        .err()
        .unwrap();
    assert!(unreached.to_string().contains("127.0.0.1:1"), "{unreached}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_pass_through_to_every_client() {
    let broker = Kafka::shared();
    let mut kafka = kafka_options(broker);
    kafka.brokers = Some(broker.sasl_brokers());
    kafka.connect_timeout = Duration::from_secs(3);
    let login = |password: &'static str| {
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "grid"),
            ("sasl.password", password),
        ];
        properties.into_iter().collect::<Properties>()
    };
    kafka.properties = login("wrong");
    assert!(migrate(&BusOptions::default(), &kafka, SHARDS).await.is_err());
    kafka.properties = login("open sesame");
    let bus = made(&kafka).await;
    let mut reader = bus.subscribe(Topic::Commands, 0, Start::End).await.unwrap();
    bus.send(Topic::Commands, 0, numbered(1)).unwrap().await.unwrap();
    assert_eq!(number(&receive(&mut reader, 1).await[0]), 1);
    let mut events = bus.ordered_producer().unwrap();
    events.publish(vec![(0, numbered(1))], PATIENCE).await.unwrap();
    let mut member = Holder::new(bus.join().await.unwrap());
    member.until_holding(usize::from(SHARDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_one_cluster_agree_on_identity_and_content() {
    let kafka = kafka_options(Kafka::shared());
    let (one, other) = (made(&kafka).await, another(&kafka).await);
    assert_eq!(one.identity(), other.identity());
    let mut reader = other.subscribe(Topic::Assignments, 3, Start::End).await.unwrap();
    for n in 0..100 {
        one.send(Topic::Assignments, 3, numbered(n)).unwrap().await.unwrap();
    }
    assert_eq!(numbers(&receive(&mut reader, 100).await), (0..100).collect::<Vec<_>>());
}

/// Fault: the broker is killed for 15 s while messages are sent and read, partitions are owned, events are published.
/// Must hold: everything acknowledged is read, in order, none twice by one producer; nobody has to subscribe again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_broker_loses_nothing() {
    const OUTAGE: Duration = Duration::from_secs(15);
    let broker = Kafka::start();
    let bus = made(&kafka_options(&broker)).await;
    let mut member = Holder::new(bus.join().await.unwrap());
    member.until_holding(usize::from(SHARDS)).await;
    let mut reader = bus.subscribe(Topic::Reports, 0, Start::Beginning).await.unwrap();
    let mut events = bus.subscribe(Topic::Events, 0, Start::Beginning).await.unwrap();
    let mut publisher = bus.ordered_producer().unwrap();
    let over = tokio::sync::watch::Sender::new(false);

    let sending = async {
        let mut deliveries = Vec::new();
        while !*over.borrow() {
            deliveries.push(bus.send(Topic::Reports, 0, numbered(deliveries.len())).unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let sent = deliveries.len();
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        sent
    };
    let publishing = async {
        let mut published = 0;
        while !*over.borrow() {
            let batch = (published..published + 10).map(|n| (0, numbered(n))).collect();
            publisher.publish(batch, PATIENCE).await.unwrap();
            published += 10;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        published
    };
    let fault = async {
        receive(&mut reader, 100).await;
        receive(&mut events, 100).await;
        tokio::task::block_in_place(|| broker.kill());
        let refused = bus.range(Topic::Reports, 0);
        tokio::time::sleep(OUTAGE).await;
        drop(refused);
        tokio::task::block_in_place(|| broker.restart());
        // One more round trip.
        receive(&mut reader, 1000).await;
        receive(&mut events, 100).await;
        over.send_replace(true);
    };
    let (sent, published, ()) = tokio::join!(sending, publishing, fault);
    let rest = receive(&mut reader, sent - 1100).await;
    assert_eq!(numbers(&rest), (1100..sent).collect::<Vec<_>>());
    assert_eq!(bus.range(Topic::Reports, 0).await.unwrap(), (0, sent as i64));
    let rest = receive(&mut events, published - 200).await;
    assert_eq!(numbers(&rest), (200..published).collect::<Vec<_>>());

    // Ownership is again what the broker says, whatever was lost meanwhile.
    let all = usize::from(SHARDS);
    let proving = eventually("all partitions are proved", PATIENCE, async || {
        while let Ok(()) = tokio::time::timeout(Duration::from_millis(50), member.step()).await {}
        let mut proved = 0;
        for (partition, generation) in &member.held {
            proved += usize::from(member.membership.member().prove(*partition, *generation).await.is_ok());
        }
        (proved == all).then_some(())
    });
    proving.await;
}

/// Fault: the broker is away for longer than messages are tried. Must hold: the publisher is told the first message
/// that failed, nothing follows it before the publisher goes on from there, and the log then has no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_publication_stops_everything_behind_it() {
    let broker = Kafka::start();
    let mut kafka = kafka_options(&broker);
    kafka.delivery_timeout = Duration::from_secs(2);
    let bus = made(&kafka).await;
    let mut publisher = bus.ordered_producer().unwrap();
    let mut bystander = bus.ordered_producer().unwrap();
    let batch = |from: usize| (from..from + 100).map(|n| (0, numbered(n))).collect::<Vec<_>>();
    publisher.publish(batch(0), PATIENCE).await.unwrap();
    tokio::task::block_in_place(|| broker.kill());
    let one = publisher.begin(batch(100)).unwrap();
    let other = publisher.begin(batch(200)).unwrap();
    assert_eq!(one.await.err().unwrap().index, 0);
    assert_eq!(other.await.err().unwrap().index, 0);
    assert!(publisher.begin(batch(300)).is_err(), "it has not been told to go on");
    assert!(
        bystander.begin(batch(0)).is_err(),
        "the other handle shares the producer"
    );
    tokio::task::block_in_place(|| broker.restart());
    assert!(publisher.begin(batch(300)).is_err(), "not even when the broker is back");
    publisher.resume().await;
    for from in [100, 200, 300] {
        publisher.publish(batch(from), PATIENCE).await.unwrap();
    }
    let high = bus.range(Topic::Events, 0).await.unwrap().1;
    let mut reader = bus.subscribe(Topic::Events, 0, Start::Beginning).await.unwrap();
    let mut have = 0;
    for n in numbers(&receive(&mut reader, high as usize).await) {
        // Repeated ones are recognised; a gap could not be.
        assert!(n <= have, "{n} came behind {have}");
        have = have.max(n + 1);
    }
    assert_eq!(have, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_was_passed_by_retention_is_told() {
    let kafka = kafka_options(Kafka::shared());
    let bus = made(&kafka).await;
    for n in 0..50 {
        bus.send(Topic::Reports, 1, numbered(n)).unwrap().await.unwrap();
    }
    delete_below(&kafka, "reports", 1, 20).await;
    assert_eq!(bus.range(Topic::Reports, 1).await.unwrap(), (20, 50));
    let early = bus.subscribe(Topic::Reports, 1, Start::Offset(10)).await.err().unwrap();
    assert!(
        matches!(early, BusError::OutOfRange { low: 20, high: 50, .. }),
        "{early}"
    );
    let mut reader = bus.subscribe(Topic::Reports, 1, Start::Beginning).await.unwrap();
    assert_eq!(number(&receive(&mut reader, 1).await[0]), 20);
}

/// Fault: Kafka's retention passes a reader that is slow. Must hold: what it has fetched is handed over, then it is
/// told, and told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_that_is_passed_by_retention_is_told() {
    const COUNT: usize = 300;
    let kafka = kafka_options(Kafka::shared());
    let options = BusOptions {
        partition_bytes: 16 * 1024,
        ..BusOptions::default()
    };
    migrate(&options, &kafka, SHARDS).await.unwrap();
    let bus = KafkaBus::connect(&options, &kafka, SHARDS).await.unwrap();
    let mut reader = bus.subscribe(Topic::Reports, 1, Start::Beginning).await.unwrap();
    for n in 0..COUNT {
        let message = Message::new(vec![0; 20 * 1024]).with_key(n.to_string());
        bus.send(Topic::Reports, 1, message).unwrap().await.unwrap();
    }
    delete_below(&kafka, "reports", 1, COUNT as i64).await;
    let mut records = Vec::new();
    let reading = async {
        loop {
            if let Err(error) = reader.recv_many(&mut records, 10).await {
                break error;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, reading).await.unwrap();
    assert!(records.len() < COUNT, "everything was fetched before it was deleted");
    assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == offset));
    let offset = records.len() as i64;
    let expected = RecvError::OutOfRange {
        topic: Topic::Reports,
        partition: 1,
        offset,
    };
    assert_eq!(ended, expected);
    assert_eq!(reader.recv_many(&mut records, 10).await, Err(expected));
}

async fn delete_below(kafka: &KafkaOptions, topic: &str, partition: i32, below: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::{Offset, TopicPartitionList};
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers.as_deref().unwrap());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    let name = format!("{}{topic}", kafka.topic_prefix);
    list.add_partition_offset(&name, partition, Offset::Offset(below))
        .unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// A large message that waits behind a small fetch limit must not stop the partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_buffers_pass_large_messages() {
    let kafka = kafka_options(Kafka::shared());
    let options = BusOptions {
        partition_bytes: 16 * 1024,
        ..BusOptions::default()
    };
    migrate(&options, &kafka, SHARDS).await.unwrap();
    let bus = KafkaBus::connect(&options, &kafka, SHARDS).await.unwrap();
    let mut reader = bus.subscribe(Topic::Commands, 0, Start::End).await.unwrap();
    for n in 0..5_u8 {
        let message = Message::new(vec![n; 2 * 1024 * 1024]);
        bus.send(Topic::Commands, 0, message).unwrap().await.unwrap();
        bus.send(Topic::Commands, 0, Message::new(vec![n; 1]))
            .unwrap()
            .await
            .unwrap();
    }
    let records = receive(&mut reader, 10).await;
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.message.payload[0], record.message.payload.len()))
        .collect();
    let expected: Vec<_> = (0..5).flat_map(|n| [(n, 2 * 1024 * 1024), (n, 1)]).collect();
    assert_eq!(seen, expected);
}
