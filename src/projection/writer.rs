//! Changes of rows as one statement: all shards, all tables, and the cursors by compare-and-set.
//!
//! Must stay true: the rows of a shard are written if and only if its cursor moved from where it was expected; one
//! statement is one transaction, so nothing is ever half written and no transaction waits open between round trips.

mod listed;

use std::collections::{BTreeMap, HashSet};

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Encode, PgPool, Postgres, Row, Type};

use super::change::Changes;
use super::columns::{AttemptColumns, JobColumns, MovedJobColumns, MovedWorkerColumns, TaskColumns, WorkerColumns};
use super::machine::{Move, WriteSet, Written};
use crate::domain::{Seq, ShardId};

/// The schema of the live read models.
pub const LIVE_SCHEMA: &str = "grid_read";

/// Writes read models in one schema, over a connection of its own.
#[derive(Clone, Debug)]
pub struct Writer {
    pool: PgPool,
    schema: &'static str,
}

/// A statement under construction: `?` in a part becomes the number of the next argument.
struct Statement {
    sql: String,
    arguments: PgArguments,
    numbered: usize,
    failed: Option<sqlx::error::BoxDynError>,
}

impl Statement {
    fn new() -> Self {
        Self {
            sql: String::with_capacity(4_096),
            arguments: PgArguments::default(),
            numbered: 0,
            failed: None,
        }
    }

    fn sql(&mut self, schema: &str, part: &str) -> &mut Self {
        for piece in part.split_inclusive('?') {
            let (text, argument) = match piece.strip_suffix('?') {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.sql.push_str(&text.replace("{schema}", schema));
            if argument {
                self.numbered += 1;
                self.sql.push('$');
                self.sql.push_str(&self.numbered.to_string());
            }
        }
        self
    }

    fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(&mut self, value: T) -> &mut Self {
        use sqlx::Arguments;
        if let Err(error) = self.arguments.add(value) {
            self.failed = Some(error);
        }
        self
    }
}

impl Writer {
    /// A writer of the live read models, on the same server as `pool`, with one connection of its own. Its commits do
    /// not wait for the disk: rows and cursor are lost together in a crash, which the projector looks out for, and read
    /// again from the log.
    pub fn new(pool: &PgPool) -> Self {
        Self::in_schema(pool, LIVE_SCHEMA)
    }

    pub(super) fn in_schema(pool: &PgPool, schema: &'static str) -> Self {
        let options: PgConnectOptions = (*pool.connect_options()).clone();
        let options = options
            .application_name("grid projector")
            .options([("synchronous_commit", "off"), ("jit", "off")])
            // Every row is found by its key. The plan must not depend on how big the tables were when it was made: they
            // grow from nothing to millions of rows between two looks of autovacuum.
            .options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")])
            .options([("enable_hashjoin", "off"), ("enable_mergejoin", "off")])
            .statement_cache_capacity(128);
        // A dead connection shows as a failed write, which is tried again anyway: no ping before each one.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .connect_lazy_with(options);
        Self { pool, schema }
    }

    /// The cursor of a shard; the first question makes it.
    ///
    /// # Errors
    /// When the database does not answer, or has no read models.
    pub async fn cursor(&self, shard: ShardId) -> Result<Seq, sqlx::Error> {
        let sql = "
            WITH made AS (
                INSERT INTO {schema}.projection_cursors (shard, seq, jobs) VALUES ($1, 0, 0)
                ON CONFLICT (shard) DO NOTHING RETURNING seq)
            SELECT seq FROM made UNION ALL SELECT seq FROM {schema}.projection_cursors WHERE shard = $1 LIMIT 1";
        let sql = sql.replace("{schema}", self.schema);
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(i32::from(shard.0))
            .fetch_one(&self.pool)
            .await?;
        Ok(Seq(row.try_get::<i64, _>(0)? as u64))
    }

