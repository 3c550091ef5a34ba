//! Lines in a VictoriaLogs: a real one, and a server that does what a real one does only on bad days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferro_lumberjack::server::Server;
use grid::api::{ApiParts, serve};
use grid::clock::now;
use grid::domain::{Incarnation, Timestamp};
use grid::logs::{
    Batch, Key, Line, LogStore, LogsOptions, Order, Question, Search, StoreError, Victoria, VictoriaOptions,
};
use grid::worker::WorkerOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use super::vector_config;
use crate::api::fixture::{Fixture, text};
use crate::api::workers::Yard;
use crate::support::{VictoriaLogs, eventually, free_port};

const SOON: Duration = Duration::from_secs(30);

fn over(url: &str, logs: &LogsOptions) -> Victoria {
    let options = VictoriaOptions {
        url: Some(url.to_owned()),
        // Nothing is between the tests and the server.
        settle: Duration::from_millis(1_500),
        ..VictoriaOptions::default()
    };
    Victoria::new(&options, logs).unwrap().unwrap()
}

/// The store over the server of all tests; without one it is said on stderr.
pub fn store() -> Option<(&'static VictoriaLogs, Victoria)> {
    let server = VictoriaLogs::shared()?;
    Some((server, over(&server.url, &LogsOptions::default())))
}

fn job() -> String {
    format!("job-{}", Uuid::now_v7())
}

fn of(job: &str, at: Timestamp, message: impl ToString) -> Line {
    Line {
        job_id: job.to_owned(),
        ..super::line(&at.to_string(), &message.to_string())
    }
}

pub(super) fn batch(number: u64, lines: Vec<Line>) -> Batch {
    Batch {
        incarnation: Uuid::now_v7(),
        number,
        lines,
        to_vector: false,
    }
}

pub(super) fn everything(job: &str, order: Order, limit: u32) -> Search {
    Search {
        question: Question {
            query: None,
            named: vec![("job_id".to_owned(), vec![job.to_owned()])],
            now: now(),
        },
        from_ms: 0,
        to_ms: i64::MAX,
        order,
        beyond: None,
        limit,
    }
}

