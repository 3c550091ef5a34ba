//! Fault: the disk of the log's database is full. Must hold: nobody is told that something was done which was not; everybody
//! is told why nothing goes on; and once there is room again all goes on by itself, with all that was acknowledged.
//!
//! It happens in two ways: Postgres cannot make a file longer, and says so; or it cannot begin a new file of its own log,
//! and ends, again and again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::server::Standalone;
use crate::docs::case::{commands, shows};
use crate::docs::session::Session;
use crate::support::{Mounted, free_port, wait_for};

const SECTION: &str = "The disk is full";
const JOB: &str = "tasks: [{ externalId: a, executor: noop, replicas: 2000 }]";
const SOON: Duration = Duration::from_secs(60);

/// Fills the file system, but for so many bytes.
fn fill(folder: &Path, leave_bytes: u64) {
    let stat = nix::sys::statvfs::statvfs(folder).unwrap();
    let free = stat.blocks_available() * stat.fragment_size();
    let mut ballast = File::create(folder.join("ballast")).unwrap();
    let block = vec![0; 64 * 1024];
    for _ in 0..free.saturating_sub(leave_bytes) / block.len() as u64 {
        if ballast.write_all(&block).is_err() {
            return;
        }
    }
}

/// Submits until it is refused: the jobs that were acknowledged, and what was said at last.
fn submit_until(server: &Standalone, is_enough: impl Fn(&str) -> bool) -> (Vec<String>, String) {
    let mut acknowledged = Vec::new();
    for _ in 0..20 {
        let (code, out, err) = server.run(&["submit", "job.yaml", "--output", "json"]);
        if code == 0 {
            let job: serde_json::Value = serde_json::from_str(&out).unwrap();
            acknowledged.push(job["jobId"].as_str().unwrap().to_owned());
        } else if is_enough(&err) {
            return (acknowledged, err);
        }
    }
    panic!("it was not refused as expected");
}

/// Says that it is over however that ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the page says is told while somebody submits.
fn everybody_is_told(server: &Standalone) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                server.run(&["submit", "job.yaml"]);
            }
        });
        let _over = Over(&over);
        let mut session = Session::new(server);
        let asked = commands(SECTION, &[])
            .into_iter()
            .filter(|command| command.text.starts_with("curl"));
        asked.for_each(|command| drop(session.run(&command)));
    });
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_all_goes_on_once_there_is_room() {
    let Some(small) = Mounted::memory("size=200m,mode=755") else {
        return;
    };
    let address = format!("127.0.0.1:{}", free_port());
    let data = small.path().join("data").display().to_string();
    let flags = [
        "standalone",
        "--data-dir",
        &data,
        "--listen",
        &address,
        "--set",
        "api.command_timeout=2s",
    ];
    let server = Standalone::spawned(Standalone::folder(), &flags, &address);
    server.await_ready(&address);
    server.write("job.yaml", JOB);

    // What every submission keeps has found some room ahead; events have not.
    let (code, out, err) = server.run(&["submit", "job.yaml", "--wait"]);
    assert_eq!(code, 0, "{out}{err}");
    fill(small.path(), 0);
    let (mut acknowledged, refusal) = submit_until(&server, |said| said.contains("no answer within"));
    shows(SECTION, "grid submit", &[("10s", "2s")], &refusal);
    everybody_is_told(&server);
    std::fs::remove_file(small.path().join("ballast")).unwrap();
    server.await_ready(&address);

    // A new file of Postgres' own log takes 16 MiB.
    fill(small.path(), 12 << 20);
    let (taken, _) = submit_until(&server, |_| true);
    acknowledged.extend(taken);
    server.await_line("postgres.ended", SOON);
    std::fs::remove_file(small.path().join("ballast")).unwrap();
    server.await_ready(&address);

    let (code, out, err) = server.run(&["submit", "job.yaml", "--wait"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!acknowledged.is_empty(), "none found room before the disk was full");
    for job in &acknowledged {
        wait_for(&format!("{job} to complete"), SOON, || {
            (server.json(&["job", job]).1["status"] == "COMPLETED").then_some(())
        });
    }
    let (code, out, err) = server.run(&["verify", "--data-dir", &data]);
    assert_eq!(code, 0, "{out}{err}");
}
