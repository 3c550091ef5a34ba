//! Who may use which route: every route of the table is tried by everybody. And tokens: made, used, revoked.

use std::time::{Duration, Instant};

use grid::api::auth::{self, REVOKED_WITHIN, TokenError, TokenId, Wanted};
use grid::api::{Access, ApiParts, Role, rules, serve};
use grid::domain::Incarnation;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use super::fixture::wanted;
use super::{Fixture, Options, text};
use crate::support::eventually;

/// An id that is well-formed wherever one is asked for, and of nothing that is there.
const NOBODY: &str = "019a0000-0000-7000-8000-000000000001";
const ONE: &str = "tasks: [{ externalId: a, executor: noop }]";

/// A path of the table with its parameters filled in.
fn filled(pattern: &str) -> String {
    let parts = pattern
        .split('/')
        .map(|part| if part.starts_with('{') { NOBODY } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The status of a read with this credential.
async fn status(grid: &Fixture, credential: &str) -> u16 {
    let headers = [("authorization", credential)];
    let response = grid.call(Method::GET, "/api/v1/jobs", &headers, Vec::new()).await;
    response.status().as_u16()
}

/// The id in the header that shows a token.
fn id_of(credential: &str) -> TokenId {
    credential["Bearer grid_".len()..][..16].parse().unwrap()
}

#[actix_web::test]
async fn every_route_lets_in_only_those_who_may_use_it() {
    let grid = Fixture::closed().await;
    let callers = grid.callers().await;
    let (mut refused, mut admitted) = (0, 0);
    for rule in rules() {
        for (role, credential) in &callers {
            let headers: Vec<(&str, &str)> = credential.iter().map(|text| ("authorization", text.as_str())).collect();
            let method: Method = rule.method.parse().unwrap();
            let response = grid.call(method, &filled(rule.path), &headers, Vec::new()).await;
            let status = response.status().as_u16();
            let name = format!("{} {} as {role:?}: {status}", rule.method, rule.path);
            let expected = match (rule.access, role) {
                // What is wrong is refused also where nothing is needed.
                _ if credential.is_some() && role.is_none() => Some((401, "UNAUTHENTICATED")),
                (Access::Open, _) => None,
                // The handler decides; without anything to show, for nobody.
                (Access::Secret, None) => {
                    assert!((400..500).contains(&status), "{name}");
                    continue;
                }
                (Access::Secret, Some(_)) => continue,
                (Access::Least(least), Some(role)) if role.includes(least) => None,
                (Access::Least(_), None) => Some((401, "UNAUTHENTICATED")),
                (Access::Least(_), Some(_)) => Some((403, "FORBIDDEN")),
            };
            let Some((expected, code)) = expected else {
                assert!(!matches!(status, 401 | 403 | 405), "{name}");
                admitted += 1;
                continue;
            };
            refused += 1;
            assert_eq!(status, expected, "{name}");
            assert_eq!(
                response.headers().contains_key("www-authenticate"),
                expected == 401,
                "{name}"
            );
            if rule.method != "HEAD" {
                let problem: Value = response.json().await.unwrap();
                assert_eq!(problem["code"], code, "{name}");
            }
        }
    }
    println!("{} routes, {admitted} admitted, {refused} refused", rules().len());
    assert!(refused > 3 * rules().len() && admitted > rules().len());
    grid.stop().await;
}

#[actix_web::test]
async fn whoever_caused_an_event_stands_in_it() {
    let grid = Fixture::closed().await;
    let (ann, bob) = (
        grid.token(wanted(Role::Operator, "ann")).await,
        grid.token(wanted(Role::Admin, "bob@example.com")).await,
    );
    let headers = [("authorization", ann.as_str()), ("content-type", "application/yaml")];
    let held = "tasks: [{ externalId: a, executor: noop, requires: { zone: nowhere } }]";
    let submitted = grid.call(Method::POST, "/api/v1/jobs", &headers, held.into()).await;
    assert_eq!(submitted.status(), StatusCode::CREATED);
    let id = text(&submitted.json::<Value>().await.unwrap()["jobId"]).to_owned();
    let headers = [("authorization", bob.as_str())];
    let path = format!("/api/v1/jobs/kill/{id}");
    let killed = grid.call(Method::DELETE, &path, &headers, Vec::new()).await;
    assert_eq!(killed.status(), StatusCode::OK);
    let path = format!("/api/v1/jobs/{id}/events?order=asc");
    let events: Value = grid
        .call(Method::GET, &path, &headers, Vec::new())
        .await
        .json()
        .await
        .unwrap();
    let events: Vec<(&str, &str)> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (text(&event["type"]), text(&event["principal"])))
        .collect();
    assert_eq!(events[0], ("JobSubmitted", "ann"));
    assert!(events.contains(&("JobKillRequested", "bob@example.com")), "{events:?}");
    grid.stop().await;
}

#[actix_web::test]
async fn a_revoked_token_is_refused_by_every_server_at_once() {
    let grid = Fixture::closed().await;
    let other = ApiParts {
        node: Incarnation(uuid::Uuid::now_v7()),
        ..grid.parts.clone()
    };
    let other = serve("127.0.0.1:0".parse().unwrap(), other).await.unwrap();
    let owner = grid.owner().await;
    let http = reqwest::Client::new();
    let elsewhere = async |credential: &str| {
        let request = http.get(format!("http://{}/api/v1/jobs", other.address));
        let response = request.header("authorization", credential).send().await.unwrap();
        response.status().as_u16()
    };
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let token = grid.token(wanted(Role::Viewer, "ann")).await;
        assert_eq!(
            (status(&grid, &token).await, elsewhere(&token).await),
            (200, 200),
            "{round}"
        );
        auth::revoke(&owner, &id_of(&token), "the test").await.unwrap();
        let revoked = Instant::now();
        while (status(&grid, &token).await, elsewhere(&token).await) != (401, 401) {
            assert!(revoked.elapsed() < REVOKED_WITHIN, "{round}");
        }
        slowest = slowest.max(revoked.elapsed());
        assert_eq!((status(&grid, &token).await, elsewhere(&token).await), (401, 401));
    }
    println!("refused everywhere within {slowest:?}");

    // Those that hear nothing any more look each token up.
    let token = grid.token(wanted(Role::Viewer, "ann")).await;
    assert_eq!((status(&grid, &token).await, elsewhere(&token).await), (200, 200));
    let deaf = grid.psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'grid tokens' AND datname = current_database()",
    );
    assert_eq!(deaf, "2");
    auth::revoke(&owner, &id_of(&token), "the test").await.unwrap();
    let revoked = Instant::now();
    while (status(&grid, &token).await, elsewhere(&token).await) != (401, 401) {
        assert!(revoked.elapsed() < REVOKED_WITHIN);
    }
    println!("those who were cut off refuse within {:?}", revoked.elapsed());
    other.stop().await;
    grid.stop().await;
}

