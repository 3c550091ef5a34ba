//! Pipelines and tasks that do nothing.

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
