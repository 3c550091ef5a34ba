//! The tests that are written in JavaScript (tests/web), because the reference clients are.

use std::time::Duration;

use grid::api::Role;
use grid::api::graphql::GraphqlOptions;

use crate::api::fixture::wanted;
use crate::api::{Fixture, Options};
use crate::support::{Postgres, chromium, node};

/// Runs one of the files of tests/web against a server with small limits.
async fn run(file: &str) {
    let grid = Fixture::with(small()).await;
    node(&url(&grid), file, &[]).await;
    grid.stop().await;
}

fn url(grid: &Fixture) -> String {
    format!("http://{}", grid.address)
}

fn small() -> Options {
    let graphql = GraphqlOptions {
        init_timeout: Duration::from_secs(1),
        ping_interval: Duration::from_secs(2),
        slow_after: Duration::from_millis(500),
        ..GraphqlOptions::default()
    };
    Options {
        graphql,
        ..Options::default()
    }
}

#[actix_web::test]
async fn every_audit_of_graphql_over_http_is_met() {
    run("audit.test.mjs").await;
}

#[actix_web::test]
async fn websockets_keep_to_their_protocol() {
    run("socket.test.mjs").await;
}

#[actix_web::test]
async fn streams_keep_to_their_protocol() {
    run("stream.test.mjs").await;
}

#[actix_web::test]
async fn a_token_in_the_first_message_of_a_websocket_counts_until_it_is_revoked() {
    let grid = Fixture::closed().await;
    let tokens = grid.tokens().await.to_string();
    node(&url(&grid), "access.test.mjs", &[("GRID_TOKENS", tokens)]).await;
    grid.stop().await;
}

#[actix_web::test]
async fn a_websocket_is_closed_when_nobody_can_tell_whether_its_token_is_good() {
    let postgres = Postgres::start();
    let grid = Fixture::with(Options {
        anonymous_role: None,
        database: Some(postgres.fresh_database()),
        shards: false,
        ..small()
    })
    .await;
    let header = grid.token(wanted(Role::Viewer, "ann")).await;
    let token = header.replace("Bearer ", "");
    postgres.kill();
    node(&url(&grid), "outage.test.mjs", &[("GRID_TOKEN", token)]).await;
    grid.stop().await;
}

#[actix_web::test]
async fn the_pages_work_in_a_browser_and_load_nothing_from_outside() {
    let grid = Fixture::with(small()).await;
    node(&url(&grid), "page.test.mjs", &[chromium()]).await;
    grid.stop().await;
}
