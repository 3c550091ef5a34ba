//! Pipelines that read and write a real Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use grid::worker::pipeline::{
    Control, DagNode, Keeper, LetterReader, Letterbox, Pipeline, PipelineFailure, PipelineFailureReason,
    PipelineReport, Resume, RunContext, SecretReader,
};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::support::{Guarded, Kafka, free_port, wait_for};

const PARTITIONS: i32 = 4;

fn node(id: &str, command: &str, config: Value, outputs: &[&str]) -> DagNode {
    serde_json::from_value(json!({"id": id, "commandName": command, "config": config, "outputs": outputs})).unwrap()
}

fn context(folder: &Path, replica_index: u32, replica_count: u32) -> RunContext {
    RunContext {
        replica_index,
        replica_count,
        attempt: 1,
        data_dir: folder.to_owned(),
        allow_paths: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")],
        control: Control::default(),
        resume: None,
        keeper: None,
        secrets: SecretReader::default(),
        letterbox: Letterbox::default(),
        letters: LetterReader::default(),
    }
}

fn run(dag: &[DagNode], context: &RunContext) -> Result<PipelineReport, PipelineFailure> {
    Pipeline::compile(dag, context).unwrap().run(&mut |_| {})
}

fn create_topic(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let topic = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let created = futures::executor::block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.unwrap()[0].as_ref().unwrap();
}

/// Key and value of all messages, by a client of its own, by partition.
fn messages(brokers: &str, topic: &str, count: usize) -> BTreeMap<i32, Vec<(Option<String>, String)>> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "of-the-test")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    reader.assign(&assigned).unwrap();
    let mut found: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    let begun = Instant::now();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    while found.values().map(Vec::len).sum::<usize>() < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "only {found:?}");
        if let Some(message) = reader.poll(Duration::from_millis(100)) {
            let message = message.unwrap();
            let entry = (message.key().map(text), text(message.payload().unwrap()));
            found.entry(message.partition()).or_default().push(entry);
        }
    }
    found
}

fn earthquakes() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/earthquakes.ndjson");
    let text = std::fs::read_to_string(path).unwrap();
    sorted(text.lines().map(same))
}

/// In one spelling.
fn same(text: &str) -> String {
    serde_json::from_str::<Value>(text).unwrap().to_string()
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// All records of the real input into the topic, with their ids as keys.
fn fill(folder: &Path, brokers: &str, topic: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/earthquakes.ndjson");
    let dag = [
        node("in", "filesource", json!({"path": path}), &["out"]),
        node(
            "out",
            "kafkasink",
            json!({"brokers": brokers, "topic": topic, "key": "id"}),
            &[],
        ),
    ];
    run(&dag, &context(folder, 0, 1)).unwrap();
}

fn reading(brokers: &str, topic: &str, follow: bool) -> Vec<DagNode> {
    vec![
        node(
            "in",
            "kafkasource",
            json!({"brokers": brokers, "topic": topic, "follow": follow}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out-${REPLICA_INDEX}.ndjson"}), &[]),
    ]
}

fn lines(folder: &Path, replica: u32) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(format!("out-{replica}.ndjson"))).unwrap();
    text.lines().map(same).collect()
}

#[test]
fn records_go_into_a_topic_and_replicas_share_its_partitions() {
    let kafka = Kafka::shared();
    let (brokers, topic) = (kafka.brokers(), format!("{}quakes", kafka.fresh_prefix()));
    create_topic(&brokers, &topic);
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &brokers, &topic);
    let wanted = earthquakes();
    let kept = messages(&brokers, &topic, wanted.len());
    assert_eq!(kept.len(), PARTITIONS as usize, "the keys spread them");
    for (key, value) in kept.values().flatten() {
        let value: Value = serde_json::from_str(value).unwrap();
        assert_eq!(value["id"].as_str(), key.as_deref());
    }
    assert_eq!(sorted(kept.values().flatten().map(|(_, value)| same(value))), wanted);

    // Three replicas of four partitions: one has two.
    let dag = reading(&brokers, &topic, false);
    for index in 0..3 {
        run(&dag, &context(folder.path(), index, 3)).unwrap();
        let partitions = kept.iter().filter(|(partition, _)| **partition as u32 % 3 == index);
        let mine = sorted(partitions.flat_map(|(_, kept)| kept).map(|(_, value)| same(value)));
        assert_eq!(sorted(lines(folder.path(), index).into_iter()), mine, "replica {index}");
    }
}

