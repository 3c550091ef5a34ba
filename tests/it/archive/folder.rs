//! Archives that somebody has tampered with are found out.

use std::path::{Path, PathBuf};

use grid::log::Hash;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::past::database;
use super::{grid, json};
use crate::api::{Fixture, Options};

/// Without shards: nobody serves this database.
async fn alone(url: &str) -> Fixture {
    Fixture::with(Options {
        database: Some(url.to_owned()),
        shards: false,
        ..Options::default()
    })
    .await
}

struct Archive {
    folder: tempfile::TempDir,
    file: PathBuf,
    date: String,
}

impl Archive {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn lines(&self) -> Vec<String> {
        let text = zstd::decode_all(std::fs::File::open(&self.file).unwrap()).unwrap();
        String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
    }

    /// Writes the file anew, and lists what it is then, as somebody would who knows how archives are made.
    fn forge(&self, lines: &[String]) {
        let text = lines.join("\n") + "\n";
        self.write(&zstd::encode_all(text.as_bytes(), 1).unwrap());
    }

    fn write(&self, bytes: &[u8]) {
        std::fs::write(&self.file, bytes).unwrap();
        let manifest = self.path().join("archive/manifest.json");
        let mut listed: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
        let days = listed["days"].as_array_mut().unwrap();
        let day = days.iter_mut().find(|day| day["date"] == self.date).unwrap();
        day["bytes"] = json!(bytes.len());
        day["sha256"] = json!(hex::encode(Sha256::digest(bytes)));
        std::fs::write(&manifest, listed.to_string()).unwrap();
    }
}

/// Two days, archived by somebody else than a server.
async fn archived() -> (Fixture, Archive) {
    let (url, past) = database(&[4, 3], false).await;
    let server = alone(&url).await;
    let folder = tempfile::tempdir().unwrap();
    let (code, out, err) = grid(
        &server,
        folder.path(),
        &["archive", "--older-than", "2d", "--to", "archive"],
    )
    .await;
    assert_eq!(code, 0, "{out}{err}");
    let date = past.date(4);
    let file = folder.path().join(format!("archive/events-{date}.ndjson.zst"));
    (server, Archive { folder, file, date })
}

async fn verify(server: &Fixture, archive: &Archive, offline: bool) -> (i32, Value) {
    let flags = ["verify", "--archive", "archive", "--offline"];
    json(server, archive.path(), &flags[..if offline { 4 } else { 3 }]).await
}

#[actix_web::test]
async fn one_byte_of_a_file_that_is_changed_is_found() {
    let (server, archive) = archived().await;
    for offline in [true, false] {
        let (code, report) = verify(&server, &archive, offline).await;
        assert_eq!(
            (code, &report["days"], &report["withLog"]),
            (0, &json!(2), &json!(!offline)),
            "{report:#}"
        );
    }
    let whole = std::fs::read(&archive.file).unwrap();
    for place in (0..whole.len()).step_by(whole.len() / 7) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        std::fs::write(&archive.file, &changed).unwrap();
        let (code, report) = verify(&server, &archive, place % 2 == 0).await;
        assert_eq!(code, 2, "{place}: {report:#}");
        assert_eq!(
            report["differences"][0]["file"],
            archive.file.file_name().unwrap().to_str().unwrap()
        );
    }
    // An archive that is not as it was is no reason to drop a day.
    let flags = ["archive", "--older-than", "2d", "--to", "archive", "--drop"];
    let (code, _, err) = grid(&server, archive.path(), &flags).await;
    assert!(
        code == 1 && err.contains("not the file that manifest.json lists"),
        "{err}"
    );
    assert_eq!(server.psql("SELECT count(*) FROM retired_days"), "0");
    std::fs::write(&archive.file, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(verify(&server, &archive, true).await.0, 2);
    std::fs::remove_file(&archive.file).unwrap();
    assert_eq!(verify(&server, &archive, true).await.0, 2);
    std::fs::write(&archive.file, &whole).unwrap();
    assert_eq!(verify(&server, &archive, false).await.0, 0);
    std::fs::write(archive.path().join("archive/manifest.json"), "{").unwrap();
    let (code, _, err) = grid(
        &server,
        archive.path(),
        &["verify", "--archive", "archive", "--offline"],
    )
    .await;
    assert!(code == 3 && err.contains("manifest.json"), "{err}");
    server.stop().await;
}

