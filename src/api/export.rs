//! Jobs as a file: JSON, NDJSON or CSV, with the filters of the list.
//!
//! Must stay true: memory holds one page of jobs, whatever their number; no connection to the database is held while a
//! client takes its time; an export that breaks off is seen to (the transfer ends without its last chunk).

use std::collections::BTreeMap;
use std::io;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};

use super::Api;
use super::jobs::read_filter;
use super::params::Params;
use super::problem::Problem;
use super::view::JobView;
use crate::projection::{JobFilter, JobKey, JobOrder, JobRow, Slice, Start};

const PARAMS: [&str; 7] = [
    "format",
    "minPosition",
    "status",
    "externalId",
    "label",
    "createdFrom",
    "createdTo",
];
const REPEATABLE: [&str; 3] = ["status", "externalId", "label"];
const PAGE_JOBS: u32 = 500;

const CSV_COLUMNS: [&str; 13] = [
    "jobId",
    "externalId",
    "status",
    "createdAt",
    "finishedAt",
    "ready",
    "scheduled",
    "running",
    "completed",
    "failed",
    "retriesPending",
    "labels",
    "failureSummary",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Ndjson,
    Csv,
}

impl Format {
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// What stands between the pages.
struct Export {
    api: web::Data<Api>,
    filter: JobFilter,
    format: Format,
    page: Page,
    first: bool,
}

enum Page {
    Read(Slice<JobRow>),
    After(JobKey),
    End,
}

impl Export {
    /// The next part, until there is none.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let slice = match std::mem::replace(&mut self.page, Page::End) {
            Page::Read(slice) => slice,
            Page::After(key) => read_page(&self.api, &self.filter, &Start::After(key)).await?,
            Page::End => return Ok(None),
        };
        let last = slice.rows.last().filter(|_| slice.more);
        self.page = last.map_or(Page::End, |row| Page::After(JobKey::of(row, JobOrder::default().by)));
        let is_last = !slice.more;
        let views = slice.rows.into_iter().map(JobView::from);
        let text =
            write(self.format, views, self.first, is_last).map_err(|error| Problem::internal("export", &error))?;
        self.first = false;
        Ok(Some((text.into(), self)))
    }

    fn stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::try_unfold(self, Self::next).map_err(|problem| io::Error::other(problem.to_string()))
    }
}

async fn read_page(api: &Api, filter: &JobFilter, start: &Start<JobKey>) -> Result<Slice<JobRow>, Problem> {
    api.slice_of_jobs(filter, JobOrder::default(), start, PAGE_JOBS).await
}

/// `GET /api/v1/jobs/export`
pub async fn jobs(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read_repeating(&request, &PARAMS, &REPEATABLE)?;
    let format = params.all_of("format", &Format::ALL, Format::name)?;
    let format = format.first().copied().unwrap_or(Format::Json);
    let filter = read_filter(&params)?;
    api.wait_for_position(&params).await?;
    // What is wrong at once is a problem like any other.
    let (offset, total) = (0, None);
    let page = read_page(&api, &filter, &Start::Offset { offset, total }).await?;
    let export = Export {
        api,
        filter,
        format,
        page: Page::Read(page),
        first: true,
    };
    let name = format!("attachment; filename=\"jobs.{}\"", format.name());
    Ok(HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(export.stream()))
}

/// One page of the file.
fn write(
    format: Format,
    jobs: impl Iterator<Item = JobView>,
    first: bool,
    last: bool,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut out = Vec::new();
    match format {
        Format::Json => {
            out.extend(if first { b"[".as_slice() } else { b"" });
            for (index, job) in jobs.enumerate() {
                out.extend(if first && index == 0 { b"\n".as_slice() } else { b",\n" });
                serde_json::to_writer(&mut out, &job)?;
            }
            out.extend(if last { b"\n]\n".as_slice() } else { b"" });
        }
        Format::Ndjson => {
            for job in jobs {
                serde_json::to_writer(&mut out, &job)?;
                out.push(b'\n');
            }
        }
        Format::Csv => {
            let mut csv = csv::WriterBuilder::new()
                .terminator(csv::Terminator::CRLF)
                .from_writer(&mut out);
            if first {
                csv.write_record(CSV_COLUMNS)?;
            }
            for job in jobs {
                csv.write_record(cells(job))?;
            }
            csv.flush()?;
        }
    }
    Ok(out)
}

fn cells(job: JobView) -> [String; 13] {
    let counters = job.task_counters;
    let pairs = |pairs: BTreeMap<String, String>| {
        let pairs: Vec<String> = pairs
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    };
    let failures = job.failure_summary.iter();
    let failures = failures.map(|(reason, count)| ((*reason).to_owned(), count.to_string()));
    [
        job.job_id.to_string(),
        harmless(job.external_id.unwrap_or_default()),
        job.status,
        job.created_at.to_string(),
        job.finished_at.map(|at| at.to_string()).unwrap_or_default(),
        counters.ready.to_string(),
        counters.scheduled.to_string(),
        counters.running.to_string(),
        counters.completed.to_string(),
        counters.failed.to_string(),
        job.retries_pending.to_string(),
        harmless(pairs(job.labels)),
        pairs(failures.collect()),
    ]
}

/// Spreadsheets take a cell that begins so for a formula, which can send away what stands beside it: an apostrophe
/// before it makes it text (https://owasp.org/www-community/attacks/CSV_Injection). The other formats are exact.
fn harmless(text: String) -> String {
    let begins = |sign: char| {
        matches!(
            sign,
            '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'
        )
    };
    if text.starts_with(begins) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "＝1"] {
            assert_eq!(harmless(text.to_owned()), format!("'{text}"));
        }
        for text in ["", "nightly-import", "a=b", "'quoted"] {
            assert_eq!(harmless(text.to_owned()), text);
        }
    }
}
