//! How soon many subscriptions, each on one job, hear of its changes, while the jobs run.
//!
//! The jobs wait on cordoned workers until each is followed, and then run side by side: all of them change all the time,
//! and each subscription gets as many items as it may.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::{Value, json};

use super::fill;
use super::server::{Server, Target};
use crate::clock;
use crate::domain::Timestamp;
use crate::projection::PositionToken;

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionsBench {
    pub subscriptions: u32,
    pub tasks: u64,
    pub seconds: f64,
    pub tasks_per_second: f64,
    /// Events of the jobs since they were followed.
    pub changes: u64,
    pub items: u64,
    pub items_per_second: f64,
    /// From the time of an event to the arrival of the first item that has it, of every event.
    pub change_p50_ms: i64,
    pub change_p99_ms: i64,
    pub change_max_ms: i64,
    /// Until a subscriber that follows everything and reads nothing was seen to be dropped.
    pub stuck_dropped_seconds: f64,
    /// The most that the processes have taken, without Postgres; only of those started for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
}

/// An item as it came: up to which event of the shard it tells, and when.
#[derive(Clone, Copy)]
struct Item {
    through: u64,
    at: Timestamp,
}

const CHANGED: &str = "subscription ($id: ID!) { jobChanged(jobId: $id) { \
    job { jobId status taskCounters { ready scheduled running completed failed } } position } }";
const EVENTS: &str =
    "subscription ($id: ID!) { events(filter: {jobId: $id}, fromStart: true) { event { type at } position } }";
/// Requests under way at a time when the histories are read.
const SIDE_BY_SIDE: usize = 16;

