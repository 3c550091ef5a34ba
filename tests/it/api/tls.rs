//! HTTPS: with an authority of its own, renewed without a restart; and the listener for metrics beside it.

use std::path::Path;
use std::time::Duration;

use grid::api::Role;
use grid::config::ServerOptions;
use nix::sys::signal::{Signal, raise};
use reqwest::Certificate;
use serde_json::Value;

use super::{Fixture, Options};
use crate::support::{Authority, eventually};

fn client(authority: &Authority) -> reqwest::Client {
    let trusted = Certificate::from_pem(authority.certificate().as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([trusted])
        .timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

fn write(folder: &Path, authority: &Authority) {
    let (certificate, key) = authority.sign("localhost");
    std::fs::write(folder.join("server.pem"), certificate).unwrap();
    std::fs::write(folder.join("server.key"), key).unwrap();
}

#[actix_web::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    write(folder.path(), &old);
    let grid = Fixture::with(Options {
        shards: false,
        anonymous_role: Some(Role::Viewer),
        server: ServerOptions {
            tls_cert: Some(folder.path().join("server.pem")),
            tls_key: Some(folder.path().join("server.key")),
            metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
            ..ServerOptions::default()
        },
        ..Options::default()
    })
    .await;
    let url = format!("https://localhost:{}/api/v1/info", grid.address.port());
    let (by_old, by_new) = (client(&old), client(&new));
    let info: Value = by_old.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(info["name"], "grid");
    assert!(by_new.get(&url).send().await.unwrap_err().is_connect());
    let plain = reqwest::get(url.replace("https", "http")).await;
    assert!(plain.is_err(), "{plain:?}");

    // What cannot be used changes nothing.
    std::fs::write(folder.path().join("server.key"), "no key").unwrap();
    raise(Signal::SIGHUP).unwrap();
    write(folder.path(), &new);
    raise(Signal::SIGHUP).unwrap();
    eventually("the new certificate is shown", Duration::from_secs(20), async || {
        by_new.get(&url).send().await.ok()
    })
    .await;
    assert!(by_old.get(&url).send().await.unwrap_err().is_connect());

    // Metrics have a listener of their own: open, and with nothing else.
    let metrics = grid.metrics_address().unwrap();
    for (path, status) in [("/metrics", 200), ("/health/live", 200), ("/api/v1/info", 404)] {
        let answer = reqwest::get(format!("http://{metrics}{path}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    grid.stop().await;
}
