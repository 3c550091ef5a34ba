//! What every bus must do.

use std::time::Duration;

use grid::bus::{BusError, BusOptions, Message, Ownership, ProveError, RecvError, SendError, Start, Topic};
use grid::clock;

use super::{Kind, PATIENCE, SHARDS, number, numbered, numbers, receive};

macro_rules! suite {
    ($($name:ident,)+) => {
        mod local {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Local).await;
            })+
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Kafka).await;
            })+
        }
    };
}

suite! {
    a_partition_keeps_the_order,
    a_message_arrives_whole,
    subscriptions_of_one_partition_are_independent,
    what_was_read_is_read_again_from_an_offset,
    the_end_is_where_later_messages_are,
    the_range_tells_what_is_there,
    an_unknown_partition_is_refused,
    a_payload_at_the_limit_passes_and_one_beyond_is_refused,
    a_full_queue_says_so_and_takes_more_when_it_has_drained,
    a_slow_reader_loses_nothing_and_holds_back_nobody_else,
    cancelled_reading_loses_nothing,
    a_member_owns_and_proves_until_it_leaves,
    a_publication_is_in_order_and_acknowledged,
    a_refused_publication_sends_nothing,
    posts_arrive_in_order_with_sends,
    closing_sends_what_is_queued_and_ends_subscriptions,
}

async fn a_partition_keeps_the_order(kind: Kind) {
    const COUNT: usize = 20_000;
    let bus = kind.open().await;
    let mut one = bus.subscribe(Topic::Reports, 1, Start::Beginning).await.unwrap();
    let mut other = bus.subscribe(Topic::Reports, 2, Start::Beginning).await.unwrap();
    let mut last = None;
    for n in 0..COUNT {
        let partition = if n % 3 == 0 { 1 } else { 2 };
        last = Some(bus.send(Topic::Reports, partition, numbered(n)).unwrap());
    }
    last.unwrap().await.unwrap();
    let expected = |of_one: bool| (0..COUNT).filter(|n| (n % 3 == 0) == of_one).collect::<Vec<_>>();
    let of_one = receive(&mut one, expected(true).len()).await;
    let of_other = receive(&mut other, expected(false).len()).await;
    assert_eq!(numbers(&of_one), expected(true));
    assert_eq!(numbers(&of_other), expected(false));
    assert!(of_one.iter().zip(0..).all(|(record, offset)| record.offset == offset));
}

async fn a_message_arrives_whole(kind: Kind) {
    let bus = kind.open().await;
    let before = clock::now();
    let sent = [
        Message::new(&b"body\0\xff"[..])
            .with_key("key")
            .with_header("a", "1")
            .with_header("a", &b"\0\xfe"[..]),
        Message::new(""),
        Message::new("only a key").with_key(""),
    ];
    for (offset, message) in sent.iter().enumerate() {
        let delivered = bus.send(Topic::Commands, 0, message.clone()).unwrap().await.unwrap();
        assert_eq!(delivered, offset as i64);
    }
    let mut reader = bus.subscribe(Topic::Commands, 0, Start::Beginning).await.unwrap();
    let records = receive(&mut reader, sent.len()).await;
    assert_eq!(
        records.iter().map(|record| record.message.clone()).collect::<Vec<_>>(),
        sent
    );
    assert_eq!(records[0].message.header("a").unwrap(), "1");
    assert_eq!(records[0].message.header("b"), None);
    for record in records {
        assert!(
            record.timestamp >= before && record.timestamp <= clock::now(),
            "{:?}",
            record.timestamp
        );
    }
}

async fn subscriptions_of_one_partition_are_independent(kind: Kind) {
    let bus = kind.open().await;
    let mut one = bus.subscribe(Topic::Heartbeats, 0, Start::End).await.unwrap();
    let mut other = bus.subscribe(Topic::Heartbeats, 0, Start::End).await.unwrap();
    for n in 0..100 {
        bus.send(Topic::Heartbeats, 0, numbered(n)).unwrap().await.unwrap();
    }
    let seen = receive(&mut one, 100).await;
    drop(one);
    bus.send(Topic::Heartbeats, 0, numbered(100)).unwrap().await.unwrap();
    let seen_by_other = receive(&mut other, 101).await;
    assert_eq!(seen, seen_by_other[..100]);
    assert_eq!(number(&seen_by_other[100]), 100);
}

