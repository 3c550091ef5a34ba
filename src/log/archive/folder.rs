//! The folder of an archive: a file a day, and the manifest.
//!
//! Must stay true: a file gets its name only when it is whole and on the disk; the manifest lists only files that were
//! read back and found good.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ArchiveError;
use crate::log::chain::Hash;

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;

/// A day of the archive, as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Day {
    pub date: String,
    /// Days since 1970-01-01.
    pub day: i32,
    pub file: String,
    pub bytes: u64,
    /// Of the file.
    pub sha256: Hash,
    pub events: u64,
    pub commits: u64,
    pub timeline: Uuid,
    pub log_format: i32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: u32,
    days: Vec<Day>,
}

/// An archive.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    days: Vec<Day>,
}

/// The date of a day since 1970-01-01.
pub fn date(day: i32) -> String {
    let days = Days::new(u64::from(day.unsigned_abs()));
    let epoch = NaiveDate::default();
    let date = if day < 0 {
        epoch.checked_sub_days(days)
    } else {
        epoch.checked_add_days(days)
    };
    date.unwrap_or_default().to_string()
}

/// What is written is on the disk, under its name.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Folder {
    /// The archive in this folder; an empty one when there is none yet.
    ///
    /// # Errors
    /// When its manifest cannot be read.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let manifest = path.join(MANIFEST);
        let bad = |why: String| ArchiveError::Manifest {
            path: manifest.display().to_string(),
            why,
        };
        let days = match fs::read(&manifest) {
            Ok(bytes) => {
                let read: Manifest = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
                if read.format != FORMAT {
                    return Err(bad(format!("format {} is not known here", read.format)));
                }
                read.days
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(ArchiveError::file(&manifest)(error)),
        };
        let outside = |day: &&Day| day.file != file_name(day.day);
        if let Some(day) = days.iter().find(outside) {
            return Err(bad(format!("{} is not the file of day {}", day.file, day.day)));
        }
        Ok(Self {
            path: path.to_owned(),
            days,
        })
    }

    /// Makes it, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, ArchiveError> {
        fs::create_dir_all(path).map_err(ArchiveError::file(path))?;
        Self::open(path)
    }

    /// By day.
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    pub fn day(&self, day: i32) -> Option<&Day> {
        self.days.iter().find(|it| it.day == day)
    }

    /// Files of days that the manifest does not list.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn unlisted(&self) -> Result<Vec<String>, ArchiveError> {
        let read = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let is_day = name.starts_with("events-") && name.ends_with(".ndjson.zst");
                if is_day && !self.days.iter().any(|day| day.file == name) {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        read().map_err(ArchiveError::file(&self.path))
    }

    /// Where the file of a day is, or would be.
    pub fn file_of(&self, day: i32) -> PathBuf {
        self.path.join(file_name(day))
    }

    /// Gives what was written beside it the name of the day's file.
    pub(super) fn name(&self, day: i32, part: &Path) -> Result<(), ArchiveError> {
        let path = self.file_of(day);
        fs::rename(part, &path)
            .and_then(|()| sync_folder(&self.path))
            .map_err(ArchiveError::file(&path))
    }

    /// Lists a day that is whole.
    ///
    /// # Errors
    /// When the manifest cannot be written; the old one stays.
    pub fn list(&mut self, day: Day) -> Result<(), ArchiveError> {
        self.days.retain(|it| it.day != day.day);
        self.days.push(day);
        self.days.sort_unstable_by_key(|it| it.day);
        let manifest = Manifest {
            format: FORMAT,
            days: self.days.clone(),
        };
        let (path, part) = (self.path.join(MANIFEST), self.path.join("manifest.json.part"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&part)?;
            file.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            sync_folder(&self.path)
        };
        write().map_err(ArchiveError::file(&path))
    }
}

fn file_name(day: i32) -> String {
    format!("events-{}.ndjson.zst", date(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i32) -> Day {
        Day {
            date: date(day),
            day,
            file: file_name(day),
            bytes: 1,
            sha256: Hash::default(),
            events: 2,
            commits: 1,
            timeline: Uuid::nil(),
            log_format: 2,
        }
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(
            (date(0), date(20_783)),
            ("1970-01-01".to_owned(), "2026-11-26".to_owned())
        );
        assert_eq!(date(-1), "1969-12-31");
    }

    #[test]
    fn a_manifest_lists_its_days_in_order_and_names_what_it_does_not_list() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("archive");
        let mut folder = Folder::create(&path).unwrap();
        folder.list(day(20_001)).unwrap();
        folder.list(day(20_000)).unwrap();
        fs::write(folder.file_of(20_002), "").unwrap();
        fs::write(path.join("events-2024-10-09.ndjson.zst.part"), "").unwrap();
        let again = Folder::open(&path).unwrap();
        assert_eq!(again.days(), [day(20_000), day(20_001)]);
        assert_eq!(again.unlisted().unwrap(), [file_name(20_002)]);
        assert!(Folder::open(temp.path()).unwrap().days().is_empty());
    }

    #[test]
    fn a_manifest_cannot_point_elsewhere() {
        let temp = tempfile::tempdir().unwrap();
        let mut folder = Folder::create(temp.path()).unwrap();
        let elsewhere = Day {
            file: "../other".to_owned(),
            ..day(20_000)
        };
        folder.list(elsewhere).unwrap();
        assert!(matches!(Folder::open(temp.path()), Err(ArchiveError::Manifest { .. })));
    }
}