    /// All cursors.
    ///
    /// # Errors
    /// When the database does not answer, or has no read models.
    pub async fn cursors(&self) -> Result<BTreeMap<ShardId, Seq>, sqlx::Error> {
        let sql = "SELECT shard, seq FROM {schema}.projection_cursors".replace("{schema}", self.schema);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        let cursor = |row: &sqlx::postgres::PgRow| {
            let (shard, seq): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
            Ok((ShardId(shard as u16), Seq(seq as u64)))
        };
        rows.iter().map(cursor).collect()
    }

    /// Writes the set. An error of one shard's rows does not hold back the others.
    ///
    /// Cancelling it leaves the outcome open; call it in a task of its own.
    pub async fn write(&self, set: WriteSet) -> Written {
        match self.execute(&set.moves, &set.changes).await {
            Ok(moved) => Written {
                moved,
                stalled: HashSet::new(),
            },
            Err(error) if set.moves.len() > 1 && is_of_the_data(&error) => self.write_apart(set).await,
            Err(error) => {
                report(&error, set.moves.len());
                Written {
                    moved: HashSet::new(),
                    stalled: set.moves.iter().map(|step| step.shard).collect(),
                }
            }
        }
    }

    async fn write_apart(&self, set: WriteSet) -> Written {
        let mut written = Written::default();
        let mut changes = set.changes;
        for step in set.moves {
            let part = changes.split_off(step.shard);
            match self.execute(&[step], &part).await {
                Ok(moved) => written.moved.extend(moved),
                Err(error) => {
                    report(&error, 1);
                    written.stalled.insert(step.shard);
                }
            }
        }
        written
    }

