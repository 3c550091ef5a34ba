//! Pipelines and tasks that do nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn dag(json: serde_json::Value) -> TaskSpec {
    TaskSpec {
        kind: TaskKind::Dag(serde_json::from_value(json).unwrap()),
        ..sh("")
    }
}

#[tokio::test]
async fn pipelines_run_and_are_counted() {
    let bench = Bench::new();
    let task = dag(serde_json::json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 40}, "outputs": ["out"]},
        {"id": "out", "commandName": "stdout", "config": {}},
    ]));
    let (attempt, mut received) = bench.attempt(task);
    let live = attempt.live.clone();
    assert!(live.get().is_none());
    let outcome = PipelineExecutor.run(attempt, bench.control.subscribe()).await;
    let Outcome::Completed(completion) = outcome else {
        panic!("{outcome:?}")
    };
    let report = completion.pipeline.unwrap();
    assert_eq!((completion.lines, report.nodes[0].events_out), (10, 10));
    assert_eq!(live.get().unwrap().nodes(), report.nodes);
    assert!(received.recv().await.unwrap().text.contains("\"index\""));
}

#[tokio::test]
async fn pipelines_are_stopped_killed_and_refused() {
    let endless = || {
        dag(serde_json::json!([
            {"id": "in", "commandName": "generatesource", "config": {"rate": 50}, "outputs": ["out"]},
            {"id": "out", "commandName": "filesink", "config": {"path": "out-${REPLICA_INDEX}.ndjson"}},
        ]))
    };
    for wish in [ControlState::Stop, ControlState::Kill] {
        let bench = Bench::new();
        let (attempt, _lines) = bench.attempt(endless());
        let live = attempt.live.clone();
        let control = bench.control.subscribe();
        let running = crate::task::spawn("test", async move { PipelineExecutor.run(attempt, control).await });
        eventually("it has begun", || {
            live.get().is_some_and(|counters| counters.nodes()[1].events_in > 0)
        })
        .await;
        bench.control.send_replace(wish);
        let file = bench.folder.path().join("out-1.ndjson");
        match running.await.unwrap() {
            Outcome::Completed(completion) => {
                assert!(wish == ControlState::Stop && completion.pipeline.unwrap().stopped && file.exists());
            }
            Outcome::Failed(failure) => {
                assert_eq!((wish, failure.reason), (ControlState::Kill, FailureReason::Killed));
                assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0);
            }
        }
    }
    let bench = Bench::new();
    let refused = dag(serde_json::json!([
        {"id": "in", "commandName": "generatesource", "config": {"count": 1}, "outputs": ["out"]},
        {"id": "out", "commandName": "filesink", "config": {"path": "/nowhere/${REPLICA_INDEX}"}},
    ]));
    assert_eq!(failure(bench.run(refused).await.0).reason, FailureReason::InvalidDag);
}

/// A server that lets nobody in; gives the first request.
async fn closed_server() -> (String, tokio::task::JoinHandle<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let asked = crate::task::spawn("test", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !String::from_utf8_lossy(&asked).contains("index") {
            stream.read_buf(&mut asked).await.unwrap();
        }
        let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    (url, asked)
}

#[tokio::test]
async fn a_server_is_shown_the_secret_of_the_worker_and_its_refusal_is_final() {
    let bench = Bench::new();
    let secrets = bench.folder.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("TOKEN"), "Bearer of the worker\n").unwrap();
    let (url, asked) = closed_server().await;
    let task = |secret: &str| {
        dag(serde_json::json!([
            {"id": "in", "commandName": "generatesource", "config": {"count": 4}, "outputs": ["out"]},
            {"id": "out", "commandName": "httpsink",
                "config": {"url": url, "headers": {"Authorization": {"secret": secret}}}},
        ]))
    };
    let refused = failure(bench.run(task("TOKEN")).await.0);
    assert_eq!(refused.reason, FailureReason::Authentication, "{refused:?}");
    assert!(!refused.reason.retryable());
    let asked = asked.await.unwrap();
    assert!(asked.contains("authorization: Bearer of the worker\r\n"), "{asked}");
    let missing = failure(bench.run(task("OTHER")).await.0);
    assert_eq!(missing.reason, FailureReason::Error);
    assert!(missing.message.contains("OTHER"), "{missing:?}");
}

#[tokio::test]
async fn a_noop_completes() {
    let bench = Bench::new();
    let (outcome, lines) = bench
        .run(TaskSpec {
            kind: TaskKind::Noop,
            ..sh("")
        })
        .await;
    assert_eq!(
        (outcome, lines),
        (Outcome::Completed(Completion::default()), Vec::new())
    );
}
