//! In which order a list is given, and from where on.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    Asc,
    Desc,
}

impl Direction {
    pub const fn reversed(self) -> Self {
        match self {
            Self::Asc => Self::Desc,
            Self::Desc => Self::Asc,
        }
    }

    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }

    /// What the key of a later item is to that of an earlier one.
    pub(super) const fn beyond(self) -> &'static str {
        match self {
            Self::Asc => ">",
            Self::Desc => "<",
        }
    }
}

/// What a list can be sorted by. Equal ones are in the order of their ids.
pub trait SortField: Copy + 'static {
    /// By name; the first is what a list is sorted by when nobody says.
    const FIELDS: &'static [(&'static str, Self)];

    /// When nobody says.
    fn usual(self) -> Direction;
}

/// A field and a direction. Text: `field`, `field,asc` or `field,desc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Order<S> {
    pub by: S,
    pub direction: Direction,
}

impl<S: SortField> Default for Order<S> {
    fn default() -> Self {
        let by = S::FIELDS[0].1;
        Self {
            by,
            direction: by.usual(),
        }
    }
}

/// A text that is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderError {
    fields: Vec<&'static str>,
}

impl std::error::Error for OrderError {}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.join(", ");
        write!(f, "expected one of {fields}, with ,asc or ,desc behind it or without")
    }
}

impl<S: SortField> FromStr for Order<S> {
    type Err = OrderError;
    fn from_str(text: &str) -> Result<Self, OrderError> {
        let wrong = || OrderError {
            fields: S::FIELDS.iter().map(|(name, _)| *name).collect(),
        };
        let (field, direction) = match text.split_once(',') {
            None => (text, None),
            Some((field, "asc")) => (field, Some(Direction::Asc)),
            Some((field, "desc")) => (field, Some(Direction::Desc)),
            Some(_) => return Err(wrong()),
        };
        let (_, by) = S::FIELDS.iter().find(|(name, _)| *name == field).ok_or_else(wrong)?;
        Ok(Self {
            by: *by,
            direction: direction.unwrap_or_else(|| by.usual()),
        })
    }
}

/// Where a part of a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<K> {
    /// So many items are passed over. `total`: how many there are in all, when it is known; then a deep part is reached
    /// from the end that is nearer.
    Offset { offset: u64, total: Option<u64> },
    /// Behind the item with this key.
    After(K),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    pub rows: Vec<T>,
    /// There are items behind the last one.
    pub more: bool,
}

impl<T> Slice<T> {
    /// Of rows that were asked for with a limit one beyond `size`.
    pub(super) fn cut(mut rows: Vec<T>, size: u32) -> Self {
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        Self { rows, more }
    }
}

#[cfg(test)]
mod tests {
    use super::super::JobSort;
    use super::*;

    #[test]
    fn orders_are_read() {
        let order = |text: &str| text.parse::<Order<JobSort>>().map(|order| (order.by, order.direction));
        assert_eq!(order("createdAt"), Ok((JobSort::CreatedAt, Direction::Desc)));
        assert_eq!(order("externalId"), Ok((JobSort::ExternalId, Direction::Asc)));
        assert_eq!(order("finishedAt,asc"), Ok((JobSort::FinishedAt, Direction::Asc)));
        for wrong in ["", "createdat", "createdAt,up", "createdAt,asc,desc", ",asc"] {
            let said = order(wrong).unwrap_err().to_string();
            assert!(said.contains("createdAt, finishedAt, externalId"), "{said}");
        }
    }
}
