//! What is refused at submission, and how it is told.

use serde_json::{Value, json};

use super::super::{DagNode, check, check_replicas};
use super::{Place, node, through, with_letters};

fn generate(outputs: &[&str]) -> DagNode {
    node("in", "generatesource", json!({"count": 1}), outputs)
}

fn print(id: &str) -> DagNode {
    node(id, "stdout", json!({}), &[])
}

fn pass(id: &str, outputs: &[&str]) -> DagNode {
    node(id, "filter", json!({"condition": "true"}), outputs)
}

/// (node, pointer, message) of every error.
fn errors(dag: &[DagNode]) -> Vec<(String, String, String)> {
    let errors = check(dag).err().unwrap_or_default();
    errors
        .into_iter()
        .map(|error| (error.node.unwrap_or_default(), error.pointer, error.message))
        .collect()
}

#[track_caller]
fn assert_refused(dag: &[DagNode], node: &str, pointer: &str, message: &str) {
    let errors = errors(dag);
    assert!(
        errors
            .iter()
            .any(|(id, at, text)| id == node && at == pointer && text.contains(message)),
        "no `{message}` at {pointer} of `{node}` among {errors:#?}"
    );
}

#[test]
fn good_graphs_are_accepted() {
    check(&[generate(&["out"]), print("out")]).unwrap();
    check(&[
        generate(&["a", "b"]),
        pass("a", &["out"]),
        pass("b", &["out"]),
        print("out"),
    ])
    .unwrap();
    check(&with_letters(vec![generate(&["out"]), print("out")])).unwrap();
    check(&with_letters(vec![generate(&["out", "letters"]), print("out")])).unwrap();
}

#[test]
fn wrong_shapes_are_refused() {
    assert_refused(&[], "", "", "empty");
    assert_refused(&[pass("a", &["out"]), print("out")], "", "", "no source");
    assert_refused(
        &[generate(&["out", "gone"]), print("out")],
        "in",
        "/0/outputs/1",
        "no node with id `gone`",
    );
    assert_refused(
        &[generate(&["out", "out"]), print("out")],
        "in",
        "/0/outputs/1",
        "listed twice",
    );
    assert_refused(
        &[generate(&["out"]), print("out"), print("out")],
        "out",
        "/2/id",
        "already that of node 1",
    );
    assert_refused(
        &[generate(&["in"]), print("out")],
        "in",
        "/0/outputs/0",
        "takes no input",
    );
    assert_refused(&[generate(&[]), print("out")], "in", "/0/outputs", "go nowhere");
    assert_refused(
        &[generate(&["out"]), print("out"), print("lost")],
        "lost",
        "/2",
        "no node lists it",
    );
    let sink_with_output = node("out", "stdout", json!({}), &["more"]);
    assert_refused(
        &[generate(&["out"]), sink_with_output, print("more")],
        "out",
        "/1/outputs",
        "no outputs",
    );
    let only_letters = with_letters(vec![generate(&["letters"])]);
    assert_refused(&only_letters, "in", "/0/outputs", "go nowhere");
    let empty_id = [generate(&[""]), node("", "stdout", json!({}), &[])];
    assert_refused(&empty_id, "", "/1/id", "1 to 100 bytes");
}

#[test]
fn a_cycle_is_told_with_its_nodes() {
    let dag = [
        generate(&["a"]),
        pass("a", &["b"]),
        pass("b", &["c", "out"]),
        pass("c", &["a"]),
        print("out"),
    ];
    let errors = errors(&dag);
    let [(_, pointer, message)] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert_eq!(pointer, "/1/outputs");
    assert!(
        ["a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"]
            .iter()
            .any(|way| message.contains(way))
    );
}

#[test]
fn two_parts_are_refused_even_when_both_reach_the_dead_letters() {
    let mut dag = vec![generate(&["out", "letters"]), print("out")];
    dag.push(node("in2", "generatesource", json!({"count": 1}), &["out2", "letters"]));
    dag.push(print("out2"));
    assert_refused(&with_letters(dag), "in2", "/2", "not connected");
}

#[test]
fn at_most_one_dead_letter_sink_and_only_sinks() {
    let mut dag = with_letters(vec![generate(&["out"]), print("out")]);
    dag.push(node("more", "stdout", json!({"deadletter": true}), &[]));
    assert_refused(&dag, "more", "/3/config/deadletter", "`letters` already is");
    let on_filter = through("filter", json!({"condition": "true", "deadletter": true}));
    assert_refused(&on_filter, "it", "/1/config/deadletter", "unknown field");
    let mut text = vec![generate(&["out"]), print("out")];
    text.push(node(
        "letters",
        "stdout",
        json!({"deadletter": true, "encoding": "text"}),
        &[],
    ));
    assert_refused(&text, "letters", "/2/config/encoding", "ndjson");
}

