//! Lists of jobs: filtered, sorted, from any place on.
//!
//! Must stay true: sorted by creation, the keys of a page come in order from one index for each value of the part of the
//! filter that says most, so that a page costs as much as it is deep; a key is unique, so that a cursor never repeats
//! nor leaves out.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::filter::Span;
use super::jobs::{COLUMNS, read_all};
use super::{Direction, JobFilter, JobRow, Order, Reading, Slice, SortField, Start};
use crate::domain::{JobId, JobStatus, Timestamp};

/// What jobs can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JobSort {
    CreatedAt,
    /// Unfinished ones as if they were to finish last.
    FinishedAt,
    /// By code points; jobs without one first.
    ExternalId,
}

impl SortField for JobSort {
    const FIELDS: &'static [(&'static str, Self)] = &[
        ("createdAt", Self::CreatedAt),
        ("finishedAt", Self::FinishedAt),
        ("externalId", Self::ExternalId),
    ];

    fn usual(self) -> Direction {
        match self {
            Self::CreatedAt | Self::FinishedAt => Direction::Desc,
            Self::ExternalId => Direction::Asc,
        }
    }
}

pub type JobOrder = Order<JobSort>;

/// Where a job stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobKey {
    sorted: Sorted,
    created_at: Timestamp,
    id: JobId,
}

/// What stands before creation and id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sorted {
    CreatedAt,
    FinishedAt(Option<Timestamp>),
    ExternalId(String),
}

impl JobKey {
    /// In a list sorted by creation.
    pub(super) const fn created(created_at: Timestamp, id: JobId) -> Self {
        Self {
            sorted: Sorted::CreatedAt,
            created_at,
            id,
        }
    }

    pub fn of(row: &JobRow, by: JobSort) -> Self {
        let sorted = match by {
            JobSort::CreatedAt => Sorted::CreatedAt,
            JobSort::FinishedAt => Sorted::FinishedAt(row.finished_at),
            JobSort::ExternalId => Sorted::ExternalId(row.external_id.clone().unwrap_or_default()),
        };
        Self {
            sorted,
            created_at: row.created_at,
            id: row.id,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.created_at.as_ms().to_be_bytes()[..], self.id.0.as_bytes()].concat();
        match &self.sorted {
            Sorted::CreatedAt => {}
            Sorted::FinishedAt(at) => bytes.extend(at.map_or(i64::MAX, Timestamp::as_ms).to_be_bytes()),
            Sorted::ExternalId(text) => bytes.extend(text.as_bytes()),
        }
        bytes
    }

    /// Of a list that is sorted by `by`.
    pub fn from_bytes(bytes: &[u8], by: JobSort) -> Option<Self> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let sorted = match by {
            JobSort::CreatedAt => rest.is_empty().then_some(Sorted::CreatedAt)?,
            JobSort::FinishedAt => {
                let ms = i64::from_be_bytes(rest.try_into().ok()?);
                Sorted::FinishedAt((ms != i64::MAX).then(|| Timestamp::from_ms(ms)))
            }
            JobSort::ExternalId => Sorted::ExternalId(text_of(rest)?),
        };
        Some(Self {
            sorted,
            created_at: Timestamp::from_ms(i64::from_be_bytes(*at)),
            id: JobId(Uuid::from_bytes(*id)),
        })
    }
}

/// The text of a key; Postgres has none with NUL.
pub(super) fn text_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then(|| text.to_owned())
}

/// Which index the keys come from, and with which of its values.
#[derive(Clone, Debug)]
pub(super) enum Driver<'a> {
    All,
    /// All of the filter's, which are few.
    Ids,
    Statuses(Vec<JobStatus>),
    ExternalIds(Vec<&'a str>),
    Label(&'a str, Vec<&'a str>),
}

impl<'a> Driver<'a> {
    /// The part of the filter that says most.
    pub(super) fn of(filter: &'a JobFilter) -> Self {
        if !filter.ids.is_empty() {
            return Self::Ids;
        }
        if !filter.external_ids.is_empty() {
            return Self::ExternalIds(filter.external_ids.iter().map(String::as_str).collect());
        }
        if let Some((name, values)) = filter.labels.iter().next() {
            return Self::Label(name, values);
        }
        if filter.statuses.is_empty() {
            Self::All
        } else {
            Self::Statuses(filter.statuses.iter().copied().collect())
        }
    }

