//! The tests that are written in JavaScript (tests/web), because the reference clients are.

use std::process::Stdio;
use std::time::Duration;

use grid::api::Role;
use grid::api::graphql::GraphqlOptions;
use serde_json::{Value, json};

use crate::api::fixture::wanted;
use crate::api::{Fixture, Options};
use crate::support::Postgres;

/// Runs one of the files of tests/web against a server with small limits.
async fn run(file: &str) {
    let grid = Fixture::with(small()).await;
    node(&grid, file, &[]).await;
    grid.stop().await;
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

/// Runs one of the files of tests/web against this server; it finds the variables in its environment.
async fn node(grid: &Fixture, file: &str, variables: &[(&str, String)]) {
    let root = env!("CARGO_MANIFEST_DIR");
    let modules = tokio::process::Command::new(format!("{root}/scripts/web-modules.sh"))
        .output()
        .await
        .unwrap();
    assert!(modules.status.success(), "{}", String::from_utf8_lossy(&modules.stderr));
    let modules = String::from_utf8(modules.stdout).unwrap().trim().to_owned();
    let own = ["x64", "arm64"].map(|arch| format!("{modules}/node_modules/node-linux-{arch}/bin/node"));
    let own = own.into_iter().find(|path| std::path::Path::new(path).exists());
    let node = tokio::process::Command::new(own.as_deref().unwrap_or("node"))
        .args(["--test", "--test-reporter=tap", "--test-timeout=100000"])
        .arg(format!("{root}/tests/web/{file}"))
        .env("GRID_URL", format!("http://{}", grid.address))
        .env("GRID_WEB_MODULES", &modules)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(120), node).await;
    let ran = ran.expect("not within two minutes").unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
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

/// A token as it is shown.
async fn token(grid: &Fixture, role: Role) -> String {
    let header = grid.token(wanted(role, &format!("a-{role}"))).await;
    header.strip_prefix("Bearer ").unwrap().to_owned()
}

#[actix_web::test]
async fn a_token_in_the_first_message_of_a_websocket_counts_until_it_is_revoked() {
    let grid = Fixture::closed().await;
    let mut tokens = json!({"revoked": token(&grid, Role::Viewer).await});
    for role in Role::ALL {
        tokens[role.name()] = Value::String(token(&grid, role).await);
    }
    node(&grid, "access.test.mjs", &[("GRID_TOKENS", tokens.to_string())]).await;
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
    let token = token(&grid, Role::Viewer).await;
    postgres.kill();
    node(&grid, "outage.test.mjs", &[("GRID_TOKEN", token)]).await;
    grid.stop().await;
}

#[actix_web::test]
async fn the_pages_work_in_a_browser_and_load_nothing_from_outside() {
    let path = std::env::var_os("PATH").unwrap();
    let browser = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|file| file.exists())
        .expect("Chromium, which scripts/setup.sh gets");
    let grid = Fixture::with(small()).await;
    let variables = [("GRID_CHROMIUM", browser.to_str().unwrap().to_owned())];
    node(&grid, "page.test.mjs", &variables).await;
    grid.stop().await;
}
