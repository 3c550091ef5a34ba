//! The table of API tokens: the one place that reads and writes it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgExecutor, Row};
use utoipa::ToSchema;

use super::token::{NewToken, TokenId};
use super::{Caller, Role};
use crate::api::openapi::RoleName;
use crate::domain::Timestamp;

/// Tokens that are listed at most.
const MOST_LISTED: i64 = 10_000;

const COLUMNS: &str = "id, secret_sha256, principal, role, created_at, created_by, expires_at, revoked_at, revoked_by,
    last_used_at";

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Token)]
#[serde(rename_all = "camelCase")]
pub struct TokenRow {
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{16}$")]
    pub id: TokenId,
    #[serde(skip)]
    pub sha256: [u8; 32],
    pub principal: String,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = RoleName)]
    pub role: Role,
    pub created_at: Timestamp,
    /// The user of the database.
    pub created_by: String,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
    /// To a minute.
    pub last_used_at: Option<Timestamp>,
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl TokenRow {
    /// Whether it opens anything at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && !self.has_expired(now)
    }

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Why a token cannot be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "a principal has 1 to 64 letters, digits or . _ @ + - and begins with a letter or digit; {0:?} does not, or is \
         one of the names that Grid uses itself"
    )]
    Principal(String),
    #[error("there is no token {0}; `grid token list` shows them")]
    Unknown(TokenId),
    #[error(
        "this user of the database may not do that: tokens are made and listed with the owner's URL \
         (GRID__POSTGRES__OWNER_URL, or --postgres)"
    )]
    NotAllowed,
    #[error("the database has no tokens yet: bring it up to date with `grid migrate`")]
    NotMigrated,
    #[error("the tokens cannot be reached: {0}")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for TokenError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("42501") => Self::NotAllowed,
            Some("42P01") => Self::NotMigrated,
            _ => Self::Database(error),
        }
    }
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub role: Role,
    /// Default: made from the token's id.
    pub principal: Option<String>,
    pub expires_at: Option<Timestamp>,
}

/// Names that stand for something else in the log.
fn is_taken(principal: &str) -> bool {
    [Caller::ANONYMOUS, Caller::WORKERS, "system", "grid"].contains(&principal)
}

fn is_principal(text: &str) -> bool {
    let all = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    (1..=64).contains(&text.len()) && text.as_bytes()[0].is_ascii_alphanumeric() && text.bytes().all(all)
}

/// Makes a token. Its text is in the answer and nowhere else.
///
/// # Errors
/// A principal that cannot be one; a user without the owner's rights; a database that does not answer.
pub async fn create(pool: &PgPool, wanted: &Wanted) -> Result<(NewToken, TokenRow), TokenError> {
    let token = NewToken::random();
    let principal = match &wanted.principal {
        Some(name) if !is_principal(name) || is_taken(name) => return Err(TokenError::Principal(name.clone())),
        Some(name) => name.clone(),
        None => format!("token-{}", token.id),
    };
    let sql = format!(
        "INSERT INTO api_tokens (id, secret_sha256, principal, role, expires_at) VALUES ($1, $2, $3, $4, $5)
         RETURNING {COLUMNS}"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(token.id.as_str())
        .bind(&token.sha256[..])
        .bind(principal)
        .bind(wanted.role.name())
        .bind(wanted.expires_at.map(Timestamp::to_datetime))
        .fetch_one(pool)
        .await?;
    Ok((token, read(&row)?))
}

/// All tokens, newest first, as far as they can be listed.
///
/// # Errors
/// A database that does not answer.
pub async fn list(pool: &PgPool) -> Result<Vec<TokenRow>, TokenError> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens ORDER BY created_at DESC, id LIMIT {MOST_LISTED}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Revokes a token: every API node refuses it from the commit on, as [`super::Tokens`] says. One that was revoked before
/// stays as it is.
///
/// # Errors
/// A token that is not there; a database that does not answer.
pub async fn revoke(pool: &PgPool, id: &TokenId, by: &str) -> Result<TokenRow, TokenError> {
    sqlx::query("UPDATE api_tokens SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL")
        .bind(id.as_str())
        .bind(by)
        .execute(pool)
        .await?;
    find(pool, id).await?.ok_or_else(|| TokenError::Unknown(id.clone()))
}

pub(super) async fn find(pool: &PgPool, id: &TokenId) -> Result<Option<TokenRow>, sqlx::Error> {
    let sql = format!("SELECT {COLUMNS} FROM api_tokens WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(id.as_str())
        .fetch_optional(pool);
    row.await?.as_ref().map(read).transpose()
}

/// Those of `ids` that were revoked.
pub(super) async fn revoked(executor: impl PgExecutor<'_>, ids: &[String]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM api_tokens WHERE id = ANY($1) AND revoked_at IS NOT NULL")
        .bind(ids)
        .fetch_all(executor)
        .await
}

/// Notes that a token was used.
pub(super) async fn used(pool: &PgPool, id: &TokenId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE api_tokens SET last_used_at = now()
         WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
    )
    .bind(id.as_str())
    .execute(pool)
    .await?;
    Ok(())
}

/// Whether there is a token that is good now.
///
/// # Errors
/// A database that does not answer.
pub async fn any(pool: &PgPool) -> Result<bool, TokenError> {
    let sql = "SELECT EXISTS (SELECT FROM api_tokens
                   WHERE revoked_at IS NULL AND role <> 'worker' AND (expires_at IS NULL OR expires_at > now()))";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

fn read(row: &PgRow) -> Result<TokenRow, sqlx::Error> {
    let bad = |what: String| sqlx::Error::Decode(what.into());
    let when = |name: &str| -> Result<Option<Timestamp>, sqlx::Error> {
        let at: Option<DateTime<Utc>> = row.try_get(name)?;
        Ok(at.map(Timestamp::from))
    };
    let sha256: Vec<u8> = row.try_get("secret_sha256")?;
    Ok(TokenRow {
        id: row.try_get::<String, _>("id")?.parse().map_err(bad)?,
        sha256: sha256
            .try_into()
            .map_err(|_| bad("a hash of another length".to_owned()))?,
        principal: row.try_get("principal")?,
        role: row.try_get::<String, _>("role")?.parse().map_err(bad)?,
        created_at: when("created_at")?.unwrap_or(Timestamp::ZERO),
        created_by: row.try_get("created_by")?,
        expires_at: when("expires_at")?,
        revoked_at: when("revoked_at")?,
        revoked_by: row.try_get("revoked_by")?,
        last_used_at: when("last_used_at")?,
    })
}
