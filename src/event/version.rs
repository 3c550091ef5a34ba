//! Versions of messages, and the one way to write and read them.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message that cannot be read: what it should have been, and why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable {what}: {why}")]
pub struct Unreadable {
    pub what: &'static str,
    pub why: String,
}

/// The version of a message, written as the number `N`; reading any other is an error that names both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version<const N: u16>;

impl<const N: u16> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(N)
    }
}

impl<'de, const N: u16> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = u16::deserialize(deserializer)?;
        if found == N {
            return Ok(Self);
        }
        Err(serde::de::Error::custom(unknown_version(found, N)))
    }
}

fn unknown_version(found: u16, known: u16) -> String {
    format!("version {found} is unknown, this program reads version {known}; a newer program wrote it")
}

/// Why the bytes cannot be read. Another version may have any shape, so its number is looked for first.
pub(super) fn why_not(bytes: &[u8], known: u16, error: &serde_json::Error) -> String {
    #[derive(Deserialize)]
    struct OnlyVersion {
        v: u16,
    }
    match serde_json::from_slice::<OnlyVersion>(bytes) {
        Ok(OnlyVersion { v }) if v != known => unknown_version(v, known),
        Ok(_) | Err(_) => error.to_string(),
    }
}

/// A message of the bus: JSON in UTF-8.
pub trait Wire: Serialize + DeserializeOwned {
    /// What it is, for error messages.
    const WHAT: &'static str;
    /// The version that is written, the only one that is read.
    const VERSION: u16 = 1;

    fn encode(&self) -> Bytes {
        // Writing these types cannot fail: their keys are strings and their numbers finite.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|error| Unreadable {
            what: Self::WHAT,
            why: why_not(bytes, Self::VERSION, &error),
        })
    }
}
