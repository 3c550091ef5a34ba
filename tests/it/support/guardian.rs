//! Leaves nothing behind: a shell that outlives the test process, ends what that started and removes its folder.
//!
//! The statics of a test binary are never dropped and a test process can be killed, so the cleaning cannot be its own
//! work. The guardian reads a pipe whose only writer is the test process; the end of the pipe is the end of the process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Every server has a folder `$1/<name>` with a file `pid` of two words: process id and the signal that ends it. A pid
/// is only trusted while its command line names the folder (pids are used again).
const SCRIPT: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
for file in "$1"/*/pid; do
    [ -f "$file" ] || continue
    read -r pid signal <"$file"
    ours() { tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1/"; }
    ours "$1" || continue
    kill -s CONT "$pid"
    kill -s "$signal" "$pid"
    tries=0
    while ours "$1" && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
    ours "$1" && kill -s KILL "$pid"
done
rm -rf "$1"
"#;

struct Guarded {
    folder: PathBuf,
    /// Its stdin is held open as long as this process lives.
    _guardian: Child,
}

/// A new folder for the server `name`, below the one that the guardian cleans.
pub fn server_folder(name: &str) -> PathBuf {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    let base = &GUARDED.get_or_init(start).folder;
    let folder = (0..)
        .map(|n| base.join(format!("{name}-{n}")))
        .find(|folder| fs::create_dir(folder).is_ok());
    folder.unwrap()
}

fn start() -> Guarded {
    let folder = std::env::temp_dir().join(format!(
        "grid-it-{}-{}",
        std::process::id(),
        uuid::Uuid::new_v4().simple()
    ));
    fs::create_dir(&folder).unwrap();
    // Postgres runs as another user when the tests run as root.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let guardian = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "guardian"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    Guarded {
        folder,
        _guardian: guardian,
    }
}

/// Tells the guardian what to end.
pub fn note_pid(folder: &Path, pid: u32, signal: &str) {
    fs::write(folder.join("pid"), format!("{pid} {signal}\n")).unwrap();
}

/// The server is gone: forget its pid.
pub fn forget_pid(folder: &Path) {
    let _ = fs::remove_file(folder.join("pid"));
}
