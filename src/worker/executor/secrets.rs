//! Secrets: files of a folder, one each, read when an attempt needs them and kept no longer.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::document::is_secret_name;

/// A variable of a process can hold no more than 128 KiB.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The value of a secret. Prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the program that asked for it, never for a log or a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret {0:?} is needed, and this worker has no folder of secrets; start it with --secrets-dir")]
    NoFolder(String),
    #[error("{0:?} is not a secret's name")]
    Name(String),
    #[error("the secret {name:?} cannot be read on this worker")]
    Read { name: String, source: io::Error },
    #[error("the secret {0:?} has more than {MAX_SECRET_BYTES} bytes")]
    TooLong(String),
    #[error("the secret {0:?} is not text: it must be UTF-8 without NUL")]
    NotText(String),
}

/// The folder of secrets of a worker.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    folder: Option<Arc<PathBuf>>,
}

impl Secrets {
    /// `None`: the worker has no secrets.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder: folder.map(Arc::new),
        }
    }

    /// Reads the secret, without the line end that editors leave behind. Blocks on the file.
    pub fn read(&self, name: &str) -> Result<Secret, SecretError> {
        // A name that passes has no `/` and is neither `.` nor `..`: it stays in the folder. Links are followed, since
        // mounted secrets are links.
        if !is_secret_name(name) {
            return Err(SecretError::Name(name.to_owned()));
        }
        let folder = self
            .folder
            .as_deref()
            .ok_or_else(|| SecretError::NoFolder(name.to_owned()))?;
        let unread = |source| SecretError::Read {
            name: name.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        File::open(folder.join(name))
            .map_err(unread)?
            .take(MAX_SECRET_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unread)?;
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            return Err(SecretError::TooLong(name.to_owned()));
        }
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| SecretError::NotText(name.to_owned()))?;
        let value = text
            .strip_suffix('\n')
            .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        Ok(Secret(value.to_owned()))
    }
}
