//! Files of the repository that the code makes: those of schema/, and pages. Tests hold what is committed against what is made now; with UPDATE_SCHEMAS in
//! their environment they write it anew.

use std::fs;
use std::path::{Path, PathBuf};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema")
}

/// Panics when schema/`name` is not what is `made`.
pub fn check(name: &str, made: &str) {
    check_file(&folder().join(name), made);
}

/// Panics when the file is not what is `made`.
pub fn check_file(path: &Path, made: &str) {
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, made).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == made,
        "{} is stale: run UPDATE_SCHEMAS=1 cargo test --lib, and look at what changed",
        path.display()
    );
}