/// What the connection that hears of revocations was asked last, and when.
fn last_asked(grid: &Fixture) -> String {
    grid.psql(
        "SELECT query || ' ' || query_start FROM pg_stat_activity
         WHERE application_name = 'grid tokens' AND datname = current_database()",
    )
}

#[actix_web::test]
async fn the_database_is_asked_for_revocations_only_while_a_token_is_kept() {
    let grid = Fixture::closed().await;
    let asks = async |what: &str| {
        let asked = async || Some(last_asked(&grid)).filter(|asked| asked.starts_with(what));
        eventually(what, Duration::from_secs(10), asked).await
    };
    asks("SELECT id ").await;
    // Nobody comes who has a token: what catches up at the start, once or twice, is all.
    let mut asked = last_asked(&grid);
    let is_quiet = async || {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let before = std::mem::replace(&mut asked, last_asked(&grid));
        (before == asked).then_some(())
    };
    eventually("nothing is asked", Duration::from_secs(10), is_quiet).await;

    let token = grid.token(wanted(Role::Viewer, "ann")).await;
    assert_eq!(status(&grid, &token).await, 200);
    let asked = asks("SELECT 1 ").await;
    let again = async || (last_asked(&grid) != asked).then_some(());
    eventually("it is asked again", Duration::from_secs(10), again).await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_token_is_what_it_is_for_as_long_as_it_is_good() {
    let grid = Fixture::closed().await;
    let owner = grid.owner().await;
    let soon = Wanted {
        expires_at: Some(grid::clock::now() + Duration::from_secs(1)),
        ..wanted(Role::Viewer, "ann")
    };
    let token = grid.token(soon).await;
    let made = Instant::now();
    while status(&grid, &token).await == 200 {
        assert!(made.elapsed() < Duration::from_secs(3), "it does not expire");
    }
    let headers = [("authorization", token.as_str())];
    let refused = grid.call(Method::GET, "/api/v1/jobs", &headers, Vec::new()).await;
    let problem: Value = refused.json().await.unwrap();
    assert!(text(&problem["detail"]).contains("expired"), "{problem}");

    // The secret of one with the id of another; and those who have only the id are not told whether it is there.
    let (one, two) = (
        grid.token(wanted(Role::Admin, "bob")).await,
        grid.token(wanted(Role::Viewer, "bob")).await,
    );
    let mixed = format!("{}{}", &one[..28], &two[28..]);
    assert_eq!((status(&grid, &one).await, status(&grid, &mixed).await), (200, 401));
    let scheme = one.replace("Bearer", "bEARER");
    assert_eq!(status(&grid, &scheme).await, 200);
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Basic eA==",
        "grid",
        one.trim_start_matches("Bearer "),
        &one[..90],
    ] {
        assert_eq!(status(&grid, wrong).await, 401, "{wrong}");
    }

    // Nothing that opens is kept.
    let secret = one.rsplit('_').next().unwrap();
    assert_eq!(
        grid.psql(&format!(
            "SELECT count(*) FROM api_tokens t WHERE t::text LIKE '%{secret}%'"
        )),
        "0"
    );
    let listed = auth::list(&owner).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(!serde_json::to_string(&listed).unwrap().contains("sha256"));
    crate::support::eventually("its use is noted", Duration::from_secs(10), async || {
        let listed = auth::list(&owner).await.unwrap();
        let found = listed.iter().find(|row| row.id == id_of(&one)).unwrap();
        found.last_used_at
    })
    .await;
    for name in ["anonymous", "system", "worker", "", "a b", ".a", "a\n", &"a".repeat(65)] {
        let refused = auth::create(&owner, &wanted(Role::Viewer, name)).await.err();
        assert!(matches!(refused, Some(TokenError::Principal(_))), "{name:?}");
    }
    // An admin sees and revokes them over the API as well.
    let headers = [("authorization", one.as_str())];
    let page = grid
        .call(Method::GET, "/api/v1/tokens?size=2", &headers, Vec::new())
        .await;
    let page: Value = page.json().await.unwrap();
    assert_eq!(
        (&page["total"], page["items"].as_array().unwrap().len()),
        (&3.into(), 2)
    );
    let path = format!("/api/v1/tokens/{}", id_of(&two));
    let revoked = grid.call(Method::DELETE, &path, &headers, Vec::new()).await;
    let revoked: Value = revoked.json().await.unwrap();
    assert_eq!(
        (&revoked["principal"], &revoked["revokedBy"]),
        (&"bob".into(), &"bob".into())
    );
    let unknown = "0".repeat(16).parse().unwrap();
    assert!(matches!(
        auth::revoke(&owner, &unknown, "the test").await,
        Err(TokenError::Unknown(_))
    ));
    grid.stop().await;
}

