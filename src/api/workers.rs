//! Workers: what is known of them for good, and what they do at the moment.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};

use super::jobs::read_created;
use super::page::{List, ListId, ListKind, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{At, WorkerView};
use super::{Api, Caller};
use crate::domain::WorkerName;
use crate::event::Command;
use crate::projection::{Among, LabelPair, Slice, Start, WorkerFilter, WorkerKey, WorkerOrder, WorkerRow};
use crate::shard::{LiveWorker, Liveness};

/// `left`: it said so, or was given up.
fn state_of(live: Option<&LiveWorker>, left: bool) -> Liveness {
    match live {
        _ if left => Liveness::Inactive,
        Some(live) => live.liveness,
        None => Liveness::Pending,
    }
}

impl Api {
    /// What is heard of the process of the row; of an earlier one of the name it would say nothing.
    fn live(&self, row: &WorkerRow) -> Option<LiveWorker> {
        let live = (self.parts.live_workers)(&row.name);
        live.filter(|live| live.incarnation == row.incarnation && row.left_at.is_none())
    }

    fn liveness(&self, row: &WorkerRow) -> Liveness {
        state_of(self.live(row).as_ref(), row.left_at.is_some())
    }

    pub(super) fn worker_view(&self, row: WorkerRow) -> WorkerView {
        let live = self.live(&row);
        let state = state_of(live.as_ref(), row.left_at.is_some());
        let beat = live.as_ref().map(|live| &live.beat);
        WorkerView {
            worker_id: row.name.to_string(),
            incarnation: row.incarnation,
            endpoint_url: row.endpoint_url,
            current_tasks: beat.map_or(0, |beat| beat.running),
            max_capacity: beat.map_or(row.max_capacity, |beat| beat.max_capacity),
            state: state_name(state),
            draining: row.left_at.is_none() && (row.draining || beat.is_some_and(|beat| beat.draining)),
            cordoned: row.cordoned,
            last_heartbeat_at: live.as_ref().map(|live| live.heard_at),
            registered_at: row.registered_at,
            created_at: row.created_at,
            left_at: row.left_at,
            left_cause: row.left_cause,
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

/// What the list of workers can be asked for.
const LIST_PARAMS: [&str; 9] = [
    "page",
    "size",
    "cursor",
    "minPosition",
    "sort",
    "state",
    "label",
    "createdFrom",
    "createdTo",
];
const REPEATABLE: [&str; 2] = ["state", "label"];

const fn state_name(state: Liveness) -> &'static str {
    match state {
        Liveness::Active => "ACTIVE",
        Liveness::Inactive => "INACTIVE",
        Liveness::Pending => "PENDING",
    }
}

/// Which workers: by what is known of them for good, and by their state at the moment (empty: any).
#[derive(Clone, Debug, Default)]
pub(super) struct WorkersAsked {
    pub filter: WorkerFilter,
    pub states: Vec<Liveness>,
}

/// How a list of workers is named in its cursors.
pub(super) fn list_id(asked: &WorkersAsked, order: WorkerOrder) -> ListId {
    let states: BTreeSet<&str> = asked.states.iter().map(|state| state_name(*state)).collect();
    ListId::new(ListKind::Workers, &(&asked.filter, states, order))
}

impl Api {
    /// Those that are in one of the states now; `None`: all.
    async fn among(&self, states: &[Liveness]) -> Result<Option<Among>, Problem> {
        if states.is_empty() {
            return Ok(None);
        }
        let present = self.reading.present_workers().await;
        let present = present.map_err(|error| Problem::database(&error))?;
        let of_state = present.iter().filter(|row| states.contains(&self.liveness(row)));
        Ok(Some(Among {
            names: of_state.map(|row| row.name.clone()).collect(),
            left: states.contains(&Liveness::Inactive),
        }))
    }

    /// A slice of the workers, and how many there are in all.
    pub(super) async fn slice_of_workers(
        &self,
        asked: &WorkersAsked,
        order: WorkerOrder,
        start: &Start<WorkerKey>,
        size: u32,
    ) -> Result<(u64, Slice<WorkerRow>), Problem> {
        let among = self.among(&asked.states).await?;
        let total = self.reading.worker_count(&asked.filter, among.as_ref());
        let slice = self.reading.workers(&asked.filter, among.as_ref(), order, start, size);
        futures::try_join!(total, slice).map_err(|error| Problem::database(&error))
    }

    /// A page of workers.
    pub(super) async fn list_workers(
        &self,
        asked: &WorkersAsked,
        order: WorkerOrder,
        query: &PageQuery,
    ) -> Result<List<WorkerView>, Problem> {
        let after = query.after.as_deref();
        let after = after.map(|key| WorkerKey::from_bytes(key).ok_or_else(PageQuery::bad_cursor));
        let (offset, total) = (query.offset(), None);
        let start = after.transpose()?.map_or(Start::Offset { offset, total }, Start::After);
        let (total, slice) = self.slice_of_workers(asked, order, &start, query.size).await?;
        let last = slice.rows.last().filter(|_| slice.more);
        let next = last.map(|row| query.next(&list_id(asked, order), &WorkerKey::of(row).to_bytes()));
        let items = slice.rows.into_iter().map(|row| self.worker_view(row)).collect();
        Ok(List::new(query, items, total, next))
    }
}

pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    const STATES: [Liveness; 3] = [Liveness::Active, Liveness::Inactive, Liveness::Pending];
    let params = Params::read_repeating(&request, &LIST_PARAMS, &REPEATABLE)?;
    let asked = WorkersAsked {
        filter: WorkerFilter {
            labels: params.all::<LabelPair>("label")?.into_iter().collect(),
            created: read_created(&params)?,
        },
        states: params.all_of("state", &STATES, state_name)?,
    };
    let order = params.parsed::<WorkerOrder>("sort")?.unwrap_or_default();
    let query = PageQuery::read(&params, &list_id(&asked, order), 50)?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.list_workers(&asked, order, &query).await?))
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
