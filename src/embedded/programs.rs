//! Where the system keeps the programs of the Postgres server.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::config::OLDEST_POSTGRES;

/// The programs of one installed version.
#[derive(Clone, Debug, PartialEq)]
pub struct Programs {
    pub dir: PathBuf,
    pub major: u32,
}

impl Programs {
    /// The programs to use: of `major` when the data already has a version, else the newest.
    ///
    /// # Errors
    /// None found, or none of that version.
    pub fn find(configured: Option<&Path>, data: Option<(&Path, u32)>) -> Result<Self, Error> {
        let candidates = configured.map_or_else(candidates, |dir| vec![dir.to_owned()]);
        let mut found: Vec<Self> = candidates.iter().filter_map(|dir| Self::at(dir)).collect();
        found.sort_by_key(|programs| std::cmp::Reverse(programs.major));
        let Some((path, wanted)) = data else {
            let newest = found.into_iter().find(|programs| programs.major >= OLDEST_POSTGRES);
            return newest.ok_or_else(|| Error::NoPrograms {
                searched: searched(&candidates),
            });
        };
        if found.is_empty() {
            return Err(Error::NoPrograms {
                searched: searched(&candidates),
            });
        }
        let available: Vec<String> = found.iter().map(|programs| programs.major.to_string()).collect();
        found
            .into_iter()
            .find(|programs| programs.major == wanted)
            .ok_or_else(|| Error::Version {
                path: path.to_owned(),
                found: wanted,
                available: available.join(", "),
            })
    }

    fn at(dir: &Path) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        Some(Self {
            dir: dir.to_owned(),
            major: major(&String::from_utf8_lossy(&output.stdout))?,
        })
    }
}

/// `postgres (PostgreSQL) 15.13 (Debian 15.13-0)` → 15
fn major(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn searched(candidates: &[PathBuf]) -> String {
    if candidates.is_empty() {
        return "searched /usr/lib/postgresql, PATH and pg_config".to_owned();
    }
    let dirs: Vec<String> = candidates.iter().map(|dir| dir.display().to_string()).collect();
    format!(
        "searched {}; version {OLDEST_POSTGRES} or later is needed",
        dirs.join(", ")
    )
}

fn candidates() -> Vec<PathBuf> {
    let versioned = |parent: &str| {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().join("bin")).collect::<Vec<_>>()
    };
    let mut dirs = versioned("/usr/lib/postgresql");
    let of_distribution = std::fs::read_dir("/usr").into_iter().flatten().flatten();
    let named = of_distribution.filter(|entry| entry.file_name().to_string_lossy().starts_with("pgsql-"));
    dirs.extend(named.map(|entry| entry.path().join("bin")));
    dirs.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.retain(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file());
    dirs.dedup();
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_distributions_write_them() {
        assert_eq!(
            major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("something else"), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = Programs::find(Some(Path::new("/no/such")), None)
            .unwrap_err()
            .to_string();
        assert!(
            none.contains("/no/such") && none.contains("apt-get install postgresql"),
            "{none}"
        );
        let installed = Programs::find(None, None).unwrap();
        let other = Programs::find(Some(&installed.dir), Some((Path::new("/data"), 9)))
            .unwrap_err()
            .to_string();
        assert!(
            other.contains("written by Postgres 9") && other.contains("postgresql-9"),
            "{other}"
        );
    }
}
