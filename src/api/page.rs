//! Lists: which part of them is asked for, and how it is given.
//!
//! A page is named by its number, or by the cursor that the page before it gave. A cursor is base64url of a letter for
//! the list, 8 bytes that stand for its filter and order, the number of the page, and the key of the last item; opaque to
//! clients. It is found by key, however deep it is, and is good for the same filter and order only.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::params::Params;
use super::problem::Problem;
use crate::projection::{from_base64url, to_base64url};

/// The parameters of every list.
pub const PAGE_PARAMS: [&str; 4] = ["page", "size", "cursor", "minPosition"];

const MAX_SIZE: u32 = 500;
const BINDING_BYTES: usize = 8;

/// The kinds of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    Jobs = b'j' as isize,
    Tasks = b't' as isize,
    Workers = b'w' as isize,
    Events = b'e' as isize,
    Quarantine = b'q' as isize,
    Tokens = b'k' as isize,
    Retries = b'r' as isize,
    Logs = b'l' as isize,
    DeadLetters = b'd' as isize,
}

/// Which list, filtered and sorted how: what a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListId {
    kind: ListKind,
    binding: [u8; BINDING_BYTES],
}

impl ListId {
    /// `view`: all that says which items there are and in which order.
    pub fn new(kind: ListKind, view: &impl Serialize) -> Self {
        let text = serde_json::to_vec(view).unwrap_or_default();
        let hash = Sha256::digest(text);
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&hash[..BINDING_BYTES]);
        Self { kind, binding }
    }

    /// The cursor behind the item with this key, for page `page`.
    pub fn cursor(&self, page: u32, key: &[u8]) -> String {
        let mut bytes = vec![self.kind as u8];
        bytes.extend_from_slice(&self.binding);
        bytes.extend_from_slice(&page.to_be_bytes());
        bytes.extend_from_slice(key);
        to_base64url(&bytes)
    }

    /// The page and the key of a cursor.
    ///
    /// # Errors
    /// 400 when it is none of this list, or of another filter or order.
    pub fn read_cursor(&self, text: &str) -> Result<(u32, Vec<u8>), Problem> {
        let bytes = from_base64url(text).ok_or_else(PageQuery::bad_cursor)?;
        let read = || {
            let (&letter, rest) = bytes.split_first()?;
            let (binding, rest) = rest.split_first_chunk::<BINDING_BYTES>()?;
            let (page, key) = rest.split_first_chunk::<4>()?;
            (letter == self.kind as u8).then(|| (*binding, u32::from_be_bytes(*page), key.to_vec()))
        };
        let (binding, page, key) = read().ok_or_else(PageQuery::bad_cursor)?;
        if binding != self.binding {
            let message = "it was given for another filter or order: ask with the same ones again, or begin without it";
            return Err(Problem::bad_parameter("cursor", message));
        }
        Ok((page, key))
    }
}

/// What part of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery {
    pub page: u32,
    pub size: u32,
    /// The key of the last item of the page before, when a cursor was given.
    pub after: Option<Vec<u8>>,
}

impl PageQuery {
    /// # Errors
    /// 400 when page or size is out of bounds, or the cursor is not one of this list.
    pub fn read(params: &Params, list: &ListId, default_size: u32) -> Result<Self, Problem> {
        let size = params.whole("size", default_size, 1..=MAX_SIZE)?;
        let Some(text) = params.get("cursor") else {
            // At most as many items as a 64 bit offset can count.
            let page = params.whole("page", 0, 0..=u32::MAX)?;
            return Ok(Self {
                page,
                size,
                after: None,
            });
        };
        if params.get("page").is_some() {
            return Err(Problem::bad_parameter("cursor", "give either page or cursor"));
        }
        let (page, key) = list.read_cursor(text)?;
        Ok(Self {
            page,
            size,
            after: Some(key),
        })
    }

    pub fn bad_cursor() -> Problem {
        Problem::bad_parameter("cursor", "it is not a cursor of this list: take it from nextCursor")
    }

    /// How many items come before the page.
    pub fn offset(&self) -> u64 {
        u64::from(self.page) * u64::from(self.size)
    }

    /// The cursor of the page after this one, whose last item has this key.
    pub fn next(&self, list: &ListId, key: &[u8]) -> String {
        list.cursor(self.page.saturating_add(1), key)
    }
}

/// A list as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    pub page: u32,
    pub size: u32,
    pub total: u64,
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    pub fn new(query: &PageQuery, items: Vec<T>, total: u64, next_cursor: Option<String>) -> Self {
        Self {
            items,
            page: query.page,
            size: query.size,
            total,
            next_cursor,
        }
    }
}
