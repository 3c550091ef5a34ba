//! Which jobs, tasks and workers a list holds.
//!
//! A filter has parts that must all hold; of several values in one part one is enough; an empty part asks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Serialize;

use crate::domain::event::TaskState;
use crate::domain::{JobId, JobStatus, Timestamp, WorkerName};

/// Labels by name: one of the values of each name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct LabelFilter(BTreeMap<String, BTreeSet<String>>);

/// One label, as `name=value` or `name:value`. Names have neither sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelPair {
    pub name: String,
    pub value: String,
}

/// A text that is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected name=value or name:value")]
pub struct LabelError;

impl FromStr for LabelPair {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (name, value) = text.split_once(['=', ':']).ok_or(LabelError)?;
        if name.is_empty() {
            return Err(LabelError);
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl LabelFilter {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.0
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
    }
}

impl Extend<LabelPair> for LabelFilter {
    fn extend<I: IntoIterator<Item = LabelPair>>(&mut self, pairs: I) {
        for LabelPair { name, value } in pairs {
            self.0.entry(name).or_default().insert(value);
        }
    }
}

impl FromIterator<LabelPair> for LabelFilter {
    fn from_iter<I: IntoIterator<Item = LabelPair>>(pairs: I) -> Self {
        let mut filter = Self::default();
        filter.extend(pairs);
        filter
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// At this time or later.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// A span that ends before it begins, or at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time after createdFrom")]
pub struct SpanError;

impl Span {
    /// # Errors
    /// When no time is in it.
    pub fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Self, SpanError> {
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(SpanError);
        }
        Ok(Self { from, to })
    }

    pub const fn is_all(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFilter {
    pub ids: BTreeSet<JobId>,
    pub statuses: BTreeSet<JobStatus>,
    pub external_ids: BTreeSet<String>,
    pub labels: LabelFilter,
    pub created: Span,
}

impl JobFilter {
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

impl TaskFilter {
    /// What it says of jobs. A status that excludes the states is left out.
    pub(super) fn of_jobs(&self) -> JobFilter {
        use JobStatus::{Failed, Mixed, Running, Timeout};
        let unfinished = [TaskState::Ready, TaskState::Scheduled, TaskState::Running];
        let statuses: &[JobStatus] = if self.states.is_empty() || self.states.contains(&TaskState::Completed) {
            &[]
        } else if self.states.iter().all(|state| unfinished.contains(state)) {
            &[Running]
        } else {
            &[Running, Failed, Timeout, Mixed]
        };
        JobFilter {
            ids: self.job.into_iter().collect(),
            statuses: statuses.iter().copied().collect(),
            external_ids: BTreeSet::new(),
            labels: self.labels.clone(),
            created: self.created,
        }
    }
}

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFilter {
    pub job: Option<JobId>,
    pub states: BTreeSet<TaskState>,
    /// Of the present attempt, or the last one.
    pub workers: BTreeSet<WorkerName>,
    /// Of the task; of one with replicas, its name in the document or that of the replica.
    pub external_ids: BTreeSet<String>,
    /// Of the job.
    pub labels: LabelFilter,
    /// The job.
    pub created: Span,
}

/// Which workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerFilter {
    pub labels: LabelFilter,
    /// Its first registration.
    pub created: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_with_either_sign() {
        let pair = |text: &str| text.parse::<LabelPair>().map(|pair| (pair.name, pair.value));
        let expected = Ok(("team".to_owned(), "a:b=c".to_owned()));
        assert_eq!(pair("team=a:b=c"), expected);
        assert_eq!(pair("team:a:b=c"), expected);
        assert_eq!(pair("team="), Ok(("team".to_owned(), String::new())));
        assert_eq!(pair("team"), Err(LabelError));
        assert_eq!(pair("=x"), Err(LabelError));
    }
}