/// All messages, page by page.
async fn pages(store: &Victoria, mut search: Search) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = store.search(&search).await.unwrap();
        assert!(page.lines.len() <= search.limit as usize);
        search.beyond = page.lines.last().map(|stored| stored.key).or(search.beyond);
        found.extend(page.lines.into_iter().map(|stored| stored.line.message));
        if !page.more {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_go_on_behind_lines_of_one_time_in_the_order_in_which_they_were_written() {
    let Some((server, store)) = store() else { return };
    let (job, at) = (job(), now() - Duration::from_secs(60));
    let lines = |numbers: std::ops::Range<u32>| numbers.map(|number| of(&job, at, number)).collect::<Vec<_>>();
    store.add(batch(1, lines(0..40))).await.unwrap();
    store.add(batch(2, lines(40..60))).await.unwrap();
    // Again, as whoever ships does that was not answered; and one whose lines a Vector brings.
    store.add(batch(2, lines(40..60))).await.unwrap();
    store
        .add(Batch {
            to_vector: true,
            ..batch(3, lines(60..70))
        })
        .await
        .unwrap();
    server.flush().await;
    let expected: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    for limit in [1, 7, 59, 60, 1_000] {
        assert_eq!(
            pages(&store, everything(&job, Order::OldestFirst, limit)).await,
            expected,
            "{limit}"
        );
        let mut found = pages(&store, everything(&job, Order::NewestFirst, limit)).await;
        found.reverse();
        assert_eq!(found, expected, "{limit}");
    }

    // Lines of others, whose time is the very same: each once, in whatever order.
    let foreign = Uuid::now_v7().to_string();
    let body: String = (0..50)
        .map(|number| {
            json!({"_time": at.to_string(), "_msg": number.to_string(), "job_id": foreign}).to_string() + "\n"
        })
        .collect();
    let url = format!("{}/insert/jsonline?_stream_fields=job_id", server.url);
    let post = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json");
    assert!(post.body(body).send().await.unwrap().status().is_success());
    server.flush().await;
    for limit in [1, 7, 50, 1_000] {
        let found = pages(&store, everything(&foreign, Order::NewestFirst, limit)).await;
        assert_eq!(
            (found.len(), found.iter().collect::<BTreeSet<_>>().len()),
            (50, 50),
            "{limit}"
        );
    }
}

#[tokio::test]
async fn no_query_reaches_lines_that_are_not_among_those_named() {
    let Some((server, store)) = store() else { return };
    let (job, other) = (job(), job());
    let hour = Duration::from_secs(3_600);
    store
        .add(batch(
            1,
            vec![
                of(&job, now(), "mine"),
                of(&other, now(), "yours"),
                of(&job, now() - hour, "old"),
            ],
        ))
        .await
        .unwrap();
    server.flush().await;
    for query in [
        "*",
        "mine or yours",
        "yours) or (mine",
        "* or job_id:*",
        "!nothing",
        "options(ignore_global_time_filter=true) *",
        "options(global_filter=(*)) *",
        &format!("job_id:{other} or job_id:{job}"),
        &format!("in({{job_id=\"{other}\"}}) or *"),
        "*) | stats count() as all (",
        "* | delete _msg",
        "* # | )",
        "'",
    ] {
        let mut search = everything(&job, Order::NewestFirst, 10);
        search.question.query = Some(query.to_owned());
        search.from_ms = (now() - Duration::from_secs(60)).as_ms();
        match store.search(&search).await {
            Ok(page) => {
                let all = page.lines.iter().all(|stored| stored.line.message == "mine");
                assert!(all && page.lines.len() <= 1, "{query}: {page:?}");
            }
            Err(StoreError::Query(_) | StoreError::Invalid(_)) => {}
            Err(other) => panic!("{query}: {other}"),
        }
    }
}

#[actix_web::test]
async fn search_download_tail_and_graphql_answer_from_it() {
    let Some((server, store)) = store() else { return };
    let grid = Fixture::new().await;
    let parts = ApiParts {
        node: Incarnation(Uuid::now_v7()),
        logs: Arc::new(store),
        ..grid.parts.clone()
    };
    let other = serve("127.0.0.1:0".parse().unwrap(), parts.clone()).await.unwrap();
    let url = format!("http://{}", other.address);
    let job = job();
    let add = async |numbers: std::ops::Range<u32>| {
        let lines = numbers
            .map(|number| of(&job, now(), format!("line {number}")))
            .collect();
        parts.logs.add(batch(1, lines)).await.unwrap();
        server.flush().await;
    };
    let http = reqwest::Client::new();
    let ask = async |path: String| {
        let answer = http.get(format!("{url}/api/v1/logs/{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    add(0..30).await;
    let mut tail = http
        .get(format!("{url}/api/v1/logs/tail?job_id={job}&lines=2"))
        .send()
        .await
        .unwrap();
    let (_, found) = ask(format!("search?job_id={job}&query=line&limit=20")).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        (&found["lines"][0]["message"], &found["truncated"]),
        (&json!("line 29"), &json!(true))
    );
    let cursor = text(&found["nextCursor"]);
    let (_, rest) = ask(format!("search?job_id={job}&query=line&limit=20&cursor={cursor}")).await;
    let rest: Value = serde_json::from_str(&rest).unwrap();
    assert_eq!(rest["lines"].as_array().unwrap().len(), 10);
    assert_eq!(
        (&rest["lines"][9]["message"], &rest["nextCursor"]),
        (&json!("line 0"), &Value::Null)
    );
    let (_, file) = ask(format!("download?job_id={job}&query=!7")).await;
    assert_eq!(file.lines().count(), 29, "{file}");
    let first: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["message"], &first["worker_id"]),
        (&json!("line 0"), &json!("worker-a"))
    );
    let query =
        json!({"query": format!("{{ logs(filter: {{jobIds: [\"{job}\"]}}, first: 1) {{ lines {{ message }} }} }}")});
    let answer = http.post(format!("{url}/graphql")).json(&query).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["logs"]["lines"][0]["message"], "line 29", "{answer}");

    for (query, code) in [
        ("a%7Cb", "QUERY_HAS_PIPES"),
        ("a:in(", "INVALID_QUERY"),
        ("x:=~)", "INVALID_QUERY"),
    ] {
        for call in ["search", "download", "tail"] {
            let (status, problem) = ask(format!("{call}?query={query}")).await;
            let problem: Value = serde_json::from_str(&problem).unwrap();
            assert_eq!((status, &problem["code"]), (400, &json!(code)), "{call}: {problem}");
        }
    }
    let (_, words) = ask("search?query=x:=~)".to_owned()).await;
    assert!(words.contains("cannot parse"), "in the words of VictoriaLogs: {words}");

    add(30..40).await;
    let mut seen = String::new();
    let all = tokio::time::timeout(SOON, async {
        while !seen.contains("\"line 39\"") {
            seen += std::str::from_utf8(&tail.chunk().await.unwrap().unwrap()).unwrap();
        }
    });
    all.await.unwrap();
    let of_line = |number: u32| seen.matches(&format!("\"line {number}\"")).count();
    assert!((30..40).all(|number| of_line(number) == 1), "{seen}");
    other.stop().await;
    grid.stop().await;
}

