//! `GET /api/v1/logs/download`: the lines of a time as a file, a JSON object a line, the oldest first.
//!
//! Must stay true: memory holds one page of lines; no connection to the database is held while a client takes its time; a
//! download that breaks off is seen to (the transfer ends without its last chunk).

use std::io;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};

use super::search::Bounds;
use super::wanted::{FILTERS, REPEATABLE, Wanted, failed};
use crate::api::Api;
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::logs::{Order, Page, Search};

const PARAMS: [&str; 2] = ["from", "to"];
const PAGE_LINES: u32 = 5_000;

/// What stands between the pages.
struct Download {
    api: web::Data<Api>,
    search: Search,
    page: Option<Page>,
}

impl Download {
    /// The next part, until there is none.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let Some(page) = self.page.take() else {
            return Ok(None);
        };
        let mut text = Vec::new();
        let next = page.lines.last().filter(|_| page.more).map(|last| last.key);
        for stored in page.lines {
            serde_json::to_writer(&mut text, &stored.line.shown())
                .map_err(|error| Problem::internal("download", &error))?;
            text.push(b'\n');
        }
        if let Some(last) = next {
            self.search.beyond = Some(last);
            self.page = Some(self.api.parts.logs.search(&self.search).await.map_err(failed)?);
        }
        Ok(Some((text.into(), self)))
    }

    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, Self::next).map_err(|problem| io::Error::other(problem.to_string()))
    }
}

pub async fn download(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &[&FILTERS[..], &PARAMS].concat(), &REPEATABLE)?;
    let now = crate::clock::now();
    let bounds = Bounds::read(&params, now)?;
    let search = Search {
        question: Wanted::read(&params)?.question(now),
        from_ms: bounds.from.as_ms(),
        to_ms: bounds.to.as_ms(),
        order: Order::OldestFirst,
        beyond: None,
        limit: PAGE_LINES,
    };
    // What is wrong at once is a problem like any other.
    let page = Some(api.parts.logs.search(&search).await.map_err(failed)?);
    let mut answer = HttpResponse::Ok();
    answer
        .content_type("application/x-ndjson")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"logs.ndjson\""))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if *request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    Ok(answer.streaming(Download { api, search, page }.stream()))
}
