//! Who may use a `grid standalone` that others can reach: refused until somebody says; then tokens, over TLS.

use std::time::Duration;

use serde_json::Value;

use super::server::Standalone;
use super::{grid, told};
use crate::support::{Authority, free_port};

#[test]
fn a_server_that_others_can_reach_starts_only_when_it_is_said_who_may_use_it() {
    let folder = Standalone::folder();
    let path = folder.path();
    let authority = Authority::new("of the test");
    let (certificate, key) = authority.sign("localhost");
    for (name, text) in [
        ("ca.pem", authority.certificate()),
        ("server.pem", certificate),
        ("server.key", key),
    ] {
        std::fs::write(path.join(name), text).unwrap();
    }
    let port = free_port();
    let listen = format!("0.0.0.0:{port}");
    let flags = ["standalone", "--data-dir", "data", "--listen", &listen];
    let (code, _, err) = told(grid(path, &flags).output().unwrap());
    assert_eq!(code, 1, "{err}");
    let advice = "grid token create --role admin --expires 90d --data-dir data";
    assert!(
        err.contains(advice) && err.contains("auth.anonymous_role=none"),
        "{err}"
    );

    // What is advised works.
    let advised: Vec<&str> = advice.split(' ').skip(1).collect();
    let make = |flags: &[&str]| {
        let (code, out, err) = told(grid(path, flags).output().unwrap());
        assert_eq!(code, 0, "{err}");
        let token = out.trim_end().to_owned();
        assert!(
            token.starts_with("grid_") && token.len() == 86 && !err.contains(&token),
            "{out}{err}"
        );
        token
    };
    let admin = make(&advised);
    let viewer = make(
        &[
            &["token", "create", "--role", "viewer", "--name", "ann"][..],
            &advised[4..],
        ]
        .concat(),
    );
    let secured = [
        "--set",
        "server.tls_cert=server.pem",
        "--set",
        "server.tls_key=server.key",
    ];
    let server = Standalone::spawned(folder, &[&flags[..], &secured].concat(), &listen);
    let run = |token: Option<&str>, arguments: &[&str]| {
        let mut command = grid(server.path(), arguments);
        command
            .env("GRID_SERVER", format!("https://localhost:{port}"))
            .env("GRID_CA", "ca.pem");
        if let Some(token) = token {
            command.env("GRID_TOKEN", token);
        }
        told(command.output().unwrap())
    };
    assert_eq!(run(None, &["init"]).0, 0);
    server.await_line("node.serving", Duration::from_secs(120));
    let (code, out, err) = run(Some(&admin), &["submit", "job.yaml", "--wait"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, _, err) = run(None, &["jobs"]);
    assert!(code == 1 && err.contains("401 UNAUTHENTICATED"), "{err}");
    assert!(
        err.contains(&format!("Show https://localhost:{port} a good token: --token")),
        "{err}"
    );
    let (code, _, err) = run(Some(&viewer), &["submit", "job.yaml"]);
    assert!(
        code == 1 && err.contains("403 FORBIDDEN") && err.contains("needs the role operator"),
        "{err}"
    );
    assert!(err.contains("for a token of that role (grid token create)"), "{err}");
    let (code, _, err) = run(Some(&viewer), &["explain", "job-0198c2a0-7c00-7000-8000-000000000001"]);
    assert!(
        code == 1 && err.contains("404 ") && err.contains(&format!("localhost:{port}")),
        "{err}"
    );
    assert!(err.contains("grid search TEXT"), "{err}");
    let (code, out, _) = run(Some(&viewer), &["jobs", "--output", "json"]);
    let jobs: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &jobs["items"][0]["status"]), (0, &"COMPLETED".into()));
    let untrusted = [
        "jobs",
        "--server",
        &format!("https://127.0.0.1:{port}"),
        "--ca",
        "server.pem",
    ];
    let (code, _, err) = run(Some(&admin), &untrusted);
    assert!(
        code == 1 && err.contains(&format!("https://127.0.0.1:{port} is not trusted")),
        "{err}"
    );
    assert!(err.contains("--ca FILE"), "{err}");

    // Revoked, it is refused from then on; what is left of it is a line in the list.
    let place = ["--data-dir", "data"];
    let (code, out, err) = run(None, &[&["token", "revoke", &viewer][..], &place].concat());
    assert!(code == 0 && out.contains("of ann is revoked"), "{out}{err}");
    let (code, _, err) = run(Some(&viewer), &["jobs"]);
    assert!(code == 1 && err.contains("revoked"), "{err}");
    let (_, out, _) = run(None, &[&["token", "list"][..], &place].concat());
    assert_eq!(out.lines().count(), 3, "{out}");
    assert!(
        out.contains(" good") && out.contains(" revoked ") && !out.contains(&viewer[22..]),
        "{out}"
    );
    for wrong in [
        &["token", "create", "--role", "root", "--expires", "1d"][..],
        &["token", "create", "--role", "viewer"],
        &["token", "create", "--role", "viewer", "--expires", "soon"],
        &["token", "revoke", "ann"],
    ] {
        assert_eq!(run(None, &[wrong, &place].concat()).0, 2, "{wrong:?}");
    }
}
