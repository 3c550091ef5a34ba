//! A real, private Postgres from the system's binaries.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::{free_port, guardian, tail, wait_for};

/// A running server; fsync is on. One of its own ends on drop, the shared one with the process.
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    process: Mutex<Option<Child>>,
}

impl Postgres {
    /// The server that all tests of this binary share. Never kill or stop it.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A server for one test, which may kill it. Takes about two seconds.
    pub fn start() -> Postgres {
        let folder = guardian::server_folder("postgres");
        if let Some(user) = unprivileged_user() {
            chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let made = server_command("initdb", &folder)
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(folder.join("data"))
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed:\n{}", tail(&folder.join("log")));
        let postgres = Postgres {
            folder,
            port: free_port(),
            process: Mutex::new(None),
        };
        postgres.restart();
        postgres
    }

    /// The URL of a new, empty database that nobody else has. Its user is the superuser.
    pub fn fresh_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a copy of a database that nobody uses.
    pub fn copy(&self, url: &str) -> String {
        let (_, name) = url.rsplit_once('/').unwrap();
        let copy = self.fresh_database();
        let (_, copied) = copy.rsplit_once('/').unwrap();
        let maintenance = self.url("postgres");
        self.psql(&maintenance, &format!("DROP DATABASE {copied}"));
        self.psql(&maintenance, &format!("CREATE DATABASE {copied} TEMPLATE {name}"));
        copy
    }

    /// A backup of a database, made while it may be in use, in the custom format of `pg_dump`.
    pub fn dump(&self, url: &str, file: &Path) {
        self.run("pg_dump", &["--format=custom", "--file"], file, url);
    }

    /// The URL of a new database into which a backup was loaded.
    pub fn loaded(&self, file: &Path) -> String {
        let url = self.fresh_database();
        self.run("pg_restore", &["--exit-on-error"], file, &url);
        url
    }

    fn run(&self, program: &str, flags: &[&str], file: &Path, url: &str) {
        let output = Command::new(binaries().join(program))
            .args(flags)
            .arg(file)
            .args(["--dbname", url])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {told}");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL as the superuser, by `psql`: shares no code with what is tested. Unaligned rows, `|` between columns.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        let output = Command::new(binaries().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// SIGKILL to the server and all its backends, as a power cut would; returns when it is gone.
    pub fn kill(&self) {
        let Some(mut process) = self.process.lock().unwrap().take() else {
            return;
        };
        let pid = process.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        process.kill().unwrap();
        for child in children.split_ascii_whitespace() {
            let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
        }
        process.wait().unwrap();
        guardian::forget_pid(&self.folder);
    }

    /// Starts it on the same port and data; returns when it takes connections.
    pub fn restart(&self) {
        let mut slot = self.process.lock().unwrap();
        assert!(slot.is_none(), "the server runs already");
        let url = self.url("postgres");
        wait_for("Postgres takes connections", Duration::from_secs(60), || {
            if slot.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                // Backends of a killed one hold its shared memory a moment longer: then it ends and is started again.
                *slot = Some(self.spawn());
            }
            let ready = Command::new(binaries().join("psql"))
                .args(["-X", "-q", "-d", &url, "-c", "SELECT 1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            ready.success().then_some(())
        });
    }

    fn spawn(&self) -> Child {
        let child = server_command("postgres", &self.folder)
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .arg("-k")
            .arg(&self.folder)
            .args([
                "-c",
                "fsync=on",
                "-c",
                "max_connections=200",
                "-c",
                "shared_buffers=64MB",
            ])
            .args(["-c", "log_checkpoints=off"])
            // Tests count statements by it.
            .args(["-c", "shared_preload_libraries=pg_stat_statements"])
            .spawn()
            .unwrap();
        guardian::note_pid(&self.folder, child.id(), "QUIT");
        child
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            // The immediate shutdown gives back the shared memory, which a SIGKILL leaves behind.
            let _ = kill(Pid::from_raw(process.id() as i32), Signal::SIGQUIT);
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One of the server's programs, as a user who may run it; its output goes to the file `log` of the folder.
fn server_command(program: &str, folder: &Path) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut command = Command::new(binaries().join(program));
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    if let Some(user) = unprivileged_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Postgres refuses to run as root.
fn unprivileged_user() -> Option<User> {
    geteuid().is_root().then(|| {
        User::from_name("postgres")
            .unwrap()
            .expect("the system has a user postgres")
    })
}

/// The folder of the newest installed server.
fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = installed
            .filter(|entry| entry.path().join("bin/postgres").exists())
            .max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
        newest
            .expect("a Postgres server below /usr/lib/postgresql")
            .path()
            .join("bin")
    })
}
