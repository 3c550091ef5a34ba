//! What is sent over a WebSocket, one message after the other.

use std::sync::Arc;
use std::time::Duration;

use actix_ws::{CloseReason, Closed, Item, Session};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::message::Close;
use crate::api::graphql::connection::Socket;

/// Messages that may wait.
const MOST_WAITING: usize = 64;
/// Bytes of messages that may wait; a larger one waits alone.
const MOST_BYTES: usize = 1024 * 1024;
/// Longer messages go out in parts: the library holds 32 of them.
const PART_BYTES: usize = 32 * 1024;

/// What is to be sent.
pub enum Out {
    Text(String, Option<OwnedSemaphorePermit>),
    Pong(Vec<u8>),
    Ping,
    /// The last one.
    Close(Close),
}

/// The way to the writer.
#[derive(Clone)]
pub struct Sender {
    messages: mpsc::Sender<Out>,
    room: Arc<Semaphore>,
}

impl Sender {
    pub fn new() -> (Self, mpsc::Receiver<Out>) {
        let (messages, waiting) = mpsc::channel(MOST_WAITING);
        let room = Arc::new(Semaphore::new(MOST_BYTES));
        (Self { messages, room }, waiting)
    }

    /// Waits for room. Tells whether there is still a writer.
    pub async fn text(&self, text: String) -> bool {
        let bytes = u32::try_from(text.len().min(MOST_BYTES)).unwrap_or(u32::MAX);
        let permit = tokio::select! {
            permit = Arc::clone(&self.room).acquire_many_owned(bytes) => permit.ok(),
            () = self.messages.closed() => return false,
        };
        self.send(Out::Text(text, permit)).await
    }

    pub async fn send(&self, message: Out) -> bool {
        self.messages.send(message).await.is_ok()
    }
}

/// How the writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The last message was sent.
    Closed,
    /// The other side is gone.
    Gone,
    /// It did not read.
    Slow,
}

pub struct Writer {
    pub session: Session,
    pub slow_after: Duration,
    pub close_grace: Duration,
    pub socket: Option<Socket>,
}

impl Writer {
    pub async fn run(mut self, mut messages: mpsc::Receiver<Out>) -> End {
        while let Some(message) = messages.recv().await {
            let session = &mut self.session;
            let sending = async move {
                match message {
                    Out::Text(text, _room) => write(session, text).await.map(|()| None),
                    Out::Pong(bytes) => session.pong(&bytes).await.map(|()| None),
                    Out::Ping => session.ping(b"").await.map(|()| None),
                    Out::Close(close) => Ok(Some(close)),
                }
            };
            match tokio::time::timeout(self.slow_after, sending).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(close))) => {
                    self.close(close).await;
                    return End::Closed;
                }
                Ok(Err(_)) => return End::Gone,
                Err(_) => {
                    metrics::counter!("grid_graphql_slow_connections_total").increment(1);
                    // Nobody may wait for room any more.
                    drop(messages);
                    self.close(Close::too_slow("what is sent to you is not read")).await;
                    return End::Slow;
                }
            }
        }
        self.close(Close::normal()).await;
        End::Closed
    }

    /// Says why, gives the other side some time to read it, and ends the connection.
    async fn close(self, close: Close) {
        metrics::counter!("grid_graphql_closed_connections_total", "code" => close.code.to_string()).increment(1);
        let reason = CloseReason {
            code: close.code.into(),
            description: (!close.reason.is_empty()).then_some(close.reason),
        };
        let told = tokio::time::timeout(self.close_grace, self.session.close(Some(reason))).await;
        if told.is_err()
            && let Some(socket) = self.socket
        {
            // The answer is still being sent: its body waits for room.
            socket.cut();
        }
    }
}

async fn write(session: &mut Session, text: String) -> Result<(), Closed> {
    if text.len() <= PART_BYTES {
        return session.text(text).await;
    }
    let mut rest = Bytes::from(text);
    session.continuation(Item::FirstText(rest.split_to(PART_BYTES))).await?;
    while rest.len() > PART_BYTES {
        session.continuation(Item::Continue(rest.split_to(PART_BYTES))).await?;
    }
    session.continuation(Item::Last(rest)).await
}
