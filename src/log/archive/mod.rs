//! Days of the log as files: lines of JSON under zstd, a file a day, and a manifest that lists them.
//!
//! Must stay true: a file holds each event of its day byte for byte, with the commits that they came with, so that their
//! hashes can be computed anew and held against the log's chain; a file that has its name is whole; memory holds pages,
//! never a day.

mod check;
mod folder;
mod lines;
mod read;
mod write;

pub use check::{ArchiveCheck, ArchiveDifference, KeptDays};
pub use folder::{Day, Folder, date};
pub use write::Written;

/// Why an archive could not be written or read. What it holds is not in question.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("{path}: {why}")]
    Manifest { path: String, why: String },
    #[error("the log's database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the log does not hold together at {place}: {why}; run `grid verify`")]
    Log { place: String, why: String },
}

impl ArchiveError {
    fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |error| Self::File { path, error }
    }
}
