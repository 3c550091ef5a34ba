//! `GET /api/v1/metrics`: points of metrics by window.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::params::{Params, few_enough, fit_for_filter, plus_hint};
use super::problem::Problem;
use crate::domain::{JobId, TaskId, Timestamp, WorkerName};
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
    "tag.name",
    "tag.dimensions",
];
const DEFAULT_LIMIT: u32 = 1_000;
const PARAMS: [&str; 7] = ["from", "to", "interval", "limit", "metric", "aggregation", "groupBy"];

/// The points that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Series)]
#[serde(rename_all = "camelCase")]
pub struct SeriesView {
    pub data_points: Vec<Sample>,
    /// What windows of metrics that are not rates were made by.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub aggregation: Aggregation,
    /// The length of a window.
    pub interval: String,
    /// There were older points than `limit` let through.
    pub truncated: bool,
}

fn as_text<S: serde::Serializer>(aggregation: &Aggregation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(aggregation.name())
}

/// A question as far as its parts are known.
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
    pub async fn series(&self, question: Question) -> Result<SeriesView, Problem> {
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
            aggregation: query.aggregation,
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
    let mut tags = Vec::new();
    for (tag, param) in TAGS.into_iter().zip(TAG_PARAMS) {
        let values: Vec<String> = params.all(param)?;
        if !values.is_empty() {
            tags.push((tag.to_owned(), values));
        }
    }
    let text = |name| params.get(name).map(str::to_owned);
    let asked = Asked {
        from: text("from"),
        to: text("to"),
        interval: text("interval"),
        limit: Some(params.whole("limit", DEFAULT_LIMIT, 1..=10_000)?),
        metrics: params.all("metric")?,
        aggregation: params.parsed("aggregation")?,
        group_by: params.all("groupBy")?,
        tags,
    };
    asked.read(crate::clock::now())
}

/// A question as a client writes it, by whatever way.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub from: Option<String>,
    pub to: Option<String>,
    pub interval: Option<String>,
    pub limit: Option<u32>,
    pub metrics: Vec<String>,
    pub aggregation: Option<Aggregation>,
    pub group_by: Vec<String>,
    pub tags: Vec<(String, Vec<String>)>,
}

impl Asked {
    /// # Errors
    /// 400 for times that are none, for names that are in no table, and for more of them, or of values of a tag, than a
    /// filter takes.
    pub fn read(self, now: Timestamp) -> Result<Question, Problem> {
        let moment = |name: &str, text: Option<&str>, default: &str| {
            let text = text.unwrap_or(default);
            read_moment(text, now).map_err(|message| {
                Problem::bad_parameter(name, format!("{message}; found {text:?}{}", plus_hint(text)))
            })
        };
        let interval = self.interval.as_deref().map(|text| {
            let parsed = text.parse::<Span>();
            parsed.map_err(|message| Problem::bad_parameter("interval", format!("{message}; found {text:?}")))
        });
        let mut tags: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (key, values) in self.tags {
            let tag = known_tag("tags", &key)?;
            // Of no value is any.
            if !values.is_empty() {
                let values = values.into_iter().map(|value| in_full(tag, value));
                tags.entry(tag).or_default().extend(values);
            }
        }
        for values in tags.values() {
            fit_for_filter("tags", values)?;
        }
        few_enough("groupBy", &self.group_by)?;
        let group_by = self.group_by.iter().map(|name| known_tag("groupBy", name));
        let group_by = group_by.collect::<Result<Vec<_>, _>>()?;
        Ok(Question {
            from: moment("from", self.from.as_deref(), "-1h")?,
            to: moment("to", self.to.as_deref(), "now")?,
            interval: interval.transpose()?,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            metrics: metrics(&self.metrics)?,
            aggregation: self.aggregation,
            group_by: (!group_by.is_empty()).then_some(group_by),
            tags,
            now,
        })
    }
}

/// An id with its prefix, as points have it; what is no id is a text like any other.
fn in_full(tag: &str, value: String) -> String {
    let id = match tag {
        "job_id" => value.parse::<JobId>().ok().map(|id| id.to_string()),
        "task_id" => value.parse::<TaskId>().ok().map(|id| id.to_string()),
        "worker_id" => value.parse::<WorkerName>().ok().map(|id| id.to_string()),
        _ => None,
    };
    id.unwrap_or(value)
}

fn known_tag(parameter: &str, name: &str) -> Result<&'static str, Problem> {
    let found = TAGS.into_iter().find(|tag| *tag == name);
    found.ok_or_else(|| {
        let message = format!("expected one of {}, found {name:?}", TAGS.join(", "));
        Problem::bad_parameter(parameter, message)
    })
}

fn metrics(names: &[String]) -> Result<Vec<&'static Metric>, Problem> {
    few_enough("metric", names)?;
    let mut metrics: Vec<&'static Metric> = Vec::new();
    for name in names {
        let metric = find(name).ok_or_else(|| {
            let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            let message = format!("expected one of {}, found {name:?}", names.join(", "));
            Problem::bad_parameter("metric", message)
        })?;
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    Ok(metrics)
}
