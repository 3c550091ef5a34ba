//! What becomes of the lines of one attempt.

use super::*;

const RATE: Rate = Rate {
    lines_per_second: 1_000,
    bytes_per_second: 1_000_000,
    burst_seconds: 1,
};

fn origin() -> Origin {
    Origin {
        job_id: "job-1".into(),
        task_id: "task-1".into(),
        worker_id: "worker-a".into(),
        attempt: 2,
    }
}

fn captured(texts: &[&str]) -> Vec<Line> {
    let mut capture = Capture::new(origin(), RATE);
    let mut lines = Vec::new();
    for text in texts {
        capture.take(Timestamp::from_ms(5), Output::Stdout, text, &mut lines);
    }
    capture.flush(Timestamp::from_ms(6), &mut lines);
    assert!(!capture.holds());
    lines
}

fn one(text: &str) -> Line {
    let mut lines = captured(&[text]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn a_task_cannot_say_whose_its_lines_are() {
    let line = one(
        r#"{"@timestamp":"2020-01-01T00:00:00Z","job_id":"job-9","task_id":"t","worker_id":"w","attempt":9,"source":"s",
           "service":"x","stream":"y","_time":"z","message":"hello","level":"error","logger":"a.b","user":{"id":7}}"#,
    );
    assert_eq!((line.at, line.attempt), (Timestamp::from_ms(5), Some(2)));
    let of = [
        &line.job_id,
        &line.task_id,
        &line.worker_id,
        &line.source,
        &line.service,
        &line.stream,
    ];
    assert_eq!(of, ["job-1", "task-1", "worker-a", "task", "grid", "stdout"]);
    assert_eq!(
        (&*line.message, &*line.level, &*line.logger_name),
        ("hello", "ERROR", "a.b")
    );
    assert_eq!(line.fields["user.id"], "7");
    assert_eq!(line.fields["task.job_id"], "job-9");
    // Written out, no name stands twice.
    let text = serde_json::to_string(&line).unwrap();
    assert_eq!(text.matches("\"job_id\"").count(), 1, "{text}");
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
}

#[test]
fn fields_are_bounded() {
    let many: serde_json::Map<_, _> = (0..100).map(|n| (format!("f{n}"), n.into())).collect();
    let line = one(&serde_json::Value::Object(many).to_string());
    assert_eq!(line.fields.len(), json::MOST_FIELDS);
    assert_eq!(line.fields["fields_left_out"], "37");
    let long = serde_json::json!({"a": "x".repeat(json::MOST_BYTES), "b": "kept"});
    let line = one(&long.to_string());
    assert_eq!(line.fields.keys().collect::<Vec<_>>(), ["b", "fields_left_out"]);
}

#[test]
fn levels_are_found() {
    for (text, level) in [
        ("ERROR it failed", "ERROR"),
        ("[warn] careful", "WARN"),
        ("error: it failed", "ERROR"),
        ("2026-01-31T10:00:00.123Z DEBUG x", "DEBUG"),
        ("2026-01-31 10:00:00,123 [CRITICAL] x", "FATAL"),
        ("Error handling was improved", "INFO"),
        ("an ERROR later on", "INFO"),
        ("ERROR_CODE=5", "INFO"),
        ("", "INFO"),
        (r#"{"level":"warning","msg":"x"}"#, "WARN"),
        (r#"{"level":50,"msg":"x"}"#, "ERROR"),
        (r#"{"level":"odd","msg":"FATAL x"}"#, "FATAL"),
    ] {
        assert_eq!(one(text).level, level, "{text}");
    }
    let mut lines = Vec::new();
    let mut capture = Capture::new(origin(), RATE);
    capture.take(Timestamp::ZERO, Output::Stderr, "plain", &mut lines);
    capture.flush(Timestamp::ZERO, &mut lines);
    assert_eq!((&*lines[0].level, &*lines[0].stream), ("WARN", "stderr"));
}

#[test]
fn traces_are_joined() {
    let java = [
        "ERROR java.io.IOException: boom",
        "\tat a.B.c(B.java:1)",
        "Caused by: d.E: x",
        "\t... 3 more",
        "INFO next",
    ];
    let lines = captured(&java);
    assert_eq!(lines.len(), 2);
    assert_eq!((&*lines[0].message, &*lines[0].level), (java[0], "ERROR"));
    assert_eq!(lines[0].fields["stack_trace"], java[..4].join("\n"));

    let python = [
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in <module>",
        "    f()",
        "ValueError: x",
        "next",
    ];
    let lines = captured(&python);
    assert_eq!(
        lines.iter().map(|line| &*line.message).collect::<Vec<_>>(),
        ["ValueError: x", "next"]
    );

    let rust = [
        "thread 'main' (7) panicked at src/main.rs:2:5:",
        "boom",
        "note: run with `RUST_BACKTRACE=1`",
        "next",
    ];
    assert_eq!(captured(&rust).len(), 2);
    let go = [
        "panic: boom",
        "",
        "goroutine 1 [running]:",
        "main.main()",
        "\t/tmp/a.go:4 +0x1",
        "exit status 2",
        "next",
    ];
    assert_eq!(captured(&go).len(), 2);
    // Indented text is no trace.
    assert_eq!(captured(&["a:", "  b", "  c"]).len(), 3);
}

#[test]
fn a_trace_without_end_is_cut() {
    let mut texts = vec!["x"];
    let frame = format!("\tat {}", "f".repeat(1_000));
    texts.extend(std::iter::repeat_n(frame.as_str(), 2_000));
    let line = one_of(&texts);
    let trace = &line.fields["stack_trace"];
    assert!(trace.len() < 70 * 1024 && trace.ends_with("… [cut]"), "{}", trace.len());
}

fn one_of(texts: &[&str]) -> Line {
    let mut lines = captured(texts);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn colours_are_removed() {
    assert_eq!(
        one("\u{1b}[1;31mERROR\u{1b}[0m x\u{1b}]8;;http://a\u{1b}\\y\u{1b}]0;t\u{7}\u{1b}(Bz").message,
        "ERROR xyz"
    );
    assert_eq!(one("\u{1b}[31mERROR\u{1b}[0m x").level, "ERROR");
    assert_eq!(one("ends in \u{1b}[").message, "ends in ");
}

#[test]
fn what_is_over_the_rate_is_dropped_and_told() {
    let mut capture = Capture::new(origin(), RATE);
    let mut lines = Vec::new();
    for number in 0..3_000 {
        capture.take(
            Timestamp::from_ms(0),
            Output::Stdout,
            &format!("line {number}"),
            &mut lines,
        );
    }
    assert_eq!(lines.len(), 1_000);
    capture.take(Timestamp::from_ms(100), Output::Stdout, "later", &mut lines);
    capture.take(Timestamp::from_ms(100), Output::Stdout, "last", &mut lines);
    capture.flush(Timestamp::from_ms(200), &mut lines);
    let rest: Vec<_> = lines[1_000..]
        .iter()
        .map(|line| (&*line.source, &*line.message))
        .collect();
    let marker = "… [2000 lines dropped: more than 1000 lines a second, or their bytes]";
    assert_eq!(rest, [("worker", marker), ("task", "later"), ("task", "last")]);
    assert_eq!(lines[1_000].fields["dropped_lines"], "2000");
}

#[test]
fn dropped_lines_are_told_of_when_nothing_follows() {
    let rate = Rate {
        lines_per_second: 0,
        ..RATE
    };
    let mut capture = Capture::new(origin(), rate);
    let mut lines = Vec::new();
    capture.take(Timestamp::ZERO, Output::Stdout, "gone", &mut lines);
    capture.flush(Timestamp::ZERO, &mut lines);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].source, "worker");
}
