//! A request that is sent again under its key has its effect once.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use grid::api::ApiOptions;
use grid::failpoint;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::fixture::{Fixture, Options, text};
use crate::support::eventually;

const ONE: &str = "tasks: [{ externalId: a, executor: noop }]";
const OTHER: &str = "tasks: [{ externalId: b, executor: noop }]";
const PATIENCE: Duration = Duration::from_secs(20);

struct Answer {
    status: u16,
    location: Option<String>,
    replayed: bool,
    body: Value,
}

impl Answer {
    fn job(&self) -> &str {
        text(&self.body["jobId"])
    }

    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

async fn call(grid: &Fixture, method: Method, path: &str, key: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/yaml"), ("idempotency-key", key)];
    let response = grid.call(method, path, &headers, body.as_bytes().to_vec()).await;
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        location: header("location"),
        replayed: header("idempotency-replayed").is_some_and(|value| value == "true"),
        body: response.json().await.unwrap(),
    }
}

async fn post(grid: &Fixture, key: &str, body: &str) -> Answer {
    call(grid, Method::POST, "/api/v1/jobs", key, body).await
}

async fn impatient() -> Fixture {
    let api = ApiOptions {
        command_timeout: Duration::from_millis(1_500),
        ..ApiOptions::default()
    };
    let options = Options {
        api,
        ..Options::default()
    };
    Fixture::with(options).await
}

#[actix_web::test]
async fn the_same_request_gives_the_same_job() {
    let grid = Fixture::new().await;
    let first = post(&grid, "k-1", ONE).await;
    assert_eq!((first.status, first.replayed), (201, false), "{:#}", first.body);
    // Quoted, as the draft writes it, it is the same key.
    for key in ["k-1", "\"k-1\""] {
        let again = post(&grid, key, ONE).await;
        assert_eq!((again.status, again.replayed), (201, true), "{:#}", again.body);
        assert_eq!((again.job(), &again.location), (first.job(), &first.location));
        assert_eq!(again.body["position"], first.body["position"]);
    }
    // Not yet noted where the answer stands: the log says it, however much time the command would still have.
    grid.psql("UPDATE idempotency_keys SET answered_shard = NULL, answered_seq = NULL");
    let from_the_log = post(&grid, "k-1", ONE).await;
    assert_eq!(
        (from_the_log.status, from_the_log.replayed, from_the_log.job()),
        (201, true, first.job())
    );

    let mistaken = post(&grid, "k-1", OTHER).await;
    assert_eq!(mistaken.code(), (422, "IDEMPOTENCY_KEY_REUSED"));
    let other = post(&grid, "k-2", ONE).await;
    assert_eq!((other.status, other.replayed), (201, false));
    assert_ne!(other.job(), first.job());
    assert_eq!(grid.psql("SELECT count(*) FROM grid_read.jobs"), "2");
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_no_key_or_no_submission_reserves_nothing() {
    let grid = Fixture::new().await;
    let long = "k".repeat(256);
    for key in ["", "a b", "\"open", &long] {
        let refused = post(&grid, key, ONE).await;
        assert_eq!(refused.code(), (400, "INVALID_IDEMPOTENCY_KEY"), "{key:?}");
    }
    let headers = [("idempotency-key", "one"), ("idempotency-key", "two")];
    let twice = grid.call(Method::POST, "/api/v1/jobs", &headers, ONE.into()).await;
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
    // What was wrong can be put right under the same key.
    assert_eq!(post(&grid, "k", "{}").await.code(), (400, "MISSING_FIELD"));
    let dry = call(&grid, Method::POST, "/api/v1/jobs?dryRun=true", "k", OTHER).await;
    assert_eq!(dry.status, 200);
    assert_eq!(grid.psql("SELECT count(*) FROM idempotency_keys"), "0");
    assert_eq!(post(&grid, "k", ONE).await.status, 201);
    grid.stop().await;
}

#[actix_web::test]
async fn twenty_at_once_make_one_job() {
    let grid = Fixture::new().await;
    for round in 0..5 {
        let key = format!("round-{round}");
        let answers = join_all((0..20).map(|_| post(&grid, &key, ONE))).await;
        let jobs: BTreeSet<&str> = answers
            .iter()
            .filter(|answer| answer.status == 201)
            .map(Answer::job)
            .collect();
        assert_eq!(jobs.len(), 1);
        assert_eq!(
            answers
                .iter()
                .filter(|answer| answer.status == 201 && !answer.replayed)
                .count(),
            1
        );
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(answer.code(), (409, "IDEMPOTENCY_KEY_IN_FLIGHT"), "{:#}", answer.body);
        }
    }
    let submissions = "SELECT count(*) FROM events WHERE task = 0 AND version = 1 AND NOT worker";
    assert_eq!(grid.psql(submissions), "5");
    grid.stop().await;
}