    /// One for each value: the keys of each come in order.
    fn split(self) -> Vec<Self> {
        match self {
            Self::All | Self::Ids => vec![self],
            Self::Statuses(all) => all.into_iter().map(|one| Self::Statuses(vec![one])).collect(),
            Self::ExternalIds(all) => all.into_iter().map(|one| Self::ExternalIds(vec![one])).collect(),
            Self::Label(name, all) => all.into_iter().map(|one| Self::Label(name, vec![one])).collect(),
        }
    }

    /// The columns of creation and id.
    const fn key(&self) -> (&'static str, &'static str) {
        match self {
            Self::Label(..) => ("l.created_at", "l.job"),
            Self::All | Self::Ids | Self::Statuses(_) | Self::ExternalIds(_) => ("j.created_at", "j.id"),
        }
    }
}

pub(super) type Sql = QueryBuilder<Postgres>;

const NAME: &str = "COALESCE(j.external_id, '') COLLATE \"C\"";
const END: &str = "COALESCE(j.finished_at, 'infinity')";

/// `= $1` or `= ANY($1)`: the first gives the order of an index.
fn push_one_of(sql: &mut Sql, column: &str, values: &[&str]) {
    sql.push(format!(" AND {column}"));
    match values {
        [one] => sql.push(" = ").push_bind((*one).to_owned()),
        many => {
            let many: Vec<String> = many.iter().map(|value| (*value).to_owned()).collect();
            sql.push(" = ANY(").push_bind(many).push(")")
        }
    };
}

pub(super) fn push_span(sql: &mut Sql, column: &str, span: Span) {
    if let Some(from) = span.from {
        sql.push(format!(" AND {column} >= ")).push_bind(from.to_datetime());
    }
    if let Some(to) = span.to {
        sql.push(format!(" AND {column} < ")).push_bind(to.to_datetime());
    }
}

fn names(statuses: impl IntoIterator<Item = JobStatus>) -> Vec<&'static str> {
    statuses.into_iter().map(JobStatus::name).collect()
}

/// From which rows, and which of them. `with_job`: the job's row is wanted in any case.
pub(super) fn push_from(sql: &mut Sql, filter: &JobFilter, driver: &Driver<'_>, with_job: bool) {
    let (created_at, id) = driver.key();
    match driver {
        Driver::Label(name, values) => {
            sql.push(" FROM grid_read.job_labels l");
            if with_job || !filter.statuses.is_empty() || !filter.external_ids.is_empty() {
                sql.push(" JOIN grid_read.jobs j ON j.id = l.job");
            }
            sql.push(" WHERE l.name = ").push_bind((*name).to_owned());
            push_one_of(sql, "l.value", values);
        }
        Driver::All | Driver::Ids | Driver::Statuses(_) | Driver::ExternalIds(_) => {
            sql.push(" FROM grid_read.jobs j WHERE true");
        }
    }
    if !filter.ids.is_empty() {
        let ids: Vec<Uuid> = filter.ids.iter().map(|id| id.0).collect();
        sql.push(format!(" AND {id} = ANY(")).push_bind(ids).push(")");
    }
    match driver {
        Driver::ExternalIds(values) => push_one_of(sql, NAME, values),
        _ if filter.external_ids.is_empty() => {}
        _ => push_one_of(
            sql,
            NAME,
            &filter.external_ids.iter().map(String::as_str).collect::<Vec<_>>(),
        ),
    }
    match driver {
        // As a range, so that the order may begin with it: see `Keys::push_branch`.
        Driver::Statuses(values) if with_job && values.len() == 1 => {
            let status = names(values.iter().copied()).concat();
            sql.push(" AND j.status >= ").push_bind(status.clone());
            sql.push(" AND j.status <= ").push_bind(status);
        }
        Driver::Statuses(values) => push_one_of(sql, "j.status", &names(values.iter().copied())),
        _ if filter.statuses.is_empty() => {}
        _ => push_one_of(sql, "j.status", &names(filter.statuses.iter().copied())),
    }
    push_span(sql, created_at, filter.created);
    for (name, values) in filter.labels.iter() {
        if matches!(driver, Driver::Label(driving, _) if *driving == name) {
            continue;
        }
        sql.push(format!(
            " AND EXISTS (SELECT FROM grid_read.job_labels m WHERE m.job = {id} AND m.name = "
        ));
        sql.push_bind(name.to_owned());
        push_one_of(sql, "m.value", &values);
        sql.push(")");
    }
}

