//! One connection: its introduction, its operations, its end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, ProtocolError, Session};
use futures::StreamExt;
use serde_json::{Map, Value};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::message::{self, Close, Incoming};
use super::writer::{Out, Sender, Writer};
use crate::api::Caller;
use crate::api::graphql::GraphqlState;
use crate::api::graphql::connection::Socket;
use crate::api::graphql::fault::{coded, is_refusal, name_errors};
use crate::api::graphql::limits::name_complexity;
use crate::api::graphql::request::Received;
use crate::api::problem::Problem;

pub struct Connection {
    pub state: Arc<GraphqlState>,
    pub caller: Caller,
    pub peer: Option<SocketAddr>,
    pub socket: Option<Socket>,
}

/// Operations under way, by the client's id.
#[derive(Clone, Default)]
struct Operations(Arc<Mutex<HashMap<String, AbortHandle>>>);

impl Operations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, id: &str) {
        if let Some(operation) = self.lock().remove(id) {
            operation.abort();
        }
    }

    fn end_all(&self) {
        for (_, operation) in self.lock().drain() {
            operation.abort();
        }
    }
}

/// What a connection has come to.
struct Talk {
    state: Arc<GraphqlState>,
    caller: Caller,
    peer: Option<SocketAddr>,
    introduced: bool,
    operations: Operations,
    out: Sender,
}

impl Connection {
    pub async fn run(self, session: Session, messages: AggregatedMessageStream, knows_protocol: bool) {
        let (out, waiting) = Sender::new();
        let options = &self.state.options;
        let writer = Writer {
            session,
            slow_after: options.slow_after,
            close_grace: options.close_grace,
            socket: self.socket,
        };
        let writing = crate::task::spawn_local("api.graphql.writer", writer.run(waiting));
        if !knows_protocol {
            _ = out.send(Out::Close(Close::no_protocol())).await;
            drop(out);
            _ = writing.await;
            return;
        }
        metrics::gauge!("grid_graphql_connections").increment(1.0);
        let talk = Talk {
            state: self.state,
            caller: self.caller,
            peer: self.peer,
            introduced: false,
            operations: Operations::default(),
            out,
        };
        talk.run(messages, writing).await;
        metrics::gauge!("grid_graphql_connections").decrement(1.0);
    }
}

impl Talk {
    async fn run<T>(mut self, mut messages: AggregatedMessageStream, mut writing: JoinHandle<T>) {
        let close = tokio::select! {
            close = self.listen(&mut messages) => close,
            // The other side is gone, or was dropped.
            _ = &mut writing => {
                self.operations.end_all();
                return;
            }
        };
        self.operations.end_all();
        if let Some(close) = close {
            _ = self.out.send(Out::Close(close)).await;
        }
        drop(self.out);
        // The connection lives as long as its messages are read: the last one must get out.
        tokio::select! {
            _ = &mut writing => {}
            () = async { while messages.recv().await.is_some() {} } => {}
        }
    }

    /// Until the connection is to be closed; `None`: the other side is gone.
    async fn listen(&mut self, messages: &mut AggregatedMessageStream) -> Option<Close> {
        let introduction = Instant::now() + self.state.options.init_timeout;
        let mut pings = pings(self.state.options.ping_interval);
        let mut ending = self.state.ending.clone();
        let mut answered = true;
        loop {
            let received = tokio::select! {
                received = messages.recv() => received,
                () = tokio::time::sleep_until(introduction), if !self.introduced => return Some(Close::init_timeout()),
                _ = ending.wait_for(|ending| *ending) => return Some(Close::going_away()),
                // What was allowed is not allowed any more.
                () = self.caller.lease.clone().over() => return Some(Close::forbidden()),
                _ = pings.tick() => {
                    if !answered {
                        return Some(Close::too_slow("you do not answer pings"));
                    }
                    answered = false;
                    if !self.out.send(Out::Ping).await {
                        return None;
                    }
                    continue;
                }
            };
            answered = true;
            let most = self.state.options.request_bytes;
            let closed = match received? {
                Ok(AggregatedMessage::Text(text)) => self.take(&text).await,
                Ok(AggregatedMessage::Binary(_)) => Err(Close::bad_request("messages are text")),
                Ok(AggregatedMessage::Ping(bytes)) => self.send(Out::Pong(bytes.to_vec())).await,
                Ok(AggregatedMessage::Pong(_)) => Ok(()),
                Ok(AggregatedMessage::Close(_)) => Err(Close::normal()),
                Err(error) => Err(broken(&error, most)),
            };
            if let Err(close) = closed {
                return Some(close);
            }
        }
    }

