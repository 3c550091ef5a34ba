//! What each node does to records, and what becomes of those that fail.

use serde_json::{Value, json};

use super::super::{DagNode, PipelineFailureReason};
use super::{Place, node, through, with_letters};

/// The records that come out when `input` goes through the node.
fn made(command: &str, config: Value, input: &str) -> Vec<Value> {
    let place = Place::new();
    place.write("in.ndjson", input);
    place.run(&through(command, config)).unwrap();
    place.records("out.ndjson")
}

/// Good records, letters, and the errors counted at each node.
fn with_failures(dag: Vec<DagNode>, input: impl AsRef<[u8]>) -> (Vec<Value>, Vec<Value>, Vec<u64>) {
    let place = Place::new();
    place.write("in.ndjson", input);
    let without = place.run(&dag).unwrap();
    let good = place.records("out.ndjson");
    let report = place.run(&with_letters(dag)).unwrap();
    assert_eq!(
        place.records("out.ndjson"),
        good,
        "a dead letter sink changes nothing else"
    );
    let letters = place.records("letters.ndjson");
    assert_eq!(report.dead_letters, letters.len() as u64);
    assert_eq!(
        without.dead_letters, report.dead_letters,
        "with a sink for them or without"
    );
    let errors: Vec<u64> = without.nodes.iter().map(|node| node.errors).collect();
    assert_eq!(
        report.nodes[..errors.len()]
            .iter()
            .map(|node| node.errors)
            .collect::<Vec<_>>(),
        errors
    );
    (good, letters, errors)
}

#[test]
fn eval_changes_drops_and_multiplies() {
    let input = "{\"a\":1}\n{\"a\":2}\n";
    assert_eq!(
        made("eval", json!({"source": ".b = .a"}), input),
        [json!({"a": 1, "b": 1}), json!({"a": 2, "b": 2})]
    );
    assert_eq!(
        made("eval", json!({"source": "if .a == 1 { abort }"}), input),
        [json!({"a": 2})]
    );
    assert_eq!(
        made("eval", json!({"source": ". = {\"c\": .a}"}), input),
        [json!({"c": 1}), json!({"c": 2})]
    );
    let lists = "{\"id\":1,\"l\":[5,6]}\n{\"id\":2,\"l\":[]}\n";
    let wanted = [json!({"id": 1, "l": 5}), json!({"id": 1, "l": 6})];
    assert_eq!(made("eval", json!({"source": ". = unnest!(.l)"}), lists), wanted);
}

#[test]
fn a_failed_eval_gives_the_record_as_it_came() {
    let dag = through("eval", json!({"source": ".seen = true\n.n = to_int!(.a)"}));
    let (good, letters, errors) = with_failures(dag, "{\"a\":\"1\"}\n{\"a\":\"x\",\"k\":[1]}\n");
    assert_eq!(good, [json!({"a": "1", "n": 1, "seen": true})]);
    assert_eq!(letters[0]["record"], json!({"a": "x", "k": [1]}));
    assert_eq!(letters[0]["node"], "it");
    assert!(letters[0]["error"].as_str().unwrap().contains("to_int"), "{letters:?}");
    assert_eq!(errors, [0, 1, 0]);
}

#[test]
fn an_eval_may_not_leave_something_else() {
    let dag = through("eval", json!({"source": ". = .a"}));
    let (good, letters, _) = with_failures(
        dag,
        "{\"a\":5}\n{\"a\":{\"b\":1}}\n{\"a\":[{\"c\":1},{\"c\":2}]}\n{\"a\":[1]}\n",
    );
    assert_eq!(good, [json!({"b": 1}), json!({"c": 1}), json!({"c": 2})]);
    assert_eq!(letters[0]["record"], json!({"a": 5}));
    assert_eq!(letters[1]["record"], json!({"a": [1]}));
}