/// Lets labels and jobs be merged, both in the order of their indexes, when many have to be passed over or counted: a
/// lookup of each job would take longer. The times are the same; but whoever guesses how many rows are left believes that
/// they are two conditions, so it is not said where the first few rows are wanted.
pub(super) fn push_merged(sql: &mut Sql, filter: &JobFilter, driver: &Driver<'_>) {
    if matches!(driver, Driver::Label(..)) && !filter.statuses.is_empty() {
        sql.push(" AND j.created_at = l.created_at");
    }
}

/// Keys that may be passed over one by one.
const FEW: u64 = 500;

/// Which keys, in which order.
pub(super) struct Keys<'a> {
    pub filter: &'a JobFilter,
    pub by: JobSort,
    pub direction: Direction,
    pub after: Option<&'a JobKey>,
    /// The job with the key `after` as well.
    pub inclusive: bool,
    pub skip: u64,
    pub limit: u64,
    /// How many of each job's tasks are wanted, from its row: jobs without any are left out, and the keys have the
    /// columns `task_count` and `expected` besides.
    pub expected: Option<&'a str>,
}

impl Keys<'_> {
    pub(super) fn push(&self, sql: &mut Sql) {
        let drivers = match self.by {
            JobSort::CreatedAt => Driver::of(self.filter).split(),
            // In the order of another index: everything else is looked at on the way.
            JobSort::FinishedAt | JobSort::ExternalId => vec![Driver::All],
        };
        if let [driver] = drivers.as_slice() {
            return self.push_branch(sql, driver, self.skip, self.limit);
        }
        sql.push("SELECT * FROM (");
        for (number, driver) in drivers.iter().enumerate() {
            sql.push(if number == 0 { "(" } else { " UNION ALL (" });
            self.push_branch(sql, driver, 0, self.skip.saturating_add(self.limit));
            sql.push(")");
        }
        sql.push(format!(") u {}", order_by("u.", self.by, self.direction)));
        push_limit(sql, self.skip, self.limit);
    }

    fn push_branch(&self, sql: &mut Sql, driver: &Driver<'_>, skip: u64, limit: u64) {
        let (created_at, id) = driver.key();
        let sorted = match self.by {
            JobSort::CreatedAt => created_at,
            JobSort::FinishedAt => END,
            JobSort::ExternalId => NAME,
        };
        sql.push(format!(
            "SELECT {sorted} AS sorted, {created_at} AS created_at, {id} AS id"
        ));
        if let Some(expected) = self.expected {
            sql.push(format!(", j.task_count, {expected} AS expected"));
        }
        push_from(sql, self.filter, driver, self.expected.is_some());
        if self.skip > FEW {
            push_merged(sql, self.filter, driver);
        }
        if let Some(expected) = self.expected {
            sql.push(format!(" AND {expected} > 0"));
        }
        if let Some(key) = self.after {
            self.push_after(sql, (sorted, created_at, id), key);
        }
        let order = self.direction.sql();
        let sorted = match (self.by, driver) {
            // Counters are in no index. Whoever estimates how many jobs have some may be far off, and would look through
            // all jobs, newest first: only the index of the statuses has this order.
            (JobSort::CreatedAt, Driver::Statuses(_)) if self.expected.is_some() => {
                format!("j.status {}, ", self.direction.reversed().sql())
            }
            (JobSort::CreatedAt, _) => String::new(),
            (JobSort::FinishedAt | JobSort::ExternalId, _) => format!("{sorted} {order}, "),
        };
        sql.push(format!(" ORDER BY {sorted}{created_at} {order}, {id} {order}"));
        push_limit(sql, skip, limit);
    }

    fn push_after(&self, sql: &mut Sql, (sorted, created_at, id): (&str, &str, &str), key: &JobKey) {
        let mut beyond = self.direction.beyond().to_owned();
        if self.inclusive {
            beyond.push('=');
        }
        let at = key.created_at.to_datetime();
        match &key.sorted {
            Sorted::CreatedAt => {
                sql.push(format!(" AND ({created_at}, {id}) {beyond} ("));
            }
            Sorted::FinishedAt(end) => {
                let end: Option<DateTime<Utc>> = end.map(Timestamp::to_datetime);
                sql.push(format!(" AND ({sorted}, {created_at}, {id}) {beyond} (COALESCE("));
                sql.push_bind(end).push(", 'infinity'), ");
            }
            Sorted::ExternalId(text) => {
                sql.push(format!(" AND ({sorted}, {created_at}, {id}) {beyond} ("));
                sql.push_bind(text.clone()).push(", ");
            }
        }
        sql.push_bind(at).push(", ").push_bind(key.id.0).push(")");
    }
}