/// Sends it until the outcome is no longer open.
async fn until_settled(grid: &Fixture, key: &str) -> (usize, Answer) {
    let in_flight = std::cell::Cell::new(0);
    let answer = eventually("the outcome is known", PATIENCE, async || {
        let answer = post(grid, key, ONE).await;
        if answer.code() == (409, "IDEMPOTENCY_KEY_IN_FLIGHT") {
            in_flight.set(in_flight.get() + 1);
            return None;
        }
        Some(answer)
    })
    .await;
    (in_flight.get(), answer)
}

#[actix_web::test]
async fn a_crash_between_reservation_and_command_is_made_good() {
    let grid = impatient().await;
    let armed = failpoint::panic_at("api.reserved", "crashes-here", 1);
    let headers = [
        ("content-type", "application/yaml"),
        ("idempotency-key", "crashes-here"),
    ];
    let request = reqwest::Client::new()
        .post(format!("http://{}/api/v1/jobs", grid.address))
        .body(ONE);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    assert!(
        request.send().await.is_err(),
        "the handler broke before it could answer"
    );
    assert_eq!(armed.left(), 0);
    let reserved = grid.psql("SELECT job FROM idempotency_keys WHERE key = 'crashes-here'");
    assert_eq!(grid.psql("SELECT count(*) FROM events WHERE NOT worker"), "0");

    let (in_flight, answer) = until_settled(&grid, "crashes-here").await;
    assert!(
        in_flight > 0,
        "until notAfter nobody knows whether the command is under way"
    );
    assert_eq!((answer.status, answer.replayed), (201, false), "{:#}", answer.body);
    assert_eq!(answer.job(), format!("job-{reserved}"), "sent with the reserved id");
    let again = post(&grid, "crashes-here", ONE).await;
    assert_eq!((again.status, again.replayed, again.job()), (201, true, answer.job()));
    grid.stop().await;
}

#[actix_web::test]
async fn many_that_come_after_a_crash_make_one_job() {
    let grid = Fixture::new().await;
    let row = "INSERT INTO idempotency_keys (principal, key, call, job, command, not_after) VALUES
        ('anonymous', 'by-hand', sha256('submit'::bytea || '\\x00'::bytea || convert_to('{}', 'UTF8')), '{JOB}',
         gen_random_uuid(), 0)";
    let job = grid::api::Commands::new_job_id(grid::clock::now());
    grid.psql(&row.replace("{}", ONE).replace("{JOB}", &job.0.to_string()));
    let answers = join_all((0..20).map(|_| post(&grid, "by-hand", ONE))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty());
    assert!(made.iter().all(|answer| answer.job() == job.to_string()));
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 || answer.code() == (409, "IDEMPOTENCY_KEY_IN_FLIGHT"))
    );
    assert_eq!(grid.psql("SELECT count(*) FROM grid_read.jobs"), "1");
    grid.stop().await;
}

#[actix_web::test]
async fn without_an_answer_the_same_ids_are_sent_again() {
    let api = ApiOptions {
        command_timeout: Duration::from_millis(400),
        ..ApiOptions::default()
    };
    let options = Options {
        api,
        shards: false,
        ..Options::default()
    };
    let grid = Fixture::with(options).await;
    let first = post(&grid, "k", ONE).await;
    assert_eq!(first.code(), (504, "OUTCOME_UNKNOWN"));
    let (_, second) = until_settled(&grid, "k").await;
    assert_eq!(second.code(), (504, "OUTCOME_UNKNOWN"));
    assert_eq!(second.body["jobId"], first.body["jobId"]);
    grid.stop().await;
}