#[test]
fn dead_letters_of_a_projected_record_hold_all_of_it() {
    let input = "{\"mag\":\"x\",\"more\":{\"deep\":[1]}}\n{\"mag\":5,\"more\":1}\n{\"mag\":1}\n";
    let dag = vec![
        node("in", "filesource", json!({"path": "in.ndjson"}), &["strong"]),
        node(
            "strong",
            "filter",
            json!({"condition": "to_float!(.mag) >= 2"}),
            &["shape"],
        ),
        node(
            "shape",
            "eval",
            json!({"source": ". = {\"m\": .mag, \"up\": upcase!(.more)}"}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ];
    let (good, letters, errors) = with_failures(dag, input);
    assert!(good.is_empty());
    assert_eq!(letters[0]["record"], json!({"mag": "x", "more": {"deep": [1]}}));
    assert_eq!(letters[1]["record"], json!({"mag": 5, "more": 1}));
    assert_eq!(errors, [0, 1, 1, 0]);
}

#[test]
fn lines_that_are_no_records_fail_at_the_source() {
    let input = b"{\"a\":1}\n{\"a\":\n\n   \n[1]\n5\n{\"b\":\"\xff\"}\r\n{\"a\":2}";
    let (good, letters, errors) = with_failures(through("filter", json!({"condition": "exists(.a)"})), input);
    assert_eq!(good, [json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(errors, [4, 0, 0]);
    let texts: Vec<&str> = letters
        .iter()
        .map(|letter| letter["record"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["{\"a\":", "[1]", "5", "{\"b\":\"\u{fffd}\"}"]);
    assert!(
        letters[0]["error"].as_str().unwrap().contains("at byte 6"),
        "{letters:?}"
    );
    assert!(
        letters[1]["error"]
            .as_str()
            .unwrap()
            .contains("a JSON object, this is a list")
    );
    assert!(letters.iter().all(|letter| letter["node"] == "in"));
}

#[test]
fn an_assertion_lets_through_what_holds() {
    let dag = through(
        "assertion",
        json!({"condition": ".a > 1 ?? false", "message": "too small"}),
    );
    let dag = {
        let mut dag = dag;
        dag[1].config["condition"] = json!("to_int!(.a) > 1");
        dag
    };
    let (good, letters, _) = with_failures(dag, "{\"a\":1}\n{\"a\":2}\n{\"a\":null}\n{\"a\":[]}\n");
    assert_eq!(good, [json!({"a": 2})]);
    assert_eq!(
        letters[0],
        json!({"error": "too small", "node": "it", "record": {"a": 1}})
    );
    assert_eq!(letters.len(), 3);
}

#[test]
fn fail_on_error_ends_the_run_at_a_source_a_node_and_a_sink() {
    let place = Place::new();
    place.write("in.ndjson", "{\"a\":1}\nnot json\n{\"a\":\"b\"}\n");
    for (at, dag) in [
        ("in", {
            let mut dag = through("filter", json!({"condition": "true"}));
            dag[0].config["failOnError"] = json!(true);
            dag
        }),
        (
            "it",
            through("filter", json!({"condition": "to_int!(.a) > 0", "failOnError": true})),
        ),
        ("out", {
            let mut dag = through("filter", json!({"condition": "true"}));
            dag[2].config = json!({"path": "out.txt", "encoding": "text", "failOnError": true});
            dag
        }),
    ] {
        let failure = place.run(&with_letters(dag)).unwrap_err();
        assert_eq!(failure.reason, PipelineFailureReason::Unrecoverable);
        assert_eq!(failure.node.as_deref(), Some(at));
        assert_eq!(place.files(), ["in.ndjson"], "not even dead letters of a failed run");
    }
}

#[test]
fn every_output_gets_every_record_and_sources_flow_together() {
    let place = Place::new();
    place.write("a.ndjson", "{\"n\":1}\n{\"n\":2}\n");
    place.write("b.txt", "hello\n");
    let dag = [
        node("a", "filesource", json!({"path": "a.ndjson"}), &["odd", "all"]),
        node(
            "b",
            "filesource",
            json!({"path": "b.txt", "encoding": "text"}),
            &["all"],
        ),
        node(
            "odd",
            "filter",
            json!({"condition": "mod(int!(.n), 2) == 1"}),
            &["mark"],
        ),
        node("mark", "eval", json!({"source": ".odd = true"}), &["all", "odds"]),
        node("all", "filesink", json!({"path": "all.ndjson"}), &[]),
        node("odds", "stdout", json!({}), &[]),
    ];
    let (report, lines) = place.run_replica(&dag, 0, 1).unwrap();
    let all = super::multiset([place.read("all.ndjson").as_str()]);
    assert_eq!(
        all,
        [
            "{\"message\":\"hello\"}",
            "{\"n\":1,\"odd\":true}",
            "{\"n\":1}",
            "{\"n\":2}"
        ]
    );
    assert_eq!(lines, ["{\"n\":1,\"odd\":true}"]);
    let counts: Vec<(u64, u64)> = report
        .nodes
        .iter()
        .map(|node| (node.events_in, node.events_out))
        .collect();
    assert_eq!(counts, [(2, 2), (1, 1), (2, 1), (1, 1), (4, 4), (1, 1)]);
    assert_eq!(report.nodes[0].bytes_in, 16);
    assert_eq!(report.nodes[4].bytes_out, place.read("all.ndjson").len() as u64);
    assert_eq!(report.nodes[5].bytes_out, 19);
}

#[test]
fn parsers_read_json_and_csv_out_of_a_field() {
    let json_text = "{\"message\":\"{\\\"a\\\":[1]}\",\"k\":1}\n";
    assert_eq!(made("parser", json!({"type": "json"}), json_text), [json!({"a": [1]})]);
    let kept = made("parser", json!({"type": "json", "target": "parsed.it"}), json_text);
    assert_eq!(
        kept,
        [json!({"message": "{\"a\":[1]}", "k": 1, "parsed": {"it": {"a": [1]}}})]
    );
    let row = "{\"row\":{\"text\":\"1;\\\"x;\\\"\\\"y\\\"\\\"\\\"\\r\\n\"}}\n";
    let config = json!({"type": "csv", "field": "row.text", "columns": ["n", "s"], "delimiter": ";"});
    assert_eq!(made("parser", config, row), [json!({"n": "1", "s": "x;\"y\""})]);
}

#[test]
fn what_a_parser_cannot_read_fails() {
    let input = "{\"message\":\"{\"}\n{\"message\":5}\n{}\n{\"message\":\"[1]\"}\n{\"message\":\"{}\"}\n";
    let (good, letters, errors) = with_failures(through("parser", json!({"type": "json"})), input);
    assert_eq!(good, [json!({})]);
    assert_eq!(errors[1], 4);
    assert_eq!(letters[0]["record"], json!({"message": "{"}));
    let rows = "{\"message\":\"a,b\"}\n{\"message\":\"a\"}\n{\"message\":\"a,b,c\"}\n";
    let (good, letters, _) = with_failures(through("parser", json!({"type": "csv", "columns": ["x", "y"]})), rows);
    assert_eq!(good, [json!({"x": "a", "y": "b"})]);
    assert_eq!(letters[0]["error"], "the row has 1 fields, `columns` 2");
}

#[test]
fn rows_that_do_not_fit_their_header_fail() {
    let place = Place::new();
    place.write("in.csv", "\u{feff}\"a\",b\r\n1,2\r\n3\r\n\r\n4,5,6\r\n7,\"8\n9\"");
    let dag = with_letters(vec![
        node(
            "in",
            "filesource",
            json!({"path": "in.csv", "encoding": "csv"}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ]);
    let report = place.run(&dag).unwrap();
    assert_eq!(
        place.records("out.ndjson"),
        [json!({"a": "1", "b": "2"}), json!({"a": "7", "b": "8\n9"})]
    );
    assert_eq!(report.first_errors[0].message, "the row has 1 fields, the header 2");
    assert_eq!(place.records("letters.ndjson")[1]["record"], "4,5,6");
}

#[test]
fn csv_and_text_sinks() {
    let place = Place::new();
    place.write(
        "in.ndjson",
        "{\"b\":1.5,\"a\":\"x,\\\"y\\\"\",\"c\":null}\n{\"a\":true,\"c\":{\"d\":[1]}}\n{\"z\":1}\n",
    );
    let mut dag = through("filter", json!({"condition": "true"}));
    dag[2].config = json!({"path": "out.csv", "encoding": "csv"});
    let report = place.run(&dag).unwrap();
    assert_eq!(
        place.read("out.csv"),
        "a,b,c\n\"x,\"\"y\"\"\",1.5,\ntrue,,\"{\"\"d\"\":[1]}\"\n"
    );
    assert!(
        report.first_errors[0].message.contains("`z` is no column"),
        "{report:?}"
    );
    dag[2].config = json!({"path": "out.csv", "encoding": "csv", "columns": ["z", "a"], "delimiter": ";"});
    place.run(&dag).unwrap();
    assert_eq!(place.read("out.csv"), "z;a\n;\"x,\"\"y\"\"\"\n;true\n1;\n");
    place.write("in.ndjson", "");
    place.run(&dag).unwrap();
    assert_eq!(place.read("out.csv"), "z;a\n", "a header without rows");
    place.write(
        "in.ndjson",
        "{\"message\":\"plain\"}\n{\"message\":7}\n{\"message\":null}\n",
    );
    dag[2].config = json!({"path": "out.txt", "encoding": "text"});
    assert_eq!(place.run(&dag).unwrap().nodes[2].errors, 1);
    assert_eq!(place.read("out.txt"), "plain\n7\n");
}

#[test]
fn replicas_share_what_is_generated() {
    let place = Place::new();
    let dag = [
        node(
            "in",
            "generatesource",
            json!({"count": 10, "fields": {"k": [1], "index": "mine"}}),
            &["out"],
        ),
        node("out", "stdout", json!({}), &[]),
    ];
    for count in 1..=12 {
        let lines: Vec<String> = (0..count)
            .flat_map(|index| place.run_replica(&dag, index, count).unwrap().1)
            .collect();
        let wanted: Vec<String> = (0..10)
            .map(|index| format!("{{\"index\":{index},\"k\":[1]}}"))
            .collect();
        assert_eq!(lines, wanted, "{count} replicas");
    }
}

#[test]
fn bytes_that_are_no_text_go_through_text_unchanged() {
    let place = Place::new();
    place.write("in.txt", b"\xff\xfe\x00latin \xe9\n\n");
    let dag = [
        node(
            "in",
            "filesource",
            json!({"path": "in.txt", "encoding": "text"}),
            &["out", "json"],
        ),
        node("out", "filesink", json!({"path": "out.txt", "encoding": "text"}), &[]),
        node("json", "filesink", json!({"path": "out.ndjson"}), &[]),
    ];
    place.run(&dag).unwrap();
    assert_eq!(
        std::fs::read(place.path("out.txt")).unwrap(),
        b"\xff\xfe\x00latin \xe9\n\n"
    );
    assert_eq!(
        place.records("out.ndjson")[0],
        json!({"message": "\u{fffd}\u{fffd}\u{0}latin \u{fffd}"})
    );
}

/// Most records get past the filter, so that after the first chunk they are built whole at once.
#[test]
fn records_read_twice_or_at_once_come_out_the_same() {
    let place = Place::new();
    let lines: Vec<String> = (0..20_000)
        .map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(n % 80)))
        .collect();
    place.write("in.ndjson", lines.concat());
    let report = place
        .run(&through("filter", json!({"condition": "mod(int!(.n), 10) != 0"})))
        .unwrap();
    let wanted: String = lines
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 10 != 0)
        .map(|(_, line)| line.as_str())
        .collect();
    assert!(place.read("out.ndjson") == wanted);
    assert_eq!(report.nodes[0].events_in, 20_000);
    assert_eq!(report.nodes[0].bytes_in, lines.concat().len() as u64);
}

#[test]
fn a_record_beyond_all_bounds_fails_and_the_next_is_read() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(40_000_000));
    let input = format!("{{\"a\":1}}\n{long}\n{{\"a\":2}}\n");
    let (good, letters, errors) = with_failures(through("filter", json!({"condition": "exists(.a)"})), input);
    assert_eq!(good, [json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(errors, [1, 0, 0]);
    assert!(letters[0]["error"].as_str().unwrap().contains("longer than"));
    assert_eq!(letters[0]["record"].as_str().unwrap().len(), 1024);
    let place = Place::new();
    place.write("in.csv", format!("a,b\n1,2\n3,\"{}", "x\n".repeat(20_000_000)));
    let dag = [
        node(
            "in",
            "filesource",
            json!({"path": "in.csv", "encoding": "csv"}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ];
    let failure = place.run(&dag).unwrap_err();
    assert!(failure.causes[0].contains("begins at byte 8"), "{failure:?}");
}

#[test]
fn logfmt_becomes_fields() {
    let lines = json!({"message": "level=info msg=\"all is \\\"well\\\"\" took=3ms cached\n", "n": 1});
    assert_eq!(
        made("parser", json!({"type": "logfmt"}), &format!("{lines}\n")),
        [json!({"level": "info", "msg": "all is \"well\"", "took": "3ms", "cached": true})]
    );
    assert_eq!(
        made(
            "parser",
            json!({"type": "logfmt", "field": "a.text", "target": "b"}),
            "{\"a\":{\"text\":\"x=1\"}}\n"
        ),
        [json!({"a": {"text": "x=1"}, "b": {"x": "1"}})]
    );
}

#[test]
fn grok_becomes_fields() {
    let pattern = "%{IPORHOST:client} %{WORD:method} %{URIPATHPARAM:path} %{NUMBER:bytes}";
    let dag = through("parser", json!({"type": "grok", "pattern": pattern}));
    let input =
        "{\"message\":\"55.3.244.1 GET /index.html 15824\"}\n{\"message\":\"something else\"}\n{\"message\":5}\n";
    let (good, letters, errors) = with_failures(dag, input);
    let wanted = json!({"client": "55.3.244.1", "method": "GET", "path": "/index.html", "bytes": "15824"});
    assert_eq!(good, [wanted]);
    assert_eq!(errors, [0, 2, 0]);
    assert_eq!(letters[0]["record"], json!({"message": "something else"}));
    assert!(letters[0]["error"].as_str().unwrap().contains("pattern"), "{letters:?}");
    let place = Place::new();
    for (config, below) in [
        (json!({"type": "grok"}), "pattern"),
        (json!({"type": "grok", "pattern": "%{NOSUCH:x}"}), "pattern"),
        (json!({"type": "grok", "pattern": "("}), "pattern"),
        (json!({"type": "logfmt", "pattern": "x"}), "pattern"),
        (json!({"type": "xml"}), "type"),
    ] {
        let refused = place.refusals(&through("parser", config.clone()));
        assert_eq!(refused.len(), 1, "{config}: {refused:?}");
        assert_eq!(refused[0].pointer, format!("/1/config/{below}"), "{config}");
        assert_eq!(super::super::check(&through("parser", config)).unwrap_err().len(), 1);
    }
}