fn push_limit(sql: &mut Sql, skip: u64, limit: u64) {
    if skip > 0 {
        sql.push(" OFFSET ").push_bind(to_i64(skip));
    }
    sql.push(" LIMIT ").push_bind(to_i64(limit));
}

/// Of the columns that [`Keys`] gives.
fn order_by(of: &str, by: JobSort, direction: Direction) -> String {
    let direction = direction.sql();
    let sorted = match by {
        JobSort::CreatedAt => String::new(),
        JobSort::FinishedAt | JobSort::ExternalId => format!("{of}sorted {direction}, "),
    };
    format!("ORDER BY {sorted}{of}created_at {direction}, {of}id {direction}")
}

pub(super) fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Reading {
    /// `size` jobs from `start` on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        order: JobOrder,
        start: &Start<JobKey>,
        size: u32,
    ) -> Result<Slice<JobRow>, sqlx::Error> {
        let mut keys = Keys {
            filter,
            by: order.by,
            direction: order.direction,
            after: None,
            inclusive: false,
            skip: 0,
            limit: u64::from(size) + 1,
            expected: None,
        };
        match start {
            Start::After(key) => keys.after = Some(key),
            Start::Offset { offset, total } => {
                keys.skip = *offset;
                if let Some(total) = total {
                    let left = total.saturating_sub(*offset);
                    keys.limit = keys.limit.min(left);
                    let behind = left - keys.limit;
                    // From the end that is nearer: at most half of the keys are passed over.
                    if behind < *offset {
                        (keys.direction, keys.skip) = (order.direction.reversed(), behind);
                    }
                }
            }
        }
        if keys.limit == 0 {
            return Ok(Slice::cut(Vec::new(), size));
        }
        let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM ("));
        keys.push(&mut sql);
        let order = order_by("k.", order.by, order.direction);
        sql.push(format!(") k JOIN grid_read.jobs j ON j.id = k.id {order}"));
        // What is best depends on the values: planned anew each time.
        let rows = sql.build().persistent(false).fetch_all(&self.pool).await?;
        Ok(Slice::cut(read_all(&rows)?, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let key = |sorted| JobKey {
            sorted,
            created_at: Timestamp::from_ms(1_700_000_000_123),
            id: JobId(Uuid::from_u128(77)),
        };
        for (by, sorted) in [
            (JobSort::CreatedAt, Sorted::CreatedAt),
            (JobSort::FinishedAt, Sorted::FinishedAt(None)),
            (JobSort::FinishedAt, Sorted::FinishedAt(Some(Timestamp::from_ms(5)))),
            (JobSort::ExternalId, Sorted::ExternalId("größe".to_owned())),
        ] {
            let key = key(sorted);
            assert_eq!(JobKey::from_bytes(&key.to_bytes(), by), Some(key));
        }
        assert_eq!(JobKey::from_bytes(b"short", JobSort::CreatedAt), None);
    }
}