#[actix_web::test]
async fn lines_come_there_from_workers_through_what_vector_makes_of_them() {
    let Some((server, store)) = store() else { return };
    let grid = Fixture::new().await;
    let address = format!("127.0.0.1:{}", free_port());
    let listener = Server::builder().bind(&*address).await.unwrap();
    let mut workers = Yard::new();
    workers.options = WorkerOptions {
        vector: Some(address),
        ..WorkerOptions::default()
    };
    let worker = workers.worker(&grid, "a", 1, &[]).await;
    let document = json!({"tasks": [{"externalId": "w", "command": ["sh", "-c", "seq 500"]}]});
    let job = text(&grid.submit(&document.to_string()).await["jobId"]).to_owned();
    let sink = vector_config::sink(&server.url);
    let http = reqwest::Client::new();
    let shipping = async {
        let mut taken = 0;
        let mut connection = listener.accept().await.unwrap();
        while taken < 500 {
            let window = connection.read_window().await.unwrap().unwrap();
            let mut body = String::new();
            for event in &window.events {
                body += &vector_config::enriched(serde_json::from_slice(&event.payload).unwrap()).to_string();
                body.push('\n');
            }
            taken += window.events.len();
            let post = http
                .post(&sink)
                .header("content-type", "application/x-ndjson")
                .body(body);
            assert!(post.send().await.unwrap().status().is_success());
            connection.send_ack(window.events.last().unwrap().seq).await.unwrap();
        }
    };
    tokio::time::timeout(SOON, shipping).await.expect("all lines in time");
    server.flush().await;
    let found = pages(&store, everything(&job, Order::OldestFirst, 90)).await;
    let expected: Vec<String> = (1..=500).map(|number| number.to_string()).collect();
    assert_eq!(found, expected, "in the order in which they were written");
    let page = store.search(&everything(&job, Order::NewestFirst, 1)).await.unwrap();
    let line = &page.lines[0].line;
    assert_eq!(
        (line.worker_id.as_str(), line.source.as_str(), line.attempt),
        ("worker-a", "task", Some(1))
    );
    worker.drain();
    worker.ended().await;
    grid.stop().await;
}

