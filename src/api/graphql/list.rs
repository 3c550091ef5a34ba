//! Lists in the manner of Relay's connections: <https://relay.dev/graphql/connections.htm>, forwards.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Object, SimpleObject};

use super::fault::Answer;
use super::job::api;
use super::limits::GraphqlOptions;
use crate::api::problem::Problem;
use crate::projection::{JobFilter, from_base64url, to_base64url};

/// A list whose total is known.
pub type Counted<T> = Connection<String, T, Total>;
/// A list whose total nobody counts.
pub type List<T> = Connection<String, T>;
/// A list of jobs, whose total is counted when it is asked for.
pub type Jobs<T> = Connection<String, T, JobTotal>;

#[derive(SimpleObject)]
pub struct Total {
    /// Of the whole list.
    pub total_count: i64,
}

pub struct JobTotal(pub JobFilter);

#[Object]
impl JobTotal {
    /// Of the whole list; a moment old when it is large.
    async fn total_count(&self, context: &Context<'_>) -> Answer<i64> {
        let count = api(context).reading.job_count(&self.0, false).await;
        let count = count.map_err(|error| Problem::database(&error))?;
        Ok(signed(count))
    }
}

/// How many items are asked for, within the limit.
///
/// # Errors
/// 400 when it is not from 1 to `graphql.list_size`.
pub fn size(context: &Context<'_>, first: i32) -> Answer<u32> {
    up_to(context.data_unchecked::<GraphqlOptions>().list_size, first)
}

/// As [`size`], within another limit.
///
/// # Errors
/// 400 when it is not from 1 to `most`.
pub fn up_to(most: u32, first: i32) -> Answer<u32> {
    match u32::try_from(first) {
        Ok(size) if (1..=most).contains(&size) => Ok(size),
        _ => Err(Problem::bad_parameter(
            "first",
            format!("expected a whole number from 1 to {most}, found {first}"),
        )
        .into()),
    }
}

/// How many items come before what is asked for.
///
/// # Errors
/// 400 when there is no such page, or a cursor is given as well.
pub fn offset(page: Option<i32>, has_cursor: bool, size: u32) -> Answer<u64> {
    match page.map(u64::try_from) {
        None => Ok(0),
        Some(Ok(page)) if !has_cursor => Ok(page * u64::from(size)),
        Some(Ok(_)) => Err(Problem::bad_parameter("page", "give either page or after").into()),
        Some(Err(_)) => {
            let message = format!("expected a whole number from 0, found {}", page.unwrap_or_default());
            Err(Problem::bad_parameter("page", message).into())
        }
    }
}

/// A number of things as GraphQL has it.
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What an explanation costs: it alone is not read for all items of a list at once.
pub const EXPLANATION: usize = 500;

/// What a list of so many items costs.
pub fn cost(first: i32, of_each: usize) -> usize {
    usize::try_from(first)
        .unwrap_or(1)
        .max(1)
        .saturating_mul(of_each)
        .saturating_add(1)
}

fn bad_cursor() -> Problem {
    Problem::bad_parameter("after", "it is not a cursor of this list: take it from endCursor")
}

/// The key that a cursor of a list stands for. Each list has its letter.
///
/// # Errors
/// 400 when it is not one of this list.
pub fn read_cursor<T>(letter: u8, after: Option<&str>, read: impl FnOnce(&[u8]) -> Option<T>) -> Answer<Option<T>> {
    let Some(text) = after else { return Ok(None) };
    let bytes = from_base64url(text).ok_or_else(bad_cursor)?;
    let key = bytes.split_first().filter(|(known, _)| **known == letter);
    let key = key.and_then(|(_, key)| read(key)).ok_or_else(bad_cursor)?;
    Ok(Some(key))
}

pub fn cursor(letter: u8, key: &[u8]) -> String {
    to_base64url(&[&[letter], key].concat())
}

/// A number as the key of a cursor.
pub fn read_number(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.try_into().ok()?))
}

/// A list of these items and their cursors.
pub fn counted<T: async_graphql::OutputType>(
    after: bool,
    more: bool,
    total: i64,
    items: impl IntoIterator<Item = (String, T)>,
) -> Counted<T> {
    let mut list = Connection::with_additional_fields(after, more, Total { total_count: total });
    list.edges
        .extend(items.into_iter().map(|(cursor, node)| Edge::new(cursor, node)));
    list
}

/// As [`counted`], without a total.
pub fn list<T: async_graphql::OutputType>(
    after: bool,
    more: bool,
    items: impl IntoIterator<Item = (String, T)>,
) -> List<T> {
    let mut list = Connection::new(after, more);
    list.edges
        .extend(items.into_iter().map(|(cursor, node)| Edge::new(cursor, node)));
    list
}