    async fn execute(&self, moves: &[Move], changes: &Changes) -> Result<HashSet<ShardId>, sqlx::Error> {
        let statement = self.statement(moves, changes);
        if let Some(error) = statement.failed {
            return Err(sqlx::Error::Encode(error));
        }
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), statement.arguments);
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok(ShardId(row.try_get::<i32, _>(0)? as u16)))
            .collect()
    }

    fn statement(&self, moves: &[Move], changes: &Changes) -> Statement {
        let mut statement = Statement::new();
        self.add_cursors(&mut statement, moves, changes);
        self.add_jobs(&mut statement, changes);
        self.add_names(&mut statement, changes);
        self.add_blocks(&mut statement, changes);
        self.add_attempts(&mut statement, changes);
        self.add_tasks(&mut statement, changes);
        self.add_workers(&mut statement, changes);
        statement.sql(self.schema, " SELECT shard FROM ok");
        statement
    }

    fn add_jobs(&self, statement: &mut Statement, changes: &Changes) {
        let (new, moved) = JobColumns::split(changes);
        if !new.id.is_empty() {
            self.add_new_jobs(statement, new);
        }
        if !moved.id.is_empty() {
            self.add_moved_jobs(statement, moved);
        }
    }

    fn add_new_jobs(&self, statement: &mut Statement, new: JobColumns) {
        statement
            .sql(
                self.schema,
                ", specs AS (
                    INSERT INTO {schema}.job_specs (id, spec)
                    SELECT u.id, u.spec::json FROM unnest(?::int[], ?::uuid[], ?::text[]) u(shard, id, spec)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
            )
            .bind(&new.shard)
            .bind(&new.id)
            .bind(new.spec)
            .sql(
                self.schema,
                ", new_jobs AS (
                    INSERT INTO {schema}.jobs (id, shard, external_id, labels, document_hash, principal, task_count,
                        max_parallel, deadline, created_at, finished_at, ready, scheduled, running, completed, failed,
                        retries_pending, final_error, final_timeout, final_killed, final_worker_lost,
                        final_handed_back, final_invalid_dag, final_authentication, final_unrecoverable, seq)
                    SELECT u.id, shard, external_id, labels::jsonb, document_hash, principal, task_count, max_parallel,
                        deadline, created_at, finished_at, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13,
                        seq
                    FROM unnest(?::int[], ?::uuid[], ?::text[], ?::text[], ?::text[], ?::text[], ?::int[], ?::int[],
                        ?::timestamptz[], ?::timestamptz[], ?::timestamptz[], ?::bigint[], ?::int[], ?::int[],
                        ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[],
                        ?::int[], ?::int[], ?::int[])
                        u(shard, id, external_id, labels, document_hash, principal, task_count, max_parallel, deadline,
                            created_at, finished_at, seq, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
            )
            .bind(new.shard)
            .bind(new.id)
            .bind(new.external_id)
            .bind(new.labels)
            .bind(new.document_hash)
            .bind(new.principal)
            .bind(new.task_count)
            .bind(new.max_parallel)
            .bind(new.deadline)
            .bind(new.created_at)
            .bind(new.finished_at)
            .bind(new.seq);
        for counter in new.counters {
            statement.bind(counter);
        }
    }

    fn add_moved_jobs(&self, statement: &mut Statement, moved: MovedJobColumns) {
        statement
            .sql(
                self.schema,
                ", moved_jobs AS (
                    UPDATE {schema}.jobs j SET
                        ready = j.ready + c0, scheduled = j.scheduled + c1, running = j.running + c2,
                        completed = j.completed + c3, failed = j.failed + c4, retries_pending = j.retries_pending + c5,
                        final_error = j.final_error + c6, final_timeout = j.final_timeout + c7,
                        final_killed = j.final_killed + c8, final_worker_lost = j.final_worker_lost + c9,
                        final_handed_back = j.final_handed_back + c10, final_invalid_dag = j.final_invalid_dag + c11,
                        final_authentication = j.final_authentication + c12,
                        final_unrecoverable = j.final_unrecoverable + c13,
                        finished_at = CASE WHEN u.sets_finished_at THEN u.finished_at ELSE j.finished_at END,
                        deadline = CASE WHEN u.sets_deadline THEN u.deadline ELSE j.deadline END,
                        seq = u.seq
                    FROM unnest(?::int[], ?::uuid[], ?::bool[], ?::timestamptz[], ?::bool[], ?::timestamptz[],
                        ?::bigint[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[],
                        ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[])
                        u(shard, id, sets_finished_at, finished_at, sets_deadline, deadline, seq, c0, c1, c2, c3, c4,
                            c5, c6, c7, c8, c9, c10, c11, c12, c13)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)) AND j.id = u.id)",
            )
            .bind(moved.shard)
            .bind(moved.id)
            .bind(moved.sets_finished_at)
            .bind(moved.finished_at)
            .bind(moved.sets_deadline)
            .bind(moved.deadline)
            .bind(moved.seq);
        for counter in moved.counters {
            statement.bind(counter);
        }
    }

    fn add_attempts(&self, statement: &mut Statement, changes: &Changes) {
        if changes.attempts.is_empty() {
            return;
        }
        let columns = AttemptColumns::new(&changes.attempts);
        statement
            .sql(
                self.schema,
                // All parts of the statement see the rows as they were before it.
                ", attempts AS (
                    INSERT INTO {schema}.attempts (job, number, attempt, worker, scheduled_at, started_at, finished_at,
                        reason, failure)
                    SELECT u.job, u.number, COALESCE(u.attempt, t.attempt), COALESCE(u.worker, t.worker),
                        COALESCE(u.scheduled_at, t.scheduled_at), COALESCE(u.started_at, t.started_at),
                        COALESCE(u.finished_at, t.finished_at), COALESCE(u.reason, t.reason),
                        COALESCE(u.failure::json, t.failure)
                    FROM unnest(?::int[], ?::uuid[], ?::int[], ?::bool[], ?::int[], ?::text[], ?::timestamptz[],
                        ?::timestamptz[], ?::timestamptz[], ?::text[], ?::text[])
                        u(shard, job, number, from_row, attempt, worker, scheduled_at, started_at, finished_at, reason,
                            failure)
                    LEFT JOIN {schema}.tasks t ON u.from_row AND t.job = u.job AND t.number = u.number
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)) AND COALESCE(u.scheduled_at, t.scheduled_at) IS NOT NULL)",
            )
            .bind(columns.shard)
            .bind(columns.job)
            .bind(columns.number)
            .bind(columns.from_row)
            .bind(columns.attempt)
            .bind(columns.told.worker)
            .bind(columns.told.scheduled_at)
            .bind(columns.told.started_at)
            .bind(columns.told.finished_at)
            .bind(columns.told.reason)
            .bind(columns.told.failure);
    }

    fn add_tasks(&self, statement: &mut Statement, changes: &Changes) {
        let (new, moved) = TaskColumns::split(changes);
        if !new.job.is_empty() {
            self.add_new_tasks(statement, new);
        }
        if !moved.job.is_empty() {
            self.add_moved_tasks(statement, moved);
        }
    }

    fn add_new_tasks(&self, statement: &mut Statement, new: TaskColumns) {
        statement
            .sql(
                self.schema,
                ", new_tasks AS (
                    INSERT INTO {schema}.tasks (job, number, attempt, retry_count, state, next_retry_at, worker,
                        scheduled_at, started_at, finished_at, reason, failure)
                    SELECT u.job, u.number, COALESCE(u.attempt, 0), COALESCE(u.retry_count, 0), u.state,
                        u.next_retry_at, u.worker, u.scheduled_at, u.started_at, u.finished_at, u.reason,
                        u.failure::json
                    FROM unnest(?::int[], ?::uuid[], ?::int[], ?::int[], ?::smallint[], ?::text[], ?::timestamptz[],
                        ?::text[], ?::timestamptz[], ?::timestamptz[], ?::timestamptz[], ?::text[], ?::text[])
                        u(shard, job, number, attempt, retry_count, state, next_retry_at, worker, scheduled_at,
                            started_at, finished_at, reason, failure)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
            )
            .bind(new.shard)
            .bind(new.job)
            .bind(new.number)
            .bind(new.attempt)
            .bind(new.retry_count)
            .bind(new.state)
            .bind(new.next_retry_at)
            .bind(new.told.worker)
            .bind(new.told.scheduled_at)
            .bind(new.told.started_at)
            .bind(new.told.finished_at)
            .bind(new.told.reason)
            .bind(new.told.failure);
    }

    fn add_moved_tasks(&self, statement: &mut Statement, moved: TaskColumns) {
        statement
            .sql(
                self.schema,
                ", moved_tasks AS (
                    UPDATE {schema}.tasks t SET
                        attempt = COALESCE(u.attempt, t.attempt),
                        retry_count = COALESCE(u.retry_count, t.retry_count),
                        state = u.state,
                        next_retry_at = u.next_retry_at,
                        worker = CASE WHEN u.cleared THEN u.worker ELSE COALESCE(u.worker, t.worker) END,
                        scheduled_at = CASE WHEN u.cleared THEN u.scheduled_at
                            ELSE COALESCE(u.scheduled_at, t.scheduled_at) END,
                        started_at = CASE WHEN u.cleared THEN u.started_at
                            ELSE COALESCE(u.started_at, t.started_at) END,
                        finished_at = CASE WHEN u.cleared THEN u.finished_at
                            ELSE COALESCE(u.finished_at, t.finished_at) END,
                        reason = CASE WHEN u.cleared THEN u.reason ELSE COALESCE(u.reason, t.reason) END,
                        failure = CASE WHEN u.cleared THEN u.failure::json
                            ELSE COALESCE(u.failure::json, t.failure) END
                    FROM unnest(?::int[], ?::uuid[], ?::int[], ?::bool[], ?::int[], ?::smallint[], ?::text[],
                        ?::timestamptz[], ?::text[], ?::timestamptz[], ?::timestamptz[], ?::timestamptz[], ?::text[],
                        ?::text[])
                        u(shard, job, number, cleared, attempt, retry_count, state, next_retry_at, worker,
                            scheduled_at, started_at, finished_at, reason, failure)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)) AND t.job = u.job AND t.number = u.number)",
            )
            .bind(moved.shard)
            .bind(moved.job)
            .bind(moved.number)
            .bind(moved.cleared)
            .bind(moved.attempt)
            .bind(moved.retry_count)
            .bind(moved.state)
            .bind(moved.next_retry_at)
            .bind(moved.told.worker)
            .bind(moved.told.scheduled_at)
            .bind(moved.told.started_at)
            .bind(moved.told.finished_at)
            .bind(moved.told.reason)
            .bind(moved.told.failure);
    }

    fn add_workers(&self, statement: &mut Statement, changes: &Changes) {
        let (registered, moved) = WorkerColumns::split(changes);
        if !registered.name.is_empty() {
            self.add_registered(statement, registered);
        }
        if !moved.name.is_empty() {
            self.add_moved_workers(statement, moved);
        }
    }

    fn add_registered(&self, statement: &mut Statement, registered: WorkerColumns) {
        statement
            .sql(
                self.schema,
                ", registered AS (
                    INSERT INTO {schema}.workers (name, shard, incarnation, endpoint_url, max_capacity, labels,
                        registered_at, created_at, left_at, left_cause, cordoned, draining, seq)
                    SELECT name, shard, incarnation, endpoint_url, max_capacity, labels::jsonb, registered_at,
                        created_at, left_at, left_cause, cordoned, draining, seq
                    FROM unnest(?::text[], ?::int[], ?::uuid[], ?::text[], ?::bigint[], ?::text[], ?::timestamptz[],
                        ?::timestamptz[], ?::timestamptz[], ?::text[], ?::bool[], ?::bool[], ?::bigint[])
                        u(name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at, created_at,
                            left_at, left_cause, cordoned, draining, seq)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok))
                    ON CONFLICT (name) DO UPDATE SET shard = excluded.shard, incarnation = excluded.incarnation,
                        endpoint_url = excluded.endpoint_url, max_capacity = excluded.max_capacity,
                        labels = excluded.labels, registered_at = excluded.registered_at, left_at = excluded.left_at,
                        left_cause = excluded.left_cause, cordoned = excluded.cordoned,
                        draining = excluded.draining, seq = excluded.seq)",
            )
            .bind(registered.name)
            .bind(registered.shard)
            .bind(registered.incarnation)
            .bind(registered.endpoint_url)
            .bind(registered.max_capacity)
            .bind(registered.labels)
            .bind(registered.registered_at)
            .bind(registered.created_at)
            .bind(registered.left_at)
            .bind(registered.left_cause)
            .bind(registered.cordoned)
            .bind(registered.draining)
            .bind(registered.seq);
    }

    fn add_moved_workers(&self, statement: &mut Statement, moved: MovedWorkerColumns) {
        statement
            .sql(
                self.schema,
                ", moved_workers AS (
                    UPDATE {schema}.workers w SET left_at = COALESCE(u.left_at, w.left_at),
                        left_cause = COALESCE(u.left_cause, w.left_cause),
                        cordoned = COALESCE(u.cordoned, w.cordoned), draining = COALESCE(u.draining, w.draining),
                        seq = u.seq
                    FROM unnest(?::text[], ?::int[], ?::uuid[], ?::timestamptz[], ?::text[], ?::bool[], ?::bool[],
                        ?::bigint[])
                        u(name, shard, incarnation, left_at, left_cause, cordoned, draining, seq)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)) AND w.name = u.name AND w.incarnation = u.incarnation)",
            )
            .bind(moved.name)
            .bind(moved.shard)
            .bind(moved.incarnation)
            .bind(moved.left_at)
            .bind(moved.left_cause)
            .bind(moved.cordoned)
            .bind(moved.draining)
            .bind(moved.seq);
    }
}

/// Whether the same rows would fail again: not a matter of connection, load, locks or shutdown.
fn is_of_the_data(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            !["08", "40", "53", "55", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }
        sqlx::Error::Encode(_) => true,
        _ => false,
    }
}

fn report(error: &sqlx::Error, shards: usize) {
    metrics::counter!("grid_projection_write_errors_total").increment(1);
    tracing::warn!(
        shards,
        error = %error,
        advice = "it is tried again from the log; when it persists run `grid verify`, then `grid rebuild`",
        "projection.write.failed",
    );
}
