//! `GET /api/v1/jobs/{id}/dead-letters`, and the same as a file.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Sought;
use super::pages::Pages;
use crate::api::Api;
use crate::api::openapi::Cursor;
use crate::api::page::{ListId, ListKind, PageQuery};
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::domain::{JobId, TaskId, Timestamp};
use crate::letters::{Counts, Dead, Key, Wanted};

const LIST_PARAMS: [&str; 6] = ["page", "size", "cursor", "minPosition", "task", "node"];
const EXPORT_PARAMS: [&str; 2] = ["task", "node"];

/// A record that a pipeline could not process.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeadLetter)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterView {
    pub job_id: JobId,
    pub task_id: TaskId,
    /// Counts the failed records of the task, from 1, over its attempts.
    pub number: u64,
    pub attempt: u32,
    /// When it failed.
    pub at: Timestamp,
    /// The id of the node at which it failed.
    pub node: String,
    pub error: String,
    /// As it came into the node: an object; or the text, when it could not be read.
    #[schema(value_type = serde_json::Value)]
    pub record: Box<RawValue>,
    /// The record was too long: only its beginning is there, as a text.
    pub cut: bool,
}

/// A page of dead letters, and what the whole job has of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterList {
    pub items: Vec<DeadLetterView>,
    /// The number of this page, from 0.
    pub page: u32,
    /// How many items a page has at most.
    pub size: u32,
    /// How many items the list has.
    pub total: u64,
    /// Of the next page; null: this is the last.
    #[schema(value_type = Option<Cursor>)]
    pub next_cursor: Option<String>,
    /// Records of the job that failed, kept or not.
    pub failed: u64,
    /// Those of them that are kept.
    pub kept: u64,
    /// Bytes of those.
    pub kept_bytes: u64,
}

impl DeadLetterView {
    pub fn new(job: JobId, dead: Dead) -> Result<Self, Problem> {
        let task_id = dead.task_id(job);
        let record = RawValue::from_string(dead.letter.record);
        Ok(Self {
            job_id: job,
            task_id,
            number: dead.key.number,
            attempt: dead.attempt,
            at: dead.letter.at,
            node: dead.letter.node,
            error: dead.letter.error,
            record: record.map_err(|error| Problem::internal("show a record", &error))?,
            cut: dead.letter.cut,
        })
    }
}

/// Some letters, and whether there are others.
pub struct Slice {
    pub letters: Vec<Dead>,
    pub more: bool,
}

impl Api {
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn letter_counts(&self, job: JobId) -> Result<Counts, Problem> {
        self.letters
            .counts(job)
            .await
            .map_err(|error| Problem::database(&error))
    }

    /// Letters behind `after`, or behind so many, and how many there are in all.
    ///
    /// # Errors
    /// 404 and 410 for a job that is not there.
    pub async fn slice_of_letters(
        &self,
        wanted: &Wanted,
        after: Option<Key>,
        offset: u64,
        size: u32,
    ) -> Result<(u64, Slice), Problem> {
        self.must_be_there(wanted.job).await?;
        let database = |error: sqlx::Error| Problem::database(&error);
        // One more tells whether there is another page.
        let page = self.letters.page(wanted, after, offset, size + 1);
        let (mut letters, total) = futures::try_join!(page, self.letters.count(wanted)).map_err(database)?;
        let more = letters.len() > size as usize;
        letters.truncate(size as usize);
        Ok((total, Slice { letters, more }))
    }

    async fn list_letters(&self, wanted: &Wanted, query: &PageQuery, id: &ListId) -> Result<DeadLetterList, Problem> {
        let after = query.after.as_deref();
        let after = after
            .map(|key| Key::from_bytes(key).ok_or_else(PageQuery::bad_cursor))
            .transpose()?;
        let offset = if after.is_some() { 0 } else { query.offset() };
        // Before the letters: what is counted is then among them.
        let counts = self.letter_counts(wanted.job).await?;
        let (total, Slice { letters, more }) = self.slice_of_letters(wanted, after, offset, query.size).await?;
        let last = letters.last().filter(|_| more);
        let next_cursor = last.map(|last| query.next(id, &last.key.to_bytes()));
        let views = letters.into_iter().map(|dead| DeadLetterView::new(wanted.job, dead));
        Ok(DeadLetterList {
            items: views.collect::<Result<_, _>>()?,
            page: query.page,
            size: query.size,
            total,
            next_cursor,
            failed: counts.failed,
            kept: counts.kept,
            kept_bytes: counts.bytes,
        })
    }
}

pub async fn list(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &LIST_PARAMS)?;
    let job: JobId = id.parse()?;
    let wanted = Sought::read(&params)?.of(job)?;
    let tasks = wanted.tasks.as_ref().map(|tasks| (*tasks.start(), *tasks.end()));
    let list = ListId::new(ListKind::DeadLetters, &(job, tasks, &wanted.node));
    let query = PageQuery::read(&params, &list, 50)?;
    api.wait_for_position(&params).await?;
    Ok(HttpResponse::Ok().json(api.list_letters(&wanted, &query, &list).await?))
}

/// A JSON object a line.
fn lines(job: JobId, page: Vec<Dead>) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    for dead in page {
        let view = DeadLetterView::new(job, dead)?;
        serde_json::to_writer(&mut text, &view).map_err(|error| Problem::internal("export", &error))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// `GET /api/v1/jobs/{id}/dead-letters/export`
pub async fn export(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &EXPORT_PARAMS)?;
    let job: JobId = id.parse()?;
    let wanted = Sought::read(&params)?.of(job)?;
    api.must_be_there(job).await?;
    let mut pages = Pages::new(api, wanted);
    pages.read_ahead().await?;
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("application/x-ndjson")
        .insert_header((
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"dead-letters.ndjson\"",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if *request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    Ok(answer.streaming(pages.stream(move |page| lines(job, page))))
}
