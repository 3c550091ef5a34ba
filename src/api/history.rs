//! Histories: the events of a job, a task or a worker, newest first unless asked otherwise; and the quarantine.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;

use super::Api;
use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{EventView, QuarantinedView};
use crate::domain::{Event, JobId, ShardId, StreamId, TaskId, Timestamp, WorkerName};
use crate::log::{HistoryFilter, HistoryOf, HistoryQuery, StoredEvent};

const EVENT_PARAMS: [&str; 8] = ["page", "size", "cursor", "minPosition", "order", "type", "from", "to"];
const SHOWN_PAYLOAD_CHARS: usize = 4_096;

pub async fn of_job(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    Ok(HttpResponse::Ok().json(api.job_events(id.parse()?, &asked).await?))
}

pub async fn of_task(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    Ok(HttpResponse::Ok().json(api.task_events(id.parse()?, &asked).await?))
}

pub async fn of_worker(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    Ok(HttpResponse::Ok().json(api.worker_events(&id.parse()?, &asked).await?))
}

/// Which part of a history, and in which order.
#[derive(Clone, Debug)]
pub struct Asked {
    pub query: PageQuery,
    /// What its cursors belong to.
    pub list: ListId,
    pub filter: HistoryFilter,
    pub oldest_first: bool,
}

impl Asked {
    fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let params = Params::read_repeating(request, &EVENT_PARAMS, &["type"])?;
        let oldest_first = match params.get("order") {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(Problem::bad_parameter("order", "expected asc or desc")),
        };
        // The log is read itself, so there is nothing to wait for; a token that is none is told all the same.
        params.parsed::<crate::projection::PositionToken>("minPosition")?;
        let types = params.all_of("type", &Event::TYPE_NAMES, |name| name)?;
        let filter = HistoryFilter {
            types: types.into_iter().map(str::to_owned).collect(),
            from: params.time("from")?,
            to: params.time("to")?,
        };
        let view = (request.path(), oldest_first, &filter.types, filter.from, filter.to);
        let list = ListId::new(ListKind::Events, &view);
        Ok(Self {
            query: PageQuery::read(&params, &list, 50)?,
            list,
            filter,
            oldest_first,
        })
    }
}

impl Api {
    /// # Errors
    /// 404 when it is not there, 410 when its day was archived.
    pub(super) async fn job_events(&self, id: JobId, asked: &Asked) -> Result<List<EventView>, Problem> {
        let list = self.events(HistoryOf::Stream(StreamId::Job(id)), asked).await?;
        // Its first event is its submission: without one it is not there.
        if list.total == 0 && !self.has_events(StreamId::Job(id)).await? {
            return Err(self.missing_job(id).await);
        }
        Ok(list)
    }

    /// # Errors
    /// 404 when it is not there, 410 when its day was archived.
    pub(super) async fn task_events(&self, id: TaskId, asked: &Asked) -> Result<List<EventView>, Problem> {
        let list = self.events(HistoryOf::Stream(StreamId::Task(id)), asked).await?;
        if list.total == 0 {
            // None fits, or it is not written out yet, or it is not there.
            self.task_exists(id).await?;
        }
        Ok(list)
    }

    /// Of all processes that have borne the name, in the order in which things happened.
    ///
    /// # Errors
    /// 404 when it never registered.
    pub(super) async fn worker_events(&self, name: &WorkerName, asked: &Asked) -> Result<List<EventView>, Problem> {
        let of = HistoryOf::Worker {
            name: name.clone(),
            shard: ShardId(name.slot(self.shards)),
        };
        self.worker(name).await?;
        self.events(of, asked).await
    }

    async fn has_events(&self, stream: StreamId) -> Result<bool, Problem> {
        let version = self.parts.log.stream_version(stream).await;
        Ok(version.map_err(|error| Problem::database(&error))? > 0)
    }

    async fn task_exists(&self, id: TaskId) -> Result<(), Problem> {
        let plan = self
            .reading
            .plan(id.job)
            .await
            .map_err(|error| Problem::database(&error))?;
        match plan {
            Some(plan) if plan.place(id.number).is_some() => Ok(()),
            Some(_) => Err(Problem::not_found(id)),
            None => Err(self.missing_job(id.job).await),
        }
    }

    async fn events(&self, of: HistoryOf, asked: &Asked) -> Result<List<EventView>, Problem> {
        let after = match asked.query.after.as_deref() {
            Some(key) => Some(u64::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?)),
            None => None,
        };
        let query = HistoryQuery {
            of: of.clone(),
            filter: asked.filter.clone(),
            oldest_first: asked.oldest_first,
            after,
            skip: if after.is_some() { 0 } else { asked.query.offset() },
            limit: asked.query.size,
        };
        let page = self.parts.log.history(query).await;
        let page = page.map_err(|error| Problem::database(&error))?;
        let next = page.events.last().filter(|_| page.more);
        let next = next.map(|event| asked.query.next(&asked.list, &of.key(event).to_be_bytes()));
        let items = page.events.iter().map(|event| self.event_view(event)).collect();
        Ok(List::new(&asked.query, items, page.total, next))
    }

    pub(super) fn event_view(&self, event: &StoredEvent) -> EventView {
        let position = self.token(event.position);
        match event.header() {
            Ok(header) => EventView {
                position,
                r#type: header.r#type.clone().into_owned(),
                version: header.v,
                stream_version: event.version,
                at: header.at,
                principal: header.principal.clone().into_owned(),
                causation_id: header.causation,
                data: header.data.to_owned(),
            },
            Err(error) => EventView {
                position,
                r#type: "Unreadable".to_owned(),
                version: 0,
                stream_version: event.version,
                at: Timestamp::ZERO,
                principal: "system".to_owned(),
                causation_id: None,
                data: serde_json::value::to_raw_value(&error.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            },
        }
    }
}

impl Api {
    /// How much is set aside, and a part of it, newest first.
    pub(super) async fn quarantined(&self, skipped: u64, size: u32) -> Result<(u64, Vec<QuarantinedView>), Problem> {
        let database = |error: crate::log::Error| Problem::database(&error);
        let total = self.parts.log.quarantine_count().await.map_err(database)?;
        let list = self.parts.log.quarantine(skipped, size as usize).await;
        let view = |item: crate::log::Quarantined| QuarantinedView {
            shard: item.poison.shard.0,
            source: item.poison.source.name(),
            place: item.poison.place,
            reason: item.poison.reason,
            attempts: item.attempts,
            principal: item.poison.principal,
            first_at: item.first_at,
            quarantined_at: item.quarantined_at,
            payload: String::from_utf8_lossy(&item.poison.payload)
                .chars()
                .take(SHOWN_PAYLOAD_CHARS)
                .collect(),
        };
        Ok((total, list.map_err(database)?.into_iter().map(view).collect()))
    }
}

pub async fn quarantine(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let quarantined = ListId::new(ListKind::Quarantine, &());
    let query = PageQuery::read(&params, &quarantined, 50)?;
    let skipped = match query.after.as_deref() {
        Some(key) => u64::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?),
        None => query.offset(),
    };
    api.wait_for_position(&params).await?;
    let (total, items) = api.quarantined(skipped, query.size).await?;
    let end = skipped + items.len() as u64;
    let next = (end < total && !items.is_empty()).then(|| query.next(&quarantined, &end.to_be_bytes()));
    Ok(HttpResponse::Ok().json(List::new(&query, items, total, next)))
}