async fn what_was_read_is_read_again_from_an_offset(kind: Kind) {
    let bus = kind.open().await;
    for n in 0..500 {
        assert!(bus.post(Topic::Commands, 3, numbered(n)));
    }
    for from in [0, 400, 17, 17, 499] {
        let mut reader = bus
            .subscribe(Topic::Commands, 3, Start::Offset(from))
            .await
            .unwrap_or_else(|error| {
                panic!("from {from}: {error}");
            });
        assert_eq!(reader.position(), from);
        let records = receive(&mut reader, 500 - from as usize).await;
        assert_eq!(numbers(&records), (from as usize..500).collect::<Vec<_>>());
        assert_eq!(reader.position(), 500);
    }
    // What is given up is not below the range before that.
    bus.trim(Topic::Commands, 3, 250);
    let mut reader = bus.subscribe(Topic::Commands, 3, Start::Offset(250)).await.unwrap();
    assert_eq!(number(&receive(&mut reader, 1).await[0]), 250);
}

async fn the_end_is_where_later_messages_are(kind: Kind) {
    let bus = kind.open().await;
    for n in 0..10 {
        bus.send(Topic::Replies, 5, numbered(n)).unwrap().await.unwrap();
    }
    let mut mine = bus.subscribe(Topic::Replies, 5, Start::End).await.unwrap();
    let mut others = bus.subscribe(Topic::Replies, 6, Start::End).await.unwrap();
    for n in 10..20 {
        bus.send(Topic::Replies, 5, numbered(n)).unwrap().await.unwrap();
        bus.send(Topic::Replies, 6, numbered(n + 100)).unwrap().await.unwrap();
    }
    assert_eq!(numbers(&receive(&mut mine, 10).await), (10..20).collect::<Vec<_>>());
    assert_eq!(numbers(&receive(&mut others, 10).await), (110..120).collect::<Vec<_>>());
}

async fn the_range_tells_what_is_there(kind: Kind) {
    let bus = kind.open().await;
    assert_eq!(bus.range(Topic::Commands, 2).await.unwrap(), (0, 0));
    for n in 0..7 {
        bus.send(Topic::Commands, 2, numbered(n)).unwrap().await.unwrap();
    }
    assert_eq!(bus.range(Topic::Commands, 2).await.unwrap(), (0, 7));
    let beyond = bus.subscribe(Topic::Commands, 2, Start::Offset(8)).await.err().unwrap();
    assert_eq!(
        beyond,
        BusError::OutOfRange {
            topic: Topic::Commands,
            partition: 2,
            offset: 8,
            low: 0,
            high: 7
        }
    );
    assert!(bus.subscribe(Topic::Commands, 2, Start::Offset(-1)).await.is_err());
    let mut reader = bus.subscribe(Topic::Commands, 2, Start::Offset(7)).await.unwrap();
    bus.send(Topic::Commands, 2, numbered(7)).unwrap().await.unwrap();
    assert_eq!(number(&receive(&mut reader, 1).await[0]), 7);
}

async fn an_unknown_partition_is_refused(kind: Kind) {
    let bus = kind.open().await;
    assert_eq!(bus.partitions().of(Topic::Commands), SHARDS);
    assert_eq!(bus.partitions().of(Topic::Heartbeats), 1);
    let expected = SendError::NoPartition {
        topic: Topic::Commands,
        partition: SHARDS,
        partitions: SHARDS,
    };
    assert_eq!(bus.send(Topic::Commands, SHARDS, numbered(0)).err().unwrap(), expected);
    assert!(!bus.post(Topic::Commands, SHARDS, numbered(0)));
    assert!(matches!(
        bus.range(Topic::Commands, SHARDS).await,
        Err(BusError::NoPartition { .. })
    ));
    let subscribed = bus.subscribe(Topic::Commands, SHARDS, Start::End).await;
    assert!(matches!(subscribed.err().unwrap(), BusError::NoPartition { .. }));
}

async fn a_payload_at_the_limit_passes_and_one_beyond_is_refused(kind: Kind) {
    let bus = kind.open().await;
    let limit = BusOptions::default().max_message_bytes as usize;
    assert!(limit >= 2 * 1024 * 1024);
    let body = |bytes: usize| (0..bytes).map(|n| (n % 251) as u8).collect::<Vec<u8>>();
    let at_limit = Message::new(body(limit - 6)).with_key("key").with_header("h", "12");
    bus.send(Topic::Commands, 0, numbered(0)).unwrap().await.unwrap();
    bus.send(Topic::Commands, 0, at_limit.clone()).unwrap().await.unwrap();
    let beyond = Message::new(body(limit - 5)).with_key("key").with_header("h", "12");
    let refused = bus.send(Topic::Commands, 0, beyond).err().unwrap();
    assert_eq!(
        refused,
        SendError::TooLarge {
            topic: Topic::Commands,
            bytes: limit + 1,
            limit
        }
    );
    bus.send(Topic::Commands, 0, numbered(1)).unwrap().await.unwrap();
    let mut reader = bus.subscribe(Topic::Commands, 0, Start::Beginning).await.unwrap();
    let records = receive(&mut reader, 3).await;
    assert_eq!((number(&records[0]), number(&records[2])), (0, 1));
    assert_eq!(records[1].message, at_limit);
}

