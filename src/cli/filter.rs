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
        let Self {
            status,
            label,
            external_id,
            created_from,
            created_to,
        } = self;
        let lists = [status, label, external_id];
        lists.iter().all(|values| values.is_empty()) && created_from.is_none() && created_to.is_none()
    }

    pub fn query(&self) -> Vec<(&'static str, String)> {
        let mut query: Vec<(&'static str, String)> = Vec::new();
        query.extend(self.status.iter().map(|status| ("status", status.to_uppercase())));
        query.extend(self.label.iter().map(|label| ("label", label.clone())));
        query.extend(self.external_id.iter().map(|name| ("externalId", name.clone())));
        query.extend(self.created_from.clone().map(|time| ("createdFrom", time)));
        query.extend(self.created_to.clone().map(|time| ("createdTo", time)));
        query
    }

    /// As the filter of `POST /api/v1/jobs/bulk`.
    pub fn body(&self) -> Value {
        let mut filter = Map::new();
        let lists = [
            (
                "status",
                self.status.iter().map(|status| status.to_uppercase()).collect(),
            ),
            ("externalId", self.external_id.clone()),
            ("label", self.label.clone()),
        ];
        let lists: [(&str, Vec<String>); 3] = lists;
        for (name, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
            filter.insert(name.to_owned(), values.into());
        }
        for (name, time) in [("createdFrom", &self.created_from), ("createdTo", &self.created_to)] {
            filter.extend(time.clone().map(|time| (name.to_owned(), Value::from(time))));
        }
        Value::Object(filter)
    }
}
