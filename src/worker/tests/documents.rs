//! An API that serves documents by hash, and the cache in front of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::documents::{Documents, FetchError};
use crate::config::Secret;
use crate::document;

pub(super) const TOKEN: &str = "the worker's";

/// Serves until it is dropped.
pub(super) struct Api {
    pub(super) url: String,
    pub(super) asked: Arc<AtomicU32>,
    documents: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Api {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, documents) = (Arc::new(AtomicU32::new(0)), Arc::default());
        let (count, known) = (Arc::clone(&asked), Arc::clone(&documents));
        let serving = crate::task::spawn("test_api", async move {
            while let Ok((stream, _)) = listener.accept().await {
                crate::task::spawn(
                    "test_api_request",
                    answer(stream, Arc::clone(&known), Arc::clone(&count)),
                );
            }
        });
        Self {
            url,
            asked,
            documents,
            serving,
        }
    }

    /// The address of the document.
    pub(super) fn add(&self, yaml: &str) -> String {
        let job = document::parse(yaml.as_bytes(), Some("job.yaml")).unwrap();
        let normalised = document::normalise(&job);
        self.put(&normalised.hash, normalised.bytes);
        normalised.hash
    }

    pub(super) fn put(&self, hash: &str, bytes: Vec<u8>) {
        self.documents.lock().unwrap().insert(hash.to_owned(), bytes);
    }
}

async fn answer(mut stream: TcpStream, documents: Arc<Mutex<HashMap<String, Vec<u8>>>>, asked: Arc<AtomicU32>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1024];
        let read = stream.read(&mut byte).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&byte[..read]);
    }
    let request = String::from_utf8(request).unwrap();
    let allowed = request
        .to_lowercase()
        .contains(&format!("authorization: bearer {TOKEN}").to_lowercase());
    let path = request.split(' ').nth(1).unwrap();
    // Of keys for checkpoints it has none.
    let hash = path.strip_prefix("/api/v1/internal/documents/").map(str::to_owned);
    let document = hash
        .as_ref()
        .and_then(|hash| documents.lock().unwrap().get(hash).cloned());
    asked.fetch_add(u32::from(hash.is_some()), Ordering::SeqCst);
    let (status, body) = match document {
        _ if !allowed => ("401 Unauthorized", Vec::new()),
        Some(document) => ("200 OK", document),
        None => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
}

const TWO_GROUPS: &str =
    "tasks:\n  - {externalId: none, replicas: 0, executor: noop}\n  - {externalId: a, executor: noop}\n";

#[tokio::test]
async fn a_document_is_fetched_once_whoever_asks() {
    let api = Api::start().await;
    let hash = api.add(TWO_GROUPS);
    let documents = Documents::new(&format!("{}/", api.url), Secret::new(TOKEN));
    let (one, other) = tokio::join!(documents.task(&hash, 0), documents.task(&hash, 0));
    assert_eq!(one.unwrap().external_id, "a");
    assert_eq!(other.unwrap().external_id, "a");
    assert_eq!(documents.task(&hash, 0).await.unwrap().external_id, "a");
    assert_eq!(api.asked.load(Ordering::SeqCst), 1);
    assert!(matches!(
        documents.task(&hash, 1).await,
        Err(FetchError::NoGroup { index: 1, .. })
    ));
}

#[tokio::test]
async fn one_that_is_not_there_yet_is_asked_for_again() {
    let api = Api::start().await;
    let documents = Documents::new(&api.url, Secret::new(TOKEN));
    let job = document::parse(TWO_GROUPS.as_bytes(), Some("job.yaml")).unwrap();
    let normalised = document::normalise(&job);
    // Something else at its address first.
    api.put(&normalised.hash, b"{}".to_vec());
    let later = async {
        while api.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        api.put(&normalised.hash, normalised.bytes.clone());
    };
    let (task, ()) = tokio::join!(documents.task(&normalised.hash, 0), later);
    assert_eq!(task.unwrap().external_id, "a");
    assert_eq!(api.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn any_address_of_the_api_will_do() {
    let (gone, ignorant, knowing) = (Api::start().await.url.clone(), Api::start().await, Api::start().await);
    let documents = Documents::new(
        &format!("{gone},{}/, {}", ignorant.url, knowing.url),
        Secret::new(TOKEN),
    );
    for (index, name) in ["a", "b", "c"].into_iter().enumerate() {
        let hash = knowing.add(&format!("tasks:\n  - {{externalId: {name}, executor: noop}}\n"));
        assert_eq!(documents.task(&hash, 0).await.unwrap().external_id, name);
        // The one that answered is asked first from then on.
        assert_eq!(knowing.asked.load(Ordering::SeqCst), index as u32 + 1);
        assert_eq!(ignorant.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_not_kept() {
    let api = Api::start().await;
    let hash = api.add(TWO_GROUPS);
    let documents = Documents::new(&api.url, Secret::new("another"));
    for asked in 1..=2 {
        assert!(matches!(
            documents.task(&hash, 0).await,
            Err(FetchError::Refused { .. })
        ));
        assert_eq!(api.asked.load(Ordering::SeqCst), asked);
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let api = Api::start().await;
    let documents = Documents::new(&api.url, Secret::new(TOKEN));
    let hashes: Vec<String> = (0..70)
        .map(|n| api.add(&format!("tasks:\n  - {{externalId: a{n}, executor: noop}}\n")))
        .collect();
    for hash in &hashes {
        documents.task(hash, 0).await.unwrap();
    }
    assert_eq!(api.asked.load(Ordering::SeqCst), 70);
    documents.task(&hashes[69], 0).await.unwrap();
    assert_eq!(api.asked.load(Ordering::SeqCst), 70);
    documents.task(&hashes[0], 0).await.unwrap();
    assert_eq!(api.asked.load(Ordering::SeqCst), 71);
}
