//! The way to a Vector that is away, silent, or back, with a real receiver.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ferro_lumberjack::server::Server;
use serde_json::{Value, json};

use super::queue::PRESSURE_BYTES;
use super::{Shipper, Shipping, WAITING_BYTES, Way};
use crate::logs::Line;
use crate::spill::Spill;

const SOON: Duration = Duration::from_secs(60);

fn line(message: &str) -> Line {
    serde_json::from_value(json!({
        "@timestamp": "2026-01-31T10:00:00.000Z", "message": message, "level": "INFO", "logger_name": "x", "job_id": "j",
        "task_id": "t", "worker_id": "w", "attempt": 1, "source": "task", "service": "grid",
    }))
    .unwrap()
}

fn start(to: SocketAddr, folder: &Path, limit_bytes: u64) -> (Arc<Shipper>, Shipping) {
    let spill = Spill::open(folder, "lines.gz", limit_bytes).unwrap();
    Shipper::start(Way::to_vector(&to.to_string(), None), None, Some(spill)).unwrap()
}

/// Names and sizes of what is on disk, in order.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(folder.join("0")).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().len(),
            )
        })
        .filter(|(name, _)| name.ends_with(".lines.gz"))
        .collect();
    files.sort();
    files
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Nobody listens, and more comes than memory and disk may hold.
#[tokio::test]
async fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
    const LIMIT: u64 = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (shipper, shipping) = start(nobody(), folder.path(), LIMIT);
    // Hardly to be compressed.
    let noise = || {
        let words: Vec<String> = (0..500).map(|_| format!("{:016x}", rand::random::<u64>())).collect();
        words.concat()
    };
    let lines: Vec<Line> = (0..64).map(|_| line(&noise())).collect();
    let (mut given, mut dropped) = (0_u64, 0);
    let begun = Instant::now();
    while dropped == 0 {
        for line in &lines {
            shipper.take(line);
            given += 1;
        }
        dropped = shipper.between.dropped.count();
        assert!(begun.elapsed() < SOON, "{given} lines, and none is dropped");
    }
    let waiting = shipper.between.waiting.load(Ordering::Relaxed);
    let on_disk: u64 = files(folder.path()).iter().map(|(_, bytes)| bytes).sum();
    println!(
        "{given} lines given in {:?}, {dropped} dropped, {waiting} bytes wait, {on_disk} on disk",
        begun.elapsed()
    );
    assert!(waiting <= WAITING_BYTES && on_disk <= LIMIT);
    let ending = Instant::now();
    shipping.finish().await;
    assert!(ending.elapsed() < Duration::from_secs(5), "{:?}", ending.elapsed());
    let on_disk: u64 = files(folder.path()).iter().map(|(_, bytes)| bytes).sum();
    assert!((1..=LIMIT).contains(&on_disk), "{on_disk}");
}

/// The receiver takes connections and says nothing, so no failure says that it is away; more comes than memory may hold. The
/// next process sends all of it, in order, to one that answers.
#[tokio::test]
async fn what_a_silent_receiver_does_not_take_waits_on_disk_for_the_next_process() {
    const LINES: usize = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (shipper, shipping) = start(silent.local_addr().unwrap(), folder.path(), 1 << 30);
    let padding = "x".repeat(16 * 1024);
    let begun = Instant::now();
    for number in 0..LINES {
        shipper.take(&line(&format!("{number} {padding}")));
        while shipper.between.waiting.load(Ordering::Relaxed) > PRESSURE_BYTES + (1 << 20) {
            // The thread that empties it needs time as well.
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(begun.elapsed() < SOON, "memory stays full");
        }
    }
    println!(
        "{LINES} lines of 16 KiB in {:?}, {} files",
        begun.elapsed(),
        files(folder.path()).len()
    );
    assert_eq!(shipper.between.dropped.count(), 0);
    assert!(files(folder.path()).len() > 10);
    let ending = Instant::now();
    shipping.finish().await;
    println!(
        "ended in {:?} with {} files",
        ending.elapsed(),
        files(folder.path()).len()
    );
    assert!(ending.elapsed() < Duration::from_secs(5));
    assert_eq!(shipper.between.waiting.load(Ordering::Relaxed), 0);
    drop(silent);

    let listener = Server::builder().bind("127.0.0.1:0").await.unwrap();
    let (_shipper, shipping) = start(listener.local_addr().unwrap(), folder.path(), 1 << 30);
    let mut seen = Vec::new();
    let receiving = async {
        let mut connection = listener.accept().await.unwrap();
        while seen.len() < LINES {
            let window = connection.read_window().await.unwrap().expect("a window");
            for event in &window.events {
                let line: Value = serde_json::from_slice(&event.payload).unwrap();
                let number = line["message"].as_str().unwrap().split(' ').next().unwrap();
                seen.push(number.parse::<usize>().unwrap());
            }
            connection.send_ack(window.events.last().unwrap().seq).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, receiving).await.expect("all lines in time");
    assert!(seen.iter().copied().eq(0..LINES), "each once, in order: {seen:?}");
    shipping.finish().await;
    assert_eq!(files(folder.path()), []);
}