async fn a_full_queue_says_so_and_takes_more_when_it_has_drained(kind: Kind) {
    let small = BusOptions {
        queue_bytes: 256 * 1024,
        partition_bytes: 256 * 1024,
        ..BusOptions::default()
    };
    let bus = kind.open_with(&small).await;
    let kilobyte = vec![b'x'; 1024];
    let mut taken = 0_i64;
    let full = loop {
        match bus.send(Topic::Commands, 0, Message::new(kilobyte.clone())) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000_000, "never full");
    };
    assert_eq!(full, SendError::Full { topic: Topic::Commands });
    assert!(!full.to_string().is_empty());
    // Another topic has a queue of its own.
    bus.send(Topic::Heartbeats, 0, numbered(0)).unwrap().await.unwrap();
    let waiting = bus.send_wait(Topic::Commands, 0, Message::new("last"), PATIENCE);
    let reading = async {
        let mut reader = bus.subscribe(Topic::Commands, 0, Start::Beginning).await.unwrap();
        let records = receive(&mut reader, taken as usize).await;
        bus.trim(Topic::Commands, 0, reader.position());
        let last = receive(&mut reader, 1).await;
        (records, last)
    };
    let (waited, (records, last)) = tokio::join!(waiting, reading);
    assert_eq!(waited.unwrap().await.unwrap(), taken);
    assert!(records.iter().all(|record| record.message.payload.len() == 1024));
    assert_eq!(last[0].message.payload, "last");
}