#[actix_web::test]
async fn commands_have_keys_too() {
    let grid = Fixture::new().await;
    let job = grid.submit(ONE).await;
    let id = text(&job["jobId"]);
    let (kill, retry) = (format!("/api/v1/jobs/kill/{id}"), format!("/api/v1/jobs/{id}/retry"));
    // A refusal has no effect, so it binds nothing.
    for _ in 0..2 {
        let refused = call(&grid, Method::POST, &retry, "again", "").await;
        assert_eq!(refused.code(), (409, "NOTHING_FAILED"));
    }
    assert_eq!(grid.psql("SELECT count(*) FROM idempotency_keys"), "0");
    let finished = async || {
        let job = grid.get(&format!("/api/v1/jobs/{id}")).await;
        (!job["finishedAt"].is_null()).then_some(())
    };
    let ended = call(&grid, Method::DELETE, &kill, "end", "").await;
    assert_eq!((ended.status, ended.replayed), (200, false));
    eventually("it is killed", PATIENCE, finished).await;
    let retried = call(&grid, Method::POST, &retry, "again", "").await;
    assert_eq!((retried.status, retried.replayed), (200, false), "{:#}", retried.body);
    let ended_again = call(&grid, Method::DELETE, &kill, "end-again", "").await;
    assert_eq!(ended_again.status, 200);
    eventually("it is killed again", PATIENCE, finished).await;
    // The retry's answer comes back; the job, whose tasks have failed again, is not retried.
    let replayed = call(&grid, Method::POST, &retry, "again", "").await;
    assert_eq!((replayed.status, replayed.replayed), (200, true));
    assert_eq!(replayed.body["position"], retried.body["position"]);
    assert_eq!(replayed.body["status"], "FAILED");
    let history = grid.get(&format!("/api/v1/jobs/{id}/events?size=500")).await;
    let retries = |event: &&Value| event["type"] == "JobRetryRequested";
    assert_eq!(history["items"].as_array().unwrap().iter().filter(retries).count(), 1);
    // The key of a retry is not one of a kill.
    let mistaken = call(&grid, Method::DELETE, &kill, "again", "").await;
    assert_eq!(mistaken.code(), (422, "IDEMPOTENCY_KEY_REUSED"));
    grid.stop().await;
}

#[actix_web::test]
async fn after_its_time_a_key_is_free_and_swept_away() {
    let api = ApiOptions {
        idempotency_sweep_interval: Duration::from_secs(3_600),
        ..ApiOptions::default()
    };
    let grid = Fixture::with(Options {
        api,
        ..Options::default()
    })
    .await;
    let first = post(&grid, "k", ONE).await;
    grid.psql("UPDATE idempotency_keys SET reserved_at = now() - interval '23 hours 59 minutes'");
    assert_eq!(post(&grid, "k", ONE).await.job(), first.job());
    grid.psql("UPDATE idempotency_keys SET reserved_at = now() - interval '24 hours 1 minute'");
    let second = post(&grid, "k", OTHER).await;
    assert_eq!((second.status, second.replayed), (201, false));
    assert_ne!(second.job(), first.job());
    grid.stop().await;

    // More than one step takes, and one that is still wanted.
    let api = ApiOptions {
        idempotency_sweep_interval: Duration::from_millis(50),
        ..ApiOptions::default()
    };
    let grid = Fixture::with(Options {
        api,
        ..Options::default()
    })
    .await;
    let kept = post(&grid, "kept", ONE).await;
    grid.psql(
        "INSERT INTO idempotency_keys (principal, key, call, job, command, not_after, reserved_at)
         SELECT 'p', n::text, sha256('x'), gen_random_uuid(), gen_random_uuid(), 0, now() - interval '25 hours'
         FROM generate_series(1, 1234) n",
    );
    eventually("the old ones are gone", PATIENCE, async || {
        (grid.psql("SELECT count(*) FROM idempotency_keys") == "1").then_some(())
    })
    .await;
    let again = post(&grid, "kept", ONE).await;
    assert_eq!((again.replayed, &again.body["jobId"]), (true, &json!(kept.job())));
    grid.stop().await;
}
