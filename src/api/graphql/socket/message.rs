//! Messages of `graphql-transport-ws`, and the codes by which a connection is closed.

use async_graphql::{Response, ServerError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::graphql::http::Written;

/// From a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Incoming {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Map<String, Value>>,
    },
    Pong {
        #[serde(default, rename = "payload")]
        _payload: Option<Map<String, Value>>,
    },
    Subscribe {
        id: String,
        payload: Map<String, Value>,
    },
    Complete {
        id: String,
    },
}

/// To a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Outgoing<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Map<String, Value>>,
    },
    Next {
        id: &'a str,
        payload: Written<'a>,
    },
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    Complete {
        id: &'a str,
    },
}

fn text(message: &Outgoing<'_>) -> String {
    // Writing text and numbers into memory cannot fail.
    serde_json::to_string(message).unwrap_or_default()
}

pub fn ack() -> String {
    text(&Outgoing::ConnectionAck)
}

pub fn pong(payload: Option<Map<String, Value>>) -> String {
    text(&Outgoing::Pong { payload })
}

pub fn next(id: &str, response: &Response) -> String {
    let payload = Written::of(response);
    text(&Outgoing::Next { id, payload })
}

pub fn error(id: &str, errors: &[ServerError]) -> String {
    text(&Outgoing::Error { id, payload: errors })
}

pub fn complete(id: &str) -> String {
    text(&Outgoing::Complete { id })
}

/// Why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }

    /// The client has closed, or the server has nothing more to say.
    pub fn normal() -> Self {
        Self::new(1000, "")
    }

    pub fn going_away() -> Self {
        Self::new(1001, "the server is ending: connect again")
    }

    pub fn too_large(most: u32) -> Self {
        Self::new(1009, format!("a message has at most {most} bytes"))
    }

    pub fn not_utf8() -> Self {
        Self::new(1007, "a text message is UTF-8")
    }

    pub fn broken() -> Self {
        Self::new(1002, "this is not the WebSocket protocol")
    }

    /// Whoever is told so may come again, and go on from his last position.
    pub fn too_slow(what: &str) -> Self {
        Self::new(
            1013,
            format!("too slow: {what}; connect again and go on from your last position"),
        )
    }

    pub fn bad_request(what: impl Into<String>) -> Self {
        Self::new(4400, what)
    }

    pub fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    pub fn forbidden() -> Self {
        Self::new(4403, "Forbidden")
    }

    pub fn no_protocol() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    pub fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    pub fn subscriber_exists(id: &str) -> Self {
        let id: String = id.chars().take(60).collect();
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    pub fn second_init() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }

    pub fn internal() -> Self {
        Self::new(4500, "Internal server error")
    }
}
