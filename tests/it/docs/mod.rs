//! What the documentation says, done: every command of its pages runs, and prints what the page says.
//!
//! Must stay true: no page is tried against anything but a real `grid standalone`, and no command is passed over in
//! silence: a page's blocks `console` are run whole, and commands in its prose are held against the command line's help.

pub mod case;
mod expectation;
mod install;
mod markdown;
mod names;
mod readme;
pub mod session;
mod troubleshooting;

use std::collections::BTreeSet;
use std::time::Duration;

use markdown::{Command, Page};

use session::Session;

use grid::embedded::{Embedded, Role};
use grid::log::Options;

use crate::archive::past::fill;
use crate::cli::server::Standalone;
use crate::support::wait_for;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_task_that_failed_at_night_is_found_explained_and_mended_as_its_page_says() {
    let page = Page::read("docs/failed-at-night.md");
    let server = Standalone::start();
    let mut session = Session::new(&server);
    let up = server.path().join("warehouse-is-up").display().to_string();
    let here = |text: &str| text.replace("/tmp/warehouse-is-up", &up);
    session.write_files(&page, here);
    let (code, job) = server.json(&["submit", "nightly.yaml", "--wait"]);
    assert_eq!((code, &job["status"]), (1, &"FAILED".into()), "{job}");

    let commands = page.commands();
    let of_records = commands.iter().position(|command| command.section.starts_with("6. "));
    let (of_tasks, of_records) = commands.split_at(of_records.expect("a section on records"));
    for command in of_tasks {
        session.run(&Command {
            text: here(&command.text),
            ..command.clone()
        });
    }
    // The page has found out what is so.
    let id = job["jobId"].as_str().unwrap();
    assert_eq!(session.values["JOB"], id);
    assert_eq!(
        session.values["TASK"],
        format!("task-{}-2", id.trim_start_matches("job-"))
    );
    assert_eq!(session.values["WORKER"], "worker-local");
    let (_, job) = server.json(&["job", id]);
    assert_eq!(job["status"], "COMPLETED", "{job}");

    let (code, job) = server.json(&["submit", "readings.yaml", "--wait"]);
    assert_eq!(code, 0, "{job}");
    session.values.clear();
    of_records.iter().for_each(|command| drop(session.run(command)));
    assert_eq!(session.values["JOB"], job["jobId"]);
    let files = std::fs::read_dir(server.path().join("data/files")).unwrap();
    let names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let replayed = names.iter().find(|name| name.starts_with("readings.replay-"));
    let replayed = replayed.unwrap_or_else(|| panic!("{names:?}"));
    let replayed = std::fs::read_to_string(server.path().join("data/files").join(replayed)).unwrap();
    assert_eq!(replayed.lines().count(), 2, "{replayed}");
}

const FAILS: &str = r#"
externalId: orders
tasks: [{ externalId: a, replicas: 25, command: ["false"], retry: { maxRetries: 0 } }]
"#;
const RETRIES: &str = r#"
externalId: fetch
retry: { baseSeconds: 600 }
tasks: [{ externalId: a, command: [sh, -c, "echo 'WARN store:443: connection refused' >&2; exit 1"] }]
"#;
const SLEEPS: &str = r#"
externalId: slow
tasks: [{ externalId: a, replicas: 4, command: [sh, -c, "echo waiting for the lock; sleep 600"] }]
"#;
const WAITS: &str = "{ externalId: waits, tasks: [{ externalId: a, executor: noop }] }";

#[test]
fn each_section_of_the_runbook_says_what_its_commands_print() {
    let page = Page::read("docs/runbook.md");
    // What runs on a worker that drains runs on to the end of the page.
    let server = Standalone::start_with(&["--workers", "2", "--slots", "2", "--set", "worker.drain_grace=10m"]);
    let submit = |name: &str, document: &str| {
        server.write(name, document);
        let (code, job) = server.json(&["submit", name]);
        assert_eq!(code, 0, "{job}");
        job["jobId"].as_str().unwrap().to_owned()
    };
    let await_job = |id: &str, what: &str, value: u64| {
        wait_for(&format!("{what} of {id} to be {value}"), SOON, || {
            let (_, job) = server.json(&["job", id]);
            (job.pointer(what).and_then(serde_json::Value::as_u64) == Some(value)).then_some(())
        });
    };
    let fails = submit("fails.yaml", FAILS);
    await_job(&fails, "/taskCounters/failed", 25);
    let retries = submit("retries.yaml", RETRIES);
    await_job(&retries, "/retriesPending", 1);
    // It takes all slots.
    let sleeps = submit("sleeps.yaml", SLEEPS);
    await_job(&sleeps, "/taskCounters/running", 4);
    let waits = submit("waits.yaml", WAITS);

    let first = |job: &str| format!("task-{}-1", job.trim_start_matches("job-"));
    let mut tried = Vec::new();
    for (section, job, worker) in [
        ("silent-worker", None, "worker-local-1"),
        ("no-capacity", Some(&waits), "worker-local-2"),
        ("failure-rate", None, ""),
        ("retry-storm", Some(&retries), ""),
        ("stuck-task", Some(&sleeps), ""),
        ("lag", None, ""),
        ("drops", None, ""),
        ("restarts", None, ""),
        ("slow-commits", None, ""),
        ("disk", None, ""),
    ] {
        let mut session = Session::new(&server);
        if let Some(job) = job {
            session.values.insert("JOB", job.clone());
            session.values.insert("TASK", first(job));
        }
        if !worker.is_empty() {
            session.values.insert("WORKER", worker.to_owned());
        }
        for command in page.commands().iter().filter(|command| command.section == section) {
            session.run(command);
            tried.push(command.text.clone());
        }
        if section == "failure-rate" {
            assert_eq!(session.values["JOB"], fails);
        }
    }
    let all: Vec<String> = page.commands().into_iter().map(|command| command.text).collect();
    assert_eq!(tried, all, "a section is left out");
    let (_, job) = server.json(&["job", &sleeps]);
    assert_eq!(job["failureSummary"]["KILLED"], 4, "{job}");
}