/// Submits `subscriptions` jobs of `replicas` no-op tasks, follows each from its submission on, and lets them run.
///
/// # Errors
/// When the server fails, or a subscription ends before its job.
pub async fn run(target: &Target, subscriptions: u32, replicas: u32) -> anyhow::Result<SubscriptionsBench> {
    allow_files(u64::from(subscriptions) * 2 + 1_000)?;
    let mut target = target.clone();
    // As fast as slots allow, not as fast as the machine can; and one caller asks for everything.
    target.set.push("worker.prefetch_max=0".to_owned());
    target.set.push("api.rate_per_second=0".to_owned());
    let server = Server::open(&target).await?;
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
    let document = json!({"tasks": [fill::finishing(replicas)]});
    let workers = Workers::cordon(&server).await?;
    let jobs = fill::submit_each(&server, subscriptions, |_| document.clone()).await?;
    let followed = jobs.iter().map(|job| Followed::begin(&client, &server.url, job));
    let followed: Vec<Followed> = futures::stream::iter(followed)
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let stuck = Stuck::begin(&server.url)?;
    let begun = Instant::now();
    let follow = |followed: Followed| crate::task::spawn("bench.follow", followed.until_the_end());
    let following: Vec<_> = followed.into_iter().map(follow).collect();
    workers.uncordon(&server).await?;
    let mut heard = Vec::new();
    for follower in following {
        heard.push(follower.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stuck_dropped_seconds = stuck.dropped(&server).await?;
    let peak_rss_bytes = server.peak_rss_bytes();
    let waits = waits(&client, &server.url, &heard).await?;
    let items: usize = heard.iter().map(|(_, items)| items.len()).sum();
    let tasks = u64::from(subscriptions) * u64::from(replicas);
    let at = |part: f64| {
        let place = (waits.len() as f64 * part) as usize;
        waits
            .get(place.min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    let figures = SubscriptionsBench {
        subscriptions,
        tasks,
        seconds,
        tasks_per_second: tasks as f64 / seconds,
        changes: waits.len() as u64,
        items: items as u64,
        items_per_second: items as f64 / seconds,
        change_p50_ms: at(0.5),
        change_p99_ms: at(0.99),
        change_max_ms: at(1.0),
        stuck_dropped_seconds,
        peak_rss_bytes,
    };
    server.stop().await?;
    Ok(figures)
}

/// Each subscription takes a file on either side; what is started inherits the limit.
fn allow_files(most: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    anyhow::ensure!(
        hard >= most,
        "{most} open files are needed, and at most {hard} are allowed (ulimit -Hn)"
    );
    if soft < most {
        setrlimit(Resource::RLIMIT_NOFILE, most, hard)?;
    }
    Ok(())
}

/// Answers of a subscription, as events of the server.
struct Answers {
    response: reqwest::Response,
    text: Vec<u8>,
}

impl Answers {
    async fn of(client: &reqwest::Client, url: &str, query: &str, job: &str) -> anyhow::Result<Self> {
        let body = json!({"query": query, "variables": {"id": job}});
        let request = client.post(format!("{url}/graphql/stream")).json(&body);
        Ok(Self {
            response: request.send().await?.error_for_status()?,
            text: Vec::new(),
        })
    }

    /// The data of the next answer; `None`: it was the last.
    async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let text = std::str::from_utf8(&event)?;
                if text.starts_with("event: complete") {
                    return Ok(None);
                }
                if let Some((_, data)) = text.split_once("data: ") {
                    let answer: Value = serde_json::from_str(data)?;
                    anyhow::ensure!(answer.get("errors").is_none(), "the subscription failed: {answer}");
                    return Ok(Some(answer["data"].clone()));
                }
            }
            match self.response.chunk().await? {
                Some(bytes) => self.text.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

fn place(position: &Value) -> anyhow::Result<u64> {
    let token: PositionToken = position.as_str().context("no position")?.parse()?;
    Ok(token.positions().next().map_or(0, |place| place.seq.0))
}

/// A job that is followed, and what was heard of it.
struct Followed {
    job: String,
    answers: Answers,
    items: Vec<Item>,
}

impl Followed {
    /// With the first item, which tells how the job is.
    async fn begin(client: &reqwest::Client, url: &str, job: &str) -> anyhow::Result<Self> {
        let mut followed = Self {
            job: job.to_owned(),
            answers: Answers::of(client, url, CHANGED, job).await?,
            items: Vec::new(),
        };
        anyhow::ensure!(followed.hear().await?, "{job} has ended already");
        Ok(followed)
    }

    /// Whether the job goes on after the next item.
    async fn hear(&mut self) -> anyhow::Result<bool> {
        let answer = self.answers.next().await?;
        let answer = answer.with_context(|| format!("the subscription of {} ended before the job", self.job))?;
        let change = &answer["jobChanged"];
        self.items.push(Item {
            through: place(&change["position"])?,
            at: clock::now(),
        });
        Ok(change["job"]["status"] == "RUNNING")
    }

    async fn until_the_end(mut self) -> anyhow::Result<(String, Vec<Item>)> {
        while self.hear().await? {}
        Ok((self.job, self.items))
    }
}

/// All workers of the server.
struct Workers(Vec<String>);

impl Workers {
    /// They take no task from now on.
    async fn cordon(server: &Server) -> anyhow::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let list = server.get("/api/v1/workers?size=500").await?;
            let items = list["items"].as_array().context("no items")?;
            let ids = items.iter().filter_map(|worker| worker["workerId"].as_str());
            let workers = Self(ids.map(str::to_owned).collect());
            if !workers.0.is_empty() {
                workers.tell(server, "cordon").await?;
                return Ok(workers);
            }
            anyhow::ensure!(Instant::now() < deadline, "there is no worker");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn uncordon(&self, server: &Server) -> anyhow::Result<()> {
        self.tell(server, "uncordon").await
    }

    async fn tell(&self, server: &Server, what: &str) -> anyhow::Result<()> {
        for worker in &self.0 {
            server
                .post(&format!("/api/v1/workers/{worker}/{what}"), &json!({}))
                .await?;
        }
        Ok(())
    }
}

/// How long each change took to arrive, in order of length; those before a subscription began are left out.
async fn waits(client: &reqwest::Client, url: &str, heard: &[(String, Vec<Item>)]) -> anyhow::Result<Vec<i64>> {
    let of_jobs = heard.iter().map(|(job, items)| of_job(client, url, job, items));
    let of_jobs: Vec<Vec<i64>> = futures::stream::iter(of_jobs)
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let mut waits: Vec<i64> = of_jobs.into_iter().flatten().collect();
    waits.sort_unstable();
    Ok(waits)
}

async fn of_job(client: &reqwest::Client, url: &str, job: &str, items: &[Item]) -> anyhow::Result<Vec<i64>> {
    let mut answers = Answers::of(client, url, EVENTS, job).await?;
    let first = items.first().context("no item")?;
    let mut waits = Vec::new();
    while let Some(answer) = answers.next().await? {
        let item = &answer["events"];
        let seq = place(&item["position"])?;
        let at: Timestamp = item["event"]["at"].as_str().context("no time")?.parse()?;
        let heard = items.iter().find(|item| item.through >= seq);
        if let Some(heard) = heard.filter(|_| seq > first.through) {
            waits.push(heard.at.as_ms() - at.as_ms());
        }
        if item["event"]["type"] == "JobFinished" {
            break;
        }
    }
    Ok(waits)
}

/// Somebody who follows everything, and reads nothing of it.
struct Stuck {
    begun: Instant,
    _connection: TcpStream,
}

impl Stuck {
    fn begin(url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").context("expected http://")?;
        let query =
            "subscription { events(fromStart: true) { event { type at principal data jobId taskId } position } }";
        let body = json!({"query": query}).to_string();
        let mut connection = TcpStream::connect(address)?;
        write!(
            connection,
            "POST /graphql/stream HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(Self {
            begun: Instant::now(),
            _connection: connection,
        })
    }

    /// Until the server says that it has dropped somebody.
    async fn dropped(self, server: &Server) -> anyhow::Result<f64> {
        while server.metric("grid_graphql_connections_cut_total").await? < 1.0 {
            anyhow::ensure!(
                self.begun.elapsed() < Duration::from_secs(300),
                "the subscriber that reads nothing is still there"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self.begun.elapsed().as_secs_f64())
    }
}
