//! Lines to a receiver of Lumberjack, as Vector's source `logstash` is one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferro_lumberjack::server::{Listener, Server};
use grid::worker::WorkerOptions;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::api::fixture::{Fixture, text};
use crate::api::workers::Yard;
use crate::support::{Authority, eventually, free_port};

const SOON: Duration = Duration::from_secs(60);

async fn run(grid: &Fixture, command: &str) -> String {
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", command]}]});
    let job = text(&grid.submit(&document.to_string()).await["jobId"]).to_owned();
    eventually("the job is finished", SOON, async || {
        let seen = grid.get(&format!("/api/v1/jobs/{job}")).await;
        (seen["status"] == "COMPLETED").then_some(())
    })
    .await;
    job
}

async fn listen(address: &str) -> Listener {
    Server::builder().bind(address).await.unwrap()
}

/// Takes lines until it has so many different ones of the job; how often each came.
async fn take(listener: &Listener, job: &str, count: usize) -> (BTreeMap<String, u32>, Value) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut one = Value::Null;
    let mut windows = 0;
    while seen.len() < count {
        let mut connection = listener.accept().await.unwrap();
        while seen.len() < count {
            let Ok(Some(window)) = connection.read_window().await else {
                break;
            };
            windows += 1;
            // Every third one is acknowledged in part, and the connection breaks.
            let is_cut = windows % 3 == 1 && window.events.len() > 1;
            let kept = if is_cut {
                window.events.len() / 2
            } else {
                window.events.len()
            };
            for event in &window.events[..kept] {
                let line: Value = serde_json::from_slice(&event.payload).unwrap();
                if line["job_id"] == job {
                    *seen.entry(text(&line["message"]).to_owned()).or_default() += 1;
                    one = line;
                }
            }
            connection.send_ack(window.events[kept - 1].seq).await.unwrap();
            if is_cut {
                break;
            }
        }
    }
    (seen, one)
}

#[actix_web::test]
async fn a_vector_gets_every_line_once_over_breaks_and_its_absence_costs_no_task_anything() {
    let grid = Fixture::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    let mut workers = Yard::new();
    workers.options = WorkerOptions {
        vector: Some(address.clone()),
        ..WorkerOptions::default()
    };
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    // Nobody listens there yet.
    let begun = Instant::now();
    let job = run(&grid, "for i in $(seq 3000); do echo line $i; done").await;
    println!("3000 lines without a receiver: {:?}", begun.elapsed());
    let path = format!("/api/v1/logs/search?job_id={job}&limit=10000");
    eventually("the API has all of them", SOON, async || {
        let found = grid.get(&path).await;
        (found["lines"].as_array().unwrap().len() == 3_000).then_some(())
    })
    .await;
    let listener = listen(&address).await;
    let taken = tokio::time::timeout(SOON, take(&listener, &job, 3_000)).await;
    let (seen, line) = taken.expect("all lines in time");
    let expected: Vec<String> = (1..=3_000).map(|number| format!("line {number}")).collect();
    assert!(
        expected.iter().all(|message| seen.get(message) == Some(&1)),
        "each once: {seen:?}"
    );
    assert_eq!(line["worker_id"], "worker-a");
    assert_eq!((&line["source"], &line["service"]), (&"task".into(), &"grid".into()));
    assert_eq!(
        (&line["level"], &line["logger_name"]),
        (&"INFO".into(), &"stdout".into())
    );
    assert!(text(&line["@timestamp"]).ends_with('Z'));
    assert_eq!(line["task_id"], format!("task-{}-1", job.trim_start_matches("job-")));
    drop(listener);
    worker.drain();
    let ending = Instant::now();
    worker.ended().await;
    assert!(ending.elapsed() < Duration::from_secs(15), "{:?}", ending.elapsed());
    grid.stop().await;
}

/// Lines that wait on disk in the folder of the worker "a".
fn spilled(workers: &Yard) -> usize {
    let folder = workers.folder.path().join("a/.lines-spill/0");
    let names = std::fs::read_dir(folder).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".lines.gz")).count()
}

#[actix_web::test]
async fn lines_that_wait_survive_the_end_of_the_worker_and_a_receiver_that_says_nothing_costs_nothing() {
    let grid = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("of-the-test");
    std::fs::write(folder.path().join("ca.pem"), authority.certificate()).unwrap();
    // It takes connections, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut workers = Yard::new();
    workers.options = WorkerOptions {
        vector: Some(silent.local_addr().unwrap().to_string()),
        ..WorkerOptions::default()
    };
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    let begun = Instant::now();
    let job = run(&grid, "for i in $(seq 3000); do echo line $i; done").await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    println!("3000 lines with a silent receiver: {:?}", begun.elapsed());
    worker.drain();
    let ending = Instant::now();
    worker.ended().await;
    println!("ended in {:?} with {} files", ending.elapsed(), spilled(&workers));
    assert!(spilled(&workers) > 0);
    drop(silent);

    // The next one finds them, and sends them by TLS.
    let listener = listen("127.0.0.1:0").await;
    let plain = listener.local_addr().unwrap();
    let secured = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    workers.options.vector = Some(format!("localhost:{}", secured.local_addr().unwrap().port()));
    workers.options.vector_ca = Some(folder.path().join("ca.pem"));
    let unwrapping = actix_web::rt::spawn(unwrap_tls(secured, authority.sign("localhost"), plain));
    let worker = workers.worker(&grid, "a", 2, &[]).await;
    let taken = tokio::time::timeout(SOON, take(&listener, &job, 3_000)).await;
    let (seen, _) = taken.expect("all lines in time");
    assert!(seen.values().all(|count| *count == 1), "each once: {seen:?}");
    eventually("nothing is left on disk", SOON, async || {
        (spilled(&workers) == 0).then_some(())
    })
    .await;
    unwrapping.abort();
    drop(listener);
    worker.drain();
    worker.ended().await;
    grid.stop().await;
}

/// Takes connections by TLS, and passes on what they say.
async fn unwrap_tls(listener: tokio::net::TcpListener, (certificate, key): (String, String), to: SocketAddr) {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut onward = tokio::net::TcpStream::connect(to).await.unwrap();
        actix_web::rt::spawn(async move {
            // Either side may break off.
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
        });
    }
}
