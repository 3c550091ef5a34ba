//! A process of grid, to be killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{free_port, wait_for};

/// The executable that is tested.
pub const GRID: &str = env!("CARGO_BIN_EXE_grid");

pub struct Grid {
    child: Child,
    pub url: String,
    address: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Grid {
    /// Starts `grid` with `arguments`, listening on a free port; its log goes to `folder`.
    pub fn start(folder: &Path, name: &str, arguments: Vec<String>) -> Self {
        Self::start_program(Path::new(GRID), folder, name, arguments)
    }

    /// As [`Grid::start`], of another executable.
    pub fn start_program(program: &Path, folder: &Path, name: &str, arguments: Vec<String>) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let log = folder.join(format!("{name}.log"));
        Self {
            child: spawn(program, &arguments, &address, &log),
            url: format!("http://{address}"),
            address,
            program: program.to_owned(),
            arguments,
            log,
        }
    }

    /// As it was started, on the same address. The one before must have ended.
    pub fn restart(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        self.child = spawn(&self.program, &self.arguments, &self.address, &self.log);
    }

    /// SIGTERM, upon which it must end well; then another executable on the same address, as an upgrade does.
    pub fn replace(&mut self, program: &Path) {
        self.end();
        self.restart_as(program);
    }

    /// As [`Grid::restart`], from another executable.
    pub fn restart_as(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
        self.restart();
    }

    /// Waits until `/health/ready` says so.
    pub async fn ready(&mut self) {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()
            .unwrap();
        let begun = std::time::Instant::now();
        loop {
            let answer = client.get(format!("{}/health/ready", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            self.must_run();
            assert!(begun.elapsed() < Duration::from_secs(90), "not ready: {}", self.tail());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Panics when the process has ended by itself.
    pub fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("grid has ended, {status}: {}", self.tail());
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// As a crash: SIGKILL.
    pub fn kill(&mut self) {
        self.must_run();
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    pub fn pause(&mut self) {
        self.must_run();
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// SIGTERM; must end well.
    pub fn stop(mut self) {
        self.end();
    }

    /// As [`Grid::stop`], for one that is started again.
    pub fn end(&mut self) {
        self.must_run();
        self.signal(Signal::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.tail());
    }

    /// It ends by itself, with an error: the last lines that it wrote.
    pub fn ends_badly(&mut self) -> String {
        let status = wait_for("grid to end", Duration::from_secs(60), || {
            self.child.try_wait().unwrap()
        });
        assert!(!status.success(), "{status}: {}", self.tail());
        self.tail()
    }

    /// Told to end by somebody else, it must end well.
    pub fn ends_well(mut self) {
        let status = self.ended();
        assert!(status.success(), "{status}: {}", self.tail());
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("grid to end", Duration::from_secs(60), || {
            self.child.try_wait().unwrap()
        })
    }

    /// What it has written since it was started first, restarts included.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

fn spawn(program: &Path, arguments: &[String], address: &str, log: &Path) -> Child {
    let file = File::options().create(true).append(true).open(log).unwrap();
    Command::new(program)
        .args(arguments)
        .args(["--listen", address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .unwrap()
}

impl Drop for Grid {
    fn drop(&mut self) {
        // Ended already, or the test has failed.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The folder of a test: with the logs of all processes, kept when it fails.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new(base: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new()
            .prefix("grid-faults-")
            .tempdir_in(base)
            .unwrap();
        // Postgres runs as another user when the tests run as root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("GRID_CHAOS_KEEP").is_some() {
            self.0.disable_cleanup(true);
            eprintln!("the logs are in {}", self.path().display());
        }
    }
}

/// Processes of tasks that have `marker` in their environment.
pub fn task_processes(marker: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_marker = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == format!("MARKER={marker}").as_bytes())
    };
    pids.filter(has_marker).collect()
}

/// Two seconds after a worker was killed, nothing that it ran may live.
pub fn no_stray_processes(marker: &str) {
    wait_for(
        "the processes of killed tasks to be gone",
        Duration::from_secs(2),
        || task_processes(marker).is_empty().then_some(()),
    );
}
