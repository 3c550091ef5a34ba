use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor, PgConnection};

use super::*;

/// A data folder that is cleaned of its server whatever the test does.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn recorded_pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.path().join("postgres/data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(pid) = self.recorded_pid() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
    }
}

fn options(path: &Path) -> Options {
    Options {
        start_timeout: Duration::from_secs(60),
        ..Options::in_dir(path)
    }
}

async fn until(embedded: &Embedded, mut wanted: impl FnMut(&State) -> bool) -> State {
    let mut state = embedded.state();
    let seen = tokio::time::timeout(Duration::from_secs(60), state.wait_for(|state| wanted(state))).await;
    seen.expect("in time").unwrap().clone()
}

fn pid_of(state: &State) -> i32 {
    match state {
        State::Ready { pid, .. } => *pid,
        State::Down { .. } | State::Stopped => panic!("{state:?}"),
    }
}

async fn connect(embedded: &Embedded, role: Role) -> PgConnection {
    PgConnection::connect(embedded.url(role).reveal()).await.unwrap()
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i32 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_kills_of_itself_and_of_grid() {
    let folder = Folder::new();
    let embedded = Embedded::start(options(folder.path())).await.unwrap();
    let first = pid_of(&embedded.state().borrow());
    let mut owner = connect(&embedded, Role::Owner).await;
    owner
        .execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();

    // Killed: started again, nothing lost.
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let state = until(
        &embedded,
        |state| matches!(state, State::Ready { pid, .. } if *pid != first),
    )
    .await;
    let second = pid_of(&state);
    let mut owner = connect(&embedded, Role::Owner).await;
    assert_eq!(number(&mut owner, "SELECT n FROM kept").await, 7);

    // A second one on the same folder is told who is there.
    let refused = Embedded::start(options(folder.path())).await.unwrap_err().to_string();
    assert!(
        refused.contains("is in use by process") && refused.contains(&std::process::id().to_string()),
        "{refused}"
    );
    let attached = Embedded::attach(folder.path()).unwrap().unwrap();
    assert_eq!(attached.url(Role::Service), embedded.url(Role::Service));

    // Left behind without a stop: adopted, connections and all.
    drop(embedded);
    assert_eq!(number(&mut owner, "SELECT n FROM kept").await, 7);
    let begun = Instant::now();
    let embedded = Embedded::start(options(folder.path())).await.unwrap();
    assert_eq!(
        *embedded.state().borrow(),
        State::Ready {
            pid: second,
            adopted: true
        }
    );
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());

    // An adopted one that dies is started again too.
    kill(Pid::from_raw(second), Signal::SIGKILL).unwrap();
    until(
        &embedded,
        |state| matches!(state, State::Ready { pid, adopted: false } if *pid != second),
    )
    .await;

    // Stopped in order: gone, and quickly there again.
    let mut state = embedded.state();
    let third = pid_of(&state.borrow_and_update());
    embedded.stop().await.unwrap();
    assert_eq!(*state.borrow(), State::Stopped);
    assert!(!Path::new(&format!("/proc/{third}/cwd")).exists());
    assert!(Embedded::attach(folder.path()).unwrap().is_none());
    let begun = Instant::now();
    let embedded = Embedded::start(options(folder.path())).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let mut owner = connect(&embedded, Role::Owner).await;
    assert_eq!(number(&mut owner, "SELECT n FROM kept").await, 7);
    embedded.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_apart_and_durability_is_on() {
    let folder = Folder::new();
    // What a kill during the first start leaves, in a folder that only its maker may enter.
    let data = folder.path().join("data");
    let unfinished = data.join("postgres/data.new-1");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let embedded = Embedded::start(options(&data)).await.unwrap();
    assert!(!unfinished.exists());
    let mut service = connect(&embedded, Role::Service).await;
    let refused = service
        .execute("CREATE TABLE mine (n int)")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    for (setting, wanted) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
    ] {
        let shown: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut service)
            .await
            .unwrap();
        assert_eq!(shown, wanted, "{setting}");
    }
    let listens: String = sqlx::query_scalar("SHOW listen_addresses")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(listens, "");
    // The wrong password does not let anybody in.
    let wrong = embedded.url(Role::Service).reveal().replacen("grid:", "grid:x", 1);
    assert!(PgConnection::connect(&wrong).await.is_err());
    // Lost passwords are made anew.
    let url = embedded.url(Role::Owner);
    embedded.stop().await.unwrap();
    std::fs::remove_file(data.join("postgres.passwords")).unwrap();
    let embedded = Embedded::start(options(&data)).await.unwrap();
    assert_ne!(embedded.url(Role::Owner), url);
    connect(&embedded, Role::Owner).await.close().await.unwrap();
    let mode = std::fs::metadata(data.join("postgres.passwords"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    embedded.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_where_the_path_is_too_long_for_a_socket() {
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let deep = folder.path().join("d".repeat(120));
    let embedded = Embedded::start(options(&deep)).await.unwrap();
    let socket_dir = embedded.cluster.socket_dir().to_owned();
    assert!(socket_dir.starts_with("/tmp"), "{}", socket_dir.display());
    connect(&embedded, Role::Service).await.close().await.unwrap();
    embedded.stop().await.unwrap();
    std::fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_come_back_is_tried_again_until_told_to_stop() {
    let folder = Folder::new();
    let embedded = Embedded::start(options(folder.path())).await.unwrap();
    let first = pid_of(&embedded.state().borrow());
    let custom = folder.path().join("postgres/data/custom.conf");
    std::fs::write(&custom, "shared_buffers = 'much'\n").unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let state = until(
        &embedded,
        |state| matches!(state, State::Down { failures, .. } if *failures >= 4),
    )
    .await;
    assert!(
        matches!(&state, State::Down { why, .. } if why.contains("custom.conf")),
        "{state:?}"
    );
    // What kept it down goes away: it comes back by itself.
    std::fs::remove_file(&custom).unwrap();
    let state = until(&embedded, |state| matches!(state, State::Ready { .. })).await;
    std::fs::write(&custom, "shared_buffers = 'much'\n").unwrap();
    kill(Pid::from_raw(pid_of(&state)), Signal::SIGKILL).unwrap();
    until(&embedded, |state| matches!(state, State::Down { .. })).await;
    let begun = Instant::now();
    embedded.stop().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_a_way_out() {
    let folder = Folder::new();
    let none = Options {
        bin_dir: Some("/no/such".into()),
        ..options(folder.path())
    };
    let none = Embedded::start(none).await.unwrap_err().to_string();
    assert!(none.contains("/no/such") && none.contains("--postgres URL"), "{none}");
    // As root, a folder above that the server's user cannot enter.
    if nix::unistd::Uid::effective().is_root() {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let closed = Embedded::start(options(&folder.path().join("inner")))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            closed.contains("cannot enter") && closed.contains("chmod o+x"),
            "{closed}"
        );
    }
    // A cluster of another version.
    std::fs::create_dir_all(folder.path().join("postgres/data")).unwrap();
    std::fs::write(folder.path().join("postgres/data/PG_VERSION"), "9\n").unwrap();
    let version = Embedded::start(options(folder.path())).await.unwrap_err().to_string();
    assert!(version.contains("postgresql-9"), "{version}");
}