fn is(line: &str, kind: &str) -> bool {
    line.starts_with(&format!("{{\"{kind}\":"))
}

/// Of a line that is a commit.
fn place(line: &str) -> (Value, Value) {
    let line: Value = serde_json::from_str(line).unwrap();
    (line["commit"]["shard"].clone(), line["commit"]["firstSeq"].clone())
}

/// Of the first difference that has one.
fn found(report: &Value) -> (Value, Value) {
    let differences = report["differences"].as_array().unwrap();
    let first = differences.iter().find(|it| it["seq"].is_number());
    let first = first.unwrap_or_else(|| panic!("{report:#}"));
    (first["shard"].clone(), first["seq"].clone())
}

#[actix_web::test]
async fn whoever_changes_an_event_must_change_its_hashes_and_then_the_log_disagrees() {
    let (server, archive) = archived().await;
    let lines = archive.lines();
    // Another principal in the last event; what stands around it stays.
    let event = lines.iter().rposition(|line| is(line, "event")).unwrap();
    let commit = lines[..event].iter().rposition(|line| is(line, "commit")).unwrap();
    let mut forged = lines.clone();
    forged[event] = lines[event].replace("\"tester\"", "\"nobody\"");
    assert_ne!(forged[event], lines[event]);
    archive.forge(&forged);
    for offline in [true, false] {
        let (code, report) = verify(&server, &archive, offline).await;
        assert_eq!((code, found(&report)), (2, place(&lines[commit])), "{report:#}");
    }

    // A commit less: the file agrees with itself, the log does not.
    let first = lines.iter().position(|line| is(line, "commit")).unwrap();
    let next = lines[first + 1..].iter().position(|line| !is(line, "event")).unwrap() + first + 1;
    let mut forged = lines.clone();
    forged.drain(first..next);
    let end: Value = serde_json::from_str(&lines[lines.len() - 1]).unwrap();
    let less = |name: &str, by: usize| end["end"][name].as_u64().unwrap() - by as u64;
    let end = json!({"end": {"commits": less("commits", 1), "events": less("events", next - first - 1)}});
    *forged.last_mut().unwrap() = end.to_string();
    archive.forge(&forged);
    let (code, report) = verify(&server, &archive, false).await;
    assert_eq!((code, found(&report)), (2, place(&lines[first])), "{report:#}");

    // The hash of a commit.
    let mut forged = lines.clone();
    let commit: Value = serde_json::from_str(&lines[first]).unwrap();
    forged[first] = lines[first].replace(commit["commit"]["hash"].as_str().unwrap(), &Hash::default().to_string());
    archive.forge(&forged);
    let (code, report) = verify(&server, &archive, true).await;
    assert_eq!((code, found(&report)), (2, place(&lines[first])), "{report:#}");
    // And back again.
    archive.forge(&lines);
    for offline in [true, false] {
        assert_eq!(verify(&server, &archive, offline).await.0, 0);
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_log_that_was_changed_is_not_archived() {
    let (url, past) = database(&[4, 3], false).await;
    let server = alone(&url).await;
    let folder = tempfile::tempdir().unwrap();
    server.psql(&format!(
        "SET session_replication_role = replica; DELETE FROM events WHERE day = {} AND shard = 2 AND seq = 3",
        past.today - 4
    ));
    let flags = ["archive", "--older-than", "2d", "--to", "archive", "--drop"];
    let (code, _, err) = grid(&server, folder.path(), &flags).await;
    assert!(
        code == 1 && err.contains("does not hold what the log does") && err.contains("at 2/"),
        "{err}"
    );
    assert_eq!(server.psql("SELECT count(*) FROM retired_days"), "0");
    server.stop().await;
}