/// Up to where a checkpoint says that the topic was read, over all partitions.
fn read_until(checkpoint: &str) -> usize {
    let state: Value = serde_json::from_str(checkpoint).unwrap();
    let places = state["sources"]["in"]["places"].as_array().unwrap().iter();
    places.map(|place| place["next"].as_u64().unwrap() as usize).sum()
}

/// Follows the topic, and calls `seen` with each checkpoint until it says what is to be done.
fn follow(
    dag: Vec<DagNode>,
    context: RunContext,
    seen: impl Fn(&str, &Control) -> bool,
) -> (Result<PipelineReport, PipelineFailure>, String) {
    let (keeper, mut taken) = Keeper::every(Duration::ZERO);
    let context = RunContext {
        keeper: Some(keeper),
        ..context
    };
    let control = context.control.clone();
    let attempt = std::thread::spawn(move || run(&dag, &context));
    let mut last = String::new();
    while let Some(checkpoint) = taken.blocking_recv() {
        checkpoint.sync().unwrap();
        last = checkpoint.data;
        if seen(&last, &control) {
            break;
        }
    }
    drop(taken);
    (attempt.join().unwrap(), last)
}

#[test]
fn a_later_attempt_goes_on_where_the_checkpoint_stood() {
    let kafka = Kafka::shared();
    let (brokers, topic) = (kafka.brokers(), format!("{}quakes", kafka.fresh_prefix()));
    create_topic(&brokers, &topic);
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &brokers, &topic);
    let wanted = earthquakes();
    let dag = || reading(&brokers, &topic, true);
    let (broken_off, kept) = follow(dag(), context(folder.path(), 0, 1), |checkpoint, control| {
        let is_under_way = read_until(checkpoint) > 0;
        if is_under_way {
            control.cancel();
        }
        is_under_way
    });
    assert_eq!(broken_off.unwrap_err().reason, PipelineFailureReason::Cancelled);

    // What is added later comes as well, and nothing of what was there before comes twice.
    fill(folder.path(), &brokers, &topic);
    let second = RunContext {
        attempt: 2,
        resume: Some(Resume { attempt: 1, data: kept }),
        ..context(folder.path(), 0, 1)
    };
    let all = 2 * wanted.len();
    let (stopped, _) = follow(dag(), second, |checkpoint, control| {
        let is_all = read_until(checkpoint) == all;
        if is_all {
            control.stop();
        }
        is_all
    });
    let report = stopped.unwrap();
    assert_eq!((report.stopped, report.resumed_from), (true, Some(1)));
    let twice = sorted(wanted.iter().chain(&wanted).cloned());
    assert_eq!(sorted(lines(folder.path(), 0).into_iter()), twice);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no part files are left"
    );
}

/// Nodes that log in; `password` is a secret.
fn logging_in(brokers: &str, topic: &str, (mechanism, user): (&str, &str)) -> [Vec<DagNode>; 2] {
    let config = json!({"brokers": brokers, "topic": topic, "properties": {
        "security.protocol": "sasl_plaintext", "sasl.mechanism": mechanism, "sasl.username": user,
        "sasl.password": {"secret": "KAFKA_PASSWORD"}}});
    let writing = vec![
        node("in", "generatesource", json!({"count": 10}), &["out"]),
        node("out", "kafkasink", config.clone(), &[]),
    ];
    let reading = vec![
        node("in", "kafkasource", config, &["out"]),
        node("out", "filesink", json!({"path": "out-${REPLICA_INDEX}.ndjson"}), &[]),
    ];
    [writing, reading]
}

fn with_password(folder: &Path, password: &str) -> RunContext {
    let password = password.to_owned();
    RunContext {
        secrets: SecretReader::new(move |_| Ok(password.clone())),
        ..context(folder, 0, 1)
    }
}

fn must_be_refused(dag: &[DagNode], context: &RunContext) {
    let begun = Instant::now();
    let refused = run(dag, context).unwrap_err();
    assert_eq!(refused.reason, PipelineFailureReason::Authentication, "{refused:?}");
    assert!(!format!("{refused:?}").contains("wrong word"));
    assert!(begun.elapsed() < Duration::from_secs(25), "it was told late");
}

