//! What travels.

use std::borrow::Cow;

use bytes::Bytes;

use crate::domain::Timestamp;

/// The name of a header.
pub type HeaderName = Cow<'static, str>;

/// What is counted for a message besides its bytes: the structures around it.
const OVERHEAD_BYTES: usize = 128;

/// A message as it is sent. Cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub key: Option<Bytes>,
    pub headers: Vec<(HeaderName, Bytes)>,
    pub payload: Bytes,
}

impl Message {
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            key: None,
            headers: Vec::new(),
            payload: payload.into(),
        }
    }

    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Bytes of key, headers and payload: what the limit is about.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + headers + self.payload.len()
    }

    /// Bytes that it takes in a queue.
    pub(super) fn cost_bytes(&self) -> usize {
        self.size_bytes() + OVERHEAD_BYTES
    }
}

/// A message as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// When it was sent, by the sender's clock.
    pub timestamp: Timestamp,
    pub message: Message,
}
