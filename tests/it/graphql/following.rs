//! Subscriptions go on from any token without a gap and without a repeat, however slow who follows is.

use std::collections::BTreeMap;
use std::time::Duration;

use grid::api::live::Scope;
use grid::domain::{Position, Seq, ShardId};
use rand::RngExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::stream::{Stream, place, places};
use crate::api::{Fixture, text};
use crate::support::eventually;

const EVENTS: &str = "subscription ($after: String, $fromStart: Boolean! = false) {
    events(after: $after, fromStart: $fromStart) { event { position type } position } }";

fn document(replicas: u32) -> String {
    format!("tasks: [{{ externalId: a, replicas: {replicas}, executor: noop }}]")
}

async fn end(grid: &Fixture, job: &Value) {
    let path = format!("/api/v1/jobs/kill/{}", text(&job["jobId"]));
    grid.json(Method::DELETE, &path, StatusCode::OK).await;
}

/// The last place of each shard in the log that has events.
fn heads(grid: &Fixture) -> BTreeMap<u16, u64> {
    let rows = grid.psql("SELECT shard || ' ' || next_seq - 1 FROM shards WHERE next_seq > 1");
    let head = |row: &str| {
        let (shard, seq) = row.split_once(' ').unwrap();
        (shard.parse().unwrap(), seq.parse().unwrap())
    };
    rows.lines().map(head).collect()
}

async fn until_all_ended(grid: &Fixture) {
    eventually("every job to end", Duration::from_secs(60), async || {
        let left = "SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL";
        (grid.psql(left) == "0").then_some(())
    })
    .await;
}