#[actix_web::test]
async fn a_server_cannot_make_tokens_and_nobody_brings_one_back() {
    let grid = Fixture::closed().await;
    let token = grid.token(wanted(Role::Viewer, "ann")).await;
    let id = id_of(&token);
    let made = auth::create(grid.log.pool(), &wanted(Role::Admin, "mallory")).await;
    assert!(matches!(made.err(), Some(TokenError::NotAllowed)));
    let service = grid.url.replace("//postgres@", "//grid@");
    let owner = grid.url.replace("//postgres@", "//grid_owner@");
    let refusal = async |url: &str, sql: String| {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let result = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await;
        result.unwrap_err().to_string()
    };
    for sql in [
        "UPDATE api_tokens SET role = 'admin'",
        "UPDATE api_tokens SET expires_at = now()",
        "DELETE FROM api_tokens",
        "TRUNCATE api_tokens",
    ] {
        assert!(
            refusal(&service, sql.to_owned()).await.contains("permission denied"),
            "{sql}"
        );
        assert!(
            refusal(&owner, sql.to_owned())
                .await
                .contains("is revoked, not changed"),
            "{sql}"
        );
    }
    auth::revoke(grid.log.pool(), &id, "a server").await.unwrap();
    for url in [&service, &owner] {
        let back = format!("UPDATE api_tokens SET revoked_at = null WHERE id = '{id}'");
        assert!(refusal(url, back).await.contains("is revoked, not changed"));
    }
    let again = auth::revoke(grid.log.pool(), &id, "another").await.unwrap();
    assert_eq!(again.revoked_by.as_deref(), Some("a server"));
    grid.stop().await;
}

