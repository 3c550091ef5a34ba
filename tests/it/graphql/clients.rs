//! The tests that are written in JavaScript (tests/web), because the reference clients are.

use std::process::Stdio;
use std::time::Duration;

use grid::api::graphql::GraphqlOptions;

use crate::api::{Fixture, Options};

/// Runs one of the files of tests/web against a server with small limits.
async fn run(file: &str) {
    let graphql = GraphqlOptions {
        init_timeout: Duration::from_secs(1),
        ping_interval: Duration::from_secs(2),
        slow_after: Duration::from_millis(500),
        ..GraphqlOptions::default()
    };
    let grid = Fixture::with(Options {
        graphql,
        ..Options::default()
    })
    .await;
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
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(Duration::from_secs(120), node).await;
    let ran = ran.expect("not within two minutes").unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    grid.stop().await;
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