#[test]
fn who_is_not_let_in_fails_for_that() {
    let kafka = Kafka::shared();
    let topic = format!("{}logins", kafka.fresh_prefix());
    create_topic(&kafka.brokers(), &topic);
    let folder = tempfile::tempdir().unwrap();
    let [writing, reading] = logging_in(&kafka.sasl_brokers(), &topic, ("PLAIN", "grid"));
    let good = with_password(folder.path(), "open sesame");
    run(&writing, &good).unwrap();
    run(&reading, &good).unwrap();
    assert_eq!(lines(folder.path(), 0).len(), 10);
    let wrong = with_password(folder.path(), "wrong word");
    must_be_refused(&writing, &wrong);
    must_be_refused(&reading, &wrong);
}

#[test]
fn who_may_not_use_the_topic_fails_for_that() {
    let guarded = Guarded::start();
    let topic = format!("{}secret", guarded.kafka.fresh_prefix());
    create_topic(&guarded.kafka.brokers(), &topic);
    let folder = tempfile::tempdir().unwrap();
    let [writing, reading] = logging_in(&guarded.login_brokers(), &topic, ("SCRAM-SHA-256", "reader"));
    let known = with_password(folder.path(), &guarded.password("reader"));
    must_be_refused(&writing, &known);
    must_be_refused(&reading, &known);
}

#[test]
fn a_broker_that_goes_and_comes_back_costs_no_record() {
    let kafka = Kafka::start();
    let (brokers, topic) = (kafka.brokers(), "numbers");
    create_topic(&brokers, topic);
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u64> = (0..6_000).collect();
    let writing = [
        node(
            "in",
            "generatesource",
            json!({"count": numbers.len(), "rate": 1_500}),
            &["out"],
        ),
        node("out", "kafkasink", json!({"brokers": brokers, "topic": topic}), &[]),
    ];
    let pipeline = Pipeline::compile(&writing, &context(folder.path(), 0, 1)).unwrap();
    let counters = pipeline.counters();
    let attempt = std::thread::spawn(move || pipeline.run(&mut |_| {}));
    let is_under_way = || (counters.nodes()[1].events_in > 500).then_some(());
    wait_for("records are under way", Duration::from_secs(30), is_under_way);
    kafka.kill();
    kafka.restart();
    attempt.join().unwrap().unwrap();
    run(&reading(&brokers, topic, false), &context(folder.path(), 0, 1)).unwrap();
    let index = |line: &String| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
    // At least once.
    let found: BTreeSet<u64> = lines(folder.path(), 0).iter().map(index).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), numbers);
}

#[test]
fn brokers_that_do_not_answer_fail_the_attempt_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("127.0.0.1:{}", free_port());
    let begun = Instant::now();
    let silent = run(&reading(&nobody, "t", true), &context(folder.path(), 0, 1)).unwrap_err();
    assert_eq!(silent.reason, PipelineFailureReason::Error, "{silent:?}");
    assert!(
        silent.to_string().contains("does not answer") && begun.elapsed() < Duration::from_secs(60),
        "{silent:?}"
    );
    // Cancelled, it does not wait for them.
    let context = context(folder.path(), 0, 1);
    let control = context.control.clone();
    let attempt = std::thread::spawn(move || run(&reading(&nobody, "t", true), &context));
    control.cancel();
    assert_eq!(
        attempt.join().unwrap().unwrap_err().reason,
        PipelineFailureReason::Cancelled
    );
}

#[test]
fn a_topic_that_is_not_there_is_told() {
    let kafka = Kafka::shared();
    let folder = tempfile::tempdir().unwrap();
    let topic = format!("{}nowhere", kafka.fresh_prefix());
    let missing = run(&reading(&kafka.brokers(), &topic, false), &context(folder.path(), 0, 1)).unwrap_err();
    assert_eq!(missing.reason, PipelineFailureReason::Error);
    assert!(missing.to_string().contains(&topic), "{missing}");
    for (config, below) in [
        (json!({"brokers": "b:9092"}), "topic"),
        (json!({"brokers": "b:9092", "topic": "t", "from": "latest"}), "from"),
        (
            json!({"brokers": "b:9092", "topic": "t", "encoding": "csv"}),
            "encoding",
        ),
        (
            json!({"brokers": "b:9092", "topic": "t", "properties": {"ssl.key.location": "/etc/shadow"}}),
            "properties",
        ),
    ] {
        let mut dag = reading("b:9092", "t", false);
        dag[0] = node("in", "kafkasource", config.clone(), &["out"]);
        let refused = grid::worker::pipeline::check(&dag).unwrap_err();
        assert_eq!(refused.len(), 1, "{config}: {refused:?}");
        assert_eq!(refused[0].pointer, format!("/0/config/{below}"), "{config}");
    }
}
