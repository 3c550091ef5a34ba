//! Points in Postgres: series, raw points by day, and rollups of five minutes.
//!
//! Must stay true: a rollup is the sum of exactly the points that are there; a point given twice counts once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, QueryBuilder, Row};

use super::{Keeping, MetricStore, StoreError};
use crate::domain::Timestamp;
use crate::metrics::point::{Point, Tags};
use crate::metrics::query::{Answer, Query, Sample};
use crate::metrics::table::{Aggregation, Metric, TAGS};

/// Series that one question may need.
const MOST_SERIES: usize = 50_000;
/// Series that are known to be in the table; beyond that all are forgotten.
const MOST_KNOWN: usize = 100_000;
/// Days that partitions are made ahead of.
const DAYS_AHEAD: i32 = 2;
const TIDY_EVERY: Duration = Duration::from_secs(3_600);

const WRITE: &str = "
    WITH fresh AS (
        INSERT INTO metric_points (series, at, value)
        SELECT series, at, value FROM unnest($1::bigint[], $2::bigint[], $3::float8[]) AS given (series, at, value)
        ORDER BY series, at
        ON CONFLICT DO NOTHING
        RETURNING series, at, value
    )
    INSERT INTO metric_rollups AS kept (series, at, points, total, least, greatest, last_at, last)
    SELECT series, at - at % 300000 AS begins, count(*), sum(value), min(value), max(value), max(at),
           (array_agg(value ORDER BY at DESC))[1]
    FROM fresh GROUP BY series, begins ORDER BY series, begins
    ON CONFLICT (series, at) DO UPDATE SET
        points = kept.points + excluded.points,
        total = kept.total + excluded.total,
        least = least(kept.least, excluded.least),
        greatest = greatest(kept.greatest, excluded.greatest),
        last = CASE WHEN excluded.last_at > kept.last_at THEN excluded.last ELSE kept.last END,
        last_at = greatest(kept.last_at, excluded.last_at)";

const SERIES: &str = "
    INSERT INTO metric_series AS kept (id, metric, tags, first_day, last_day)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::jsonb[], $4::int[], $5::int[]) AS given (id, metric, tags, f, l)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET
        first_day = least(kept.first_day, excluded.first_day),
        last_day = greatest(kept.last_day, excluded.last_day)";

/// Windows of a table. The last value of each is asked for only where it is wanted: it is a sort of every group.
macro_rules! windows {
    ($table:literal, $values:literal, $last:literal) => {
        concat!(
            "SELECT wanted.place, point.at - point.at % $5 AS begins, ",
            $values,
            ", ",
            $last,
            " FROM unnest($1::bigint[], $2::int[]) AS wanted (series, place) JOIN ",
            $table,
            " point ON point.series = wanted.series WHERE point.at >= $3 AND point.at < $4
            GROUP BY place, begins ORDER BY begins DESC, place LIMIT $6"
        )
    };
}

const RAW: [&str; 2] = [
    windows!(
        "metric_points",
        "count(*), sum(value), min(value), max(value)",
        "NULL::float8"
    ),
    windows!(
        "metric_points",
        "count(*), sum(value), min(value), max(value)",
        "(array_agg(value ORDER BY point.at DESC))[1]"
    ),
];

const ROLLED_UP: [&str; 2] = [
    windows!(
        "metric_rollups",
        "sum(points)::bigint, sum(total), min(least), max(greatest)",
        "NULL::float8"
    ),
    windows!(
        "metric_rollups",
        "sum(points)::bigint, sum(total), min(least), max(greatest)",
        "(array_agg(last ORDER BY last_at DESC))[1]"
    ),
];

/// The store in Postgres.
pub struct Embedded {
    pool: PgPool,
    keeping: Keeping,
    /// Series and the day for which the table has them.
    known: Mutex<HashMap<i64, i32>>,
}

impl Embedded {
    /// Before anything is written, [`Embedded::tidy`] must have made partitions.
    pub fn new(pool: PgPool, keeping: Keeping) -> Self {
        Self {
            pool,
            keeping,
            known: Mutex::default(),
        }
    }

