//! What is asked of lines, as it was written: each store reads it in its own way.

use serde::{Deserialize, Serialize};

use super::logsql::{self, Filter, QueryError};
use crate::domain::Timestamp;

/// Lines that the query finds and that are among what is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// LogsQL without pipes; without it every line is meant.
    pub query: Option<String>,
    /// A field, and the values of which it must have one exactly; whatever the query says.
    pub named: Vec<(String, Vec<String>)>,
    /// What relative times in the query count from.
    pub now: Timestamp,
}

impl Question {
    /// What a query finds.
    pub fn of(query: &str, now: Timestamp) -> Self {
        Self {
            query: Some(query.to_owned()),
            named: Vec::new(),
            now,
        }
    }

    /// All of it as one filter.
    ///
    /// # Errors
    /// When the query is none, has pipes, or uses what is not supported.
    pub fn filter(&self) -> Result<Filter, QueryError> {
        let named = self.named.iter().fold(Filter::All, |filter, (field, values)| {
            filter.and(Filter::one_of(field, values.clone()))
        });
        match &self.query {
            Some(query) => Ok(named.and(logsql::parse(query, self.now)?)),
            None => Ok(named),
        }
    }
}
