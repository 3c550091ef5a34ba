//! The gate that every request passes, from outside in: what browsers are told; by which name and from which page it was
//! asked; who asks, and whether not too often; how long and how much it may take; and, at its route, whether they may.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::hosts::{self, Hosts};
use super::keeper::{Known, Tokens};
use super::lease::Lease;
use super::limits::{Limits, Payer};
use super::token::Shown;
use super::{Access, Caller, Role, body, headers};
use crate::api::options::ApiOptions;
use crate::api::problem::Problem;
use crate::api::{ApiParts, routes};
use crate::config::Secret;
use crate::telemetry::{Span, SpanKind};

type Answer = Result<ServiceResponse, Error>;

/// What the gate goes by.
pub struct Gate {
    hosts: Hosts,
    limits: Limits,
    tokens: Tokens,
    options: ApiOptions,
    anonymous_role: Option<Role>,
    /// Of all workers that have no token of their own.
    worker_token: Option<Secret>,
}

impl Gate {
    /// `bound`: where the server listens.
    pub fn new(parts: &ApiParts, bound: SocketAddr) -> Self {
        Self {
            hosts: Hosts::new(&parts.options, parts.server.public_url.as_deref(), bound),
            limits: Limits::new(&parts.options),
            tokens: Tokens::start(&parts.log),
            options: parts.options.clone(),
            anonymous_role: parts.anonymous_role,
            worker_token: parts.worker_token.clone(),
        }
    }

    /// Who shows what the request shows.
    async fn caller(&self, request: &HttpRequest) -> Result<Caller, Problem> {
        let headers = request.headers();
        let mut caller = match headers.get(header::AUTHORIZATION) {
            Some(given) => self.introduce(bearer(given)?, request.peer_addr()).await?,
            None => Caller {
                role: self.anonymous_role,
                ..Caller::nobody()
            },
        };
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        caller.traceparent = traceparent.filter(|text| is_traceparent(text)).map(Arc::from);
        Ok(caller)
    }

    /// Who shows this token; also to a handler that is shown one after the request, as in the first message of a
    /// WebSocket.
    ///
    /// # Errors
    /// 401 for one that is wrong, revoked or expired; 429 when the address has shown too many; 503 when the database does
    /// not answer.
    pub async fn introduce(&self, token: &str, peer: Option<SocketAddr>) -> Result<Caller, Problem> {
        let caller = |principal: &str, role, lease| Caller {
            principal: Arc::from(principal),
            role: Some(role),
            anonymous: false,
            traceparent: None,
            lease,
        };
        let shared = self.worker_token.as_ref();
        if shared.is_some_and(|shared| same(shared.reveal(), token)) {
            return Ok(caller(Caller::WORKERS, Role::Worker, Lease::default()));
        }
        let unknown = || Problem::unauthenticated("this token is not known here");
        let shown = Shown::read(token).ok_or_else(unknown)?;
        let Known { row, lease } = match self.tokens.recall(&shown)? {
            Some(known) => known,
            None => {
                self.limits.look_up(peer.map(|peer| peer.ip()))?;
                self.tokens.look_up(&shown).await?
            }
        };
        Ok(caller(&row.principal, row.role, lease))
    }

    async fn identify(&self, request: &HttpRequest) -> Result<Caller, Problem> {
        if let Some(pattern) = request.match_pattern().filter(|pattern| !routes::has_rules(pattern)) {
            tracing::error!(pattern, "api.route_without_rule");
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "nobody may use this path",
            ));
        }
        let caller = self.caller(request).await?;
        let payer = if caller.anonymous {
            Payer::address(request.peer_addr().map(|peer| peer.ip()))
        } else {
            Payer::Principal(Arc::clone(&caller.principal))
        };
        self.limits.request(&payer)?;
        Ok(caller)
    }

    /// # Errors
    /// 413 when the body is announced as too long.
    fn bound_body(&self, request: &mut ServiceRequest) -> Result<(), Problem> {
        // What was upgraded is no body: whoever upgrades it bounds it.
        if request.headers().contains_key(header::UPGRADE) {
            return Ok(());
        }
        let most = u64::from(self.options.max_body_bytes);
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|announced| announced > most) {
            let detail = format!("a body has at most {most} bytes (api.max_body_bytes)");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE", detail));
        }
        let payload = match request.take_payload() {
            Payload::None => Payload::None,
            payload => body::bounded(payload, most, self.options.body_timeout),
        };
        request.set_payload(payload);
        Ok(())
    }
}