#[actix_web::test]
async fn whoever_comes_again_with_his_last_token_misses_nothing_and_gets_nothing_twice() {
    let grid = Fixture::new().await;
    let url = format!("http://{}", grid.address);
    let follower = async {
        let mut seen: BTreeMap<u16, u64> = BTreeMap::new();
        let mut token: Option<String> = None;
        let mut visits = 0;
        // Until the last job, which has a name of its own, has ended.
        loop {
            visits += 1;
            let variables = match &token {
                Some(token) => json!({"after": token}),
                None => json!({"fromStart": true}),
            };
            let mut stream = Stream::open(&url, EVENTS, &variables).await;
            let patience = rand::rng().random_range(1..300);
            for _ in 0..patience {
                let next = tokio::time::timeout(Duration::from_secs(2), stream.next()).await;
                let Ok(Some(data)) = next else { break };
                let item = &data["events"];
                token = Some(text(&item["position"]).to_owned());
                if item["event"].is_null() {
                    continue;
                }
                let (shard, seq) = place(&item["event"]["position"]);
                let have = seen.entry(shard).or_default();
                assert_eq!(seq, *have + 1, "shard {shard}: neither a gap nor a repeat");
                *have = seq;
                assert_eq!(
                    places(&item["position"])[&shard],
                    seq,
                    "the token is the one after the item"
                );
            }
            if grid.psql("SELECT count(*) FROM grid_read.jobs WHERE external_id = 'last'") == "1"
                && seen == heads(&grid)
            {
                return visits;
            }
        }
    };
    let busy = async {
        for replicas in [1, 300, 20, 700, 50] {
            let job = grid.submit(&document(replicas)).await;
            end(&grid, &job).await;
        }
        until_all_ended(&grid).await;
        let last = grid.submit("{ externalId: last, tasks: [] }").await;
        assert_eq!(last["status"], "EMPTY");
    };
    let both = futures::future::join(follower, busy);
    let (visits, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.unwrap();
    assert!(visits > 2, "it came {visits} times");
    grid.stop().await;
}

#[actix_web::test]
async fn a_follower_that_falls_behind_reads_the_log_and_holds_little() {
    let grid = Fixture::new().await;
    let mut follower = grid.live.follow(Scope::Everything, None).await.unwrap();
    let marks = grid.live.marks(Scope::Everything).await.unwrap();
    let begun = heads(&grid);
    // More than an inbox holds, and more than a page of the log.
    let job = grid.submit(&document(6_000)).await;
    end(&grid, &job).await;
    until_all_ended(&grid).await;
    let expected = heads(&grid);
    let mut have: BTreeMap<u16, u64> = begun.clone();
    while have != expected {
        let events = tokio::time::timeout(Duration::from_secs(10), follower.next()).await;
        for event in events.expect("the events to come").unwrap() {
            let Position { shard, seq } = event.position;
            let at = have.entry(shard.0).or_default();
            assert_eq!(seq.0, *at + 1);
            *at = seq.0;
        }
    }
    let last = marks.changed().await;
    for place in last {
        assert_eq!(expected.get(&place.shard.0), Some(&place.seq.0));
    }
    // One job's follower is told of nothing else, and its place moves on all the same.
    let other = grid.submit(&document(1)).await;
    let id = text(&other["jobId"]).parse().unwrap();
    let mut of_job = grid.live.follow(Scope::Job(id), None).await.unwrap();
    let shard = id.shard(crate::api::SHARDS);
    let same_shard = loop {
        let job = grid.submit(&document(1)).await;
        let (at, seq) = place(&job["position"]);
        if ShardId(at) == shard {
            break Seq(seq);
        }
    };
    of_job.settle();
    assert!(of_job.have()[&shard] >= same_shard);
    end(&grid, &other).await;
    let events = of_job.next().await.unwrap();
    assert!(events.iter().all(|event| event.job() == Some(id)));
    grid.stop().await;
}

#[actix_web::test]
async fn a_token_that_is_not_of_this_log_is_refused() {
    let grid = Fixture::new().await;
    let job = grid.submit(&document(1)).await;
    let (shard, seq) = place(&job["position"]);
    let timeline = grid.log.timeline().await.unwrap();
    let token = |timeline, shard, seq| {
        let position = Position {
            shard: ShardId(shard),
            seq: Seq(seq),
        };
        grid::projection::PositionToken::new(timeline, position).to_string()
    };
    let bad = [
        "no token".to_owned(),
        token(uuid::Uuid::from_u128(1), shard, seq),
        token(timeline, 999, 1),
        token(timeline, shard, seq + 1_000_000),
    ];
    let job_changed = format!(
        "subscription ($after: String) {{ jobChanged(jobId: \"{}\", after: $after) {{ position }} }}",
        text(&job["jobId"])
    );
    for query in [EVENTS, &job_changed] {
        for after in &bad {
            let answer = grid.graphql_stream(query, &json!({"after": after})).await;
            assert!(answer.contains(r#""code":"INVALID_PARAMETER""#), "{after}: {answer}");
        }
    }
    grid.stop().await;
}

#[actix_web::test]
async fn tasks_and_all_jobs_are_followed_from_any_token() {
    let grid = Fixture::new().await;
    let url = format!("http://{}", grid.address);
    let job = grid.submit(&document(40)).await;
    let query = "subscription ($id: ID, $after: String) {
        taskChanged(jobId: $id, after: $after) { task { taskId state } position } }";
    let variables = json!({"id": job["jobId"], "after": job["position"]});
    let mut stream = Stream::open(&url, query, &variables).await;
    end(&grid, &job).await;
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let mut tokens = Vec::new();
    while states.len() < 40 || states.values().any(|state| state != "FAILED") {
        let data = tokio::time::timeout(Duration::from_secs(20), stream.next())
            .await
            .unwrap();
        let change = data.unwrap()["taskChanged"].clone();
        if change["task"].is_null() {
            continue;
        }
        states.insert(
            text(&change["task"]["taskId"]).to_owned(),
            text(&change["task"]["state"]).to_owned(),
        );
        tokens.push(change["position"].clone());
    }
    // From the middle on: what had not been given, and each once.
    let middle = tokens.len() / 2;
    let mut again = Stream::open(&url, query, &json!({"id": job["jobId"], "after": tokens[middle]})).await;
    for expected in &tokens[middle + 1..] {
        let data = tokio::time::timeout(Duration::from_secs(20), again.next())
            .await
            .unwrap();
        let given = places(&data.unwrap()["taskChanged"]["position"]);
        assert!(given >= places(expected) || given.values().max() >= places(expected).values().max());
    }
    let all = "subscription ($after: String) { jobChanged(after: $after) { job { jobId status } position } }";
    let mut stream = Stream::open(&url, all, &json!({"after": tokens.last().unwrap()})).await;
    let other = grid.submit(&document(2)).await;
    loop {
        let data = tokio::time::timeout(Duration::from_secs(20), stream.next())
            .await
            .unwrap();
        if data.unwrap()["jobChanged"]["job"]["jobId"] == other["jobId"] {
            break;
        }
    }
    grid.stop().await;
}
