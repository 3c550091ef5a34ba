//! Retention: days are closed, archived, proved and dropped, while the server serves.

mod closing;
mod folder;
pub mod past;

use std::path::Path;

use serde_json::Value;

use crate::api::Fixture;

/// The command line over the database of that server, not holding it up.
pub async fn grid(server: &Fixture, folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::from(command(server, folder, arguments));
    crate::cli::told(command.output().await.unwrap())
}

fn command(server: &Fixture, folder: &Path, arguments: &[&str]) -> std::process::Command {
    let verifies = arguments.first() == Some(&"verify") && !arguments.contains(&"--offline");
    let url = if verifies {
        server.url.replace("//postgres@", "//grid@")
    } else {
        server.url.clone()
    };
    let mut command = crate::cli::grid(folder, arguments);
    if !arguments.contains(&"--offline") {
        command.args(["--postgres", &url]);
    }
    command
}

async fn json(server: &Fixture, folder: &Path, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = grid(server, folder, &[arguments, &["--output", "json"]].concat()).await;
    let value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    (code, value)
}
