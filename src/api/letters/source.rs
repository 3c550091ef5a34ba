//! `GET /api/v1/internal/dead-letters/{job}`: records as the source of a replay reads them, one a line.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::pages::Pages;
use crate::api::Api;
use crate::api::params::Params;
use crate::api::problem::Problem;
use crate::domain::JobId;
use crate::letters::{Dead, Records, Wanted};

const PARAMS: [&str; 6] = ["node", "firstTask", "lastTask", "upTo", "count", "raw"];

/// Each on a line; texts as what they say.
fn lines(page: Vec<Dead>, raw: bool) -> Result<Vec<u8>, Problem> {
    let mut text = String::new();
    for dead in page {
        if raw {
            let line = serde_json::from_str::<String>(&dead.letter.record);
            text += &line.map_err(|error| Problem::internal("read a text", &error))?;
        } else {
            text += &dead.letter.record;
        }
        text.push('\n');
    }
    Ok(text.into_bytes())
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
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(Pages::new(api, wanted).stream(move |page| lines(page, raw))))
}
