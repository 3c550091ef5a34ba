//! Replicas read every record exactly once, whatever the file looks like: against the csv crate's reader, and against a
//! plain split at line feeds.

use std::fs::File;

use proptest::prelude::*;
use serde_json::json;

use super::super::framing::{Framing, Records};
use super::super::{csv, split};
use super::{Place, node};
use crate::worker::pipeline::DagNode;

type Rows = Vec<Vec<Vec<u8>>>;

fn rows_of_the_csv_crate(text: &[u8]) -> Rows {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    reader
        .byte_records()
        .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
        .collect()
}

fn rows_of_replica(file: &File, size: u64, index: u32, count: u32) -> Rows {
    let (from, end) = split::share(size, index, count);
    let start = split::first_csv_record(file, 0, from, b',').unwrap();
    let framing = Framing::Csv { delimiter: b',' };
    let mut records = Records::new(file.try_clone().unwrap(), framing, start, end).unwrap();
    let mut rows = Vec::new();
    let mut fields = Vec::new();
    while records.next_chunk().unwrap() {
        while let Some(frame) = records.next_in_chunk().unwrap() {
            if frame.from < frame.to {
                csv::split(records.chunk(), frame.from, frame.to, b',', &mut fields);
                rows.push(fields.iter().map(|field| field.to_vec()).collect());
            }
        }
    }
    rows
}

fn assert_rows(text: &[u8], counts: impl Iterator<Item = u32>) {
    let place = Place::new();
    place.write("in.csv", text);
    let file = File::open(place.path("in.csv")).unwrap();
    let wanted = rows_of_the_csv_crate(text);
    for count in counts {
        let rows: Rows = (0..count)
            .flat_map(|index| rows_of_replica(&file, text.len() as u64, index, count))
            .collect();
        assert!(
            rows == wanted,
            "{count} replicas of {:?}: {rows:?} is not {wanted:?}",
            String::from_utf8_lossy(text)
        );
    }
}

fn read_text(encoding: &str, count_as: &str) -> Vec<DagNode> {
    vec![
        node(
            "in",
            "filesource",
            json!({"path": "in", "encoding": encoding}),
            &["out"],
        ),
        node("out", "stdout", json!({"encoding": count_as}), &[]),
    ]
}

fn lines_of_replicas(place: &Place, dag: &[DagNode], count: u32) -> Vec<String> {
    (0..count)
        .flat_map(|index| place.run_replica(dag, index, count).unwrap().1)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_as_csv(text in "([ab,]|\"|\"\"|\n|\r\n|\r){0,40}") {
        assert_rows(text.as_bytes(), 1..=9);
    }

    #[test]
    fn tables_with_quotes_and_line_ends_in_fields(
        table in prop::collection::vec(prop::collection::vec("[a\",\n\r é]{0,5}", 3), 0..12),
        crlf in any::<bool>(),
        always_quote in any::<bool>(),
        final_line_end in any::<bool>(),
        blank_lines in any::<bool>(),
    ) {
        let terminator = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let style = if always_quote { ::csv::QuoteStyle::Always } else { ::csv::QuoteStyle::Necessary };
        let mut text = Vec::new();
        for row in [["x", "y", "z"].map(str::to_owned).to_vec()].iter().chain(&table) {
            let mut writer =
                ::csv::WriterBuilder::new().terminator(terminator).quote_style(style).from_writer(Vec::new());
            writer.write_record(row).unwrap();
            text.extend(writer.into_inner().unwrap());
            if blank_lines {
                text.extend(if crlf { &b"\r\n"[..] } else { b"\n" });
            }
        }
        while !final_line_end && text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            text.pop();
        }
        let place = Place::new();
        place.write("in", &text);
        let wanted: Vec<serde_json::Value> =
            table.iter().map(|row| json!({"x": row[0], "y": row[1], "z": row[2]})).collect();
        for count in [1, 2, 3, 5, 8] {
            let lines = lines_of_replicas(&place, &read_text("csv", "ndjson"), count);
            let records: Vec<serde_json::Value> =
                lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            prop_assert_eq!(&records, &wanted, "{} replicas", count);
        }
    }

    #[test]
    fn lines_of_text(text in "([abé]|\n|\r\n|\u{feff}){0,40}") {
        let place = Place::new();
        place.write("in", &text);
        let body = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut wanted: Vec<&str> = body.split('\n').collect();
        if wanted.last() == Some(&"") {
            wanted.pop();
        }
        let wanted: Vec<&str> = wanted.into_iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        for count in [1, 2, 3, 5, 8] {
            prop_assert_eq!(&lines_of_replicas(&place, &read_text("text", "text"), count), &wanted, "{}", count);
        }
    }
}

/// Beyond what is read at once, so that records, quotes and doubled quotes lie across the pieces.
#[test]
fn large_csv_files() {
    for seed in 1_u64..=4 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let pieces: [&[u8]; 8] = [b"a", b"\"\"", b"\n", b",", b"bcdefghij", b"\r\n", b" ", b"\xc3\xa9"];
        let mut text = Vec::new();
        while text.len() < 3_500_000 {
            // Now and then a field longer than a chunk.
            let length = if random(40_000) == 0 { 400_000 } else { random(12) };
            let quoted = random(3) == 0;
            if quoted {
                text.push(b'"');
            }
            for _ in 0..length {
                let piece = pieces[usize::try_from(random(8)).unwrap()];
                if quoted || !matches!(piece, b"\"\"" | b"\n" | b"," | b"\r\n") {
                    text.extend_from_slice(piece);
                }
            }
            if quoted {
                text.push(b'"');
            }
            text.extend_from_slice(if random(4) == 0 { b"\r\n" } else { b"," });
        }
        assert_rows(&text, [1, 3, 8].into_iter());
    }
}

/// Every place of a cut, around every kind of line end.
#[test]
fn more_replicas_than_bytes() {
    assert_rows(b"a,\"b\n\"\"c\"\r\n\r\nd\ne", 1..=40);
    let place = Place::new();
    place.write("in", "\u{feff}a\n\nb\r\nc");
    for count in 1..=30 {
        assert_eq!(
            lines_of_replicas(&place, &read_text("text", "text"), count),
            ["a", "", "b", "c"],
            "{count}"
        );
    }
}
