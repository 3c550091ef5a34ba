//! The gate that every request passes: first who asks, then, at its route, whether they may.

use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Access, Caller, Role};
use crate::api::problem::Problem;
use crate::api::{Api, routes};

type Answer = Result<ServiceResponse, Error>;

fn refuse(request: ServiceRequest, problem: &Problem) -> ServiceResponse {
    request.into_response(problem.error_response())
}

/// Around everything: finds out who asks.
pub async fn identify(request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let identified = match request.app_data::<web::Data<Api>>() {
        Some(api) => caller(api, request.request()),
        None => Err(Problem::internal("find the API", &"no data")),
    };
    match identified {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await
        }
        Err(problem) => Ok(refuse(request, &problem)),
    }
}

/// At a route: lets those in who may use it.
pub async fn admit(access: Access, request: ServiceRequest, next: Next<BoxBody>) -> Answer {
    let allowed = match request.extensions().get::<Caller>() {
        Some(caller) => caller.may(access),
        None => Err(Problem::internal("find the caller", &"not identified")),
    };
    match allowed {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(refuse(request, &problem)),
    }
}

fn caller(api: &Api, request: &HttpRequest) -> Result<Caller, Problem> {
    if let Some(pattern) = request.match_pattern().filter(|pattern| !routes::has_rules(pattern)) {
        tracing::error!(pattern, "api.route_without_rule");
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "FORBIDDEN",
            "nobody may use this path",
        ));
    }
    let headers = request.headers();
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let traceparent = traceparent.filter(|text| is_traceparent(text)).map(Arc::from);
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return Ok(Caller {
            principal: Arc::from(Caller::ANONYMOUS),
            role: api.parts.anonymous_role,
            anonymous: true,
            traceparent,
        });
    };
    let token = given.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    let shared = api.parts.worker_token.as_ref();
    if token.is_some_and(|token| shared.is_some_and(|shared| same(shared.reveal(), token))) {
        return Ok(Caller {
            principal: Arc::from(Caller::WORKERS),
            role: Some(Role::Worker),
            anonymous: false,
            traceparent,
        });
    }
    Err(Problem::unauthenticated("this token is not known here"))
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
