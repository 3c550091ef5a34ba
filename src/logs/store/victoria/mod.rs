//! Lines in a VictoriaLogs, by its HTTP API (<https://docs.victoriametrics.com/victorialogs/querying/>).
//!
//! Must stay true: what a client writes reaches it as the filter of a query and cannot become anything else of it (it
//! stands in parentheses, without pipes); what is named besides travels as filters of its own, which hold for every part of
//! the query. An answer is read line by line and left when a page is full, and so is its connection when nobody wants
//! it any more: both end the search there.
//!
//! VictoriaLogs has no numbers for lines, so a line stands where its time stands, in nanoseconds: those below the
//! millisecond are given by who writes lines (`logs::nanos`), so that lines of a worker have times of their own. Of lines
//! with the very same time a key counts how many were given.

mod ask;
mod erase;
mod rows;

use std::time::Duration;

use async_trait::async_trait;

use super::{Batch, Key, LogStore, Order, Page, Search, StoreError, StoredLine};
use crate::logs::line::Line;
use crate::logs::nanos::{self, NS_PER_MS};
use crate::logs::options::{LogsOptions, VictoriaOptions};
use crate::logs::question::Question;
use ask::{Client, Range, Sort};
use rows::Row;

/// Fields by which VictoriaLogs keeps lines together; docker/vector/vector.yaml has the same.
const STREAM_FIELDS: &str = "job_id,task_id,worker_id,source";
/// A line that was held back for what might belong to it is older than its position, by no more than this.
const HELD_MS: i64 = 60_000;
/// Above it, a key's id counts the lines that were given of its time.
const GIVEN: i64 = NS_PER_MS;
/// More than a line comes again.
const COPIES: u32 = 100;

/// The store in a VictoriaLogs.
pub struct Victoria {
    client: Client,
    settle: Duration,
    tail_interval: Duration,
}

impl Victoria {
    /// `None`: there is none by these options.
    ///
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new(victoria: &VictoriaOptions, logs: &LogsOptions) -> Result<Option<Self>, StoreError> {
        let Some(url) = &victoria.url else { return Ok(None) };
        Ok(Some(Self {
            client: Client::new(url, victoria, logs.search_timeout)?,
            settle: victoria.settle,
            tail_interval: logs.tail_interval,
        }))
    }

    /// Lines of this very time behind the first `given`, in an order that stays.
    async fn of_one_time(&self, search: &Search, at_ns: i64, given: usize) -> Result<Page, StoreError> {
        let range = Range {
            from_ns: at_ns,
            to_ns: at_ns,
            behind: None,
        };
        let sort = Sort::WithinTime { skip: given };
        let (limit, most) = (search.limit as usize, search.limit.saturating_add(1 + COPIES));
        let (rows, is_cut) = self.client.rows(&search.question, range, sort, most).await?;
        let mut goes_on = is_cut || rows.len() >= most as usize;
        let mut lines: Vec<StoredLine> = Vec::new();
        for (count, row) in (given + 1..).zip(rows) {
            let key = key(at_ns, count);
            if let Some(last) = lines.last_mut()
                && came_again(&last.line, &row)
            {
                last.key = key;
            } else if lines.len() == limit {
                goes_on = true;
                break;
            } else {
                lines.push(StoredLine { key, line: row.line });
            }
        }
        if let Some(last) = lines.last_mut().filter(|_| !goes_on) {
            last.key = key(at_ns, 0);
        }
        // Behind the last of them there are lines of other times; how many is seen by the next page.
        Ok(Page { lines, more: true })
    }
}

/// A line that came twice: whoever ships sends again what was not acknowledged. Whole milliseconds are of lines that nobody
/// numbered: equal ones may be several.
fn came_again(line: &Line, row: &Row) -> bool {
    row.at_ns % NS_PER_MS != 0 && *line == row.line
}

/// `given`: how many lines of this time are behind; 0: all.
fn key(at_ns: i64, given: usize) -> Key {
    let given = i64::try_from(given).unwrap_or(i64::MAX / GIVEN);
    Key {
        at_ms: at_ns.div_euclid(NS_PER_MS),
        id: at_ns.rem_euclid(NS_PER_MS) + given.saturating_mul(GIVEN),
    }
}

/// The time of a key, and how many lines of that time are behind it; 0: all.
fn read_key(key: Key) -> (i64, usize) {
    let id = key.id.max(0);
    let at_ns = key.at_ms.saturating_mul(NS_PER_MS).saturating_add(id % GIVEN);
    (at_ns, usize::try_from(id / GIVEN).unwrap_or(0))
}

/// Lines as a page, each once.
fn page(rows: Vec<Row>, more: bool) -> Page {
    let mut lines: Vec<StoredLine> = Vec::with_capacity(rows.len());
    for row in rows {
        let key = key(row.at_ns, 0);
        let last = lines.last().filter(|last| last.key == key);
        if !last.is_some_and(|last| came_again(&last.line, &row)) {
            lines.push(StoredLine { key, line: row.line });
        }
    }
    Page { lines, more }
}

