//! VRL: how its errors are told, and which functions there are.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::{DagError, check};
use super::{Place, through};

fn errors_of(command: &str, field: &str, program: &str) -> Vec<DagError> {
    check(&through(command, json!({field: program})))
        .err()
        .unwrap_or_default()
}

#[test]
fn compile_errors_have_the_node_the_words_and_the_place() {
    let errors = errors_of("filter", "condition", ".properties.mag >= 4");
    let [error] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert_eq!(
        (error.node.as_deref(), error.pointer.as_str()),
        (Some("it"), "/1/config/condition")
    );
    assert!(
        error.message.contains("VRL error E100: unhandled error"),
        "{}",
        error.message
    );
    assert!(error.message.contains("line 1, column 1"), "{}", error.message);

    let errors = errors_of("eval", "source", ".a = 1\n.ä = 2 + upcase(.b)\n.c = nope(1)");
    let places: Vec<_> = errors
        .iter()
        .map(|error| error.place.map(|place| (place.line, place.column)))
        .collect();
    assert!(places.contains(&Some((3, 6))), "{errors:#?}");
    assert!(errors.iter().all(|error| error.pointer == "/1/config/source"));
}

#[test]
fn syntax_errors_have_a_place() {
    let errors = errors_of("eval", "source", ".a = 1\n.b = = 2");
    assert_eq!(errors[0].place.map(|place| place.line), Some(2), "{errors:?}");
}

#[test]
fn a_condition_must_be_a_boolean_and_change_nothing() {
    let errors = errors_of("filter", "condition", ".a");
    assert!(errors[0].message.contains("must give a boolean"), "{errors:?}");
    for changing in [".a = 1; true", "del(.a); true", "%x = 1; true"] {
        let errors = errors_of("filter", "condition", changing);
        assert!(
            errors.iter().any(|error| error.message.contains("read-only")),
            "`{changing}`: {errors:?}"
        );
    }
}

#[test]
fn an_eval_that_leaves_no_record_is_refused() {
    assert!(
        errors_of("eval", "source", ". = 5")[0]
            .message
            .contains("a record must be an object")
    );
    assert!(
        errors_of("eval", "source", "%kept = .a")
            .iter()
            .any(|error| error.message.contains("read-only"))
    );
}

fn names(list: &str) -> BTreeSet<String> {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn every_function_of_the_library_is_either_allowed_or_refused() {
    let allowed = names(include_str!("../vrl_functions.txt"));
    let refused = names(include_str!("../vrl_refused.txt"));
    let library: BTreeSet<String> = vrl::stdlib::all()
        .iter()
        .map(|function| function.identifier().to_owned())
        .collect();
    assert!(allowed.is_disjoint(&refused));
    let unknown: Vec<_> = library
        .iter()
        .filter(|name| !allowed.contains(*name) && !refused.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "decide about {unknown:?}");
    let gone: Vec<_> = allowed.difference(&library).collect();
    assert!(gone.is_empty(), "allowed but not in the library: {gone:?}");
    // What the library has only with features that are off: refused by name all the same.
    let absent = [
        "get_env_var",
        "get_hostname",
        "dns_lookup",
        "reverse_dns",
        "http_request",
        "validate_json_schema",
    ];
    assert!(
        absent
            .iter()
            .all(|name| refused.contains(*name) && !library.contains(*name))
    );
}

#[test]
fn every_function_outside_the_list_is_refused_by_name() {
    let refused = names(include_str!("../vrl_refused.txt"));
    assert!(refused.len() > 20);
    for name in refused {
        for (command, field) in [("filter", "condition"), ("eval", "source"), ("assertion", "condition")] {
            let errors = errors_of(command, field, &format!("{name}!(.a)"));
            let told = errors.iter().any(|error| {
                error.node.as_deref() == Some("it")
                    && error
                        .message
                        .contains(&format!("the function `{name}` is not allowed in pipelines: "))
            });
            assert!(told, "{name} in {command}: {errors:?}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_time_zone_of_the_machine() {
    let place = Place::new();
    place.write("in.ndjson", "{\"at\":\"2024-03-01 12:00:00\"}\n");
    let source = r#".at = to_unix_timestamp(parse_timestamp!(.at, "%Y-%m-%d %H:%M:%S"))"#;
    place.run(&through("eval", json!({"source": source}))).unwrap();
    assert_eq!(place.records("out.ndjson"), [json!({"at": 1_709_294_400})]);
}

#[test]
fn variables_do_not_live_on_in_the_next_record() {
    let place = Place::new();
    place.write("in.ndjson", "{\"a\":1}\n{}\n{\"a\":3}\n");
    let source = "if exists(.a) { seen = .a }\n.seen = .a";
    place.run(&through("eval", json!({"source": source}))).unwrap();
    assert_eq!(
        place.records("out.ndjson"),
        [
            json!({"a": 1, "seen": 1}),
            json!({"seen": null}),
            json!({"a": 3, "seen": 3})
        ]
    );
}

#[test]
fn a_cancel_ends_a_program_in_the_middle() {
    let place = Place::new();
    place.write("in.ndjson", "{}\n");
    let source = r"
        list = range!(0, 100000)
        n = 0
        for_each(list) -> |_a, _b| { for_each(list) -> |_c, _d| { for_each(list) -> |_e, _f| { n = n + 1 } } }
        .n = n";
    let context = place.context(0, 1);
    let dag = through("eval", json!({"source": source}));
    let pipeline = super::super::Pipeline::compile(&dag, &context)
        .map_err(|errors| format!("{errors:?}"))
        .unwrap();
    let running = std::thread::spawn(move || pipeline.run(&mut |_| {}));
    while place.files().iter().all(|name| !name.contains(".part-")) {
        std::thread::yield_now();
    }
    context.control.cancel();
    let failure = running.join().unwrap().unwrap_err();
    assert_eq!(failure.reason, super::super::PipelineFailureReason::Cancelled);
    assert_eq!(place.files(), ["in.ndjson"]);
}