fn refuse(request: ServiceRequest, problem: &Problem) -> ServiceResponse {
    request.into_response(problem.error_response())
}

fn gate(request: &ServiceRequest) -> Result<web::Data<Gate>, Problem> {
    let gate = request.app_data::<web::Data<Gate>>().cloned();
    gate.ok_or_else(|| Problem::internal("find the gate", &"no data"))
}

/// Outermost: what browsers are told, and whether the name and the page are those that may be.
pub async fn admit_page(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let gate = match gate(&request) {
        Ok(gate) => gate,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    let hosts = &gate.hosts;
    let named = hosts.check_host(&request.head().uri, request.headers());
    let origin = named.and_then(|()| hosts.check_origin(request.headers()));
    let preflight = hosts::is_preflight(request.method(), request.headers());
    let (mut response, origin) = match origin {
        Err(problem) => (refuse(request, &problem), None),
        Ok(Some(origin)) if preflight => (request.into_response(HttpResponse::NoContent().finish()), Some(origin)),
        Ok(origin) => (next.call(request).await?, origin),
    };
    let headers = response.headers_mut();
    headers::add(headers);
    if hosts.has_origins() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        hosts::allow(headers, origin, preflight);
    }
    Ok(response)
}

/// Finds out who asks, and bounds what the request may take.
pub async fn identify(mut request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let gate = match gate(&request) {
        Ok(gate) => gate,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    let mut caller = match gate.identify(request.request()).await {
        Ok(caller) => caller,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    if let Err(problem) = gate.bound_body(&mut request) {
        return Ok(refuse(request, &problem));
    }
    let mut span = call(&request, &caller);
    if let Some(traceparent) = span.traceparent() {
        caller.traceparent = Some(traceparent);
    }
    let lease = caller.lease.clone();
    request.extensions_mut().insert(caller);
    let response = next.call(request).await?;
    span.set("http.response.status_code", &response.status().as_u16());
    if response.status().is_server_error() {
        span.fail(&response.status());
    }
    Ok(response.map_body(|_, body| body::leased(body, lease)))
}

/// The span of a call; what workers fetch and hand over is none.
fn call(request: &ServiceRequest, caller: &Caller) -> Span {
    let pattern = request.match_pattern().unwrap_or_default();
    if pattern.starts_with("/api/v1/internal/") {
        return Span::default();
    }
    let name = || format!("{} {pattern}", request.method());
    Span::begin(name, SpanKind::Server, caller.traceparent.as_deref())
}

/// Around the listener for metrics: it is on a network where everybody may see them.
pub async fn admit_scraper(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    request.extensions_mut().insert(Caller {
        role: Some(Role::Viewer),
        ..Caller::nobody()
    });
    next.call(request).await
}

/// At a route: lets those in who may use it, for as long as it may take.
pub async fn admit(access: Access, request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let allowed = match request.extensions().get::<Caller>() {
        Some(caller) => caller.may(access),
        None => Err(Problem::internal("find the caller", &"not identified")),
    };
    let limit = match allowed.and_then(|()| gate(&request)) {
        Ok(gate) => gate.options.request_timeout,
        Err(problem) => return Ok(refuse(request, &problem)),
    };
    let asked = request.request().clone();
    let Ok(response) = tokio::time::timeout(limit, next.call(request)).await else {
        let detail = format!("no answer within {limit:?} (api.request_timeout)");
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "REQUEST_TIMEOUT", detail);
        return Ok(ServiceResponse::new(asked, problem.error_response()));
    };
    response
}

/// RFC 6750: the scheme's name in any case.
fn bearer(value: &HeaderValue) -> Result<&str, Problem> {
    let parts = value.to_str().ok().and_then(|text| text.trim().split_once(' '));
    let token = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.map(|(_, token)| token.trim()).ok_or_else(|| {
        Problem::unauthenticated("show a token as `Authorization: Bearer …`; nothing else is known here")
    })
}

/// In a time that tells nothing of where they differ, nor of how long they are.
fn same(token: &str, given: &str) -> bool {
    Sha256::digest(token).ct_eq(&Sha256::digest(given)).into()
}

/// The form of https://www.w3.org/TR/trace-context/#traceparent-header: anything else is not passed on.
fn is_traceparent(text: &str) -> bool {
    let hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), [version, trace, parent, flags]
        if hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2))
}
