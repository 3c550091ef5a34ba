//! A real InfluxDB v2 (scripts/influxd.sh makes it).

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::{free_port, guardian, wait_for};

pub const ORG: &str = "grid";
pub const TOKEN: &str = "token-of-the-tests";

/// A server.
pub struct InfluxDb {
    pub url: String,
    address: String,
    folder: PathBuf,
    program: PathBuf,
    /// Killed by the guardian at the end.
    process: Mutex<Option<Child>>,
}

/// Where scripts/influxd.sh puts it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("GRID_TEST_INFLUXD").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let is_named = named.is_some();
    let program = named.unwrap_or_else(|| cache.join("grid/influxd-v2.7.12/influxd"));
    let can_be_made = Command::new("go").arg("version").stdout(Stdio::null()).status().is_ok();
    assert!(
        program.exists() || !(is_named || can_be_made),
        "{} is not there: run make setup",
        program.display()
    );
    program.exists().then_some(program)
}

impl InfluxDb {
    /// One server for all tests; each has a bucket of its own. `None`, and a line on stderr, on a machine that cannot
    /// have one: it lacks Go, of which InfluxDB is built.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<InfluxDb>> = OnceLock::new();
        SHARED.get_or_init(Self::own).as_ref()
    }

    /// A server that a test may stop.
    pub fn own() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("SKIPPED: no InfluxDB on this machine, and no Go to make it of");
            return None;
        };
        let address = format!("127.0.0.1:{}", free_port());
        let server = Self {
            url: format!("http://{address}"),
            address,
            folder: guardian::server_folder("influxdb"),
            program,
            process: Mutex::new(None),
        };
        server.start();
        let body =
            json!({"username": "grid", "password": "open sesame", "org": ORG, "bucket": "first", "token": TOKEN});
        let url = format!("{}/api/v2/setup", server.url);
        wait_for("InfluxDB is set up", Duration::from_secs(60), || {
            let status = Command::new("curl")
                .args(["-sS", "-o", "/dev/null", "--fail", "-d", &body.to_string(), &url])
                .stderr(Stdio::null())
                .status();
            status.unwrap().success().then_some(())
        });
        Some(server)
    }

    /// Starts it, again with what it had.
    pub fn start(&self) {
        let path = |name: &str| self.folder.join(name).into_os_string();
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let process = Command::new(&self.program)
            .arg("--bolt-path")
            .arg(path("bolt"))
            .arg("--sqlite-path")
            .arg(path("sqlite"))
            .arg("--engine-path")
            .arg(path("engine"))
            .args([
                "--http-bind-address",
                &self.address,
                "--reporting-disabled",
                "--log-level",
                "warn",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        guardian::note_pid(&self.folder, process.id(), "KILL");
        *self.process.lock().unwrap() = Some(process);
        wait_for("InfluxDB listens", Duration::from_secs(60), || {
            TcpStream::connect(&self.address).ok()
        });
    }

    /// Kills it.
    pub fn stop(&self) {
        guardian::forget_pid(&self.folder);
        let mut process = self.process.lock().unwrap().take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request
            .header("authorization", format!("Token {TOKEN}"))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Makes a bucket; gives its name.
    pub async fn bucket(&self, name: &str) -> String {
        let http = reqwest::Client::new();
        let (_, orgs) = self.call(http.get(format!("{}/api/v2/orgs", self.url))).await;
        let orgs: serde_json::Value = serde_json::from_str(&orgs).unwrap();
        let body = json!({"orgID": orgs["orgs"][0]["id"], "name": name, "retentionRules": []});
        let (status, text) = self
            .call(http.post(format!("{}/api/v2/buckets", self.url)).json(&body))
            .await;
        assert_eq!(status, 201, "{text}");
        name.to_owned()
    }

    /// Runs Flux; gives the CSV.
    pub async fn flux(&self, text: &str) -> String {
        let request = reqwest::Client::new()
            .post(format!("{}/api/v2/query?org={ORG}", self.url))
            .header("content-type", "application/vnd.flux")
            .body(text.to_owned());
        let (status, text) = self.call(request).await;
        assert_eq!(status, 200, "{text}");
        text
    }
}
