//! Erasure: what is known of a finished job beside the log is removed, and what the log keeps is told.
//!
//! Must stay true: a purge is written down, with who wished it, before anything is removed, and from then on the document
//! is not shown and the job not tried again; one that was interrupted can be run again, and so can one that was not. What
//! cannot be removed where it is kept is found out first.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;

use super::Api;
use super::auth::Caller;
use super::params::Params;
use super::problem::Problem;
use crate::clock;
use crate::domain::{JobId, JobStatus, Position, Seq, Timestamp};
use crate::log::Log;
use crate::logs::StoreError as LogStoreError;
use crate::metrics::StoreError as MetricStoreError;
use crate::projection::PositionToken;

/// What stays, whatever is purged.
pub const KEPT: [&str; 4] = [
    "the events of the job and its tasks, in the log and in grid.events: times, workers, states, external ids, labels, names \
     of tasks, principals, and of failures the message, causes and last lines; they go with their day, by retention",
    "the SHA-256 of the normalised document, in the first event",
    "what is shown of these events: the job, its tasks, their histories",
    "copies outside of the stores: backups, consumers of grid.events, what workers or a Vector still hold to hand over, \
     files that the tasks wrote",
];

/// What a purge removed, or would remove.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Purge)]
#[serde(rename_all = "camelCase")]
pub struct PurgeView {
    pub job_id: JobId,
    /// Nothing was removed: it is what would be.
    pub dry_run: bool,
    pub purged_by: String,
    /// When it was done; null: not yet.
    pub purged_at: Option<Timestamp>,
    /// SHA-256 of the normalised document; null: an earlier purge has removed it.
    pub document_hash: Option<String>,
    /// Other jobs have the same document, so that only the one that was submitted goes.
    pub document_shared: bool,
    /// Lines in Postgres.
    pub log_lines: u64,
    /// Where lines are kept: postgres, or victorialogs, which does not tell how many it removes.
    pub log_store: String,
    /// Points of metrics in Postgres.
    pub metric_points: u64,
    /// Where points are kept: postgres, or influxdb, which does not tell how many it removes.
    pub metric_store: String,
    pub dead_letters: u64,
    pub checkpoints: u64,
    /// What is not removed, for people.
    pub keeps: Vec<String>,
}

/// Whether, when and by whom a job was purged.
#[derive(Clone, Debug)]
pub struct Purged {
    by: String,
    requested_at: Timestamp,
    finished: bool,
}

impl Purged {
    /// The last purge of the job that has finished, else the last that was begun.
    pub async fn of(pool: &PgPool, job: JobId) -> Result<Option<Self>, Problem> {
        let last = "
            SELECT purged_by, floor(extract(epoch FROM requested_at) * 1000)::bigint, finished_at IS NOT NULL
            FROM purges WHERE job = $1 ORDER BY finished_at IS NOT NULL DESC, id DESC LIMIT 1";
        let row = sqlx::query(last).bind(job.0).fetch_optional(pool).await;
        let read = |row: &PgRow| {
            Ok(Self {
                by: row.try_get(0)?,
                requested_at: Timestamp::from_ms(row.try_get(1)?),
                finished: row.try_get(2)?,
            })
        };
        let row = row.map_err(|error| Problem::database(&error))?;
        let purged: Result<_, sqlx::Error> = row.as_ref().map(read).transpose();
        purged.map_err(|error| Problem::database(&error))
    }

    /// For who wants the document.
    pub fn document(&self, job: JobId) -> Problem {
        Problem::new(
            StatusCode::GONE,
            "DOCUMENT_PURGED",
            format!("the document of {job} was purged {}", self.told()),
        )
    }

    /// For who wants to try the job again.
    pub fn retry(&self, job: JobId) -> Problem {
        let detail = format!(
            "{job} was purged {}, and without its document it cannot be tried again; submit it as a new job",
            self.told()
        );
        Problem::new(StatusCode::CONFLICT, "JOB_PURGED", detail)
    }

    fn told(&self) -> String {
        let Self {
            by,
            requested_at,
            finished,
        } = self;
        let interrupted = if *finished {
            ""
        } else {
            "; that purge has not finished: run it again"
        };
        format!("by {by} at {requested_at}{interrupted}")
    }
}