#[actix_web::test]
async fn days_are_archived_proved_and_read_as_the_page_on_it_says() {
    let page = Page::read("docs/archive.md");
    let mut server = Standalone::start();
    let data = server.path().join("data");
    let attached = Embedded::attach(&data).unwrap().expect("its Postgres");
    let options = Options::new(attached.url(Role::Service));
    // Shards that the server has are taken from it, and it takes them back.
    let owner = attached.url(Role::Owner);
    fill(options, owner.reveal(), (0..2, 64), (&[40, 39], false)).await;
    let mut session = Session::new(&server);
    let commands = page.commands();
    let ran = tokio::task::spawn_blocking(move || commands.iter().for_each(|command| drop(session.run(command))));
    ran.await.unwrap();
    // Where no server runs, the days are closed all the same.
    server.stop();
    let archive = [
        "archive",
        "--data-dir",
        "data",
        "--older-than",
        "0d",
        "--to",
        "archive",
        "--drop",
    ];
    let (code, out, err) = server.run(&archive);
    assert!(code == 0 && out.contains("1 day, 0 events"), "{out}{err}");
    let (code, out, err) = server.run(&["verify", "--data-dir", "data"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn a_standalone_is_restored_from_a_dump_as_the_page_says() {
    let page = Page::read("docs/backup.md");
    let server = Standalone::start();
    server.write("job.yaml", "tasks: [{ externalId: a, replicas: 3, executor: noop }]");
    let (code, job) = server.json(&["submit", "job.yaml", "--wait"]);
    assert_eq!(code, 0, "{job}");
    let mut session = Session::new(&server);
    let commands = page.commands();
    commands.iter().for_each(|command| drop(session.run(command)));
    // Into a folder that holds a log, nothing is loaded.
    let again = ["restore", "--data-dir", "restored", "--dump", "grid.dump"];
    let (code, _, err) = server.run(&again);
    assert!(
        code == 1 && err.contains("the data folder holds a log already"),
        "{code} {err}"
    );
    let (code, _, err) = server.run(&["restore", "--data-dir", "data"]);
    assert!(
        code == 1 && err.contains("processes of grid use this database"),
        "{code} {err}"
    );

    let address = format!("127.0.0.1:{}", crate::support::free_port());
    let flags = ["standalone", "--data-dir", "restored", "--listen", &address];
    let mut server = server;
    server.restart(&flags, &address);
    let (_, seen) = server.json(&["job", job["jobId"].as_str().unwrap()]);
    assert_eq!(
        (&seen["status"], &seen["taskCounters"]),
        (&job["status"], &job["taskCounters"])
    );
}

/// All that people read.
fn pages() -> Vec<Page> {
    let docs = std::fs::read_dir(markdown::repository().join("docs")).unwrap();
    let mut names: Vec<String> = docs
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "benches/README.md",
        "docker/grafana/README.md",
        "schema/events.md",
    ];
    names.extend(others.map(str::to_owned));
    names.iter().map(|name| Page::read(name)).collect()
}

#[test]
fn commands_in_prose_exist_with_their_flags() {
    let spans: BTreeSet<String> = pages().iter().flat_map(Page::spans).collect();
    let commands: Vec<&String> = spans.iter().filter(|span| span.starts_with("grid ")).collect();
    assert!(commands.len() > 40, "{commands:?}");
    for command in commands {
        session::exists(command);
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut found = 0;
    for page in pages() {
        for path in page.links() {
            assert!(
                markdown::repository().join(&path).exists(),
                "{}: {} is not there",
                page.name,
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}
