//! The README's two scripts: a first job, and a cluster. And the job of docs/pipelines.md.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::markdown::{Page, repository};
use super::session::{Background, Session};
use crate::cli::server::Standalone;
use crate::support::{Kafka, Postgres, free_port, wait_for};

const DEADLINE: Duration = Duration::from_secs(120);

fn script(section: &str) -> Vec<String> {
    let found = Page::read("README.md")
        .scripts()
        .into_iter()
        .find(|(of, _)| of == section);
    found
        .unwrap_or_else(|| panic!("README.md: no script under {section}"))
        .1
}

/// The id that begins a line of what was printed.
fn job_in(text: &str) -> String {
    let found = text.split_whitespace().find(|word| word.starts_with("job-"));
    found.unwrap_or_else(|| panic!("no job in {text}")).to_owned()
}

#[test]
fn the_first_job_of_the_readme_runs_and_its_log_is_proved() {
    let folder = Standalone::folder();
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}");
    let mut session = Session::at(
        folder.path(),
        vec![("GRID_SERVER", url), ("GRID__SERVER__LISTEN", address)],
    );
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    std::os::unix::fs::symlink(repository().join("tests/data"), folder.path().join("tests/data")).unwrap();
    let mut server: Option<Background> = None;
    let mut printed = Vec::new();
    for command in script("A first job in five minutes") {
        let command = command.replace("target/release/grid", "grid");
        if let Some(command) = command.strip_suffix('&') {
            server = Some(session.spawn(command, "standalone"));
            let ready = || {
                session
                    .ask("curl -sf \"$GRID_SERVER/health/ready\"")
                    .is_some()
                    .then_some(())
            };
            wait_for("standalone is ready", DEADLINE, ready);
            continue;
        }
        let out = session.tell(&command);
        if command.contains(" submit ") {
            session.values.insert("JOB", job_in(&out));
            assert!(out.contains(" COMPLETED in "), "{out}");
        }
        printed.push((command, out));
    }
    assert!(folder.path().join("job.yaml").exists());
    let of = |what: &str| &printed.iter().find(|(command, _)| command.starts_with(what)).unwrap().1;
    let job = &session.values["JOB"];
    assert!(of("grid jobs").lines().nth(1).unwrap().starts_with(job.as_str()));
    assert_eq!(of("grid tasks").lines().count(), 6);
    assert!(of("grid events").contains("JobSubmitted"));
    assert_eq!(printed.last().unwrap().0, "grid verify --data-dir ./grid-data");
    drop(server);
}

#[test]
fn the_cluster_of_the_readme_runs_a_job() {
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let database = postgres.fresh_database();
    let service = database.replace("//postgres@", "//grid@");
    let folder = Standalone::folder();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let environment = vec![
        ("GRID_SERVER", url.clone()),
        ("GRID__KAFKA__TOPIC_PREFIX", kafka.fresh_prefix()),
        ("GRID__SERVER__LISTEN", format!("127.0.0.1:{}", free_port())),
    ];
    let mut session = Session::at(folder.path(), environment);
    let mut running = Vec::new();
    let mut tokens = Vec::new();
    for command in script("In a cluster") {
        let command = command
            .replace("postgres://owner@db/grid", &database)
            .replace("postgres://grid@db/grid", &service)
            .replace("broker:9092", &kafka.brokers())
            .replace("0.0.0.0:8080", &format!("127.0.0.1:{port}"))
            .replace("http://jobmaster:8080", &url)
            .replace("grid_…", tokens.last().map_or("", String::as_str));
        if command.contains("grid jobmaster") || command.contains("grid worker ") {
            running.push(session.spawn(&command, &format!("process-{}", running.len())));
            let ready = || {
                session
                    .ask("curl -sf \"$GRID_SERVER/health/ready\"")
                    .is_some()
                    .then_some(())
            };
            wait_for("the jobmaster is ready", DEADLINE, ready);
            continue;
        }
        let out = session.tell(&command);
        if command.contains("token create") {
            let token = out.split_whitespace().find(|word| word.starts_with("grid_"));
            tokens.push(token.unwrap_or_else(|| panic!("no token in {out}")).to_owned());
        }
    }
    assert_eq!((running.len(), tokens.len()), (2, 2));
    session.set("GRID_TOKEN", &*tokens[0]);
    let workers = wait_for("the worker is there", DEADLINE, || {
        let workers: Value = serde_json::from_str(&session.ask("grid workers --output json")?).ok()?;
        (workers["items"][0]["state"] == "ACTIVE").then_some(workers)
    });
    assert_eq!(
        (&workers["total"], &workers["items"][0]["maxCapacity"]),
        (&1.into(), &8.into())
    );
    std::fs::write(
        folder.path().join("job.yaml"),
        "tasks: [{ externalId: a, executor: noop, replicas: 20 }]",
    )
    .unwrap();
    assert!(session.tell("grid submit job.yaml --wait").contains(" COMPLETED in "));
}

#[test]
fn documents_of_the_pages_are_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let documents = ["README.md", "docs/pipelines.md", "docs/failed-at-night.md"].map(|name| {
        let blocks = Page::read(name).blocks();
        let jobs = blocks.into_iter().filter(|block| block.kind == "yaml");
        jobs.map(|block| block.text).collect::<Vec<_>>()
    });
    assert_eq!(documents.each_ref().map(Vec::len), [1, 1, 3]);
    for document in documents.concat() {
        std::fs::write(folder.path().join("job.yaml"), &document).unwrap();
        let (code, out, err) = validate(folder.path());
        assert!(
            code == 0 && out.starts_with("job.yaml: good, "),
            "{document}\n{out}{err}"
        );
    }
}

/// As docs/pipelines.md says.
fn validate(folder: &Path) -> (i32, String, String) {
    const COMMAND: &str = "grid validate job.yaml";
    assert!(
        Page::read("docs/pipelines.md")
            .spans()
            .iter()
            .any(|span| span == COMMAND)
    );
    let arguments: Vec<&str> = COMMAND.split(' ').skip(1).collect();
    crate::cli::run(folder, &arguments)
}

#[test]
fn the_configuration_page_shows_the_layers() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::at(folder.path(), Vec::new());
    let (_, commands) = Page::read("docs/configuration.md").scripts().remove(0);
    let printed: Vec<String> = commands.iter().map(|command| session.tell(command)).collect();
    assert_eq!(printed.len(), 3);
    assert!(printed[1].contains("[influxdb]"), "{}", printed[1]);
    let line = |key: &str| {
        let found = printed[2].lines().find(|line| line.starts_with(key));
        found.unwrap_or_else(|| panic!("{key}: {}", printed[2])).to_owned()
    };
    assert!(line("max_age = ").ends_with("# environment GRID__LOGS__MAX_AGE"));
    assert!(line("sample_interval = \"1s\"").ends_with("# flag --set metrics.sample_interval"));
}
