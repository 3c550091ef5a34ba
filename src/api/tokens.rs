//! API tokens, for admins: which there are, and revoking one. They are made with access to the database alone.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::Api;
use super::auth::{self, TokenError, TokenId};
use super::page::{List, ListId, ListKind, PAGE_PARAMS, PageQuery};
use super::params::Params;
use super::problem::Problem;

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown(id) => Self::not_found(format!("token {id}")),
            TokenError::Principal(_) => Self::new(StatusCode::BAD_REQUEST, "INVALID_PRINCIPAL", error.to_string()),
            TokenError::NotAllowed | TokenError::NotMigrated => Self::internal("reach the tokens", &error),
            TokenError::Database(error) => Self::database(&error),
        }
    }
}

/// `GET /api/v1/tokens`: newest first; of none what opens something.
pub async fn list(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let params = Params::read(&request, &PAGE_PARAMS)?;
    let tokens = ListId::new(ListKind::Tokens, &());
    let query = PageQuery::read(&params, &tokens, 50)?;
    let skipped = match query.after.as_deref() {
        Some(key) => u64::from_be_bytes(key.try_into().map_err(|_| PageQuery::bad_cursor())?),
        None => query.offset(),
    };
    // The log has no part in it; a token of it that is none is told all the same.
    api.wait_for_position(&params).await?;
    let all = auth::list(api.parts.log.pool()).await?;
    let total = all.len() as u64;
    let first = usize::try_from(skipped).unwrap_or(usize::MAX);
    let items: Vec<_> = all.into_iter().skip(first).take(query.size as usize).collect();
    let end = skipped.saturating_add(items.len() as u64);
    let next = (end < total && !items.is_empty()).then(|| query.next(&tokens, &end.to_be_bytes()));
    Ok(HttpResponse::Ok().json(List::new(&query, items, total, next)))
}

/// `DELETE /api/v1/tokens/{tokenId}`: revokes it; one that was revoked before stays as it is.
pub async fn revoke(api: web::Data<Api>, request: HttpRequest, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let id: TokenId = id
        .parse()
        .map_err(|why: String| Problem::new(StatusCode::BAD_REQUEST, "INVALID_ID", why))?;
    let by = Api::caller(&request).principal;
    Ok(HttpResponse::Ok().json(auth::revoke(api.parts.log.pool(), &id, &by).await?))
}
