//! A rolling upgrade over real Kafka and Postgres, of two executables that know different formats of the log: back and
//! forth under load, then finished, then closed to the older one.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, Patience};
use super::load::get;
use super::process::GRID;
use super::standalone::Standalone;
use crate::support::{Kafka, Postgres, eventually};

/// What runs goes on while jobmasters come and go.
const NEVER: &str = "WORKER_LOST,TIMEOUT";
const SOON: Duration = Duration::from_secs(60);
/// The longest that the API may leave a client waiting, who tries its servers in turn: that of a takeover, and what a busy
/// machine adds.
const LONGEST_GAP: Duration = Duration::from_secs(20);

const MARK: &[u8] = b"grid-log-format:";
const NEW: &str = "0002";
const OLD: &str = "0001";
/// What every older program says once the upgrade is finished.
const OUTGROWN: &str = "this program knows up to 1: an upgrade to a newer one was finished";

/// The executable that is tested, made to know less.
struct Older {
    _folder: tempfile::TempDir,
    program: PathBuf,
}

impl Older {
    fn make() -> Self {
        let mut bytes = std::fs::read(GRID).unwrap();
        let places: Vec<usize> = memchr::memmem::find_iter(&bytes, MARK)
            .map(|place| place + MARK.len())
            .filter(|place| bytes[*place..].starts_with(NEW.as_bytes()))
            .collect();
        let [place] = places[..] else {
            panic!("the number should stand in the executable once: {places:?}")
        };
        bytes[place..place + OLD.len()].copy_from_slice(OLD.as_bytes());
        let folder = tempfile::Builder::new().prefix("grid-older-").tempdir().unwrap();
        let program = folder.path().join("grid");
        std::fs::write(&program, bytes).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            _folder: folder,
            program,
        }
    }
}

/// What a client does all the time.
#[derive(Clone, Copy)]
enum Act {
    Reads,
    Submits,
}