    /// A writer that has ended is noticed where it is awaited.
    async fn send(&self, message: Out) -> Result<(), Close> {
        if self.out.send(message).await {
            Ok(())
        } else {
            Err(Close::normal())
        }
    }

    async fn say(&self, text: String) -> Result<(), Close> {
        if self.out.text(text).await {
            Ok(())
        } else {
            Err(Close::normal())
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Close> {
        let incoming: Incoming = serde_json::from_str(text)
            .map_err(|error| Close::bad_request(format!("Invalid message received: {error}")))?;
        match incoming {
            Incoming::ConnectionInit { payload } => self.introduce(payload).await,
            Incoming::Ping { payload } => self.say(message::pong(payload)).await,
            Incoming::Pong { .. } => Ok(()),
            Incoming::Subscribe { id, payload } => self.subscribe(id, payload).await,
            Incoming::Complete { id } => {
                self.operations.end(&id);
                Ok(())
            }
        }
    }

    async fn introduce(&mut self, payload: Option<Map<String, Value>>) -> Result<(), Close> {
        if self.introduced {
            return Err(Close::second_init());
        }
        let payload = payload.unwrap_or_default();
        let caller = self.state.admit(&payload, &self.caller, self.peer).await;
        self.caller = caller.map_err(refused)?;
        self.introduced = true;
        self.say(message::ack()).await
    }

    async fn subscribe(&mut self, id: String, payload: Map<String, Value>) -> Result<(), Close> {
        if !self.introduced {
            return Err(Close::unauthorized());
        }
        if id.is_empty() || id.len() > 256 {
            return Err(Close::bad_request("Invalid message received: an id has 1 to 256 bytes"));
        }
        let under_way = {
            let operations = self.operations.lock();
            if operations.contains_key(&id) {
                return Err(Close::subscriber_exists(&id));
            }
            operations.len()
        };
        let most = self.state.options.subscriptions_per_connection as usize;
        if under_way >= most {
            let detail = format!("a connection has at most {most} operations (graphql.subscriptions_per_connection)");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_SUBSCRIPTIONS", detail);
            return self.say(message::error(&id, &[coded(problem)])).await;
        }
        let received = Received::read(Value::Object(payload))
            .map_err(|problem| Close::bad_request(format!("Invalid message received: {}", problem.detail)))?;
        let prepared = match received.prepare(&self.state.options, self.caller.clone()) {
            Ok(prepared) => prepared,
            Err(error) => return self.say(message::error(&id, &[*error])).await,
        };
        let operation = Operation {
            id: id.clone(),
            state: Arc::clone(&self.state),
            operations: self.operations.clone(),
            out: self.out.clone(),
        };
        // It takes itself out of the map at its end, which must come after it was put there.
        let mut operations = self.operations.lock();
        let task = crate::task::spawn("api.graphql.operation", operation.run(prepared.request));
        operations.insert(id, task.abort_handle());
        Ok(())
    }
}

/// What becomes of a connection whose introduction was not accepted.
fn refused(problem: Problem) -> Close {
    match problem.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Close::forbidden(),
        _ => Close::internal(),
    }
}

fn pings(every: std::time::Duration) -> Interval {
    let mut pings = tokio::time::interval_at(Instant::now() + every, every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}

fn broken(error: &ProtocolError, most: u32) -> Close {
    match error {
        ProtocolError::Overflow => Close::too_large(most),
        ProtocolError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Close::not_utf8(),
        // The library says so when the parts of a message are too long together.
        ProtocolError::Io(error) if error.to_string().contains("continuation size") => Close::too_large(most),
        _ => Close::broken(),
    }
}

struct Operation {
    id: String,
    state: Arc<GraphqlState>,
    operations: Operations,
    out: Sender,
}

impl Operation {
    async fn run(self, request: async_graphql::Request) {
        let mut answers = self.state.schema.execute_stream(request);
        while let Some(mut response) = answers.next().await {
            name_complexity(&self.state.options, &mut response);
            name_errors(&mut response);
            if is_refusal(&response) {
                self.finish();
                _ = self.out.text(message::error(&self.id, &response.errors)).await;
                return;
            }
            if !self.out.text(message::next(&self.id, &response)).await {
                break;
            }
        }
        self.finish();
        _ = self.out.text(message::complete(&self.id)).await;
    }

    /// The client may use the id again as soon as he hears of the end.
    fn finish(&self) {
        self.operations.lock().remove(&self.id);
    }
}
