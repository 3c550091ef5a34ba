//! A real VictoriaLogs (scripts/victorialogs.sh makes it), or the one of GRID_TEST_VICTORIALOGS_URL.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{free_port, guardian, wait_for};

/// A server. It keeps lines of any age (`-retentionPeriod=100y`).
pub struct VictoriaLogs {
    pub url: String,
    /// Kept for as long as the tests run.
    _process: Option<Child>,
}

/// Where scripts/victorialogs.sh puts it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("GRID_TEST_VICTORIALOGS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let is_named = named.is_some();
    let program = named.unwrap_or_else(|| cache.join("grid/victoria-logs-v1.52.1/victoria-logs"));
    assert!(program.exists() || !is_named, "{} is not there", program.display());
    program.exists().then_some(program)
}

impl VictoriaLogs {
    /// One server for all tests; each has job ids of its own. `None`, and a line on stderr, on a machine that cannot have
    /// one: it lacks the Go of which VictoriaLogs is built.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<VictoriaLogs>> = OnceLock::new();
        let start = || match std::env::var("GRID_TEST_VICTORIALOGS_URL") {
            Ok(url) => Some(VictoriaLogs { url, _process: None }),
            Err(_) => Self::own(&["-delete.enable"]),
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// One that removes no lines, as it does unless it is told otherwise; ended by the guardian.
    pub fn that_keeps_all() -> Option<Self> {
        Self::own(&[])
    }

    /// Ended by the guardian.
    fn own(flags: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!(
                "SKIPPED: no VictoriaLogs: GRID_TEST_VICTORIALOGS_URL is not given, and make setup could build none"
            );
            return None;
        };
        let address = format!("127.0.0.1:{}", free_port());
        let folder = guardian::server_folder("victorialogs");
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(program)
            .arg(format!("-storageDataPath={}", folder.join("data").display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-retentionPeriod=100y", "-loggerLevel=WARN"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        guardian::note_pid(&folder, process.id(), "KILL");
        wait_for("VictoriaLogs listens", Duration::from_secs(60), || {
            TcpStream::connect(&address).ok()
        });
        Some(Self {
            url: format!("http://{address}"),
            _process: Some(process),
        })
    }

    /// What was given to it before is found from now on.
    pub async fn flush(&self) {
        let flushed = reqwest::get(format!("{}/internal/force_flush", self.url))
            .await
            .unwrap();
        assert_eq!(flushed.status(), 200);
    }
}
