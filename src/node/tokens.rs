//! API tokens, worked on with access to the database.

use std::time::Duration;

use anyhow::Context;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::database::Database;
use crate::api::auth::{self, NewToken, REVOKED_WITHIN, TokenId, TokenRow, Wanted};
use crate::config::whole::Config;
use crate::log::reachable;

async fn with_pool<T>(config: &Config, work: impl AsyncFnOnce(&PgPool) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let database = Database::open(config).await?;
    let (owner, patience) = (database.owner_url(), config.postgres.connect_timeout);
    let done = async {
        reachable(&owner, patience)
            .await
            .context("the database of the tokens")?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(patience)
            .connect(owner.reveal())
            .await?;
        let done = work(&pool).await;
        pool.close().await;
        done
    };
    let done = done.await;
    database.close().await?;
    done
}

/// `grid token create`
///
/// # Errors
/// Says what is wrong with the wish, or why the database cannot be used.
pub async fn create_token(config: &Config, wanted: &Wanted) -> anyhow::Result<(NewToken, TokenRow)> {
    with_pool(config, async |pool| Ok(auth::create(pool, wanted).await?)).await
}

/// `grid token list`
///
/// # Errors
/// Says why the database cannot be used.
pub async fn list_tokens(config: &Config) -> anyhow::Result<Vec<TokenRow>> {
    with_pool(config, async |pool| Ok(auth::list(pool).await?)).await
}

/// `grid token revoke`: returns when no server takes the token any more.
///
/// # Errors
/// Says which token is not there, or why the database cannot be used.
pub async fn revoke_token(config: &Config, id: &TokenId) -> anyhow::Result<TokenRow> {
    let revoked = with_pool(config, async |pool| {
        let by: String = sqlx::query_scalar("SELECT session_user::text").fetch_one(pool).await?;
        Ok(auth::revoke(pool, id, &by).await?)
    });
    let revoked = revoked.await?;
    // Those that hear of it have refused it since milliseconds; one that is cut off believes what it knows so long.
    tokio::time::sleep(REVOKED_WITHIN + Duration::from_millis(50)).await;
    Ok(revoked)
}
