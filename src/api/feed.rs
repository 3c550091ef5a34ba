//! The whole log, or one job's part of it, after a token: up to the head, and then as it grows.
//!
//! Must stay true: reading on from the token of any event gives each later event once, whichever process answers; a call
//! that waits does so within a bound.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Api;
use super::params::Params;
use super::problem::Problem;
use super::view::EventView;
use crate::domain::{JobId, Position, Seq, StreamId};
use crate::log::{FeedPage, Places, StoredEvent};
use crate::projection::PositionToken;

const PARAMS: [&str; 4] = ["after", "jobId", "limit", "wait"];
pub const MOST_EVENTS: u32 = 5_000;
pub const LONGEST_WAIT_SECONDS: u32 = 30;

/// Events after a token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Feed)]
#[serde(rename_all = "camelCase")]
pub struct FeedView {
    pub items: Vec<FeedItem>,
    /// Go on from here.
    pub after: PositionToken,
    /// There was nothing more when this was read.
    pub caught_up: bool,
}

/// An event of any history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedItem {
    /// To go on behind this event.
    pub after: PositionToken,
    /// Whose history it belongs to: a job, a task or a worker.
    pub subject: String,
    pub command_id: Option<Uuid>,
    #[serde(flatten)]
    pub event: EventView,
}

/// What is followed, and from where.
#[derive(Clone, Debug)]
pub struct Feed {
    pub job: Option<JobId>,
    pub after: Places,
}

impl Api {
    /// The place that a token names.
    ///
    /// # Errors
    /// 400 when it is of another log.
    pub(super) fn places(&self, parameter: &str, token: &PositionToken) -> Result<Places, Problem> {
        self.check_token(parameter, token)?;
        Ok(token.positions().map(|Position { shard, seq }| (shard, seq)).collect())
    }

    /// The token of a place.
    pub(super) fn token_of(&self, places: &Places) -> PositionToken {
        let positions = places.iter().map(|(&shard, &seq)| Position { shard, seq });
        PositionToken::of(self.parts.timeline, positions)
    }

    /// Up to `limit` events after the feed's place, which is moved behind them.
    ///
    /// # Errors
    /// 404 or 410 when the job is not there; 503 when the database does not answer.
    pub(super) async fn feed(&self, feed: &mut Feed, limit: usize) -> Result<FeedView, Problem> {
        let page = self.feed_page(feed, limit).await?;
        let caught_up = page.caught_up;
        let from = std::mem::replace(&mut feed.after, page.through.clone());
        let items = page
            .with_places(from)
            .map(|(event, after)| self.feed_item(&event, &after))
            .collect();
        Ok(FeedView {
            items,
            after: self.token_of(&feed.after),
            caught_up,
        })
    }

    async fn feed_page(&self, feed: &Feed, limit: usize) -> Result<FeedPage, Problem> {
        let log = &self.parts.log;
        let Some(job) = feed.job else {
            return log
                .feed(&feed.after, limit)
                .await
                .map_err(|error| Problem::database(&error));
        };
        let shard = job.shard(self.shards);
        let after = feed.after.get(&shard).copied().unwrap_or_default();
        let page = log
            .feed_of_job(job, shard, after, limit)
            .await
            .map_err(|error| Problem::database(&error))?;
        if page.events.is_empty() {
            let version = log.stream_version(StreamId::Job(job)).await;
            if version.map_err(|error| Problem::database(&error))? == 0 {
                return Err(self.missing_job(job).await);
            }
        }
        Ok(page)
    }

    fn feed_item(&self, event: &StoredEvent, after: &Places) -> FeedItem {
        let header = event.header().ok();
        FeedItem {
            after: self.token_of(after),
            subject: subject(event),
            command_id: header.and_then(|header| header.command),
            event: self.event_view(event),
        }
    }

    /// Waits until there may be something after the feed's place. False: not until the deadline.
    pub(super) async fn feed_grows(&self, feed: &Feed, deadline: Instant) -> bool {
        let of_job = feed.job.map(|job| job.shard(self.shards));
        let shards = (0..self.shards).map(crate::domain::ShardId);
        let places = shards
            .filter(|shard| of_job.is_none_or(|of_job| of_job == *shard))
            .map(|shard| Position {
                shard,
                seq: feed.after.get(&shard).copied().unwrap_or(Seq(0)),
            });
        self.parts.watermarks.wait_for_any(places, deadline).await
    }
}

fn subject(event: &StoredEvent) -> String {
    match event.stream {
        StreamId::Job(job) => job.to_string(),
        StreamId::Task(task) => task.to_string(),
        // Every event of a worker names it.
        StreamId::Worker(incarnation) => event
            .header()
            .ok()
            .and_then(|header| serde_json::from_str::<serde_json::Value>(header.data.get()).ok())
            .and_then(|data| Some(data.get("worker")?.as_str()?.to_owned()))
            .unwrap_or_else(|| incarnation.to_string()),
    }
}

/// `after`: a token, `end`, or nothing for the beginning. With `wait`, an empty answer comes only after so many seconds.
pub async fn events(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PARAMS)?;
    let limit = params.whole("limit", 500, 1..=MOST_EVENTS)?;
    let wait = params.whole("wait", 0, 0..=LONGEST_WAIT_SECONDS)?;
    let job = params.get("jobId").map(str::parse).transpose()?;
    let after = match params.get("after") {
        Some("end") => api.parts.log.end().await.map_err(|error| Problem::database(&error))?,
        _ => {
            let token = params.parsed::<PositionToken>("after")?;
            token.map_or_else(|| Ok(Places::new()), |token| api.places("after", &token))?
        }
    };
    let deadline = Instant::now() + Duration::from_secs(u64::from(wait));
    let mut feed = Feed { job, after };
    loop {
        let page = api.feed(&mut feed, limit as usize).await?;
        if !page.items.is_empty() || Instant::now() >= deadline || !api.feed_grows(&feed, deadline).await {
            return Ok(HttpResponse::Ok().json(page));
        }
    }
}
