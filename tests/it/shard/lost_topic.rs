//! Fault: the topics are deleted and made anew. Must hold: no shard goes on as if nothing had happened, everybody is
//! told what to do, and after somebody has accepted it everything goes on, recorded.

use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

use crate::docs::case::shows;
use crate::faults::process::{Folder, Grid};
use crate::support::{Kafka, Postgres, eventually};

struct Lab {
    kafka: &'static Kafka,
    prefix: String,
    database: String,
    folder: Folder,
    http: reqwest::Client,
}

impl Lab {
    fn new() -> Self {
        let kafka = Kafka::shared();
        Self {
            kafka,
            prefix: kafka.fresh_prefix(),
            database: Postgres::shared().fresh_database(),
            folder: Folder::new("/tmp"),
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(20))
                .build()
                .unwrap(),
        }
    }

    fn topics(&self) -> String {
        format!("kafka.topic_prefix={}", self.prefix)
    }

    fn grid(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grid"));
        command.args(arguments).args(["--set", &self.topics()]);
        command.output().unwrap()
    }

    fn migrate(&self, more: &[&str]) -> Output {
        let brokers = self.kafka.brokers();
        let arguments = [
            "migrate",
            "--shards",
            "4",
            "--postgres",
            &self.database,
            "--kafka",
            &brokers,
        ];
        self.grid(&[&arguments[..], more].concat())
    }

    fn service(&self) -> String {
        self.database.replace("//postgres@", "//grid@")
    }

    fn jobmaster(&self) -> Grid {
        let arguments = [
            "jobmaster",
            "--postgres",
            &self.service(),
            "--kafka",
            &self.kafka.brokers(),
            "--set",
            &self.topics(),
            "--set",
            "kafka.session_timeout=2s",
        ];
        Grid::start(self.folder.path(), "jobmaster", arguments.map(str::to_owned).to_vec())
    }

    fn psql(&self, sql: &str) -> String {
        Postgres::shared().psql(&self.database, sql)
    }

    async fn submit(&self, server: &Grid) -> String {
        let document = json!({"tasks": [{"externalId": "a", "executor": "noop", "replicas": 2}]});
        let sent = self
            .http
            .post(format!("{}/api/v1/jobs", server.url))
            .json(&document)
            .send();
        let answer = sent.await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json::<Value>().await.unwrap()["jobId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn call(&self, server: &Grid, method: reqwest::Method, path: &str) -> (u16, Value) {
        let sent = self.http.request(method, format!("{}{path}", server.url)).send();
        let answer = sent.await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn delete(&self, topics: &[&str]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.brokers());
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let names: Vec<String> = topics.iter().map(|topic| format!("{}{topic}", self.prefix)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for deleted in admin.delete_topics(&names, &AdminOptions::new()).await.unwrap() {
            deleted.unwrap();
        }
        eventually("the topics are gone", Duration::from_secs(30), async || {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(5)).ok()?;
            let gone = names
                .iter()
                .all(|name| metadata.topics().iter().all(|topic| topic.name() != *name));
            gone.then_some(())
        })
        .await;
    }

    /// Messages in all partitions of a topic.
    fn messages(&self, topic: &str) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.brokers());
        let consumer: BaseConsumer = config.create().unwrap();
        let name = format!("{}{topic}", self.prefix);
        let held = |partition| {
            consumer
                .fetch_watermarks(&name, partition, Duration::from_secs(10))
                .unwrap()
        };
        (0..4).map(held).map(|(low, high)| high - low).sum()
    }

    async fn all_published(&self) {
        eventually("all events are published", Duration::from_secs(30), async || {
            let events: i64 = self.psql("SELECT count(*) FROM events").parse().unwrap();
            (self.messages("events") == events).then_some(())
        })
        .await;
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_whose_topic_was_lost_wait_until_that_is_accepted() {
    let lab = Lab::new();
    assert!(lab.migrate(&[]).status.success());
    let mut jobmaster = lab.jobmaster();
    jobmaster.ready().await;
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(lab.submit(&jobmaster).await);
    }
    lab.all_published().await;
    // Up to where a shard's events are published is stored with its next commit.
    while lab.psql("SELECT count(*) FROM shards WHERE command_cursor > 0 AND published_seq = 0") != "0" {
        jobs.push(lab.submit(&jobmaster).await);
    }
    lab.all_published().await;
    jobmaster.stop();
    let used = "FROM shards WHERE command_cursor > 0";
    let shards: usize = lab.psql(&format!("SELECT count(*) {used}")).parse().unwrap();
    assert!(shards > 0);

    lab.delete(&["commands", "reports", "events"]).await;
    // Without its topics nothing starts.
    let brokers = lab.kafka.brokers();
    let refused = lab.grid(&[
        "jobmaster",
        "--postgres",
        &lab.service(),
        "--kafka",
        &brokers,
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("commands does not exist: run `grid migrate`"),
        "{}",
        said(&refused)
    );
    // The topics are made again, but nothing is passed over without a word.
    let told = lab.migrate(&[]);
    assert_eq!(told.status.code(), Some(1), "{}", said(&told));
    for part in [
        "the cursor of commands is",
        "the topic holds 0 to 0",
        "grid migrate --accept-lost-topic",
    ] {
        assert!(said(&told).contains(part), "{part}: {}", said(&told));
    }
    shows("A Kafka topic was lost", "grid migrate", &[], &said(&told));
    assert_eq!(lab.psql("SELECT count(*) FROM cursor_resets"), "0");

    let jobmaster = lab.jobmaster();
    let waiting = eventually("it says what it waits for", Duration::from_secs(30), async || {
        let asked = lab
            .http
            .get(format!("{}/health/ready", jobmaster.url))
            .send()
            .await
            .ok()?;
        let waiting: Value = asked.json().await.ok()?;
        let stopped = waiting.to_string().matches("is stopped").count();
        (stopped == shards).then_some(waiting)
    })
    .await;
    for part in [
        "outside of what is there (0 to 0)",
        "`grid migrate --accept-lost-topic`",
    ] {
        assert!(waiting.to_string().contains(part), "{part}: {waiting:#}");
    }
    let epochs = lab.psql(&format!("SELECT string_agg(epoch::text, ',' ORDER BY shard) {used}"));
    assert!(jobmaster.log_text().contains("shard.stopped"));

    // It goes on by itself once that is accepted, without having claimed the shards again and again meanwhile.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        lab.psql(&format!("SELECT string_agg(epoch::text, ',' ORDER BY shard) {used}")),
        epochs
    );
    let accepted = lab.migrate(&["--accept-lost-topic"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    let mut jobmaster = jobmaster;
    jobmaster.ready().await;
    for job in &jobs {
        let (status, killed) = lab
            .call(&jobmaster, reqwest::Method::DELETE, &format!("/api/v1/jobs/kill/{job}"))
            .await;
        assert_eq!(status, 200, "{killed:#}");
    }
    lab.submit(&jobmaster).await;
    // The topic of events is filled anew, from the first.
    lab.all_published().await;
    let recorded = lab.psql(
        "SELECT topic, count(*), min(from_cursor) > 0, max(to_cursor), bool_and(reset_by <> '')
         FROM cursor_resets GROUP BY topic ORDER BY topic",
    );
    assert_eq!(recorded, format!("commands|{shards}|t|0|t\nevents|{shards}|t|0|t"));
    let again = lab.migrate(&[]);
    assert!(again.status.success(), "{}", said(&again));
    jobmaster.stop();
    let verified = lab.grid(&["verify", "--postgres", &lab.service()]);
    assert!(
        verified.status.success(),
        "{}{}",
        String::from_utf8_lossy(&verified.stdout),
        said(&verified)
    );
}
