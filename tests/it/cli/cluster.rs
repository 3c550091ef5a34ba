//! Jobmaster and worker as processes of their own: who may be reached by whom, and how.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::server::Standalone as Process;
use super::{grid, run, told};
use crate::docs::case::shows;
use crate::support::{Authority, Kafka, Postgres, free_port};

const DEADLINE: Duration = Duration::from_secs(120);

/// As the service role: the owner may change the log, and is refused.
fn service(database: &str) -> String {
    database.replace("//postgres@", "//grid@")
}

/// The server's certificate, those of workers by another authority, and an authority that has signed nothing.
fn certify(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    for (authority, server) in [("ca", "server"), ("of-workers", "worker")] {
        let signing = Authority::new(authority);
        let (certificate, key) = signing.sign("localhost");
        write(&format!("{authority}.pem"), signing.certificate());
        write(&format!("{server}.pem"), certificate);
        write(&format!("{server}.key"), key);
    }
    write("stranger.pem", Authority::new("stranger").certificate());
}

/// Ends with this.
struct Following {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A stream of the API, whose authority is in `ca.pem`.
fn follow(folder: &Path, url: &str) -> Following {
    let deadline = DEADLINE.as_secs().to_string();
    let mut process = Command::new("curl")
        .args(["-sSN", "--cacert", "ca.pem", "--max-time", &deadline, url])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    Following { process, lines }
}

/// Reads until a line has the text; gives what came up to it.
fn await_text(following: &mut Following, text: &str) -> String {
    let mut before = String::new();
    for line in following.lines.by_ref().map_while(Result::ok) {
        before.push_str(&line);
        before.push('\n');
        if line.contains(text) {
            return before;
        }
    }
    panic!("{text:?} did not come: {before}");
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
    let port = listen.rsplit_once(':').unwrap().1;
    let section = "A server that others can reach does not start";
    shows(section, "grid jobmaster", &[("8080", port)], &err);
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
    certify(&path);
    let port = free_port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("https://localhost:{port}"));
    let secured = [
        "server.tls_cert=server.pem",
        "server.tls_key=server.key",
        "jobmaster.worker_ca=of-workers.pem",
    ];
    let secured = secured.map(|setting| ["--set", setting]).concat();
    let database = service(&database);
    let jobmaster = ["jobmaster", "--name", "of-tls", "--listen", &listen];
    let jobmaster = [&jobmaster[..], &["--postgres", &database]].concat();
    let jobmaster = Process::spawned(folder, &[&jobmaster[..], &secured, &common].concat(), &listen);
    jobmaster.await_line("node.serving", DEADLINE);

    let worker = |name: &str, authority: &str, shown: &str| {
        let file = |key: &str, file: &str| format!("{key}={}", path.join(file).display());
        let listen = format!("127.0.0.1:{}", free_port());
        let settings = [
            file("worker.api_ca", authority),
            file("server.tls_cert", &format!("{shown}.pem")),
            file("server.tls_key", &format!("{shown}.key")),
        ];
        let mut flags = vec!["worker", "--name", name, "--api", &url, "--listen", &listen];
        flags.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        Process::spawned(Process::folder(), &[&flags[..], &common].concat(), &listen)
    };
    let astray = worker("astray", "stranger.pem", "worker");
    astray.await_line("node.api.unanswered", DEADLINE);
    let trusting = worker("trusting", "ca.pem", "worker");
    trusting.await_line("node.serving", DEADLINE);

    // Its command is in the document, which the worker asks the API for.
    jobmaster.write(
        "job.yaml",
        "tasks: [{ externalId: a, command: [sh, -c, 'echo over tls'] }]",
    );
    let client = |arguments: &[&str]| {
        let mut command = grid(&path, arguments);
        told(
            command
                .env("GRID_SERVER", &url)
                .env("GRID_CA", "ca.pem")
                .output()
                .unwrap(),
        )
    };
    let mut tail = follow(&path, &format!("{url}/api/v1/logs/tail"));
    await_text(&mut tail, "id: ");
    let (code, out, err) = client(&["submit", "job.yaml", "--wait"]);
    assert_eq!(code, 0, "{out}{err}");
    let before = await_text(&mut tail, "over tls");
    assert!(!before.contains("event: notice"), "from the store: {before}");
    // What it shows is signed by nobody whom the jobmaster trusts for this.
    let strange = worker("strange", "ca.pem", "server");
    await_text(&mut tail, "worker-strange is not reached");
    drop((tail, strange));
    let (_, workers, err) = client(&["workers", "--output", "json"]);
    assert!(
        workers.contains("worker-trusting") && !workers.contains("astray"),
        "{workers}{err}"
    );
}
