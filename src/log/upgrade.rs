//! Finishing an upgrade: from then on the newest format is written, and older programs are refused.
//!
//! Must stay true: the format is not raised while a process lives that does not know it; what a migration takes away
//! ("contracts") goes only when no program that still needs it can work on the log any more.

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::jobmasters::GONE_AFTER_S;
use super::migrate::{become_owner, connect_as_owner, migrate_to, read_format};
use super::{Error, Format};
use crate::config::Secret;

/// Who else may work on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Whoever has said so of late.
    AsTheySay,
    /// Nobody: the caller holds what every other process would need.
    Nobody,
}

/// What finishing an upgrade did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub before: Format,
    pub active: Format,
    /// Migrations that took away what only older programs needed.
    pub contracted: usize,
}

/// Makes this program's newest format the active one, and applies the migrations that waited for it; repeated, it changes
/// nothing. The database must have been migrated.
///
/// # Errors
/// [`Error::OlderProcesses`] while one lives that does not know the format; [`Error::NewerFormat`] when this program is
/// the older one.
pub async fn finish_upgrade(owner_url: &Secret, others: Others) -> Result<Finished, Error> {
    let mut connection = connect_as_owner(owner_url).await?;
    become_owner(&mut connection).await?;
    let before = read_format(&mut connection).await?;
    let before = before.ok_or_else(|| Error::NotMigrated("the log was not begun".to_owned()))?;
    let known = Format::known();
    if before < known {
        raise(&mut connection, known, others).await?;
    }
    let contracted = migrate_to(&mut connection, known).await?;
    connection.close().await?;
    Ok(Finished {
        before,
        active: known,
        contracted,
    })
}

async fn raise(connection: &mut PgConnection, to: Format, others: Others) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    // Whoever begins meanwhile waits here, and then hears of the new format.
    sqlx::query("LOCK TABLE jobmasters IN EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    if others == Others::AsTheySay {
        let older = older(&mut transaction, to).await?;
        if !older.is_empty() {
            transaction.rollback().await?;
            return Err(Error::OlderProcesses {
                wanted: to.number(),
                older: older.join(", "),
            });
        }
    }
    sqlx::query("UPDATE log_meta SET log_format = greatest(log_format, $1)")
        .bind(to.number())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// Those that live and do not know the format, for people.
async fn older(connection: &mut PgConnection, format: Format) -> Result<Vec<String>, Error> {
    let older = "SELECT name, program, log_format, extract(epoch FROM now() - beat_at)::float8 FROM jobmasters
                 WHERE log_format < $1 AND beat_at > now() - make_interval(secs => $2) ORDER BY name, incarnation";
    let rows = sqlx::query(older)
        .bind(format.number())
        .bind(f64::from(GONE_AFTER_S))
        .fetch_all(connection)
        .await?;
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        let (name, program): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (knows, silent_s): (i32, f64) = (row.try_get(2)?, row.try_get(3)?);
        told.push(format!(
            "{name} (grid {program}, knows format {knows}, heard {silent_s:.0} s ago)"
        ));
    }
    Ok(told)
}
