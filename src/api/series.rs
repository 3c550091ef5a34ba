//! `GET /api/v1/metrics`: points of metrics by window.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::params::Params;
use super::problem::Problem;
use crate::domain::Timestamp;
use crate::metrics::{Aggregation, METRICS, Metric, Sample, Span, StoreError, TAGS, Wanted, find, read_moment};

/// The parameters of tags, in the order of [`TAGS`].
pub(super) const TAG_PARAMS: [&str; TAGS.len()] = [
    "tag.job_id",
    "tag.task_id",
    "tag.worker_id",
    "tag.node_id",
    "tag.command_name",
    "tag.component",
    "tag.process",
];
const PARAMS: [&str; 7] = ["from", "to", "interval", "limit", "metric", "aggregation", "groupBy"];

/// The points that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Series)]
#[serde(rename_all = "camelCase")]
pub struct SeriesView {
    pub data_points: Vec<Sample>,
    /// What windows of metrics that are not rates were made by.
    pub aggregation: &'static str,
    /// The length of a window.
    pub interval: String,
    /// There were older points than `limit` let through.
    pub truncated: bool,
}

/// A question as it comes from a client.
#[derive(Clone, Debug)]
pub struct Question {
    pub from: Timestamp,
    pub to: Timestamp,
    pub interval: Option<Span>,
    pub limit: u32,
    pub metrics: Vec<&'static Metric>,
    pub aggregation: Option<Aggregation>,
    pub group_by: Option<Vec<&'static str>>,
    pub tags: BTreeMap<&'static str, Vec<String>>,
    pub now: Timestamp,
}

impl Api {
    /// Points of metrics, by window, for any that has the tags.
    pub(super) async fn series(&self, question: Question) -> Result<SeriesView, Problem> {
        let Question {
            from,
            to,
            interval,
            limit,
            metrics,
            aggregation,
            group_by,
            tags,
            now,
        } = question;
        let wanted = Wanted {
            from,
            to,
            interval,
            limit,
            tags,
            metrics,
            aggregation,
            group_by,
            now,
            raw_from: self.parts.keeping.raw_from(now),
        };
        let query = wanted
            .check()
            .map_err(|(name, message)| Problem::bad_parameter(name, message))?;
        let answer = self.parts.metric_store.query(&query).await.map_err(refused)?;
        Ok(SeriesView {
            data_points: answer.points,
            aggregation: query.aggregation.name(),
            interval: query.interval.to_string(),
            truncated: answer.truncated,
        })
    }
}

fn refused(error: StoreError) -> Problem {
    match error {
        StoreError::TooMuch { .. } => Problem::new(StatusCode::BAD_REQUEST, "TOO_MANY_SERIES", error.to_string()),
        StoreError::Unavailable(cause) | StoreError::Refused(cause) => {
            tracing::warn!(cause, "api.metric_store_error");
            Problem::unavailable("the store of metrics does not answer; try again")
        }
    }
}

pub async fn series(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let known: Vec<&str> = PARAMS.into_iter().chain(TAG_PARAMS).collect();
    let repeatable: Vec<&str> = ["metric", "groupBy"].into_iter().chain(TAG_PARAMS).collect();
    let params = Params::read_repeating(&request, &known, &repeatable)?;
    Ok(HttpResponse::Ok().json(api.series(question(&params)?).await?))
}

fn question(params: &Params) -> Result<Question, Problem> {
    let now = crate::clock::now();
    let moment = |name: &str, default: &str| {
        let text = params.get(name).unwrap_or(default);
        read_moment(text, now).map_err(|message| Problem::bad_parameter(name, format!("{message}; found {text:?}")))
    };
    let (from, to) = (moment("from", "-1h")?, moment("to", "now")?);
    let mut tags = BTreeMap::new();
    for (tag, param) in TAGS.into_iter().zip(TAG_PARAMS) {
        let values: Vec<String> = params.all(param)?;
        if !values.is_empty() {
            tags.insert(tag, values);
        }
    }
    let group_by: Vec<String> = params.all("groupBy")?;
    let group_by = group_by
        .iter()
        .map(|name| known_tag(name))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Question {
        from,
        to,
        interval: params.parsed("interval")?,
        limit: params.whole("limit", 1_000, 1..=10_000)?,
        metrics: metrics(params)?,
        aggregation: params.parsed("aggregation")?,
        group_by: (!group_by.is_empty()).then_some(group_by),
        tags,
        now,
    })
}

fn known_tag(name: &str) -> Result<&'static str, Problem> {
    let found = TAGS.into_iter().find(|tag| *tag == name);
    found.ok_or_else(|| {
        let message = format!("expected one of {}, found {name:?}", TAGS.join(", "));
        Problem::bad_parameter("groupBy", message)
    })
}

fn metrics(params: &Params) -> Result<Vec<&'static Metric>, Problem> {
    let mut metrics: Vec<&'static Metric> = Vec::new();
    for name in params.all::<String>("metric")? {
        let metric = find(&name).ok_or_else(|| {
            let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            Problem::bad_parameter(
                "metric",
                format!("expected one of {}, found {name:?}", names.join(", ")),
            )
        })?;
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    Ok(metrics)
}