async fn a_slow_reader_loses_nothing_and_holds_back_nobody_else(kind: Kind) {
    const COUNT: usize = 12_000;
    let small = BusOptions {
        partition_bytes: 1024 * 1024,
        ..BusOptions::default()
    };
    let bus = kind.open_with(&small).await;
    let body = |n: usize| format!("{n}{:>1000}", "");
    let of = |record: &grid::bus::Record| -> usize {
        std::str::from_utf8(&record.message.payload)
            .unwrap()
            .trim_end()
            .parse()
            .unwrap()
    };
    let mut slow = bus.subscribe(Topic::Assignments, 0, Start::End).await.unwrap();
    let mut quick = bus.subscribe(Topic::Assignments, 1, Start::End).await.unwrap();
    let sending = async {
        for n in 0..COUNT {
            let sent = bus
                .send_wait(Topic::Assignments, 0, Message::new(body(n)), PATIENCE)
                .await;
            drop(sent.unwrap());
        }
    };
    let reading = async {
        // Nobody reads partition 0 yet, but partition 1 is served.
        for n in 0..100 {
            bus.send(Topic::Assignments, 1, numbered(n)).unwrap().await.unwrap();
            assert_eq!(number(&receive(&mut quick, 1).await[0]), n);
        }
        let mut expected = 0;
        while expected < COUNT {
            for record in receive(&mut slow, 1000.min(COUNT - expected)).await {
                assert_eq!(of(&record), expected);
                expected += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(sending, reading);
}

async fn cancelled_reading_loses_nothing(kind: Kind) {
    const COUNT: usize = 2_000;
    let bus = kind.open().await;
    let mut reader = bus.subscribe(Topic::Reports, 0, Start::Beginning).await.unwrap();
    let sending = async {
        for n in 0..COUNT {
            assert!(bus.post(Topic::Reports, 0, numbered(n)));
            if n % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let reading = async {
        let mut records = Vec::new();
        while records.len() < COUNT {
            let _ = tokio::time::timeout(Duration::from_micros(300), reader.recv_many(&mut records, 7)).await;
        }
        assert_eq!(numbers(&records), (0..COUNT).collect::<Vec<_>>());
    };
    let both = async { tokio::join!(sending, reading) };
    tokio::time::timeout(PATIENCE, both).await.expect("all arrive in time");
}

async fn a_member_owns_and_proves_until_it_leaves(kind: Kind) {
    let bus = kind.open().await;
    let mut membership = bus.join().await.unwrap();
    let member = membership.member();
    let mut generations = vec![0; usize::from(SHARDS)];
    for _ in 0..SHARDS {
        let news = tokio::time::timeout(PATIENCE, membership.next())
            .await
            .unwrap()
            .unwrap();
        let Ownership::Assigned { partition, generation } = news else {
            panic!("{news:?}")
        };
        generations[usize::from(partition)] = generation;
    }
    assert!(generations.iter().all(|generation| *generation > 0), "{generations:?}");
    for (partition, generation) in (0..).zip(&generations) {
        member.prove(partition, *generation).await.unwrap();
        assert_eq!(
            member.prove(partition, generation + 100).await,
            Err(ProveError::NotOwner { partition })
        );
    }
    assert_eq!(bus.join().await.err().unwrap(), BusError::AlreadyJoined);
    member.leave().await;
    assert_eq!(
        member.prove(1, generations[1]).await,
        Err(ProveError::NotOwner { partition: 1 })
    );
    assert_eq!(tokio::time::timeout(PATIENCE, membership.next()).await.unwrap(), None);
    drop(membership);
    let mut again = bus.join().await.unwrap();
    let news = tokio::time::timeout(PATIENCE, again.next()).await.unwrap();
    assert!(matches!(news, Some(Ownership::Assigned { .. })), "{news:?}");
}

async fn a_publication_is_in_order_and_acknowledged(kind: Kind) {
    const BATCHES: usize = 20;
    const EACH: usize = 500;
    let bus = kind.open().await;
    let mut reader = bus.subscribe(Topic::Events, 3, Start::End).await.unwrap();
    let mut producer = bus.ordered_producer().unwrap();
    let mut under_way = Vec::new();
    for batch in 0..BATCHES {
        let messages = (0..EACH).map(|n| (3, numbered(batch * EACH + n))).collect();
        under_way.push(producer.begin(messages).unwrap());
    }
    for publication in under_way {
        publication.await.unwrap();
    }
    producer
        .publish(vec![(0, numbered(0)), (3, numbered(BATCHES * EACH))], PATIENCE)
        .await
        .unwrap();
    producer.publish(Vec::new(), PATIENCE).await.unwrap();
    let records = receive(&mut reader, BATCHES * EACH + 1).await;
    assert_eq!(numbers(&records), (0..=BATCHES * EACH).collect::<Vec<_>>());
}

async fn a_refused_publication_sends_nothing(kind: Kind) {
    let bus = kind.open().await;
    let mut reader = bus.subscribe(Topic::Events, 0, Start::End).await.unwrap();
    let mut producer = bus.ordered_producer().unwrap();
    let large = Message::new(vec![0; BusOptions::default().max_message_bytes as usize + 1]);
    let refused = producer.begin(vec![(0, numbered(0)), (0, large)]).err().unwrap();
    assert!(matches!(refused, SendError::TooLarge { .. }), "{refused}");
    producer.resume().await;
    producer.publish(vec![(0, numbered(1))], PATIENCE).await.unwrap();
    assert_eq!(number(&receive(&mut reader, 1).await[0]), 1);
}

async fn posts_arrive_in_order_with_sends(kind: Kind) {
    let bus = kind.open().await;
    let mut reader = bus.subscribe(Topic::Assignments, 9, Start::End).await.unwrap();
    for n in 0..1000 {
        if n % 10 == 9 {
            drop(bus.send(Topic::Assignments, 9, numbered(n)).unwrap());
        } else {
            assert!(bus.post(Topic::Assignments, 9, numbered(n)));
        }
    }
    assert_eq!(
        numbers(&receive(&mut reader, 1000).await),
        (0..1000).collect::<Vec<_>>()
    );
}

async fn closing_sends_what_is_queued_and_ends_subscriptions(kind: Kind) {
    let bus = kind.open().await;
    let mut reader = bus.subscribe(Topic::Reports, 0, Start::Beginning).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..1000 {
        deliveries.push(bus.send(Topic::Reports, 0, numbered(n)).unwrap());
    }
    bus.close(PATIENCE).await.unwrap();
    for (delivery, offset) in deliveries.into_iter().zip(0..) {
        assert_eq!(delivery.await.unwrap(), offset);
    }
    assert_eq!(
        bus.send(Topic::Reports, 0, numbered(0)).err().unwrap(),
        SendError::Closed
    );
    assert!(bus.subscribe(Topic::Reports, 0, Start::End).await.is_err());
    let mut records = Vec::new();
    let ended = async {
        loop {
            if let Err(error) = reader.recv_many(&mut records, 1000).await {
                break error;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), RecvError::Closed);
    assert!(numbers(&records).iter().zip(0..).all(|(n, expected)| *n == expected));
}