#[async_trait]
impl LogStore for Victoria {
    /// Only for workers that give their lines to no Vector.
    async fn add(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.to_vector || batch.lines.is_empty() {
            return Ok(());
        }
        let mut body = Vec::new();
        for (place, line) in batch.lines.iter().enumerate() {
            let begin = body.len();
            serde_json::to_writer(&mut body, line).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            nanos::number(&mut body, begin, nanos::below_ms(batch.number, place));
            body.push(b'\n');
        }
        self.client.insert(body).await
    }

    async fn check(&self, question: &Question) -> Result<(), StoreError> {
        let range = Range::of_ms(0, 0);
        self.client.rows(question, range, Sort::OldestFirst, 1).await.map(drop)
    }

    async fn search(&self, search: &Search) -> Result<Page, StoreError> {
        let mut range = Range::of_ms(search.from_ms, search.to_ms);
        if let Some(beyond) = search.beyond {
            let (at_ns, given) = read_key(beyond);
            if given > 0 {
                return self.of_one_time(search, at_ns, given).await;
            }
            match search.order {
                Order::NewestFirst => range.to_ns = range.to_ns.min(at_ns.saturating_sub(1)),
                Order::OldestFirst => range.from_ns = range.from_ns.max(at_ns.saturating_add(1)),
            }
        }
        if range.from_ns > range.to_ns {
            return Ok(Page::default());
        }
        let sort = match search.order {
            Order::NewestFirst => Sort::NewestFirst,
            Order::OldestFirst => Sort::OldestFirst,
        };
        let asked = self
            .client
            .rows(&search.question, range, sort, search.limit.saturating_add(1));
        let (mut rows, is_cut) = asked.await?;
        if !is_cut && rows.len() <= search.limit as usize {
            return Ok(page(rows, false));
        }
        // Others of the last time may not be among them, so that whole time is for the next page.
        let last_ns = rows.last().map_or(0, |row| row.at_ns);
        rows.retain(|row| row.at_ns != last_ns);
        if rows.is_empty() {
            return self.of_one_time(search, last_ns, 0).await;
        }
        Ok(page(rows, true))
    }

    async fn head(&self) -> Result<Key, StoreError> {
        let at = crate::clock::now() - self.settle;
        Ok(key(at.as_ms().saturating_mul(NS_PER_MS), 0))
    }

    /// Up to where lines have arrived by now.
    async fn after(&self, question: &Question, after: Key, limit: u32) -> Result<(Page, Key), StoreError> {
        let head = self.head().await?;
        let search = Search {
            question: question.clone(),
            from_ms: after.at_ms,
            to_ms: head.at_ms - 1,
            order: Order::OldestFirst,
            beyond: Some(after),
            limit,
        };
        if search.from_ms > search.to_ms {
            return Ok((Page::default(), after));
        }
        let page = self.search(&search).await?;
        let next = match page.lines.last() {
            Some(last) if page.more => last.key,
            _ => key(head.at_ms.saturating_mul(NS_PER_MS).saturating_sub(1), 0),
        };
        Ok((page, next))
    }

    async fn of_worker(
        &self,
        question: &Question,
        worker_id: &str,
        after: i64,
        limit: u32,
    ) -> Result<Page, StoreError> {
        let mut question = question.clone();
        question
            .named
            .push(("worker_id".to_owned(), vec![worker_id.to_owned()]));
        let mut range = Range::of_ms(after / 1_000 - HELD_MS, i64::MAX);
        range.behind = Some(after);
        let asked = self
            .client
            .rows(&question, range, Sort::ByPosition, limit.saturating_add(1));
        let (mut rows, is_cut) = asked.await?;
        let more = is_cut || rows.len() > limit as usize;
        rows.truncate(limit as usize);
        rows.dedup_by_key(|row| row.line.position);
        let lines = rows.into_iter().map(|row| StoredLine {
            key: key(row.at_ns, 0),
            line: row.line,
        });
        Ok(Page {
            lines: lines.collect(),
            more,
        })
    }

    async fn can_erase(&self) -> Result<&'static str, StoreError> {
        self.client.deletions().await?;
        Ok("victorialogs")
    }

    async fn erase(&self, job_id: &str) -> Result<(), StoreError> {
        self.client.delete_job(job_id).await
    }

    fn lag(&self) -> Duration {
        self.settle
    }

    async fn changed(&self, _: Key) {
        tokio::time::sleep(self.tail_interval).await;
    }
}

/// Of a call's answer that is no success.
fn refused(status: reqwest::StatusCode, said: &str) -> StoreError {
    let said: String = said.trim().chars().take(1_000).collect();
    match status.as_u16() {
        400 => StoreError::Invalid(said),
        _ => StoreError::Unavailable(format!("VictoriaLogs says {status}: {said}")),
    }
}

/// Who asks, when a token is wanted.
fn authorization(request: reqwest::RequestBuilder, token: Option<&crate::config::Secret>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.reveal()),
        None => request,
    }
}