#[tokio::test]
async fn panels_of_lines_run_there_as_grafanas_plugin_asks_for_them() {
    let Some((server, store)) = store() else { return };
    let job = job();
    let levels = ["INFO", "WARN", "ERROR", "DEBUG", "FATAL"];
    let lines = levels.map(|level| Line {
        level: level.to_owned(),
        task_id: format!("task-of-{job}"),
        ..of(&job, now(), level)
    });
    store.add(batch(1, lines.to_vec())).await.unwrap();
    server.flush().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/grafana.sh");
    let output = std::process::Command::new(script).arg("queries").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let queries: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of_lines = |query: &&Value| query["datasource"]["type"] == "victoriametrics-logs-datasource";
    let mut found = BTreeMap::new();
    for query in queries.iter().filter(of_lines) {
        let text = text(&query["query"])
            .replace("${job}", &job)
            .replace("${task}", &format!("task-of-{job}"));
        let seconds = now().as_ms() / 1_000;
        let form = [
            ("query", text),
            ("limit", "500".to_owned()),
            ("start", (seconds - 3_600).to_string()),
            ("end", (seconds + 1).to_string()),
        ];
        let url = format!("{}/select/logsql/query", server.url);
        let answer = reqwest::Client::new().post(url).form(&form).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{query}");
        let answer = answer.text().await.unwrap();
        let rows = answer.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ours = rows.filter(|row| row["job_id"] == job);
        found.insert(self::text(&query["where"]), ours.count());
    }
    let expected = [
        ("Cluster Overview: Warnings and errors of all tasks", 3),
        ("Job Monitoring: Log", 5),
        ("Job Monitoring: Warnings and errors", 3),
        ("Task Details: Log", 5),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}

/// What a server does with a request, whose text it has noted.
type Answering = fn(TcpStream, Arc<Mutex<Vec<String>>>) -> futures::future::BoxFuture<'static, ()>;

/// A server that answers as it is told.
struct Bad {
    url: String,
    /// Requests; `gone` when the other side closed a connection that was being written to.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Bad {
    async fn start(answering: Answering) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 64 * 1024];
                let mut request = String::new();
                while !request.contains("query=") {
                    let count = stream.read(&mut bytes).await.unwrap();
                    request += std::str::from_utf8(&bytes[..count]).unwrap();
                }
                noted.lock().unwrap().push(request);
                tokio::task::spawn_local(answering(stream, Arc::clone(&noted)));
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn until_gone(&self) {
        eventually("the connection is closed", SOON, async || {
            self.seen().contains(&"gone".to_owned()).then_some(())
        })
        .await;
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/stream+json\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(message: &str, number: u32) -> String {
    let line = json!({"_msg": message, "_time": format!("2026-01-15T10:00:00.{:09}Z", 999_999_999 - number)});
    let line = format!("{line}\n");
    format!("{:x}\r\n{line}\r\n", line.len())
}

fn patient(search_timeout: Duration) -> LogsOptions {
    LogsOptions {
        search_timeout,
        ..LogsOptions::default()
    }
}

#[actix_web::test]
async fn an_answer_without_end_is_left_when_the_page_is_full() {
    let bad = Bad::start(|mut stream, seen| {
        Box::pin(async move {
            let long = "x".repeat(200_000);
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            for number in 0.. {
                if stream.write_all(chunk(&long, number).as_bytes()).await.is_err() {
                    seen.lock().unwrap().push("gone".to_owned());
                    return;
                }
            }
        })
    })
    .await;
    let store = over(&bad.url, &patient(SOON));
    let page = store
        .search(&everything("job-1", Order::NewestFirst, 10_000))
        .await
        .unwrap();
    let bytes: usize = page.lines.iter().map(|stored| stored.line.message.len()).sum();
    assert!(page.more && bytes > 30_000_000 && bytes < 35_000_000, "{bytes}");
    bad.until_gone().await;
    let request = &bad.seen()[0];
    assert!(
        request.starts_with("POST /select/logsql/query HTTP/1.1\r\n"),
        "{request}"
    );
    let form = request.split("\r\n\r\n").nth(1).unwrap();
    for part in [
        "query=*+%7C+sort+by+%28_time+desc%29+limit+10001&",
        "&timeout=30000ms&",
        "&extra_filters=_time%3A%5B1970-01-01T00%3A00%3A00.000000000Z%2C+",
        "&extra_filters=%7B%22job_id%22%3A%5B%22job-1%22%5D%7D",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
}

#[actix_web::test]
async fn who_leaves_ends_the_search_and_a_slow_one_ends_in_time() {
    let bad = Bad::start(|mut stream, seen| {
        Box::pin(async move {
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            stream.write_all(chunk("a", 1).as_bytes()).await.unwrap();
            // And then nothing.
            let mut bytes = [0; 1];
            let ended = stream.read(&mut bytes).await;
            assert!(matches!(ended, Ok(0) | Err(_)));
            seen.lock().unwrap().push("gone".to_owned());
        })
    })
    .await;
    let store = over(&bad.url, &patient(SOON));
    let left = tokio::time::timeout(Duration::from_millis(300), async {
        store
            .search(&everything("job-1", Order::NewestFirst, 10))
            .await
            .map(drop)
    });
    assert!(left.await.is_err());
    bad.until_gone().await;
    let store = over(&bad.url, &patient(Duration::from_millis(200)));
    let begun = Instant::now();
    let slow = store
        .search(&everything("job-1", Order::NewestFirst, 10))
        .await
        .unwrap_err();
    assert!(matches!(slow, StoreError::TooLong(_)), "{slow}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[actix_web::test]
async fn a_broken_answer_is_no_answer() {
    let broken: [(Answering, &str); 4] = [
        // In the middle of a line.
        (
            |mut stream, _| {
                Box::pin(async move {
                    stream.write_all(HEAD.as_bytes()).await.unwrap();
                    let part = chunk("a", 1) + "20\r\n{\"_msg\":\"b\",";
                    stream.write_all(part.as_bytes()).await.unwrap();
                })
            },
            "",
        ),
        // What a real one does when it fails after it has begun.
        (
            |mut stream, _| {
                Box::pin(async move {
                    stream.write_all(HEAD.as_bytes()).await.unwrap();
                    let words = chunk("a", 1) + "c\r\ncannot read\n\r\n0\r\n\r\n";
                    stream.write_all(words.as_bytes()).await.unwrap();
                })
            },
            "cannot read",
        ),
        (
            |mut stream, _| {
                Box::pin(async move {
                    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
                    stream.write_all(busy.as_bytes()).await.unwrap();
                })
            },
            "busy",
        ),
        (|stream, _| Box::pin(async move { drop(stream) }), ""),
    ];
    for (answering, words) in broken {
        let bad = Bad::start(answering).await;
        let store = over(&bad.url, &patient(SOON));
        let error = store
            .search(&everything("job-1", Order::NewestFirst, 10))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Unavailable(said) if said.contains(words)),
            "{error}"
        );
    }
}

#[actix_web::test]
async fn one_that_is_away_is_told_as_such() {
    let grid = Fixture::new().await;
    let away = format!("http://127.0.0.1:{}", free_port());
    let parts = ApiParts {
        node: Incarnation(Uuid::now_v7()),
        logs: Arc::new(over(&away, &LogsOptions::default())),
        ..grid.parts.clone()
    };
    let other = serve("127.0.0.1:0".parse().unwrap(), parts).await.unwrap();
    for call in ["search", "download", "tail"] {
        let answer = reqwest::get(format!("http://{}/api/v1/logs/{call}", other.address))
            .await
            .unwrap();
        assert_eq!(answer.status(), 503);
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "UNAVAILABLE", "{call}: {problem}");
    }
    let store = over(&away, &LogsOptions::default());
    let lost = store.add(batch(1, vec![of("job-1", now(), "a")])).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))));
    let key = Key { at_ms: 0, id: 0 };
    assert!(store.after(&Question::default(), key, 10).await.is_err());
    other.stop().await;
    grid.stop().await;
}
