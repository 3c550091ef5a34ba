//! Checkpoints beside the log. What attempts do with them is tested with real workers, in `faults::checkpoints`.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::fixture::{Fixture, TOKEN, text};

#[actix_web::test]
async fn checkpoints_go_with_their_job() {
    let grid = Fixture::new().await;
    let row = "INSERT INTO checkpoints (job, task, attempt, ts, data) SELECT (lpad(to_hex(day::bigint * 86400000 + 5), 12, '0')
        || '7000a0000000000000' || lpad(to_hex(n), 2, '0'))::uuid, n, 1, 7, 'x' FROM unnest(ARRAY[19999, 20000, 20001]) day,
        generate_series(1, 3) n";
    grid.psql(row);
    grid.psql("INSERT INTO retired_days (day, events) VALUES (20000, 9)");
    let left = "SELECT string_agg(DISTINCT (('x' || substr(replace(job::text, '-', ''), 1, 12))::bit(48)::bigint / 86400000)::text, ',')
        || ':' || count(*) FROM checkpoints";
    assert_eq!(grid.psql(left), "19999,20001:6");
    grid.stop().await;
}

#[actix_web::test]
async fn each_worker_process_has_a_key_of_its_own() {
    let grid = Fixture::new().await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let mut keys = Vec::new();
    for process in [
        "019a0000-0000-7000-8000-000000000001",
        "019a0000-0000-7000-8000-000000000002",
    ] {
        for _ in 0..2 {
            let path = format!("/api/v1/internal/checkpoint-key/{process}");
            let response = grid.call(Method::GET, &path, &headers, Vec::new()).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["cache-control"], "no-store");
            keys.push(text(&response.json::<Value>().await.unwrap()["key"]).to_owned());
        }
    }
    assert!(keys.iter().all(|key| key.len() == 64));
    assert!(keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2]);
    let server_key = grid.psql("SELECT encode(key, 'hex') FROM server_keys");
    assert!(server_key.len() == 64 && !keys.contains(&server_key));
    let path = "/api/v1/internal/checkpoint-key/x";
    let malformed = grid.call(Method::GET, path, &headers, Vec::new()).await;
    assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
    grid.stop().await;
}
