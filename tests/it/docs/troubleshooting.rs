//! docs/troubleshooting.md: each of its cases is brought about, and what Grid says is what the page says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::case::{PAGE, runs};
use super::markdown::Page;
use super::session::Session;
use crate::cli::server::Standalone;
use crate::support::{Kafka, Mounted, Postgres, free_port, wait_for};

/// Sections that are tried where their fault is, with the tests that do, which hold what is printed against the page.
const TRIED_ELSEWHERE: [(&str, &str); 4] = [
    ("The disk is full", "faults::full_disk"),
    ("Clocks differ", "faults::clocks"),
    ("A Kafka topic was lost", "shard::lost_topic"),
    ("A server that others can reach does not start", "cli::cluster"),
];

/// Sections that are tried here.
const TRIED: [&str; 12] = [
    "The port is taken",
    "The data folder is in use",
    "The data folder cannot be written",
    "A token is not taken",
    "The server is asked for by a name that it does not know",
    "Postgres cannot be reached",
    "Postgres does not let Grid in",
    "There is no such database",
    "The database is not prepared",
    "Postgres is too old",
    "Kafka does not answer",
    "A topic has too few partitions",
];

#[test]
fn every_case_of_the_page_is_tried() {
    let mut tried: Vec<&str> = TRIED.to_vec();
    for (section, module) in TRIED_ELSEWHERE {
        let file = format!("tests/it/{}.rs", module.replace("::", "/"));
        let text = std::fs::read_to_string(super::markdown::repository().join(&file)).unwrap();
        assert!(
            text.contains(&format!("\"{section}\"")),
            "{file} does not show {section:?}"
        );
        tried.push(section);
    }
    for command in Page::read(PAGE).commands() {
        let section = &command.section;
        assert!(tried.contains(&section.as_str()), "nothing tries {section:?}");
    }
}

/// As a process of grid in a cluster is started, where nobody listens on the port that it would take.
fn session(folder: &Path) -> Session {
    Session::at(
        folder,
        vec![("GRID__SERVER__LISTEN", format!("127.0.0.1:{}", free_port()))],
    )
}

#[test]
fn a_standalone_says_what_keeps_it_from_starting_and_a_caller_what_keeps_him_out() {
    let server = Standalone::start();
    let address = server.url.trim_start_matches("http://").to_owned();
    let folder = server.path().display().to_string();
    let mut here = Session::new(&server);
    runs(&mut here, "The port is taken", &[("127.0.0.1:8080", &address)]);
    assert!(
        !server.path().join("other").exists(),
        "nothing was begun for a server that cannot be reached"
    );

    let mut own = session(server.path());
    here.set("GRID__SERVER__LISTEN", &*address);
    runs(
        &mut own,
        "The data folder is in use",
        &[("/var/lib/grid", &format!("{folder}/data"))],
    );
    // Both are so when the same is started twice: then it is told who does.
    let twice = [("/var/lib/grid", &*format!("{folder}/data"))];
    runs(&mut here, "The data folder is in use", &twice);

    if let Some(mounted) = Mounted::memory("size=1m,ro") {
        let changes = [("/var/lib/grid", &*mounted.path().join("grid").display().to_string())];
        runs(&mut own, "The data folder cannot be written", &changes);
    }

    here.set("GRID__SERVER__LISTEN", format!("127.0.0.1:{}", free_port()));
    let changes = [
        ("http://jobmaster:8080", &*server.url),
        ("http://127.0.0.1:8080", &server.url),
    ];
    runs(&mut here, "A token is not taken", &changes);
    runs(
        &mut here,
        "The server is asked for by a name that it does not know",
        &changes,
    );
    a_wrong_password_is_told(&server);
    let (code, jobs) = server.json(&["jobs"]);
    assert_eq!((code, &jobs["total"]), (0, &0.into()), "it has served all the while");
}

/// `host:port` in a URL of Postgres.
fn address_of(url: &str) -> &str {
    url.split('@').nth(1).unwrap().split('/').next().unwrap()
}

