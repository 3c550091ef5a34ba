//! Checkpoints of attempts: who may read and write which, said by a secret that stands in the attempt's URL.
//!
//! The server has one key. From it follows the key of a worker process, which the process fetches once with its token;
//! from that follows the secret of each of its attempts, which both sides can make for themselves. So an attempt costs no
//! call and no row, a program that knows its own URL can make no other, and a worker none of another worker.
//!
//! Must stay true: what goes into the digests never changes, or running attempts lose their URLs.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::domain::{Attempt, Incarnation, TaskId};

/// Most bytes of a checkpoint's data.
pub const MAX_DATA_BYTES: usize = 64 * 1024;

const KEY_BYTES: usize = 32;

/// The key of one worker process on one timeline of the log. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerKey {
    incarnation: Incarnation,
    key: [u8; KEY_BYTES],
}

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a key: 64 hexadecimal digits")]
pub struct InvalidKey;

/// What an attempt shows. Prints nothing of itself but by [`AttemptSecret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct AttemptSecret {
    /// The worker process that runs the attempt.
    pub incarnation: Incarnation,
    digest: [u8; KEY_BYTES],
}

/// A text that is no secret of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the secret of an attempt")]
pub struct InvalidSecret;

fn digest(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("every key has a fitting length"));
    parts.iter().for_each(|part| mac.update(part));
    mac
}

impl WorkerKey {
    /// As the server makes it.
    pub fn derive(server_key: &[u8], timeline: Uuid, incarnation: Incarnation) -> Self {
        let parts: [&[u8]; 3] = [
            b"grid.checkpoints.worker.1",
            timeline.as_bytes(),
            incarnation.0.as_bytes(),
        ];
        Self {
            incarnation,
            key: digest(server_key, &parts).finalize().into_bytes().into(),
        }
    }

    /// As the worker was told.
    ///
    /// # Errors
    /// When the text is no key.
    pub fn read(incarnation: Incarnation, text: &str) -> Result<Self, InvalidKey> {
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(text, &mut key).map_err(|_| InvalidKey)?;
        Ok(Self { incarnation, key })
    }

    /// The key itself, in hexadecimal: for the process alone.
    pub fn reveal(&self) -> String {
        hex::encode(self.key)
    }

    fn mac(&self, task: TaskId, attempt: Attempt) -> Hmac<Sha256> {
        let (number, attempt) = (task.number.to_be_bytes(), attempt.0.to_be_bytes());
        digest(&self.key, &[task.job.0.as_bytes(), &number, &attempt])
    }

    pub fn secret(&self, task: TaskId, attempt: Attempt) -> AttemptSecret {
        AttemptSecret {
            incarnation: self.incarnation,
            digest: self.mac(task, attempt).finalize().into_bytes().into(),
        }
    }

    /// Whether the secret is that of the attempt; in a time that tells nothing of where they differ.
    pub fn admits(&self, task: TaskId, attempt: Attempt, secret: &AttemptSecret) -> bool {
        secret.incarnation == self.incarnation && self.mac(task, attempt).verify_slice(&secret.digest).is_ok()
    }
}

impl fmt::Debug for WorkerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl AttemptSecret {
    /// 96 hexadecimal digits: the worker process and the digest.
    pub fn reveal(&self) -> String {
        format!(
            "{}{}",
            hex::encode(self.incarnation.0.as_bytes()),
            hex::encode(self.digest)
        )
    }
}

impl fmt::Debug for AttemptSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for AttemptSecret {
    type Err = InvalidSecret;
    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let mut bytes = [0; 16 + KEY_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSecret)?;
        let (incarnation, digest) = bytes.split_first_chunk::<16>().ok_or(InvalidSecret)?;
        Ok(Self {
            incarnation: Incarnation(Uuid::from_bytes(*incarnation)),
            digest: digest.try_into().map_err(|_| InvalidSecret)?,
        })
    }
}

/// The URL of an attempt's checkpoints, at the API that is served at `base`.
pub fn url(base: &str, task: TaskId, attempt: Attempt, secret: &AttemptSecret) -> String {
    format!("{base}/api/v1/checkpoints/{task}/{attempt}/{}", secret.reveal())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobId;

    const SERVER_KEY: [u8; 32] = [7; 32];

    fn task(number: u32) -> TaskId {
        let job = JobId(Uuid::from_u128(0x0198_c2a0_7c00_7000_8000_0000_0000_0001));
        TaskId { job, number }
    }

    #[test]
    fn a_secret_is_that_of_one_attempt_of_one_process_on_one_timeline() {
        let (timeline, process) = (Uuid::from_u128(1), Incarnation(Uuid::from_u128(2)));
        let key = WorkerKey::derive(&SERVER_KEY, timeline, process);
        let secret = key.secret(task(3), Attempt(1));
        assert!(key.admits(task(3), Attempt(1), &secret));
        assert!(!key.admits(task(3), Attempt(2), &secret));
        assert!(!key.admits(task(4), Attempt(1), &secret));
        let others = [
            WorkerKey::derive(&SERVER_KEY, timeline, Incarnation(Uuid::from_u128(3))),
            WorkerKey::derive(&SERVER_KEY, Uuid::from_u128(9), process),
            WorkerKey::derive(&[8; 32], timeline, process),
        ];
        assert!(others.iter().all(|other| !other.admits(task(3), Attempt(1), &secret)));
    }

    #[test]
    fn what_is_told_is_read_again_and_stays_as_it_is() {
        let process = Incarnation(Uuid::from_u128(2));
        let key = WorkerKey::derive(&SERVER_KEY, Uuid::from_u128(1), process);
        assert_eq!(WorkerKey::read(process, &key.reveal()), Ok(key.clone()));
        let secret = key.secret(task(3), Attempt(1));
        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        for text in ["", "00", &"g".repeat(96), &"0".repeat(94)] {
            assert_eq!(text.parse::<AttemptSecret>(), Err(InvalidSecret));
        }
        assert_eq!(WorkerKey::read(process, "00"), Err(InvalidKey));
        assert_eq!(format!("{key:?} {secret:?}"), "*** ***");
    }
}
