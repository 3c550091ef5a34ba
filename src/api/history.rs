//! Histories: the events of a job, a task or a worker, newest first unless asked otherwise; and the quarantine.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::value::RawValue;

use super::Api;
use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;
use super::view::{EventView, QuarantinedView};
use crate::domain::{JobId, StreamId, TaskId, Timestamp, WorkerName};
use crate::log::StoredEvent;

const EVENT_PARAMS: [&str; 5] = ["page", "size", "cursor", "minPosition", "order"];
const SHOWN_PAYLOAD_CHARS: usize = 4_096;

pub async fn of_job(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    let id: JobId = id.parse()?;
    let list = api.events(StreamId::Job(id), &asked).await?;
    // Its first event is its submission: without one it is not there.
    if list.total == 0 {
        return Err(api.missing_job(id).await);
    }
    Ok(HttpResponse::Ok().json(list))
}

pub async fn of_task(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    let id: TaskId = id.parse()?;
    let list = api.events(StreamId::Task(id), &asked).await?;
    if list.total == 0 {
        // Not written out yet, or not there.
        api.task_exists(id).await?;
    }
    Ok(HttpResponse::Ok().json(list))
}

/// Of the process that bears the name now.
pub async fn of_worker(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&request)?;
    let name: WorkerName = id.parse()?;
    let worker = api.worker(&name).await?;
    Ok(HttpResponse::Ok().json(api.events(StreamId::Worker(worker.incarnation), &asked).await?))
}

/// Which part of a history, and in which order.
struct Asked {
    query: PageQuery,
    oldest_first: bool,
    /// How many events come before the page.
    skipped: u64,
}

impl Asked {
    fn read(request: &HttpRequest) -> Result<Self, Problem> {
        let params = Params::read(request, &EVENT_PARAMS)?;
        let oldest_first = match params.get("order") {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(Problem::bad_parameter("order", "expected asc or desc")),
        };
        let query = PageQuery::read(&params, &events_list(oldest_first), 50)?;
        // The log is read itself, so there is nothing to wait for; a token that is none is told all the same.
        params.parsed::<crate::projection::PositionToken>("minPosition")?;
        let skipped = match query.after.as_deref() {
            Some(key) => u64::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?),
            None => query.offset(),
        };
        Ok(Self {
            query,
            oldest_first,
            skipped,
        })
    }
}

fn events_list(oldest_first: bool) -> ListId {
    ListId::new(ListKind::Events, &oldest_first)
}

impl Api {
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

    /// Versions have no gaps, so a page is found by them.
    async fn events(&self, stream: StreamId, asked: &Asked) -> Result<List<EventView>, Problem> {
        let database = |error: crate::log::Error| Problem::database(&error);
        let head = self.parts.log.stream_version(stream).await.map_err(database)?;
        let total = u64::from(head);
        let left = total.saturating_sub(asked.skipped);
        let count = left.min(u64::from(asked.query.size));
        let after = if asked.oldest_first {
            asked.skipped
        } else {
            left - count
        };
        let mut events = Vec::new();
        if count > 0 {
            let after = u32::try_from(after).unwrap_or(u32::MAX);
            events = self
                .parts
                .log
                .stream(stream, after, count as usize)
                .await
                .map_err(database)?
                .events;
        }
        if !asked.oldest_first {
            events.reverse();
        }
        let next = (left > count && count > 0).then(|| {
            asked
                .query
                .next(&events_list(asked.oldest_first), &(asked.skipped + count).to_be_bytes())
        });
        let items = events.iter().map(|event| self.event_view(event)).collect();
        Ok(List::new(&asked.query, items, total, next))
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

pub async fn quarantine(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let quarantined = ListId::new(ListKind::Quarantine, &());
    let query = PageQuery::read(&params, &quarantined, 50)?;
    let skipped = match query.after.as_deref() {
        Some(key) => u64::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?),
        None => query.offset(),
    };
    let database = |error: crate::log::Error| Problem::database(&error);
    let total = api.parts.log.quarantine_count().await.map_err(database)?;
    let list = api
        .parts
        .log
        .quarantine(skipped, query.size as usize)
        .await
        .map_err(database)?;
    let end = skipped + list.len() as u64;
    let next = (end < total && !list.is_empty()).then(|| query.next(&quarantined, &end.to_be_bytes()));
    let items: Vec<QuarantinedView> = list
        .into_iter()
        .map(|item| QuarantinedView {
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
        })
        .collect();
    Ok(HttpResponse::Ok().json(List::new(&query, items, total, next)))
}
