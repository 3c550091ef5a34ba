//! What is embedded in the binary: the migrations, of which a new file must be noticed; every file under `schema/`; and
//! the web page, if it has been built (`make ui`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=schema");
    // The folder is always there: cargo would build anew each time if it were not.
    println!("cargo:rerun-if-changed=src/ui/dist");
    embed("schema", "include_str!", "schema_files.rs")?;
    embed("src/ui/dist", "include_bytes!", "ui_files.rs")
}

/// Writes the list of all files below a folder, with what is in them, to a file that the source includes.
fn embed(folder: &str, include: &str, list_name: &str) -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join(folder);
    let mut files = Vec::new();
    gather(&root, &mut files)?;
    let name = |file: PathBuf| (file.strip_prefix(&root).unwrap_or(&file).display().to_string(), file);
    let mut files: Vec<(String, PathBuf)> = files.into_iter().map(name).collect();
    files.sort();
    let mut list = String::from("&[\n");
    for (name, file) in files {
        // Writing to a string cannot fail.
        let _ = writeln!(list, "({name:?}, {include}({:?})),", file.display().to_string());
    }
    list.push(']');
    fs::write(
        PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(list_name),
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
