//! What is embedded in the binary: the migrations, of which a new file must be noticed, and every file under `schema/`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=schema");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("schema");
    let mut files = Vec::new();
    gather(&root, &mut files)?;
    let name = |file: PathBuf| (file.strip_prefix(&root).unwrap_or(&file).display().to_string(), file);
    let mut files: Vec<(String, PathBuf)> = files.into_iter().map(name).collect();
    files.sort();
    let mut list = String::from("&[\n");
    for (name, file) in files {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "({name:?}, include_str!({:?})),", file.display().to_string());
    }
    list.push(']');
    fs::write(
        PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("schema_files.rs"),
        list,
    )
}

/// All files below a folder. Cargo looks at the times of a folder named by `rerun-if-changed` and of all below it.
fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
