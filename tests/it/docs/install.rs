//! docs/install.md: its first job, and the units of systemd.

use std::path::Path;
use std::process::Command;

use super::markdown::{Page, repository};
use super::session::{Session, exists};
use crate::cli::server::Standalone;

#[test]
fn the_first_job_of_the_installation_runs() {
    let server = Standalone::start();
    let mut session = Session::new(&server);
    for command in Page::read("docs/install.md").commands() {
        session.run(&command);
    }
    assert_eq!(session.values["WORKER"], "worker-local");
}

#[test]
fn units_are_what_systemd_takes_and_their_commands_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let units = std::fs::read_dir(repository().join("docker/systemd")).unwrap();
    let mut found = 0;
    for unit in units.map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&unit).unwrap();
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"))
            .unwrap();
        exists(start);
        found += 1;
        if !Path::new("/usr/bin/systemd-analyze").exists() {
            eprintln!("NOT TRIED, for want of systemd-analyze: {}", unit.display());
            continue;
        }
        // The program is elsewhere here.
        let here = folder.path().join(unit.file_name().unwrap());
        std::fs::write(&here, text.replace("/usr/local/bin/grid", env!("CARGO_BIN_EXE_grid"))).unwrap();
        let told = Command::new("systemd-analyze")
            .arg("verify")
            .arg(&here)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() && said.is_empty(), "{}: {said}", unit.display());
    }
    assert_eq!(found, 3);
}
