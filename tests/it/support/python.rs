//! The environment for the tests' Python programs, made once by scripts/venv.sh.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A command that runs Python with tests/python/requirements.txt.
pub fn python() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let made = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/venv.sh"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let folder = String::from_utf8(made.stdout).unwrap();
        PathBuf::from(folder.trim()).join("bin/python")
    });
    Command::new(program)
}
