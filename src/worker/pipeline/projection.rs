//! Which fields of a record are needed at all. The reader of JSON builds only those and checks the rest without keeping
//! it: most of a record is usually dropped by a filter or replaced by an eval.

use vrl::path::{OwnedSegment, OwnedValuePath};

/// A tree of field names; at each leaf everything below is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Projection {
    Whole,
    /// Sorted by nothing: there are a few fields at most, and a scan over a few short names beats a lookup.
    Fields(Vec<(String, Projection)>),
}

/// Beyond so many fields at one level the whole object is built: finding a name would cost more than it saves.
const MAX_FIELDS: usize = 16;

impl Projection {
    pub fn nothing() -> Self {
        Self::Fields(Vec::new())
    }

    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole)
    }

    /// Adds a path; an index ends it, since what it means depends on whole lists.
    pub fn add(&mut self, path: &OwnedValuePath) {
        self.add_segments(&path.segments);
    }

    pub fn merge(&mut self, other: &Self) {
        match other {
            Self::Whole => *self = Self::Whole,
            Self::Fields(fields) => {
                for (name, below) in fields {
                    if let Some(slot) = self.slot(name) {
                        slot.merge(below);
                    }
                }
            }
        }
    }

    fn add_segments(&mut self, segments: &[OwnedSegment]) {
        match segments.split_first() {
            Some((OwnedSegment::Field(name), rest)) => {
                if let Some(slot) = self.slot(name.as_str()) {
                    slot.add_segments(rest);
                }
            }
            Some((OwnedSegment::Index(_), _)) | None => *self = Self::Whole,
        }
    }

    /// The entry for `name`; `None` when all of it is needed anyway.
    fn slot(&mut self, name: &str) -> Option<&mut Self> {
        if let Self::Fields(fields) = self
            && fields.len() >= MAX_FIELDS
            && !fields.iter().any(|(known, _)| known == name)
        {
            *self = Self::Whole;
        }
        let Self::Fields(fields) = self else {
            return None;
        };
        let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            fields.push((name.to_owned(), Self::nothing()));
            fields.len() - 1
        });
        Some(&mut fields[at].1)
    }
}