#[actix_web::test]
async fn a_page_of_another_server_gets_nothing_done() {
    let grid = Fixture::with(Options {
        api: grid::api::ApiOptions {
            cors_origins: vec!["https://board.example".to_owned()],
            ..grid::api::ApiOptions::default()
        },
        ..Options::default()
    })
    .await;
    let call = async |method: Method, path: &str, headers: &[(&str, &str)], body: &str| {
        grid.call(method, path, headers, body.into()).await
    };
    let code = async |response: reqwest::Response| {
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        (status, text(&problem["code"]).to_owned())
    };
    // A name that somebody has pointed here.
    let rebound = call(Method::GET, "/api/v1/jobs", &[("host", "evil.example:8080")], "").await;
    assert_eq!(code(rebound).await, (421, "HOST_NOT_ALLOWED".to_owned()));
    // A submission that a browser sends without asking: it has no content type.
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let sent = call(Method::POST, "/api/v1/jobs", &[("origin", origin)], ONE).await;
        assert_eq!(code(sent).await, (403, "ORIGIN_NOT_ALLOWED".to_owned()), "{origin}");
    }
    assert_eq!(grid.get("/api/v1/jobs").await["total"], 0);
    let preflight = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let refused = call(Method::OPTIONS, "/api/v1/jobs", &preflight, "").await;
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
    assert_eq!(refused.status(), 403);
    // Its own pages, and those that are listed.
    let own = format!("http://{}", grid.address);
    let sent = call(Method::POST, "/api/v1/jobs", &[("origin", &own)], ONE).await;
    assert_eq!(sent.status(), StatusCode::CREATED);
    let preflight = [
        ("origin", "https://board.example"),
        ("access-control-request-method", "POST"),
    ];
    let allowed = call(Method::OPTIONS, "/api/v1/jobs", &preflight, "").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        allowed.headers()["access-control-allow-origin"],
        "https://board.example"
    );
    assert!(!allowed.headers().contains_key("access-control-allow-credentials"));
    let sent = call(
        Method::POST,
        "/api/v1/jobs",
        &[("origin", "https://board.example")],
        ONE,
    )
    .await;
    assert_eq!(
        (sent.status(), &sent.headers()["access-control-allow-origin"]),
        (StatusCode::CREATED, &"https://board.example".parse().unwrap())
    );
    grid.stop().await;
}

#[actix_web::test]
async fn browsers_are_told_what_to_beware_of_whatever_the_answer() {
    let grid = Fixture::closed().await;
    for (path, host) in [
        ("/health/live", None),
        ("/api/v1/jobs", None),
        ("/nothing", None),
        ("/health/live", Some("evil.example")),
    ] {
        let headers: Vec<_> = host.into_iter().map(|host| ("host", host)).collect();
        let answer = grid.call(Method::GET, path, &headers, Vec::new()).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert!(
            header("content-security-policy").contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{path}");
    }
    grid.stop().await;
}