impl Act {
    /// At one server; nothing unless it answers well. What is submitted twice under a key is one job.
    async fn at(self, client: &reqwest::Client, server: &str, key: &str) -> Option<Value> {
        let request = match self {
            Self::Reads => client.get(format!("{server}/api/v1/jobs?size=1")),
            Self::Submits => {
                let document = json!({ "tasks": [{ "externalId": "noop", "executor": "noop" }] });
                let submission = client.post(format!("{server}/api/v1/jobs")).json(&document);
                submission.header("idempotency-key", key)
            }
        };
        let answer = request.send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    /// At one after the other, until one answers well.
    async fn at_any(self, servers: &[String]) -> Value {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build();
        let (client, key) = (client.unwrap(), uuid::Uuid::new_v4().to_string());
        loop {
            for server in servers {
                if let Some(answer) = self.at(&client, server, &key).await {
                    return answer;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a client has met.
#[derive(Clone, Default)]
struct Met {
    longest: Duration,
    acknowledged: Vec<String>,
}

/// Acts all the time, at whichever of its servers answers, and measures how long it has to wait.
struct Client {
    met: Arc<Mutex<Met>>,
    task: tokio::task::JoinHandle<()>,
}

impl Client {
    fn start(act: Act, servers: Vec<String>) -> Self {
        let met = Arc::<Mutex<Met>>::default();
        let told = Arc::clone(&met);
        let task = grid::task::spawn("client", async move {
            loop {
                let begun = Instant::now();
                let answer = act.at_any(&servers).await;
                if let Ok(mut met) = told.lock() {
                    met.longest = met.longest.max(begun.elapsed());
                    met.acknowledged.extend(answer["jobId"].as_str().map(str::to_owned));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { met, task }
    }

    fn stop(self) -> Met {
        self.task.abort();
        self.met.lock().unwrap().clone()
    }
}

async fn cordon(server: &str, worker: &str, act: &str) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{server}/api/v1/workers/{worker}/{act}"));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The formats that the log, and its shards, have: as numbers with commas.
fn formats(cluster: &Cluster<'_>) -> String {
    let sql = "SELECT string_agg(DISTINCT format::text, ',' ORDER BY format::text) FROM (
                   SELECT log_format AS format FROM shards UNION ALL SELECT log_format FROM log_meta) formats";
    super::check::psql(&cluster.database, sql)
}

async fn until_all_owned(cluster: &Cluster<'_>, jobmaster: usize) {
    let incarnation = cluster.incarnation(jobmaster).await;
    eventually("one jobmaster to have all shards", SOON, async || {
        (cluster.owned(&incarnation) == 8).then_some(())
    })
    .await;
}

async fn until_both_own(cluster: &Cluster<'_>) {
    let incarnations = [cluster.incarnation(0).await, cluster.incarnation(1).await];
    eventually("both jobmasters to have shards", SOON, async || {
        incarnations.iter().all(|it| cluster.owned(it) > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_rolls_goes_back_and_is_finished_without_losing_anything() {
    let older = Older::make();
    let new = Path::new(GRID);
    let (postgres, kafka) = (Postgres::shared(), Kafka::shared());
    let mut cluster = Cluster::start_program(postgres, kafka, Patience::Short, 1, &older.program).await;
    assert_eq!(formats(&cluster), "1");
    let load = cluster.load();
    let [reader, submitter] = [Act::Reads, Act::Submits].map(|act| Client::start(act, cluster.urls()));
    load.goes_on().await;

    // The database first: the older ones run on, and their own migration still has nothing against it.
    let migrated = cluster.migrate(new, &[]);
    assert!(migrated.status.success(), "{}", said(&migrated));
    assert!(
        said(&migrated).contains("an upgrade waits to be finished"),
        "{}",
        said(&migrated)
    );
    let applied = "INSERT INTO _sqlx_migrations SELECT 9999, 'of a newer program', now(), true, checksum, 1 FROM
                   _sqlx_migrations WHERE version = 1";
    postgres.psql(&cluster.database, applied);
    let migrated = cluster.migrate(&older.program, &[]);
    assert!(migrated.status.success(), "{}", said(&migrated));

    roll(&mut cluster, &older.program).await;
    load.goes_on().await;
    let (reader, submitter) = (reader.stop(), submitter.stop());
    finish(&mut cluster, &older.program).await;

    let acknowledged = submitter.acknowledged;
    eprintln!(
        "{} jobs of one client beside the load; longest wait: reading {:?}, submitting {:?}",
        acknowledged.len(),
        reader.longest,
        submitter.longest
    );
    assert!(reader.longest.max(submitter.longest) < LONGEST_GAP);
    acknowledged.iter().for_each(|job| load.note(job));
    let urls = cluster.urls();
    super::load::all_finished(&urls[0], &acknowledged, SOON).await;
    for job in &acknowledged {
        let job = get(&urls[0], &format!("/api/v1/jobs/{job}")).await;
        assert_eq!(job["status"], "COMPLETED", "{job}");
    }
    cluster.finish(load, NEVER).await;
}

/// One after the other, with a way back in between.
async fn roll(cluster: &mut Cluster<'_>, older: &Path) {
    let new = Path::new(GRID);
    cluster.jobmasters[0].replace(new);
    cluster.jobmasters[0].ready().await;
    until_both_own(cluster).await;
    let info = get(&cluster.jobmasters[0].url, "/api/v1/info").await;
    assert_eq!((&info["logFormat"], &info["newestLogFormat"]), (&json!(1), &json!(2)));
    // What an older program could not read is refused, wherever it is asked for.
    for url in cluster.urls() {
        let (status, problem) = cordon(&url, "w0", "cordon").await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("UPGRADE_UNFINISHED")),
            "{problem}"
        );
    }
    let refused = cluster.migrate(new, &["--finish-upgrade"]);
    assert_eq!(refused.status.code(), Some(1));
    let why = said(&refused);
    assert!(
        why.contains("cannot be finished") && why.contains("jobmaster-1") && !why.contains("jobmaster-0"),
        "{why}"
    );
    // Back to the old one, which takes over what the new one has written, and on to the new one again.
    cluster.jobmasters[0].replace(older);
    until_all_owned(cluster, 1).await;
    cluster.jobmasters[0].ready().await;
    until_both_own(cluster).await;
    for number in [0, 1] {
        cluster.jobmasters[number].replace(new);
        cluster.jobmasters[number].ready().await;
        until_both_own(cluster).await;
    }
    assert_eq!(formats(cluster), "1");
}

/// Raises the format, past an older jobmaster that was not heard of; from then on older ones are refused.
async fn finish(cluster: &mut Cluster<'_>, older: &Path) {
    let new = Path::new(GRID);
    let mut late = cluster.jobmaster(2);
    late.ready().await;
    late.pause();
    // As if the pause had lasted for so long.
    let silent = "UPDATE jobmasters SET beat_at = beat_at - interval '1 minute' WHERE name = 'jobmaster-2'";
    super::check::psql(&cluster.database, silent);
    let finished = cluster.migrate(new, &["--finish-upgrade"]);
    assert!(finished.status.success(), "{}", said(&finished));
    assert!(
        said(&finished).contains("the upgrade is finished: format 2"),
        "{}",
        said(&finished)
    );
    late.resume();
    assert_eq!(late.ended().code(), Some(1));
    assert!(late.log_text().contains(OUTGROWN), "{}", late.log_text());

    for role in [
        cluster.migrate(older, &[]),
        cluster.migrate(older, &["--finish-upgrade"]),
        Command::new(older)
            .args(["jobmaster", "--listen", "127.0.0.1:0"])
            .args(cluster.command(&[]).get_args().collect::<Vec<_>>())
            .output()
            .unwrap(),
    ] {
        assert_eq!(role.status.code(), Some(1), "{}", said(&role));
        assert!(said(&role).contains(OUTGROWN), "{}", said(&role));
    }
    let again = cluster.migrate(new, &["--finish-upgrade"]);
    assert!(
        said(&again).contains("there is no upgrade to finish"),
        "{}",
        said(&again)
    );
    // What waited for it is allowed, at each of them.
    for (url, act) in cluster.urls().iter().zip(["cordon", "uncordon"]) {
        eventually("the new format to be written", SOON, async || {
            (cordon(url, "w0", act).await.0 == 200).then_some(())
        })
        .await;
    }
    until_both_own(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_finishes_its_upgrade_by_itself_and_does_not_go_back() {
    let older = Older::make();
    let mut standalone = Standalone::start_program(&older.program, &[]).await;
    let url = standalone.grid().url.clone();
    let (status, problem) = eventually("the worker to be registered", SOON, async || {
        let answer = cordon(&url, "local", "cordon").await;
        (answer.0 != 404).then_some(answer)
    })
    .await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("UPGRADE_UNFINISHED")),
        "{problem}"
    );
    let new = Path::new(GRID);
    standalone.grid().replace(new);
    standalone.grid().ready().await;
    let info = get(&url, "/api/v1/info").await;
    assert_eq!((&info["logFormat"], &info["newestLogFormat"]), (&json!(2), &json!(2)));
    assert_eq!(cordon(&url, "local", "cordon").await.0, 200);
    standalone.grid().replace(&older.program);
    assert_eq!(standalone.grid().ended().code(), Some(1));
    assert!(standalone.grid().log_text().contains(OUTGROWN));
    standalone.has_left_nothing();
    standalone.grid().restart_as(new);
    standalone.grid().ready().await;
    standalone.end();
}
