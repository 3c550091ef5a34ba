//! Lines as they come.

use std::collections::VecDeque;

use super::Source;
use crate::api::graphql::fault::Answer;
use crate::api::graphql::logs::LogItem;
use crate::api::logs::LogTail;

pub struct Logs {
    tail: LogTail,
    ready: VecDeque<LogItem>,
}

impl Logs {
    pub fn new(tail: LogTail) -> Self {
        Self {
            tail,
            ready: VecDeque::new(),
        }
    }
}

impl Source for Logs {
    type Item = LogItem;

    async fn next(&mut self) -> Answer<Option<LogItem>> {
        if let Some(item) = self.ready.pop_front() {
            return Ok(Some(item));
        }
        let lines = self.tail.next().await?;
        self.ready = lines
            .into_iter()
            .map(|one| LogItem {
                line: one.line.map(Into::into),
                notice: one.notice,
                position: one.after,
            })
            .collect();
        let item = self.ready.pop_front();
        Ok(Some(item.unwrap_or_else(|| LogItem {
            line: None,
            notice: None,
            position: self.tail.token(),
        })))
    }
}
