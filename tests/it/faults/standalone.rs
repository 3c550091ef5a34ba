//! Standalone, killed again and again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::RngExt;

use super::load::{Load, all_finished};
use super::process::{Grid, no_stray_processes};
use super::{check, times};

fn start(folder: &Path) -> Grid {
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    // Retries after lost workers would make the test slow, not better.
    Grid::start(
        folder,
        "standalone",
        &["standalone", "--data-dir", data, "--slots", "8"],
    )
}

/// Ends the private Postgres, which outlives a kill of grid.
struct Postgres<'a>(&'a Path);

impl Drop for Postgres<'_> {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.0.join("data/postgres/data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next().and_then(|line| line.parse().ok()) {
            _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGQUIT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_standalone_loses_nothing() {
    let folder = tempfile::Builder::new()
        .prefix("grid-faults-")
        .tempdir_in("/var/tmp")
        .unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = folder.path();
    let _postgres = Postgres(folder);
    let marker = uuid::Uuid::new_v4().to_string();
    let mut grid = start(folder);
    grid.ready().await;
    let load = Load::start(vec![grid.url.clone()], &marker);
    for _ in 0..times(4, 100) {
        let enough = load.count() + 3;
        let pause = rand::rng().random_range(100..1_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        crate::support::eventually("jobs to be acknowledged", Duration::from_secs(60), async || {
            (load.count() >= enough).then_some(())
        })
        .await;
        grid.kill();
        no_stray_processes(&marker);
        grid = start(folder);
        load.set_servers(vec![grid.url.clone()]);
        grid.ready().await;
    }
    let acknowledged = load.stop();
    all_finished(&grid.url, &acknowledged, Duration::from_secs(120)).await;
    let data = folder.join("data");
    // Jobs whose answer was cut off by a kill may still be under way.
    let socket = std::fs::canonicalize(data.join("postgres/run")).unwrap();
    let conninfo = format!("host={} user=postgres dbname=grid", socket.display());
    crate::support::eventually("everything to come to its end", Duration::from_secs(120), async || {
        let unfinished = "SELECT count(*) FROM grid_read.jobs WHERE finished_at IS NULL";
        (psql(&conninfo, unfinished) == "0").then_some(())
    })
    .await;
    check(&conninfo, &acknowledged, folder);
    let verified = Command::new(env!("CARGO_BIN_EXE_grid"))
        .args(["verify", "--data-dir", data.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    grid.stop();
}

fn psql(conninfo: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-d", conninfo, "-c", sql])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
