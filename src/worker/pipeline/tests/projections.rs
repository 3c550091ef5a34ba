//! Building only what programs read changes nothing: every program gives on the projected record what it gives on the
//! whole one.

use bytes::Bytes;
use proptest::prelude::*;
use vrl::value::Value;

use super::super::context::Control;
use super::super::json;
use super::super::program::{Condition, Interpreter, Mapping, Ran};
use super::super::projection::Projection;

/// What a program made of a text: the record it left, or how it ended.
fn outcome(mapping: &Mapping, text: &str, projection: &Projection) -> Result<Value, String> {
    let whole = Bytes::copy_from_slice(text.as_bytes());
    let mut record = json::read(&whole, 0, whole.len(), projection).unwrap();
    match Interpreter::new(Control::default()).map(mapping, &mut record) {
        Ran::Done(_) => Ok(record),
        Ran::Aborted => Err("aborted".to_owned()),
        Ran::Failed(message) => Err(message),
        Ran::Cancelled => panic!("nobody cancels"),
    }
}

/// Whether there was anything to compare: a program that reads a part of the record.
fn assert_same(source: &str, text: &str) -> bool {
    let Ok(mapping) = Mapping::compile(0, "it", source) else {
        return false;
    };
    let Some(projection) = mapping.reads_only.clone() else {
        return false;
    };
    let (projected, whole) = (
        outcome(&mapping, text, &projection),
        outcome(&mapping, text, &Projection::Whole),
    );
    assert_eq!(projected, whole, "`{source}` on {text} with {projection:?}");
    !projection.is_whole()
}

#[test]
fn the_examples_of_all_functions() {
    let allowed = include_str!("../vrl_functions.txt");
    let mut compared = 0;
    for function in vrl::stdlib::all() {
        if !allowed.lines().any(|name| name == function.identifier()) {
            continue;
        }
        for example in function.examples().iter().filter(|example| example.deterministic) {
            let text = example.input.unwrap_or("{}");
            if !text.trim_start().starts_with('{') {
                continue;
            }
            let source = format!("it = {{\n{}\n}}\n. = {{\"it\": it}}", example.source);
            compared += u32::from(assert_same(&source, text));
        }
    }
    assert!(compared > 300, "only {compared} examples were compared");
}

/// Programs over the fields that the random records have.
const PROGRAMS: &[&str] = &[
    r#". = {"x": .a}"#,
    r#". = {"x": .a.b, "y": .b}"#,
    r#". = {"x": .a.b.c, "y": exists(.a.c), "z": is_object(.a)}"#,
    r#". = {"x": .a[0], "y": .a[-1].b}"#,
    r#"x = del(.a.b); . = {"x": x, "a": .a}"#,
    r#".a.n = 1; . = {"x": .a}"#,
    r#".a = .b; . = {"x": .a.b, "n": length(string(.a) ?? "")}"#,
    r#"if exists(.a) { .b = {"c": .a} }; . = {"x": .b.c}"#,
    r#". = {"x": .b}; .y = .x; del(.x)"#,
    r#". = {"n": length(.), "k": keys(.)}"#,
    r#". = {"x": to_string!(.a)}"#,
    r#". = {"x": (to_int(.a) ?? to_int(.b) ?? -1)}"#,
    r#"if is_null(.a) { abort }; . = {"b": .b}"#,
    r#". = {"x": map_values(object(.a) ?? {}) -> |v| { [v, .b] }}"#,
    r#". = {"all": .}"#,
    r#". = {"x": get(., ["a", "b"]) ?? null}"#,
    r#". = {"x": type_def(.a), "y": tag_types_externally(.a.b)}"#,
    r#"." " = .a; . = {"x": ." ", "y": ."a"}"#,
    r#".a = merge(object(.a) ?? {}, {"m": 1}); . = {"x": .a}"#,
    r#". = merge({"x": .c}, object(.a) ?? {})"#,
    r#". = unnest(.a) ?? {"none": true}"#,
    r#". = {"x": compact(object(.a) ?? {}), "b": .b.a.c}"#,
    r#"x = .; . = {"x": x.a}"#,
    r#"if .b == 1 { return null }; . = {"x": .a}"#,
    r#". = {"x": exists(.a.b.c), "m": match_datadog_query({"a": .a}, "@a:x")}"#,
];

/// A record in which the names come again at every level, now and then twice.
fn record() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null"),
        Just("1"),
        Just("2.5"),
        Just("\"x\""),
        Just("true"),
        Just("\"7\"")
    ];
    let value = leaf.prop_map(str::to_owned).prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            object_of(inner),
        ]
    });
    object_of(value)
}

fn object_of(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just(" "), Just("\\u0061")];
    prop::collection::vec((name, inner), 0..5).prop_map(|items| {
        let items: Vec<String> = items
            .into_iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", items.join(","))
    })
}

#[test]
fn the_programs_below_compile_and_most_read_a_part() {
    let compiled: Vec<Mapping> = PROGRAMS
        .iter()
        .map(|source| {
            Mapping::compile(0, "it", source)
                .map_err(|errors| format!("{source}: {errors:?}"))
                .unwrap()
        })
        .collect();
    let partial = |mapping: &&Mapping| mapping.reads_only.as_ref().is_some_and(|reads| !reads.is_whole());
    assert!(compiled.iter().filter(partial).count() >= 15);
    let returning = Mapping::compile(0, "it", "if .b == 1 { return null }; . = {\"x\": .a}")
        .ok()
        .unwrap();
    assert!(
        returning.reads_only.is_none(),
        "the return leaves the record as it came"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn programs_over_random_records(text in record()) {
        for source in PROGRAMS {
            assert_same(source, &text);
        }
    }

    #[test]
    fn conditions_over_random_records(text in record()) {
        for source in [
            "exists(.a.b)", ".a == .b", "is_null(.a.b.c)", "length(.) > 2", "bool(.c) ?? false",
            "to_int!(.a.b) > 0", "includes(array(.a) ?? [], 1)", ".a[0].b == 1", r#"match(string!(.b), r'x')"#,
        ] {
            let condition = Condition::compile(0, "it", source).ok().unwrap();
            let whole = Bytes::copy_from_slice(text.as_bytes());
            let mut outcomes = [&condition.reads, &Projection::Whole].into_iter().map(|projection| {
                let mut record = json::read(&whole, 0, whole.len(), projection).unwrap();
                match Interpreter::new(Control::default()).decide(&condition, &mut record) {
                    Ran::Done(decision) => Ok(decision),
                    Ran::Failed(message) => Err(message),
                    Ran::Aborted | Ran::Cancelled => panic!("neither aborts"),
                }
            });
            prop_assert_eq!(outcomes.next(), outcomes.next(), "`{}`", source);
        }
    }
}
