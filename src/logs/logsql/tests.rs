//! What is read, and what is refused; what a filter finds is tested on a real Postgres.

use proptest::prelude::*;

use super::pattern::{Expression, Pattern};
use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn read(query: &str) -> Filter {
    parse(query, NOW).unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn phrase(field: &str, text: &str) -> Filter {
    Filter::Field(Field(field.into()), Matcher::Phrase(text.into()))
}

#[test]
fn and_binds_closer_than_or_and_not_closest() {
    let expected = Filter::Or(vec![
        Filter::And(vec![phrase("_msg", "a"), Filter::negated(phrase("_msg", "b"))]),
        phrase("level", "c"),
    ]);
    for query in [
        "a AND NOT b OR level:c",
        "a !b or level:\"c\"",
        "((a and (-b))) OR level:c",
        "a not b or level:(c)",
    ] {
        assert_eq!(read(query), expected, "{query}");
    }
}

#[test]
fn the_seeds_queries_are_read() {
    assert_eq!(read(r#"job_id:"job-12345""#), phrase("job_id", "job-12345"));
    let both = Filter::And(vec![phrase("task_id", "task-67890"), phrase("level", "ERROR")]);
    assert_eq!(read(r#"task_id:"task-67890" AND level:"ERROR""#), both);
    let hour = Filter::Time {
        from_ms: Some(NOW.as_ms() - 3_600_000),
        to_ms: Some(NOW.as_ms()),
    };
    let query = r#"job_id:"job-12345" AND _time:[now-1h, now]"#;
    assert_eq!(read(query), Filter::And(vec![phrase("job_id", "job-12345"), hour]));
}

#[test]
fn times_end_where_what_they_name_ends() {
    let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_ms();
    let day_end = ms("2026-02-01T00:00:00Z") - 1;
    for (query, from, to) in [
        ("_time:2026-01-31", Some(ms("2026-01-31T00:00:00Z")), Some(day_end)),
        (
            "_time:[2026-01-31T10:00Z, 2026-01-31]",
            Some(ms("2026-01-31T10:00:00Z")),
            Some(day_end),
        ),
        (
            "_time:(2026-01-31T10:00:00Z, 2026-02-01T00:00:00Z)",
            Some(ms("2026-01-31T10:00:00Z") + 1),
            Some(day_end),
        ),
        ("_time:>=2026-01", Some(ms("2026-01-01T00:00:00Z")), None),
        ("_time:<2026-01", None, Some(ms("2026-01-01T00:00:00Z") - 1)),
        ("_time:<=2026-01", None, Some(day_end)),
        (
            "_time:2026-01-31T12:00:00.250+02:00",
            Some(ms("2026-01-31T10:00:00.250Z")),
            Some(ms("2026-01-31T10:00:00.250Z")),
        ),
        ("_time:5m", Some(NOW.as_ms() - 300_000), Some(NOW.as_ms())),
        (
            "_time:5m offset 1h",
            Some(NOW.as_ms() - 3_900_000),
            Some(NOW.as_ms() - 3_600_000),
        ),
        ("_time:<=5m", Some(NOW.as_ms() - 300_000), Some(NOW.as_ms())),
        ("_time:>=1.5h", None, Some(NOW.as_ms() - 5_400_000)),
    ] {
        assert_eq!(
            read(query),
            Filter::Time {
                from_ms: from,
                to_ms: to
            },
            "{query}"
        );
    }
}

#[test]
fn what_is_not_supported_is_named() {
    for (query, name) in [
        ("ipv4_range(\"10.0.0.0\", \"10.0.0.255\")", "ipv4_range"),
        ("a:in(b | fields c)", "a query as an argument"),
        ("{level=\"x\"}", "level"),
        ("duration:>5ms", "5ms"),
        ("_stream_id:x", "_stream_id"),
        ("~\"a{300}\"", "255"),
        ("~\"(?=a)\"", "regular expression"),
        (&"(".repeat(60), "parentheses"),
        ("\"a\\x00\"", "NUL"),
        ("level:='\\u0000'", "NUL"),
    ] {
        match parse(query, NOW) {
            Err(QueryError::Unsupported(what)) => assert!(what.contains(name), "{query}: {what}"),
            other => panic!("{query}: {other:?}"),
        }
    }
    assert_eq!(parse("a | limit 1", NOW), Err(QueryError::Pipes));
}

#[test]
fn mistakes_say_where_they_are() {
    for (query, at) in [
        ("", 0),
        ("level:", 6),
        ("(level:ERROR", 12),
        ("a AND", 5),
        ("a OR or", 5),
        ("a \"b", 2),
        ("a)", 1),
        ("fooo(b)", 0),
        ("a\"b\"", 1),
        ("_time:xyz", 9),
        ("alice@example.com", 5),
    ] {
        match parse(query, NOW) {
            Err(QueryError::Syntax { at: found, .. }) => assert_eq!(found, at, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn patterns_are_written_for_postgres() {
    for (pattern, expected) in [
        ("a.b", r"a[^\u000A]b"),
        (r"code=[45]\d{2}", r"code\u003D[4-5](?:[0-9]){2,2}"),
        ("^a|b$", r"(?:\Aa|b\Z)"),
        ("(?i)k", "[Kk\\u212A]"),
    ] {
        let found = Expression::anywhere(pattern).map(|found| found.postgres);
        assert_eq!(found, Ok(Pattern(expected.into())), "{pattern}");
    }
}

proptest! {
    /// Whatever is written, reading it ends, and what it makes can be made into SQL with everything bound.
    #[test]
    fn no_query_breaks_the_reader(query in r#"([a-c_*:"'`(){}\[\],<>=~!|$;-]|level|_time|now|and|or|not|in\(| ){0,25}"#) {
        if let Ok(filter) = parse(&query, NOW) {
            let mut sql = sqlx::QueryBuilder::<sqlx::Postgres>::new("");
            if filter.push(&mut sql).is_ok() {
                let text = sql.sql().as_str().to_owned();
                prop_assert!(!text.contains(';') && !text.contains('`'), "{}", text);
            }
        }
    }
}
