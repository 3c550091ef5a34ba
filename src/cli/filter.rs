//! The flags that say which jobs: the same for lists, exports and commands on many jobs.

use clap::Args;
use serde_json::{Map, Value};

use crate::domain::JobStatus;

/// Which jobs.
#[derive(Args, Clone, Debug, Default)]
pub struct JobFilterArgs {
    /// Only jobs of this status
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = JobStatus::ALL.map(JobStatus::name))]
    pub status: Vec<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Only jobs of this name
    #[arg(long, value_name = "NAME")]
    pub external_id: Vec<String>,
    /// Only jobs submitted then or later (RFC 3339, or a day)
    #[arg(long, value_name = "TIME")]
    pub created_from: Option<String>,
    /// Only jobs submitted before then (RFC 3339, or a day)
    #[arg(long, value_name = "TIME")]
    pub created_to: Option<String>,
}

impl JobFilterArgs {
    /// The flags as they are called, for arguments that do not go with them.
    pub const NAMES: [&'static str; 5] = ["status", "label", "external_id", "created_from", "created_to"];

    /// Every job fits.
    pub fn is_all(&self) -> bool {
        self.query().is_empty()
    }

    fn lists(&self) -> [(&'static str, Vec<String>); 3] {
        [
            ("status", upper(&self.status)),
            ("label", self.label.clone()),
            ("externalId", self.external_id.clone()),
        ]
    }

    fn times(&self) -> [(&'static str, Option<&String>); 2] {
        [
            ("createdFrom", self.created_from.as_ref()),
            ("createdTo", self.created_to.as_ref()),
        ]
    }

    pub fn query(&self) -> Vec<(&'static str, String)> {
        parameters(self.lists(), self.times())
    }

    /// As the filter of `POST /api/v1/jobs/bulk`.
    pub fn body(&self) -> Value {
        let lists = self.lists().into_iter().filter(|(_, values)| !values.is_empty());
        let mut filter: Map<String, Value> = lists.map(|(name, values)| (name.to_owned(), values.into())).collect();
        for (name, time) in self.times() {
            filter.extend(time.map(|time| (name.to_owned(), Value::from(time.as_str()))));
        }
        Value::Object(filter)
    }
}

/// States and statuses as the API writes them; flags take them in any case.
pub fn upper(names: &[String]) -> Vec<String> {
    names.iter().map(|name| name.to_uppercase()).collect()
}

/// Flags as parameters of a list: those that may be given several times, and those that are given once.
pub fn parameters<'a>(
    lists: impl IntoIterator<Item = (&'static str, Vec<String>)>,
    once: impl IntoIterator<Item = (&'static str, Option<&'a String>)>,
) -> Vec<(&'static str, String)> {
    let lists = lists
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name, value)));
    let once = once
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.clone())));
    lists.chain(once).collect()
}
