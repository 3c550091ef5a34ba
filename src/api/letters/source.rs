//! `GET /api/v1/internal/dead-letters/{job}`: records as the source of a replay reads them, one a line.

use std::io;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};

use crate::api::Api;
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::domain::JobId;
use crate::letters::{Key, Records, Wanted};

const PARAMS: [&str; 6] = ["node", "firstTask", "lastTask", "upTo", "count", "raw"];
/// They may be long.
const PAGE_LETTERS: u32 = 100;

struct Reading {
    api: web::Data<Api>,
    wanted: Wanted,
    after: Option<Key>,
    raw: bool,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let page = self.api.letters.page(&self.wanted, self.after, 0, PAGE_LETTERS);
        let page = page.await.map_err(|error| Problem::database(&error))?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(last.key);
        let mut text = String::new();
        for dead in page {
            if self.raw {
                let line = serde_json::from_str::<String>(&dead.letter.record);
                text += &line.map_err(|error| Problem::internal("read a text", &error))?;
            } else {
                text += &dead.letter.record;
            }
            text.push('\n');
        }
        Ok(Some((text.into(), self)))
    }

    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, Self::next).map_err(|problem| io::Error::other(problem.to_string()))
    }
}

pub async fn records(
    api: web::Data<Api>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PARAMS)?;
    let job: JobId = id.parse()?;
    let raw = params.flag("raw")?;
    let number = |name, default| params.whole(name, default, 0..=i32::MAX.unsigned_abs());
    let wanted = Wanted {
        tasks: Some(number("firstTask", 0)?..=number("lastTask", i32::MAX.unsigned_abs())?),
        node: params.get("node").map(str::to_owned),
        up_to: params.parsed("upTo")?,
        records: Some(if raw { Records::Texts } else { Records::Whole }),
        ..Wanted::of_job(job)
    };
    api.must_be_there(job).await?;
    if let Some(expected) = params.parsed::<u64>("count")? {
        let found = api.letters.count(&wanted).await;
        let found = found.map_err(|error| Problem::database(&error))?;
        if found != expected {
            let detail = format!(
                "{found} dead letters of {job} are there of the {expected} that were to be replayed: a later attempt of \
                 their task has taken the place of the rest; replay what there is now"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "DEAD_LETTERS_CHANGED", detail));
        }
    }
    let reading = Reading {
        api,
        wanted,
        after: None,
        raw,
    };
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(reading.stream()))
}
