//! The readers of JSON and csv against others' readers, on texts nobody would write.

use bytes::Bytes;
use proptest::prelude::*;
use vrl::value::Value;

use super::super::projection::Projection;
use super::super::{csv, json};

fn read(text: &str, projection: &Projection) -> Result<Value, json::JsonError> {
    // In the middle of a buffer, so that a slip beyond the text would show.
    let whole = Bytes::from(format!("\"}}]{text}\"}}]1"));
    json::read(&whole, 3, 3 + text.len(), projection)
}

/// serde_json rounds floats to a neighbour at times; all else must be equal.
fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Boolean(ours), serde_json::Value::Bool(theirs)) => ours == theirs,
        (Value::Bytes(ours), serde_json::Value::String(theirs)) => ours == theirs.as_bytes(),
        (Value::Integer(ours), serde_json::Value::Number(theirs)) => theirs.as_i64() == Some(*ours),
        (Value::Float(ours), serde_json::Value::Number(theirs)) => {
            let theirs = theirs.as_f64().unwrap();
            let close = (ours.into_inner() - theirs).abs() <= theirs.abs() * 1e-15;
            close && ours.is_sign_negative() == theirs.is_sign_negative()
        }
        (Value::Array(ours), serde_json::Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), serde_json::Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(name, ours)| theirs.get(name.as_str()).is_some_and(|theirs| same(ours, theirs)))
        }
        _ => false,
    }
}

fn assert_same(text: &str) {
    let theirs = serde_json::from_str::<serde_json::Value>(text);
    let ours = read(text, &Projection::Whole);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert!(same(ours, theirs), "{text:?}: {ours:?} is not {theirs:?}"),
        (Err(_), Err(_)) => {}
        _ => panic!("{text:?}: {ours:?}, serde_json {theirs:?}"),
    }
    let passed = read(text, &Projection::nothing());
    assert_eq!(passed.is_ok(), ours.is_ok(), "{text:?} without its fields: {passed:?}");
}

#[test]
fn well_known_corners_of_json() {
    let valid = r#"{"a":[1,-0,0.5,1e3,-1E-2,12345678901234567890,9223372036854775807,-9223372036854775808,1e-400],
        "b":"\u00e9\ud83d\ude00\n\"\\\/\b\f\r\t","":{},"a":[],"\u0062":true,"c":null,"d":false}"#;
    assert_same(valid);
    let wrong = [
        "",
        " ",
        "nul",
        "truefalse",
        "01",
        "-",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "1e999",
        "-1e999",
        "NaN",
        "[1,]",
        "[,1]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "[1 2]",
        "\"",
        "\"\\",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\t\"",
        "\"\n\"",
        "[1",
        "{\"a\":[",
        "]",
        "}",
        "{}{}",
        "1 2",
        "\u{feff}1",
        "[1]]",
        "'a'",
        "\"\\ud83d\\ude0\"",
        "\u{0}",
        "[\u{0}]",
        "1\u{0}",
    ];
    for text in wrong {
        assert!(read(text, &Projection::Whole).is_err(), "{text:?}");
        assert_same(text);
        assert_same(&format!("{{\"x\":{text}}}"));
        assert_same(&format!("[{text}]"));
    }
    for depth in 120..135 {
        assert_same(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert_same(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
    }
}

#[test]
fn floats_are_the_nearest_double() {
    for text in [
        "0.1",
        "-118.6671667",
        "5e-324",
        "1.7976931348623157e308",
        "9007199254740993.0",
        "0.30000000000000004",
    ] {
        let Ok(Value::Float(ours)) = read(text, &Projection::Whole) else {
            panic!("{text}");
        };
        assert_eq!(
            ours.into_inner().to_bits(),
            text.parse::<f64>().unwrap().to_bits(),
            "{text}"
        );
    }
}

#[test]
fn a_projection_keeps_what_it_names() {
    let mut projection = Projection::nothing();
    projection.add(&vrl::path::parse_value_path("a.b").unwrap());
    projection.add(&vrl::path::parse_value_path("c[1].x").unwrap());
    projection.add(&vrl::path::parse_value_path("\"d e\"").unwrap());
    let text =
        r#"{"x":1,"a":{"y":[{}],"b":{"z":2}},"c":[1,{"x":3,"q":4}],"d e":"\u0041","a.b":5,"\u0061":{"b":6,"k":7}}"#;
    let kept = read(text, &projection).unwrap();
    let wanted: Value = serde_json::from_str(r#"{"a":{"b":6},"c":[1,{"x":3,"q":4}],"d e":"A"}"#).unwrap();
    assert_eq!(kept, wanted);
}

/// Texts that are JSON, or nearly.
fn jsonish() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        "\"([a-zé\u{1F600} ]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude0[0-9a-f]){0,12}\"",
        "[-+.0-9eE\"\\\\u{}\\[\\], \t\r\na]{0,6}",
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = "\"([ab]|\\\\u0061|é){0,3}\"";
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..5), "[ \t]{0,2}")
                .prop_map(|(items, space)| { format!("[{space}{}{space}]", items.join(&format!("{space},"))) }),
            (prop::collection::vec((key, inner), 0..5), "[ \r\n]{0,2}").prop_map(|(items, space)| {
                let items: Vec<String> = items
                    .into_iter()
                    .map(|(key, value)| format!("{key}{space}:{space}{value}"))
                    .collect();
                format!("{space}{{{}}}", items.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn json_is_read_as_serde_json_reads_it(text in jsonish()) {
        assert_same(&text);
    }

    #[test]
    fn damaged_json_is_judged_as_serde_json_judges_it(
        text in jsonish(),
        at in any::<prop::sample::Index>(),
        damage in prop_oneof![Just(""), Just("\""), Just("\\"), Just(","), Just("}"), Just("]"), Just("0"), Just("\u{1}")],
    ) {
        let mut places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        places.push(text.len());
        let place = places[at.index(places.len())];
        let width = text[place..].chars().next().map_or(0, char::len_utf8);
        assert_same(&format!("{}{damage}{}", &text[..place], &text[place + width..]));
        assert_same(&format!("{}{damage}{}", &text[..place], &text[place..]));
    }

    #[test]
    fn a_csv_field_written_is_the_field_read(fields in prop::collection::vec("[a,;\"\n\r é]{0,6}", 1..5)) {
        let mut line = Vec::new();
        for (position, field) in fields.iter().enumerate() {
            if position > 0 {
                line.push(b';');
            }
            csv::write_field(&mut line, field.as_bytes(), b';', fields.len() == 1);
        }
        let mut theirs = ::csv::ReaderBuilder::new().has_headers(false).delimiter(b';').from_reader(&line[..]);
        let record = theirs.records().next().unwrap().unwrap();
        prop_assert_eq!(record.iter().collect::<Vec<_>>(), fields.iter().map(String::as_str).collect::<Vec<_>>());
        let whole = Bytes::from(line);
        let mut ours = Vec::new();
        csv::split(&whole, 0, whole.len(), b';', &mut ours);
        let ours: Vec<&[u8]> = ours.iter().map(|field| &field[..]).collect();
        prop_assert_eq!(ours, fields.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}
