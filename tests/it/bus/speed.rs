//! How fast the bus is. Run by hand, on a quiet machine:
//! `cargo test --release --test it -- --ignored --nocapture bus::speed`

use std::sync::Arc;
use std::time::{Duration, Instant};

use grid::bus::{Bus, BusOptions, KafkaBus, Message, Start, Topic, migrate};

use super::{Kind, PATIENCE, SHARDS, kafka_options, receive};
use crate::support::Kafka;

const BODY_BYTES: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn local() {
    measure(Kind::Local, 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn kafka() {
    measure(Kind::Kafka, 300_000).await;
}

async fn measure(kind: Kind, count: usize) {
    let bus = kind.open().await;
    throughput(kind, &bus, "post", count, false).await;
    throughput(kind, &bus, "send", count, true).await;
    publication(kind, &bus, count).await;
    round_trips(kind, &bus, Duration::ZERO).await;
    round_trips(kind, &bus, Duration::from_millis(20)).await;
    resubscribing(kind, &bus).await;
}

fn report(kind: Kind, what: &str, count: usize, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{kind:?} {what}: {count} in {took:.2?}, {rate:.0}/s");
}

/// Messages to all partitions of the assignments and back, all at once.
async fn throughput(kind: Kind, bus: &Arc<dyn Bus>, what: &str, count: usize, acknowledged: bool) {
    let body = Message::new(vec![b'x'; BODY_BYTES]);
    let started = Instant::now();
    let each = count / usize::from(SHARDS);
    let mut readers = Vec::new();
    for partition in 0..SHARDS {
        let mut reader = bus.subscribe(Topic::Assignments, partition, Start::End).await.unwrap();
        readers.push(grid::task::spawn("reader", async move {
            receive(&mut reader, each).await.len()
        }));
    }
    let mut last = None;
    for n in 0..count {
        let partition = (n % usize::from(SHARDS)) as u16;
        if acknowledged {
            last = Some(match bus.send(Topic::Assignments, partition, body.clone()) {
                Ok(delivery) => delivery,
                Err(_) => bus
                    .send_wait(Topic::Assignments, partition, body.clone(), PATIENCE)
                    .await
                    .unwrap(),
            });
        } else {
            while !bus.post(Topic::Assignments, partition, body.clone()) {
                tokio::task::yield_now().await;
            }
        }
    }
    report(kind, &format!("{what}, taken"), count, started.elapsed());
    if let Some(last) = last {
        last.await.unwrap();
        report(kind, &format!("{what}, acknowledged"), count, started.elapsed());
    }
    for reader in readers {
        reader.await.unwrap();
    }
    report(kind, &format!("{what}, received"), count, started.elapsed());
}

/// The ordered producer, 1,000 messages a batch, four batches under way.
async fn publication(kind: Kind, bus: &Arc<dyn Bus>, count: usize) {
    let body = Message::new(vec![b'x'; BODY_BYTES])
        .with_key("0198c2a0")
        .with_header("ce_type", "TaskCompleted");
    let mut producer = bus.ordered_producer().unwrap();
    let started = Instant::now();
    let mut under_way = std::collections::VecDeque::new();
    for batch in 0..count / 1000 {
        let partition = (batch % usize::from(SHARDS)) as u16;
        under_way.push_back(producer.begin(vec![(partition, body.clone()); 1000]).unwrap());
        if under_way.len() == 4 {
            under_way.pop_front().unwrap().await.unwrap();
        }
    }
    for publication in under_way {
        publication.await.unwrap();
    }
    report(kind, "published", count, started.elapsed());
}

/// One message there and one back, one at a time, with a pause in between.
async fn round_trips(kind: Kind, bus: &Arc<dyn Bus>, pause: Duration) {
    let mut there = bus.subscribe(Topic::Commands, 0, Start::End).await.unwrap();
    let mut back = bus.subscribe(Topic::Replies, 0, Start::End).await.unwrap();
    let answering = Arc::clone(bus);
    let answers = async move {
        let mut records = Vec::new();
        loop {
            there.recv_many(&mut records, 100).await.unwrap();
            answering.trim(Topic::Commands, 0, there.position());
            for record in records.drain(..) {
                answering.post(Topic::Replies, 0, record.message);
            }
        }
    };
    let asking = async {
        let mut times = Vec::new();
        for _ in 0..300 {
            tokio::time::sleep(pause).await;
            let started = Instant::now();
            bus.post(Topic::Commands, 0, Message::new("question"));
            receive(&mut back, 1).await;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        times
    };
    tokio::select! {
        () = answers => {}
        times = asking => println!(
            "{kind:?} there and back, pause {pause:?}: p50 {:?}, p99 {:?}, most {:?}",
            times[150], times[297], times[299]
        ),
    }
}

/// How long a shard that is loaded anew waits for its first command.
async fn resubscribing(kind: Kind, bus: &Arc<dyn Bus>) {
    let offset = bus.send(Topic::Commands, 1, Message::new("x")).unwrap().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..30 {
        let started = Instant::now();
        let mut reader = bus.subscribe(Topic::Commands, 1, Start::Offset(offset)).await.unwrap();
        receive(&mut reader, 1).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!(
        "{kind:?} subscribed to first message: p50 {:?}, most {:?}",
        times[15], times[29]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn kafka_first_message() {
    let bus = Kind::Kafka.open().await;
    for topic in [Topic::Commands, Topic::Replies, Topic::Heartbeats] {
        let started = Instant::now();
        let mut reader = bus.subscribe(topic, 0, Start::End).await.unwrap();
        let subscribed = started.elapsed();
        bus.send(topic, 0, Message::new("x")).unwrap().await.unwrap();
        let sent = started.elapsed();
        receive(&mut reader, 1).await;
        println!(
            "{topic}: subscribed after {subscribed:.1?}, sent after {sent:.1?}, received after {:.1?}",
            started.elapsed()
        );
    }
}

/// What 64 shards cost while nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn kafka_idle() {
    const PERIOD: Duration = Duration::from_secs(20);
    let (options, kafka) = (BusOptions::default(), kafka_options(Kafka::shared()));
    migrate(&options, &kafka, 64).await.unwrap();
    let bus = KafkaBus::connect(&options, &kafka, 64).await.unwrap();
    let started = Instant::now();
    let mut membership = bus.join().await.unwrap();
    let mut readers = Vec::new();
    for partition in 0..64 {
        membership.next().await.unwrap();
        readers.push(bus.subscribe(Topic::Commands, partition, Start::End).await.unwrap());
        readers.push(bus.subscribe(Topic::Reports, partition, Start::End).await.unwrap());
    }
    println!("64 shards assigned and subscribed: {:.1?}", started.elapsed());
    let proving = Instant::now();
    for partition in 0..64 {
        membership
            .member()
            .prove(partition, u64::from(partition) + 1)
            .await
            .unwrap();
    }
    println!("64 proofs, one after the other: {:.1?}", proving.elapsed());
    let before = cpu_seconds();
    tokio::time::sleep(PERIOD).await;
    println!(
        "idle: {:.2} % of a core",
        (cpu_seconds() - before) / PERIOD.as_secs_f64() * 100.0
    );
}

fn cpu_seconds() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}
