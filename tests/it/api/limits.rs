//! What one request, and one caller, may take.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use grid::api::auth::Wanted;
use grid::api::{ApiOptions, Role};
use reqwest::Method;
use serde_json::Value;

use super::{Fixture, Options};

async fn with(api: ApiOptions, shards: bool) -> Fixture {
    Fixture::with(Options {
        api,
        shards,
        ..Options::default()
    })
    .await
}

#[actix_web::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let grid = with(
        ApiOptions {
            rate_per_second: 1,
            rate_burst: 3,
            ..ApiOptions::default()
        },
        false,
    )
    .await;
    let token = async |name: &str| {
        let principal = Some(name.to_owned());
        let wanted = Wanted {
            role: Role::Viewer,
            principal,
            expires_at: None,
        };
        grid.token(wanted).await
    };
    let (ann, bob) = (token("ann").await, token("bob").await);
    let ask = async |credential: &str| {
        let headers = [("authorization", credential)];
        grid.call(Method::GET, "/api/v1/info", &headers, Vec::new()).await
    };
    let mut refused = None;
    for _ in 0..20 {
        let answer = ask(&ann).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "RATE_LIMITED");
    assert_eq!(ask(&bob).await.status(), 200);
    // Without a token it is the address that counts.
    let anonymous = grid.call(Method::GET, "/api/v1/info", &[], Vec::new()).await;
    assert_eq!(anonymous.status(), 200);
    grid.stop().await;
}

/// Sends `text` and nothing more; gives what comes back until the server closes, and after how long.
async fn unfinished(grid: &Fixture, text: String) -> (String, Duration) {
    let address = grid.address;
    let asked = move || {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

#[actix_web::test]
async fn a_request_takes_only_so_long_and_so_much() {
    let short = Duration::from_millis(400);
    let grid = with(
        ApiOptions {
            // The server takes it by a clock that ticks twice a second.
            header_timeout: Duration::from_secs(2),
            body_timeout: short,
            request_timeout: Duration::from_secs(1),
            max_body_bytes: 100,
            ..ApiOptions::default()
        },
        // Nobody answers commands.
        false,
    )
    .await;
    let (answer, after) = unfinished(&grid, "GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n".to_owned()).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && after < Duration::from_secs(5),
        "{answer} after {after:?}"
    );

    let head =
        "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let (answer, after) = unfinished(&grid, format!("{head}Content-Length: 50\r\n\r\n{{")).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && after < Duration::from_secs(8),
        "{answer} after {after:?}"
    );
    assert!(answer.contains("BODY_TIMEOUT"), "{answer}");

    for path in ["/api/v1/jobs", "/api/v1/jobs/019a0000-0000-7000-8000-000000000001/stop"] {
        let long = grid.call(Method::POST, path, &[], vec![b' '; 101]).await;
        assert_eq!(long.status(), 413, "{path}");
        assert_eq!(long.json::<Value>().await.unwrap()["code"], "TOO_LARGE", "{path}");
    }
    // Not announced, it is cut off where it is read.
    let chunk = format!("65\r\n{}\r\n0\r\n\r\n", " ".repeat(101));
    let (answer, _) = unfinished(&grid, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("TOO_LARGE"),
        "{answer}"
    );

    let path = "/api/v1/jobs/019a0000-0000-7000-8000-000000000001/stop";
    let late = grid.call(Method::POST, path, &[], Vec::new()).await;
    assert_eq!(late.status(), 504);
    assert_eq!(late.json::<Value>().await.unwrap()["code"], "REQUEST_TIMEOUT");
    grid.stop().await;
}
