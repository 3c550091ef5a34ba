//! Parts of many histories at once, in one statement for all of them.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::reader::days_of;
use super::stored::{COLUMNS, StoredEvent};
use super::{Error, Log};
use crate::domain::StreamId;

/// Part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HistoryPart {
    pub stream: StreamId,
    /// Oldest first: after this version; newest first: before it, 0: from the last on.
    pub from: u32,
    pub limit: u32,
    pub oldest_first: bool,
}

impl Log {
    /// The events of each part, in its order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn histories(&self, parts: &[HistoryPart]) -> Result<HashMap<HistoryPart, Vec<StoredEvent>>, Error> {
        let mut found: HashMap<HistoryPart, Vec<StoredEvent>> = HashMap::new();
        for oldest_first in [true, false] {
            let parts: Vec<HistoryPart> = parts
                .iter()
                .filter(|part| part.oldest_first == oldest_first)
                .copied()
                .collect();
            if parts.is_empty() {
                continue;
            }
            for (place, event) in self.read_parts(parts.clone(), oldest_first).await? {
                if let Some(part) = parts.get(place) {
                    found.entry(*part).or_default().push(event);
                }
            }
        }
        Ok(found)
    }

    async fn read_parts(
        &self,
        parts: Vec<HistoryPart>,
        oldest_first: bool,
    ) -> Result<Vec<(usize, StoredEvent)>, Error> {
        let (condition, order) = if oldest_first {
            ("e.version > k.edge", "ASC")
        } else {
            ("(k.edge = 0 OR e.version < k.edge)", "DESC")
        };
        let columns: Vec<String> = COLUMNS
            .split(", ")
            .map(|column| format!("e.{}", column.trim()))
            .collect();
        let sql = format!(
            "SELECT {}, k.place FROM unnest($1::int[], $2::int[], $3::uuid[], $4::int[], $5::int[], $6::bigint[])
                 WITH ORDINALITY AS k(first_day, last_day, job, task, edge, most, place)
             CROSS JOIN LATERAL (
                 SELECT * FROM events e WHERE e.day BETWEEN k.first_day AND k.last_day AND e.job = k.job
                     AND e.task = k.task AND {condition} ORDER BY e.version {order} LIMIT k.most
             ) e ORDER BY k.place, e.version {order}",
            columns.join(", ")
        );
        let days: Vec<(i32, i32)> = parts.iter().map(|part| days_of(part.stream)).collect();
        let keys: Vec<(Uuid, u32)> = parts.iter().map(|part| part.stream.columns()).collect();
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(days.iter().map(|(first, _)| *first).collect::<Vec<i32>>())
            .bind(days.iter().map(|(_, last)| *last).collect::<Vec<i32>>())
            .bind(keys.iter().map(|(id, _)| *id).collect::<Vec<Uuid>>())
            .bind(keys.iter().map(|(_, task)| *task as i32).collect::<Vec<i32>>())
            .bind(parts.iter().map(|part| part.from as i32).collect::<Vec<i32>>())
            .bind(parts.iter().map(|part| i64::from(part.limit)).collect::<Vec<i64>>());
        let pool = self.pool().clone();
        let unit = async move { Ok(query.fetch_all(&pool).await?) };
        let rows = self.run("log.histories", unit).await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let place = row.try_get::<i64, _>("place")?;
            Ok((
                usize::try_from(place - 1).unwrap_or(usize::MAX),
                StoredEvent::read(row)?,
            ))
        };
        rows.iter().map(read).collect()
    }
}