    /// Makes partitions for the days to come, and drops what has been kept long enough.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub async fn tidy(&self, now: Timestamp) -> Result<(), StoreError> {
        let today = now.day();
        sqlx::query("SELECT grid_make_metric_days($1, $2), grid_drop_metric_days($1, $3)")
            .bind(today - self.keeping.raw_days)
            .bind(today + DAYS_AHEAD)
            .bind(today - self.keeping.rollup_days)
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// Tidies every hour from now, for ever.
    pub async fn keep_tidy(&self) {
        let mut pause = TIDY_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.tidy(crate::clock::now()).await {
                Ok(()) => TIDY_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "metrics.not_tidied");
                    Duration::from_secs(10)
                }
            };
        }
    }

    async fn write_series(&self, series: &[Series<'_>]) -> Result<(), StoreError> {
        let unknown: Vec<&Series<'_>> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let is_unknown = |series: &&Series<'_>| known.get(&series.id) != Some(&series.day);
            series.iter().filter(is_unknown).collect()
        };
        // One row each: a statement may not touch a row twice.
        let mut rows: BTreeMap<i64, (&Series<'_>, i32, i32)> = BTreeMap::new();
        for series in unknown {
            let row = rows.entry(series.id).or_insert((series, series.day, series.day));
            (row.1, row.2) = (row.1.min(series.day), row.2.max(series.day));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let tags: Vec<Json<&Tags>> = rows.values().map(|(series, ..)| Json(series.tags)).collect();
        sqlx::query(SERIES)
            .bind(rows.keys().copied().collect::<Vec<_>>())
            .bind(rows.values().map(|(series, ..)| series.metric.name).collect::<Vec<_>>())
            .bind(tags)
            .bind(rows.values().map(|row| row.1).collect::<Vec<_>>())
            .bind(rows.values().map(|row| row.2).collect::<Vec<_>>())
            .execute(&self.pool)
            .await
            .map_err(not_written)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + rows.len() > MOST_KNOWN {
            known.clear();
        }
        known.extend(rows.iter().map(|(id, row)| (*id, row.2)));
        Ok(())
    }

    /// The series of the question: id, metric and tags.
    async fn series(&self, query: &Query) -> Result<Vec<(i64, String, BTreeMap<String, String>)>, StoreError> {
        let mut sql = QueryBuilder::<Postgres>::new("SELECT id, metric, tags FROM metric_series WHERE metric = ANY(");
        let names: Vec<&str> = query.metrics.iter().map(|metric| metric.stored()).collect();
        sql.push_bind(names)
            .push(") AND last_day >= ")
            .push_bind(query.from.day());
        sql.push(" AND first_day <= ").push_bind(query.to.day());
        for (key, values) in &query.tags {
            sql.push(" AND (");
            for (index, value) in values.iter().enumerate() {
                sql.push(if index == 0 { "tags @> " } else { " OR tags @> " });
                sql.push_bind(Json(BTreeMap::from([(*key, value)])));
            }
            sql.push(")");
        }
        sql.push(" LIMIT ").push_bind(MOST_SERIES.cast_signed() as i64 + 1);
        let rows = sql.build().fetch_all(&self.pool).await.map_err(unavailable)?;
        if rows.len() > MOST_SERIES {
            let found = rows.len();
            return Err(StoreError::TooMuch {
                found,
                most: MOST_SERIES,
            });
        }
        let read = |row: &sqlx::postgres::PgRow| {
            let tags: Json<BTreeMap<String, String>> = row.try_get(2)?;
            Ok((row.try_get(0)?, row.try_get(1)?, tags.0))
        };
        rows.iter()
            .map(read)
            .collect::<Result<_, sqlx::Error>>()
            .map_err(unavailable)
    }
}

struct Series<'a> {
    id: i64,
    metric: &'static Metric,
    tags: &'a Tags,
    day: i32,
}

