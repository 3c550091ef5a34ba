//! docs/configuration.md, made of the options; and whether pages name options that there are.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Config;
use crate::{generated, sources};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A cell of a table.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('\n', " ")
}

/// The page, but for its head.
fn rendered() -> String {
    let mut text = String::new();
    for (section, about) in Config::SECTIONS {
        let _ = write!(
            text,
            "\n## {section}\n\n{}\n\n| key | default | what it may be | what it says |\n| --- | --- | --- | --- |\n",
            about.trim()
        );
        for (_, key) in Config::keys().iter().filter(|(of, _)| of == section) {
            let default = match (key.default)() {
                Value::Null => String::new(),
                Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                key.name,
                cell(&default),
                cell(&(key.expected)()),
                cell(key.doc)
            );
        }
    }
    text
}

#[test]
fn the_page_has_every_option() {
    let path = repository().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once("\n## server").unwrap();
    generated::check_file(&path, &format!("{head}{}", rendered()));
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(repository().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    // Beside them is the folder of their pictures.
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.extend(["README.md", "ARCHITECTURE.md", "docker/grafana/README.md"].map(|name| repository().join(name)));
    pages
}

/// `section.key`, with nothing else, or with a value.
fn option_in(span: &str) -> Option<(&str, &str)> {
    let (section, key) = span.split('=').next()?.split_once('.')?;
    let named = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_section = Config::SECTIONS.iter().any(|(name, _)| *name == section);
    // `server.rs` and the like are files.
    (is_section && named(key) && Path::new(span).extension().is_none_or(|end| end != "rs")).then_some((section, key))
}

#[test]
fn every_option_that_a_page_names_is_there() {
    let keys = Config::keys();
    // In which names of what it logs stand.
    let program: String = sources::files().into_iter().map(|(_, text)| text).collect();
    let mut found = 0;
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for (section, key) in text.split('`').skip(1).step_by(2).filter_map(option_in) {
            let is_option = keys.iter().any(|(of, known)| *of == section && known.name == key);
            let is_logged = program.contains(&format!("\"{section}.{key}\""));
            assert!(
                is_option || is_logged,
                "{}: there is no {section}.{key}",
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 30, "{found}");
    assert_eq!(option_in("worker.vector=HOST:PORT"), Some(("worker", "vector")));
    assert_eq!(option_in("worker.rs"), None);
}
