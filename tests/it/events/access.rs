//! A cluster whose logins have exactly the rights of docs/kafka-acls.md, on a broker that refuses everything else.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::consumer::{Consumer, agrees};
use crate::faults::load::{all_finished, get, submitted};
use crate::faults::process::{Folder, Grid};
use crate::support::{Guarded, Postgres, python};

const PREFIX: &str = "guarded.";

fn acls(arguments: &[&str]) -> Value {
    let output = python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/acls.py"))
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A configuration that logs in as a role.
fn configuration(folder: &Path, broker: &Guarded, role: &str) -> String {
    let path = folder.join(format!("{role}.toml"));
    let text = format!(
        "[kafka]\nbrokers = '{}'\ntopic_prefix = '{PREFIX}'\n\n[kafka.properties]\n\
         'security.protocol' = 'sasl_plaintext'\n'sasl.mechanism' = 'SCRAM-SHA-256'\n\
         'sasl.username' = '{role}'\n'sasl.password' = '{}'\n",
        broker.login_brokers(),
        broker.password(role),
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn start(folder: &Folder, broker: &Guarded, role: &str, arguments: &[&str]) -> Grid {
    let configuration = configuration(folder.path(), broker, role);
    let common = [
        "--name",
        role,
        "--config",
        &configuration,
        "--set",
        "worker.api_token=of-the-test",
    ];
    let arguments: Vec<String> = [&[role], arguments, &common]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
    Grid::start(folder.path(), role, arguments)
}

fn migrate(folder: &Folder, broker: &Guarded, database: &str) {
    let configuration = configuration(folder.path(), broker, "migrate");
    let migrated = Command::new(env!("CARGO_BIN_EXE_grid"))
        .args([
            "migrate",
            "--shards",
            "4",
            "--postgres",
            database,
            "--config",
            &configuration,
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&migrated.stderr);
    assert!(migrated.status.success(), "{told}");
}

/// What the broker lets a login do.
fn probe(broker: &Guarded, user: &str, read: &str, write: &str, join: &str) -> Value {
    let (brokers, password) = (broker.login_brokers(), broker.password(user));
    let arguments = [
        "probe",
        "--brokers",
        &brokers,
        "--prefix",
        PREFIX,
        "--user",
        user,
        "--password",
        &password,
    ];
    let tried = ["--read", read, "--write", write, "--join", join];
    acls(&[&arguments[..], &tried].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_runs_with_the_documented_rights_and_a_worker_may_do_nothing_else() {
    let broker = Guarded::start();
    let folder = Folder::new("/tmp");
    let database = Postgres::shared().fresh_database();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kafka-acls.md");
    let plain = broker.kafka.brokers();
    acls(&[
        "create",
        "--brokers",
        &plain,
        "--document",
        document,
        "--prefix",
        PREFIX,
    ]);
    migrate(&folder, &broker, &database);

    let service = database.replace("//postgres@", "//grid@");
    let mut jobmaster = start(&folder, &broker, "jobmaster", &["--postgres", &service]);
    jobmaster.ready().await;
    let data = folder.path().join("worker");
    let api = jobmaster.url.clone();
    let arguments = ["--data-dir", data.to_str().unwrap(), "--slots", "4", "--api", &api];
    let mut worker = start(&folder, &broker, "worker", &arguments);
    worker.ready().await;
    let document = json!({ "tasks": [
        { "externalId": "noop", "replicas": 30, "executor": "noop" },
        { "externalId": "again", "command": ["sh", "-c", r#"test "$GRID_ATTEMPT" -ge 2"#], "retry": { "baseSeconds": 0.1 } },
    ] });
    let job = submitted(&api, &document).await;
    all_finished(&api, std::slice::from_ref(&job), Duration::from_secs(60)).await;
    assert_eq!(get(&api, &format!("/api/v1/jobs/{job}")).await["status"], "COMPLETED");
    // It says goodbye in its reports, too.
    worker.stop();
    let workers = get(&api, "/api/v1/workers/worker-worker/events").await;
    assert_eq!(workers["items"][0]["data"]["cause"], "DRAINED", "{workers}");

    // The events are there for who may read them.
    let heads = "SELECT string_agg(shard || ':' || next_seq - 1, ',') FROM shards WHERE next_seq > 1";
    let heads = Postgres::shared().psql(&database, heads);
    let state = folder.path().join("reader.json");
    let mut reader = Consumer::new(&broker.login_brokers(), &format!("{PREFIX}events"), &state);
    reader.login("reader", &broker.password("reader"), &format!("{PREFIX}readers"));
    assert_eq!(agrees(&mut reader, &heads, &api).await, 1);
    jobmaster.stop();

    let others = "commands,replies,reports,events";
    assert_eq!(
        probe(
            &broker,
            "worker",
            others,
            "commands,replies,assignments,events",
            "jobmasters:assignments"
        ),
        json!({
            "read": { "commands": false, "replies": false, "reports": false, "events": false },
            "write": { "commands": false, "replies": false, "assignments": false, "events": false },
            "join": false,
        })
    );
    assert_eq!(
        probe(
            &broker,
            "reader",
            "events,commands",
            "events,commands,reports",
            "jobmasters:events"
        ),
        json!({
            "read": { "events": true, "commands": false },
            "write": { "events": false, "commands": false, "reports": false },
            "join": false,
        })
    );
    // The same probe passes where the right is given.
    assert_eq!(
        probe(&broker, "jobmaster", others, "commands", "jobmasters:commands"),
        json!({
            "read": { "commands": true, "replies": true, "reports": true, "events": true },
            "write": { "commands": true },
            "join": true,
        })
    );
}
