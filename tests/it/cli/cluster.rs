//! Jobmaster and worker as processes of their own: who may be reached by whom, and how.

use std::time::Duration;

use super::server::Standalone as Process;
use super::{grid, run, told};
use crate::support::{Authority, Kafka, Postgres, free_port};

const DEADLINE: Duration = Duration::from_secs(120);

/// As the service role: the owner may change the log, and is refused.
fn service(database: &str) -> String {
    database.replace("//postgres@", "//grid@")
}

#[test]
fn a_jobmaster_that_others_can_reach_starts_only_when_it_is_said_who_may_use_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = Postgres::shared().fresh_database();
    let (code, _, err) = run(folder.path(), &["migrate", "--postgres", &database]);
    assert_eq!(code, 0, "{err}");
    let listen = format!("0.0.0.0:{}", free_port());
    // It does not come to ask for Kafka.
    let flags = ["jobmaster", "--listen", &listen, "--kafka", "127.0.0.1:1"];
    let (code, out, err) = run(
        folder.path(),
        &[&flags[..], &["--postgres", &service(&database)]].concat(),
    );
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let advice = "grid token create --role admin --expires 90d --postgres URL";
    assert!(err.contains(&listen) && err.contains(advice), "{err}");
    assert!(err.contains("auth.anonymous_role=none"), "{err}");
}

#[test]
fn a_worker_fetches_what_it_needs_over_tls_and_only_from_whom_it_trusts() {
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let (database, brokers) = (postgres.fresh_database(), kafka.brokers());
    let topics = format!("kafka.topic_prefix={}", kafka.fresh_prefix());
    let common = [
        "--kafka",
        &brokers,
        "--set",
        &topics,
        "--set",
        "worker.api_token=of-the-test",
    ];
    let folder = Process::folder();
    let path = folder.path().to_owned();
    let migrate = ["migrate", "--shards", "4", "--postgres", &database];
    let (code, _, err) = run(&path, &[&migrate[..], &common[..4]].concat());
    assert_eq!(code, 0, "{err}");
    let authority = Authority::new("of the test");
    let (certificate, key) = authority.sign("localhost");
    for (name, text) in [
        ("ca.pem", authority.certificate()),
        ("stranger.pem", Authority::new("stranger").certificate()),
        ("server.pem", certificate),
        ("server.key", key),
    ] {
        std::fs::write(path.join(name), text).unwrap();
    }
    let port = free_port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("https://localhost:{port}"));
    let secured = ["server.tls_cert=server.pem", "server.tls_key=server.key"];
    let secured = secured.map(|setting| ["--set", setting]).concat();
    let database = service(&database);
    let jobmaster = [
        "jobmaster",
        "--name",
        "of-tls",
        "--listen",
        &listen,
        "--postgres",
        &database,
    ];
    let jobmaster = Process::spawned(folder, &[&jobmaster[..], &secured, &common].concat(), &listen);
    jobmaster.await_line("node.serving", DEADLINE);

    let worker = |name: &str, authority: &str| {
        let trusts = format!("worker.api_ca={}", path.join(authority).display());
        let listen = format!("127.0.0.1:{}", free_port());
        let flags = [
            "worker", "--name", name, "--api", &url, "--listen", &listen, "--set", &trusts,
        ];
        Process::spawned(Process::folder(), &[&flags[..], &common].concat(), &listen)
    };
    let astray = worker("astray", "stranger.pem");
    astray.await_line("node.api.unanswered", DEADLINE);
    let trusting = worker("trusting", "ca.pem");
    trusting.await_line("node.serving", DEADLINE);

    // Its command is in the document, which the worker asks the API for.
    jobmaster.write(
        "job.yaml",
        "tasks: [{ externalId: a, command: [sh, -c, 'echo over tls'] }]",
    );
    let submit = || {
        let mut command = grid(&path, &["submit", "job.yaml", "--wait"]);
        told(
            command
                .env("GRID_SERVER", &url)
                .env("GRID_CA", "ca.pem")
                .output()
                .unwrap(),
        )
    };
    let (code, out, err) = submit();
    assert_eq!(code, 0, "{out}{err}");
    let mut command = grid(&path, &["workers", "--output", "json"]);
    let (_, workers, err) = told(
        command
            .env("GRID_SERVER", &url)
            .env("GRID_CA", "ca.pem")
            .output()
            .unwrap(),
    );
    assert!(
        workers.contains("worker-trusting") && !workers.contains("astray"),
        "{workers}{err}"
    );
}