/// The same in every process.
fn series_id(metric: &Metric, tags: &Tags) -> i64 {
    let mut hash = Sha256::new();
    hash.update(metric.name);
    for (name, value) in tags {
        // Lengths, so that no two series have the same text.
        hash.update([0]);
        hash.update(name);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    let hash = hash.finalize();
    i64::from_be_bytes(std::array::from_fn(|index| hash[index]))
}

#[async_trait]
impl MetricStore for Embedded {
    async fn write(&self, points: &[Point]) -> Result<u64, StoreError> {
        let (kept, left_out) = self.keeping.sift(points, crate::clock::now());
        let (mut series, mut ats, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for point in kept {
            for (metric, value) in point.values() {
                series.push(Series {
                    id: series_id(metric, &point.tags),
                    metric,
                    tags: &point.tags,
                    day: point.at.day(),
                });
                ats.push(point.at.as_ms());
                values.push(*value);
            }
        }
        if series.is_empty() {
            return Ok(left_out);
        }
        self.write_series(&series).await?;
        sqlx::query(WRITE)
            .bind(series.iter().map(|series| series.id).collect::<Vec<_>>())
            .bind(ats)
            .bind(values)
            .execute(&self.pool)
            .await
            .map_err(not_written)?;
        Ok(left_out)
    }

    async fn query(&self, query: &Query) -> Result<Answer, StoreError> {
        let groups = Groups::of(query, self.series(query).await?);
        if groups.places.is_empty() {
            return Ok(Answer::default());
        }
        let sql = if query.of_rollups() { ROLLED_UP } else { RAW };
        let sql = sql[usize::from(query.aggregation == Aggregation::Last)];
        let rows = sqlx::query(sql)
            .bind(&groups.series)
            .bind(&groups.places)
            .bind(query.from.as_ms())
            .bind(query.to.as_ms())
            .bind(query.interval.as_ms().cast_signed())
            .bind(i64::from(query.limit) + 1)
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        let truncated = rows.len() > query.limit as usize;
        let rows = rows.iter().take(query.limit as usize);
        let points: Result<Vec<Sample>, sqlx::Error> = rows.map(|row| groups.sample(query, row)).collect();
        let mut points = points.map_err(unavailable)?;
        points.sort_by(|a, b| (a.timestamp, a.metric, &a.tags).cmp(&(b.timestamp, b.metric, &b.tags)));
        Ok(Answer { points, truncated })
    }
}

/// Series that become one in the answer.
struct Groups {
    /// Of each: what it is called in the answer.
    names: Vec<(&'static Metric, BTreeMap<String, String>)>,
    /// A series and the group it goes to; a series may go to several.
    series: Vec<i64>,
    places: Vec<i32>,
}

impl Groups {
    fn of(query: &Query, found: Vec<(i64, String, BTreeMap<String, String>)>) -> Self {
        let mut index: HashMap<(&'static str, BTreeMap<String, String>), i32> = HashMap::new();
        let mut groups = Self {
            names: Vec::new(),
            series: Vec::new(),
            places: Vec::new(),
        };
        for (id, stored, mut tags) in found {
            if let Some(kept) = &query.group_by {
                tags.retain(|name, _| kept.contains(&name.as_str()));
            }
            tags.retain(|name, _| TAGS.contains(&name.as_str()));
            for metric in query.metrics.iter().filter(|metric| metric.stored() == stored) {
                let place = *index.entry((metric.name, tags.clone())).or_insert_with(|| {
                    groups.names.push((metric, tags.clone()));
                    i32::try_from(groups.names.len() - 1).unwrap_or(i32::MAX)
                });
                groups.series.push(id);
                groups.places.push(place);
            }
        }
        groups
    }

    fn sample(&self, query: &Query, row: &sqlx::postgres::PgRow) -> Result<Sample, sqlx::Error> {
        let place: i32 = row.try_get(0)?;
        let timestamp = Timestamp::from_ms(row.try_get(1)?);
        let (metric, tags) = &self.names[usize::try_from(place).unwrap_or_default()];
        let (count, sum): (i64, f64) = (row.try_get(2)?, row.try_get(3)?);
        let value = match query.aggregation_of(metric) {
            Aggregation::Mean => sum / count.max(1) as f64,
            Aggregation::Sum => sum,
            Aggregation::Min => row.try_get(4)?,
            Aggregation::Max => row.try_get(5)?,
            Aggregation::Last => row.try_get(6)?,
            Aggregation::Count => count as f64,
        };
        Ok(Sample {
            timestamp,
            metric: metric.name,
            value: query.value_of(metric, value),
            tags: tags.clone(),
        })
    }
}

/// Data that Postgres cannot take (class 22) it will not take the next time either.
fn not_written(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.is_some_and(|code| code.starts_with("22")) {
        return StoreError::Refused(error.to_string());
    }
    unavailable(error)
}

fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