#[test]
fn configurations_are_checked_field_by_field() {
    let cases: &[(&str, Value, &str, &str)] = &[
        ("filter", json!({}), "/1/config/condition", "missing"),
        ("filter", json!({"condition": ""}), "/1/config/condition", "empty"),
        (
            "filter",
            json!({"condition": 5}),
            "/1/config/condition",
            "a string, not a number",
        ),
        (
            "filter",
            json!({"condition": "true", "conditon": 1}),
            "/1/config/conditon",
            "unknown field `conditon`",
        ),
        (
            "filter",
            json!({"condition": "true", "a/b~c": 1}),
            "/1/config/a~1b~0c",
            "unknown field",
        ),
        ("filter", json!([]), "/1/config", "an object, not a list"),
        (
            "filter",
            json!({"condition": "true", "failOnError": "yes"}),
            "/1/config/failOnError",
            "true or false",
        ),
        ("eval", json!({"condition": "true"}), "/1/config/source", "missing"),
        (
            "assertion",
            json!({"condition": "true", "message": 1}),
            "/1/config/message",
            "a string",
        ),
        ("parser", json!({}), "/1/config/type", "missing"),
        (
            "parser",
            json!({"type": "xml"}),
            "/1/config/type",
            "one of: json, csv, logfmt, grok",
        ),
        ("parser", json!({"type": "avro"}), "/1/config/type", "not known"),
        ("parser", json!({"type": "csv"}), "/1/config/columns", "needs the names"),
        (
            "parser",
            json!({"type": "csv", "columns": ["a", "a"]}),
            "/1/config/columns",
            "`a` twice",
        ),
        (
            "parser",
            json!({"type": "json", "columns": ["a"]}),
            "/1/config/columns",
            "unknown field",
        ),
        (
            "parser",
            json!({"type": "json", "field": "."}),
            "/1/config/field",
            "not the whole record",
        ),
        (
            "parser",
            json!({"type": "json", "field": "a["}),
            "/1/config/field",
            "no path",
        ),
        (
            "redissource",
            json!({}),
            "/1/commandName",
            "`redissource` is not known; one of: filesource",
        ),
    ];
    for (command, config, pointer, message) in cases {
        assert_refused(&through(command, config.clone()), "it", pointer, message);
    }
    let sources: &[(&str, Value, &str, &str)] = &[
        ("filesource", json!({}), "/0/config/path", "missing"),
        (
            "filesource",
            json!({"path": "a", "encoding": "avro"}),
            "/0/config/encoding",
            "one of: ndjson, csv, text",
        ),
        (
            "filesource",
            json!({"path": "a", "delimiter": ";"}),
            "/0/config/delimiter",
            "unknown field",
        ),
        (
            "filesource",
            json!({"path": "a", "encoding": "csv", "delimiter": ";;"}),
            "/0/config/delimiter",
            "one ASCII",
        ),
        (
            "filesource",
            json!({"path": "../a"}),
            "/0/config/path",
            "`..` is not allowed",
        ),
        (
            "filesource",
            json!({"path": "a/../../b"}),
            "/0/config/path",
            "`..` is not allowed",
        ),
        ("filesource", json!({"path": "a/"}), "/0/config/path", "names no file"),
        (
            "filesource",
            json!({"path": "${HOME}/a"}),
            "/0/config/path",
            "`${HOME}` is not known",
        ),
        (
            "filesource",
            json!({"path": "${REPLICA_INDEX"}),
            "/0/config/path",
            "no closing brace",
        ),
        (
            "generatesource",
            json!({"count": -1}),
            "/0/config/count",
            "whole number",
        ),
        ("generatesource", json!({"rate": 0}), "/0/config/rate", "above 0"),
        ("generatesource", json!({"fields": []}), "/0/config/fields", "an object"),
    ];
    for (command, config, pointer, message) in sources {
        assert_refused(
            &[node("in", command, config.clone(), &["out"]), print("out")],
            "in",
            pointer,
            message,
        );
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let dag = [
        node(
            "in",
            "filesource",
            json!({"path": "../x", "encoding": "no", "more": 1}),
            &["f"],
        ),
        node("f", "filter", json!({"condition": ".a >"}), &["out"]),
        node("out", "filesink", json!({}), &[]),
    ];
    let pointers: Vec<String> = errors(&dag).into_iter().map(|(_, pointer, _)| pointer).collect();
    assert_eq!(
        pointers,
        [
            "/0/config/path",
            "/0/config/encoding",
            "/0/config/more",
            "/1/config/condition",
            "/2/config/path"
        ]
    );
}

#[test]
fn unknown_fields_of_a_node_are_refused_by_name() {
    let error = serde_json::from_value::<DagNode>(json!({"id": "a", "commandName": "stdout", "output": []}));
    assert!(error.unwrap_err().to_string().contains("unknown field `output`"));
}

#[test]
fn replicas_never_share_a_file() {
    let shared = through("filter", json!({"condition": "true"}));
    check_replicas(&shared, 1).unwrap();
    let errors = check_replicas(&shared, 4).unwrap_err();
    assert_eq!(errors[0].pointer, "/2/config/path");
    assert!(errors[0].message.contains("REPLICA_INDEX"), "{}", errors[0].message);
    let mut own = shared;
    own[2] = node("out", "filesink", json!({"path": "out-${REPLICA_INDEX}.ndjson"}), &[]);
    check_replicas(&own, 4).unwrap();
}

#[test]
fn a_pipeline_never_writes_a_file_twice_or_reads_what_it_writes() {
    let sink = |id: &str| node(id, "filesink", json!({"path": "x"}), &[]);
    assert_refused(
        &[generate(&["a", "b"]), sink("a"), sink("b")],
        "b",
        "/2/config/path",
        "`a` already writes",
    );
    let spelled = node("b", "filesink", json!({"path": "./x"}), &[]);
    assert_refused(
        &[generate(&["a", "b"]), sink("a"), spelled],
        "b",
        "/2/config/path",
        "`a` already writes",
    );
    for part in ["x.part-1", "x.part-${REPLICA_INDEX}"] {
        let sink = node("a", "filesink", json!({"path": part}), &[]);
        assert_refused(&[generate(&["a"]), sink], "a", "/1/config/path", "being written");
    }
    let source = node("in", "filesource", json!({"path": "x"}), &["a"]);
    assert_refused(&[source, sink("a")], "in", "/0/config/path", "that this source reads");
}

#[test]
fn what_check_refuses_compile_refuses() {
    let place = Place::new();
    assert_eq!(place.refusals(&through("filter", json!({"condition": ".a"}))).len(), 1);
    assert_eq!(place.refusals(&[]).len(), 1);
}
