//! `/graphql/stream`: answers as events of the server, in the distinct connections mode of
//! <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>.
//!
//! Must stay true: as for a WebSocket, what waits for a slow client is bounded, and who does not read is dropped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::GraphqlState;
use super::connection::Socket;
use super::fault::name_errors;
use super::http::{Written, receive};
use super::limits::name_complexity;
use super::request::Received;
use crate::api::problem::Problem;
use crate::api::{Api, Role};

/// Events that may wait besides those that the connection itself holds.
const MOST_WAITING: usize = 16;

/// `GET` and `POST /graphql/stream`.
pub async fn handle(
    state: web::Data<GraphqlState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    Api::caller(&request).may(Role::Viewer)?;
    check_accept(&request)?;
    let received: Received = receive(&state, &request, payload).await?;
    let (events, waiting) = mpsc::channel(MOST_WAITING);
    let sender = Sender {
        events,
        state: state.into_inner(),
        socket: Socket::of(&request),
    };
    match received.prepare(&sender.state.options, Api::caller(&request)) {
        Err(error) => {
            // The stream is the answer: what is wrong with the document is told in it.
            let response = Response::from_errors(vec![*error]);
            let events = vec![Ok::<_, Infallible>(next(&response)), Ok(complete())];
            return Ok(answer(stream::iter(events)));
        }
        Ok(prepared) if prepared.kind == OperationType::Mutation && *request.method() != Method::POST => {
            return Err(Problem::method_not_allowed(request.method(), "POST"));
        }
        Ok(prepared) => drop(crate::task::spawn("api.graphql.stream", sender.run(prepared.request))),
    }
    Ok(answer(Waiting(waiting)))
}

fn check_accept(request: &HttpRequest) -> Result<(), Problem> {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let takes = |text: &str| {
        matches!(
            text.trim().split(';').next(),
            Some("text/event-stream" | "text/*" | "*/*")
        )
    };
    if accept.is_none_or(|text| text.split(',').any(takes)) {
        return Ok(());
    }
    let detail = "answers are text/event-stream";
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", detail))
}

fn answer(events: impl Stream<Item = Result<Bytes, Infallible>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Proxies must not gather what comes now and then.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events)
}

fn next(response: &Response) -> Bytes {
    // JSON has no line breaks.
    let data = serde_json::to_string(&Written::of(response)).unwrap_or_default();
    Bytes::from(format!("event: next\ndata: {data}\n\n"))
}

fn complete() -> Bytes {
    Bytes::from_static(b"event: complete\ndata:\n\n")
}

/// What comes through the channel, as a body.
struct Waiting(mpsc::Receiver<Bytes>);

impl Stream for Waiting {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|event| event.map(Ok))
    }
}

struct Sender {
    events: mpsc::Sender<Bytes>,
    state: Arc<GraphqlState>,
    socket: Option<Socket>,
}

impl Sender {
    async fn run(self, request: Request) {
        let mut answers = self.state.schema.execute_stream(request);
        let mut ending = self.state.ending.clone();
        let every = self.state.options.ping_interval;
        let mut signs = tokio::time::interval_at(Instant::now() + every, every);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The headers go out with the first byte.
        let mut event = Some(Bytes::from_static(b":\n\n"));
        while let Some(bytes) = event {
            if !self.send(bytes).await {
                return;
            }
            event = tokio::select! {
                answer = answers.next() => answer.map(|mut response| {
                    name_complexity(&self.state.options, &mut response);
                    name_errors(&mut response);
                    next(&response)
                }),
                _ = signs.tick() => Some(Bytes::from_static(b":\n\n")),
                // No `complete`: the client comes again, and goes on from his last position.
                _ = ending.wait_for(|ending| *ending) => return,
                () = self.events.closed() => return,
            };
        }
        self.send(complete()).await;
    }

    /// Whether there is still somebody.
    async fn send(&self, bytes: Bytes) -> bool {
        let slow_after: Duration = self.state.options.slow_after;
        match tokio::time::timeout(slow_after, self.events.send(bytes)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                metrics::counter!("grid_graphql_slow_connections_total").increment(1);
                // The body waits for room, so the answer is still being sent.
                if let Some(socket) = self.socket.filter(|_| !self.events.is_closed()) {
                    socket.cut();
                }
                false
            }
        }
    }
}
