//! Workers: what is known of them for good, and what they do at the moment.

use actix_web::{HttpRequest, HttpResponse, web};

use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{At, WorkerView};
use super::{Api, Caller};
use crate::domain::WorkerName;
use crate::event::Command;
use crate::projection::{WorkerKey, WorkerRow};
use crate::shard::Liveness;

impl Api {
    pub(super) fn worker_view(&self, row: WorkerRow) -> WorkerView {
        let live = (self.parts.live_workers)(&row.name);
        // What is heard of an earlier process of the name says nothing of this one.
        let live = live.filter(|live| live.incarnation == row.incarnation && row.left_at.is_none());
        let state = match (&live, row.left_at) {
            (_, Some(_)) => Liveness::Inactive,
            (Some(live), None) => live.liveness,
            (None, None) => Liveness::Pending,
        };
        let beat = live.as_ref().map(|live| &live.beat);
        WorkerView {
            worker_id: row.name.to_string(),
            endpoint_url: row.endpoint_url,
            current_tasks: beat.map_or(0, |beat| beat.running),
            max_capacity: beat.map_or(row.max_capacity, |beat| beat.max_capacity),
            state: match state {
                Liveness::Active => "ACTIVE",
                Liveness::Inactive => "INACTIVE",
                Liveness::Pending => "PENDING",
            },
            draining: row.left_at.is_none() && (row.draining || beat.is_some_and(|beat| beat.draining)),
            cordoned: row.cordoned,
            last_heartbeat_at: live.as_ref().map(|live| live.heard_at),
            registered_at: row.registered_at,
            created_at: row.created_at,
            cpu_cores: beat.map(|beat| beat.cpu_cores),
            memory_bytes: beat.map(|beat| beat.memory_bytes),
            labels: row.labels,
        }
    }

    pub(super) async fn worker_now(&self, name: &WorkerName) -> Result<WorkerView, Problem> {
        Ok(self.worker_view(self.worker(name).await?))
    }

    /// No new work for the name; what its process runs goes on.
    ///
    /// # Errors
    /// 404 when no process ever registered under it; else as every command.
    pub(super) async fn cordon_worker(&self, name: WorkerName, caller: &Caller) -> Result<At<WorkerView>, Problem> {
        let command = Command::CordonWorker { worker: name.clone() };
        self.command_worker(command, &name, caller).await
    }

    /// Work again.
    ///
    /// # Errors
    /// As [`Api::cordon_worker`].
    pub(super) async fn uncordon_worker(&self, name: WorkerName, caller: &Caller) -> Result<At<WorkerView>, Problem> {
        let command = Command::UncordonWorker { worker: name.clone() };
        self.command_worker(command, &name, caller).await
    }

    /// No new work for the name, and its process finishes what it runs, hands back what it has not begun, and leaves.
    ///
    /// # Errors
    /// As [`Api::cordon_worker`]; 409 when the process has left and its name is not cordoned.
    pub(super) async fn drain_worker(&self, name: WorkerName, caller: &Caller) -> Result<At<WorkerView>, Problem> {
        let command = Command::DrainWorker { worker: name.clone() };
        self.command_worker(command, &name, caller).await
    }

    async fn command_worker(
        &self,
        command: Command,
        name: &WorkerName,
        caller: &Caller,
    ) -> Result<At<WorkerView>, Problem> {
        // A name that nobody ever bore is known here.
        let incarnation = self.worker(name).await?.incarnation;
        let position = self
            .commands
            .worker_command(command, name.clone(), incarnation, caller)
            .await?;
        Ok(At {
            object: self.worker_now(name).await?,
            position: self.token(position),
        })
    }

    pub(super) async fn worker(&self, name: &WorkerName) -> Result<WorkerRow, Problem> {
        let row = self
            .reading
            .worker(name)
            .await
            .map_err(|error| Problem::database(&error))?;
        row.ok_or_else(|| Problem::not_found(name))
    }
}

pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let workers = ListId::new(ListKind::Workers, &());
    let query = PageQuery::read(&params, &workers, 50)?;
    let after = query.after.as_deref();
    let after = after
        .map(|key| WorkerKey::from_bytes(key).ok_or_else(PageQuery::bad_cursor))
        .transpose()?;
    api.wait_for_position(&params).await?;
    let database = |error: sqlx::Error| Problem::database(&error);
    let total = api.reading.worker_count().await.map_err(database)?;
    let rows = match &after {
        Some(key) => api.reading.workers_after(key, query.size).await,
        None => api.reading.workers(query.offset(), query.size).await,
    };
    let rows = rows.map_err(database)?;
    let more = query.offset() + (rows.len() as u64) < total && rows.len() == query.size as usize;
    let next = rows
        .last()
        .filter(|_| more)
        .map(|row| query.next(&workers, &row.key().to_bytes()));
    let items = rows.into_iter().map(|row| api.worker_view(row)).collect();
    Ok(HttpResponse::Ok().json(List::new(&query, items, total, next)))
}

pub async fn get(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &["minPosition"])?;
    let name: WorkerName = id.parse()?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.worker_now(&name).await?))
}

pub async fn cordon(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(api.cordon_worker(id.parse()?, &Api::caller(&request)).await?))
}

pub async fn uncordon(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(api.uncordon_worker(id.parse()?, &Api::caller(&request)).await?))
}

pub async fn drain(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok().json(api.drain_worker(id.parse()?, &Api::caller(&request)).await?))
}