#[test]
fn a_jobmaster_says_what_is_wrong_with_its_database() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::shared();
    let mut session = session(folder.path());
    let nobody = [("db:5432", "127.0.0.1:1"), ("10s", "1s")];
    session.set("GRID__POSTGRES__CONNECT_TIMEOUT", "1s");
    runs(&mut session, "Postgres cannot be reached", &nobody);
    session.set("GRID__POSTGRES__CONNECT_TIMEOUT", "10s");

    let database = postgres.fresh_database();
    let (address, name) = (address_of(&database), database.rsplit_once('/').unwrap().1);
    // The role is the server's, and other tests have it made.
    postgres.psql(
        &database,
        "DO $$ BEGIN CREATE ROLE grid LOGIN; EXCEPTION WHEN duplicate_object THEN END $$",
    );
    let prefix = Kafka::shared().fresh_prefix();
    session.set("GRID__KAFKA__TOPIC_PREFIX", prefix);
    let brokers = Kafka::shared().brokers();
    let given = format!("{address}/{name}");
    let named = format!("database {name} at {address}");
    let changes = [
        ("db:5432/grid", &*given),
        ("database grid at db:5432", &*named),
        ("database nosuch at db:5432", &*format!("database nosuch at {address}")),
        ("db:5432", address),
        ("broker:9092", &*brokers),
    ];
    runs(&mut session, "There is no such database", &changes);
    runs(&mut session, "The database is not prepared", &changes);

    let old = older(address.to_owned());
    let changes = [
        ("db:5432/grid", &*format!("{old}/{name}")),
        ("database grid at db:5432", &*format!("database {name} at {old}")),
        ("broker:9092", &*brokers),
    ];
    runs(&mut session, "Postgres is too old", &changes);
}

/// A way to this Postgres on which it calls itself version 14: what a client learns of the version comes by it.
fn older(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&server).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || call_it_14(server, client));
        }
    });
    address
}

fn call_it_14(mut server: TcpStream, mut client: TcpStream) {
    const NAME: &[u8] = b"server_version\0";
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = server.read(&mut bytes) {
        let part = &mut bytes[..count];
        if let Some(at) = part.windows(NAME.len()).position(|window| window == NAME) {
            part[at + NAME.len()..at + NAME.len() + 2].copy_from_slice(b"14");
        }
        if client.write_all(part).is_err() {
            return;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Write);
}

/// The private Postgres of that server asks for passwords.
fn a_wrong_password_is_told(server: &Standalone) {
    let socket = std::fs::canonicalize(server.path().join("data/postgres/run")).unwrap();
    let socket = socket.display().to_string();
    let encoded = format!("{}/grid", socket.replace('/', "%2F"));
    let changes = [("db:5432/grid", &*encoded), ("db:5432", &*socket)];
    runs(&mut session(server.path()), "Postgres does not let Grid in", &changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_kafka_is_told_and_missing_partitions_can_be_added() {
    let folder = tempfile::tempdir().unwrap();
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let database = postgres.fresh_database();
    let (address, name) = (
        address_of(&database).to_owned(),
        database.rsplit_once('/').unwrap().1.to_owned(),
    );
    let prefix = kafka.fresh_prefix();
    let mut session = session(folder.path());
    session.set("GRID__KAFKA__TOPIC_PREFIX", &*prefix);
    let given = format!("{address}/{name}");
    session.set("GRID__KAFKA__CONNECT_TIMEOUT", "1s");
    let nobody = [
        ("db:5432/grid", &*given),
        ("broker:9092", "127.0.0.1:1"),
        ("30s", "1s"),
        ("owner@", "postgres@"),
    ];
    runs(&mut session, "Kafka does not answer", &nobody);
    session.set("GRID__KAFKA__CONNECT_TIMEOUT", "30s");

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.brokers());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let topic = format!("{prefix}commands");
    let made = [NewTopic::new(&topic, 8, TopicReplication::Fixed(1))];
    for made in admin.create_topics(&made, &AdminOptions::new()).await.unwrap() {
        made.unwrap();
    }
    let brokers = kafka.brokers();
    let changes = [
        ("db:5432/grid", &*given),
        ("broker:9092", &*brokers),
        ("grid.commands", &*topic),
        ("owner@", "postgres@"),
    ];
    runs(&mut session, "A topic has too few partitions", &changes);
    // As the message says.
    let more = [NewPartitions::new(&topic, 64)];
    for grown in admin.create_partitions(&more, &AdminOptions::new()).await.unwrap() {
        grown.unwrap();
    }
    // The broker makes them after it has answered.
    wait_for("the topics are as they should be", Duration::from_secs(60), || {
        let migrated = Command::new(env!("CARGO_BIN_EXE_grid"))
            .args(["migrate", "--postgres", &database, "--kafka", &brokers])
            .args(["--set", &format!("kafka.topic_prefix={prefix}")])
            .output()
            .unwrap();
        migrated.status.success().then_some(())
    });
}
