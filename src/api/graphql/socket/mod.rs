//! `/graphql` over a WebSocket: the protocol `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).
//!
//! Must stay true: everything of a connection is bounded: messages in, operations, answers that wait; who breaks the
//! protocol, does not introduce himself, does not answer pings, or does not read, is told by a code and dropped.

mod connection;
mod message;
mod writer;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::GraphqlState;
use super::connection::Socket;
use crate::api::Api;
use crate::api::problem::Problem;
use connection::Connection;

const PROTOCOL: &str = "graphql-transport-ws";

/// Whether the request wants a WebSocket.
pub fn is_upgrade(request: &HttpRequest) -> bool {
    let upgrade = request
        .headers()
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|text| text.eq_ignore_ascii_case("websocket"))
}

/// Takes the connection over.
///
/// # Errors
/// 400 when the handshake is none.
pub fn handle(
    state: &web::Data<GraphqlState>,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (mut response, session, messages) =
        actix_ws::handle_with_protocols(request, payload, &[PROTOCOL]).map_err(|error| {
            Problem::new(
                actix_web::http::StatusCode::BAD_REQUEST,
                "INVALID_REQUEST",
                error.to_string(),
            )
        })?;
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let known = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .any(|protocol| protocol.trim() == PROTOCOL);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    let most = state.options.request_bytes as usize;
    let connection = Connection {
        state: state.clone().into_inner(),
        caller: Api::caller(request),
        peer: request.peer_addr(),
        socket: Socket::of(request),
    };
    let messages = messages
        .max_frame_size(most)
        .aggregate_continuations()
        .max_continuation_size(most);
    crate::task::spawn_local("api.graphql.socket", connection.run(session, messages, known));
    Ok(response)
}