impl Api {
    /// Removes what is known of a finished job beside the log; with `dry_run` tells what that would be.
    ///
    /// # Errors
    /// 404 and 410 for a job that is not there; 409 for one that has not finished, or when a store removes nothing; 503 when
    /// a store does not answer: then it is to be run again.
    pub(super) async fn purge(&self, id: JobId, dry_run: bool, caller: &Caller) -> Result<PurgeView, Problem> {
        self.refuse_unfinished(id).await?;
        let log_store = self.parts.logs.can_erase().await.map_err(refused_by_logs)?;
        let metric_store = self.parts.metric_store.place();
        let view = |row: &PgRow| -> Result<PurgeView, sqlx::Error> {
            Ok(PurgeView {
                job_id: id,
                dry_run,
                purged_by: caller.principal.to_string(),
                purged_at: None,
                document_hash: row.try_get("document_hash")?,
                document_shared: row.try_get("document_shared").unwrap_or_default(),
                log_lines: row.try_get::<i64, _>("log_lines")?.unsigned_abs(),
                log_store: log_store.to_owned(),
                metric_points: row.try_get::<i64, _>("metric_points")?.unsigned_abs(),
                metric_store: metric_store.to_owned(),
                dead_letters: row.try_get::<i64, _>("dead_letters")?.unsigned_abs(),
                checkpoints: row.try_get::<i64, _>("checkpoints")?.unsigned_abs(),
                keeps: KEPT.map(str::to_owned).to_vec(),
            })
        };
        if dry_run {
            let row = foretell(&self.parts.log, id).await?;
            return view(&row).map_err(|error| Problem::database(&error));
        }
        let purge = begin(&self.parts.log, id, &caller.principal).await?;
        // A retry that was let in before may have been decided meanwhile; from here on none is let in.
        self.refuse_unfinished(id).await?;
        let name = id.to_string();
        self.parts.logs.erase(&name).await.map_err(refused_by_logs)?;
        self.parts
            .metric_store
            .erase(&name)
            .await
            .map_err(|error| refused_by_metrics(&error))?;
        let row = carry_out(&self.parts.log, purge).await?;
        let mut view = view(&row).map_err(|error| Problem::database(&error))?;
        view.purged_at = Some(clock::now());
        tracing::info!(job = %id, principal = %caller.principal, purge, "api.job_purged");
        Ok(view)
    }

    async fn refuse_unfinished(&self, id: JobId) -> Result<(), Problem> {
        self.read_all_of(id).await?;
        if self.job(id).await?.status == JobStatus::Running.name() {
            let detail = format!("{id} has not finished; kill it first");
            return Err(Problem::new(StatusCode::CONFLICT, "NOT_FINISHED", detail));
        }
        Ok(())
    }

    /// Waits until the read models have all that is committed in the job's shard: a job that was just tried again has not
    /// finished.
    async fn read_all_of(&self, id: JobId) -> Result<(), Problem> {
        let shard = id.shard(self.shards);
        let heads = self
            .parts
            .log
            .heads()
            .await
            .map_err(|error| Problem::database(&error))?;
        let last = heads
            .iter()
            .find(|head| head.shard == shard)
            .map_or(0, |head| head.next_seq.0.saturating_sub(1));
        if last == 0 {
            return Ok(());
        }
        let position = Position { shard, seq: Seq(last) };
        self.wait_for_token(&PositionToken::new(self.parts.timeline, position))
            .await
    }

    /// Refuses to try a job again whose document is purged.
    pub(super) async fn refuse_purged(&self, id: JobId) -> Result<(), Problem> {
        match Purged::of(self.parts.log.pool(), id).await? {
            Some(purged) => Err(purged.retry(id)),
            None => Ok(()),
        }
    }

    /// Why a job has no document: it was purged, or there is no such job.
    pub(super) async fn missing_document(&self, id: JobId) -> Problem {
        match Purged::of(self.parts.log.pool(), id).await {
            Ok(Some(purged)) => purged.document(id),
            Ok(None) => self.missing_job(id).await,
            Err(problem) => problem,
        }
    }
}

async fn foretell(log: &Log, id: JobId) -> Result<PgRow, Problem> {
    unhurried(
        log,
        "api.purge.foretell",
        "SELECT * FROM grid_purgeable($1)",
        Bound::Job(id),
    )
    .await
}

async fn carry_out(log: &Log, purge: i64) -> Result<PgRow, Problem> {
    unhurried(log, "api.purge", "SELECT * FROM grid_purge($1)", Bound::Purge(purge)).await
}

enum Bound {
    Job(JobId),
    Purge(i64),
}

/// One row, for which a job of a million lines takes its time.
async fn unhurried(log: &Log, name: &'static str, sql: &'static str, bound: Bound) -> Result<PgRow, Problem> {
    let pool = log.pool().clone();
    let unit = async move {
        let mut transaction = pool.begin().await?;
        sqlx::query("SET LOCAL statement_timeout = 0")
            .execute(&mut *transaction)
            .await?;
        let query = match bound {
            Bound::Job(id) => sqlx::query(sql).bind(id.0),
            Bound::Purge(purge) => sqlx::query(sql).bind(purge),
        };
        let row = query.fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(row)
    };
    log.run(name, unit).await.map_err(|error| Problem::database(&error))
}

/// Writes down that it is wished.
async fn begin(log: &Log, id: JobId, principal: &str) -> Result<i64, Problem> {
    let note = "INSERT INTO purges (job, purged_by) VALUES ($1, $2) RETURNING id";
    let noted = sqlx::query_scalar(note).bind(id.0).bind(principal);
    noted
        .fetch_one(log.pool())
        .await
        .map_err(|error| Problem::database(&error))
}

fn refused_by_logs(error: LogStoreError) -> Problem {
    match error {
        LogStoreError::CannotErase(why) => Problem::new(StatusCode::CONFLICT, "CANNOT_ERASE", why),
        other => Problem::unavailable(format!("{other}; run the purge again")),
    }
}

fn refused_by_metrics(error: &MetricStoreError) -> Problem {
    Problem::unavailable(format!("{error}; run the purge again"))
}

/// `POST /api/v1/jobs/{jobId}/purge`.
pub async fn purge(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["dryRun"])?;
    let dry_run = params.flag("dryRun")?;
    let id: JobId = id.parse()?;
    Ok(HttpResponse::Ok().json(api.purge(id, dry_run, &Api::caller(&request)).await?))
}
