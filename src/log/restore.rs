//! A new timeline of a log that was restored from a backup.
//!
//! What came after the backup was seen by others: by readers of the events, by workers, by clients that hold positions. It
//! has not happened any more, and other things will happen in its place, under the same numbers.
//!
//! Must stay true: nobody works on the log while it changes its timeline; a timeline's epochs are above all those of the
//! ones before it, also when one backup is restored twice; a later timeline's id is the greater one.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};
use uuid::Uuid;

use super::migrate::{become_owner, read_setup};
use super::{Error, Setup};
use crate::config::Secret;

/// By how much each shard's epoch rises at least. Owners after the backup have raised it by less.
const EPOCHS: i64 = 1_000_000;

/// What a restore did, or found to be done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    pub timeline: Uuid,
    /// The one that the backup was of.
    pub previous: Uuid,
    pub shards: u16,
    /// The lowest epoch of a shard.
    pub epoch: i64,
    /// It was begun by an earlier run, and nothing has used it since: nothing was changed.
    pub already: bool,
    /// API tokens that are good as of the backup: what was revoked after it is good again.
    pub tokens: i64,
}

/// What a database holds, which nobody uses.
///
/// # Errors
/// When it holds no log, or when a process of Grid is connected to it.
pub async fn look(owner_url: &Secret) -> Result<Setup, Error> {
    let mut connection = connect(owner_url).await?;
    let setup = found(&mut connection).await?;
    connection.close().await?;
    Ok(setup)
}

/// Whether there is a log in the database.
///
/// # Errors
/// When the database does not answer.
pub async fn holds_log(owner_url: &Secret) -> Result<bool, Error> {
    let options: PgConnectOptions = owner_url.reveal().parse()?;
    let mut connection = options.application_name("grid restore").connect().await?;
    let there = sqlx::query_scalar("SELECT to_regclass('log_meta') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(there)
}

/// Where the bus ends while nobody decides anything: what lies before is of the old timeline.
#[derive(Clone, Debug)]
pub struct Ends {
    pub bus: String,
    /// Of the commands and of the reports, by shard.
    pub offsets: Vec<(i64, i64)>,
}

/// Begins a new timeline: every epoch rises, events are published from the start, and commands and reports are read from
/// where the bus ends; where that is not known, from the start, and all that is not of this timeline is refused by its time
/// or its timeline. Run again before anything has used the log, it changes nothing. The schema must be this program's.
///
/// `again`: also when this timeline was begun by a restore and has been used since.
///
/// # Errors
/// When somebody uses the log, or it was restored and used before; then nothing was changed.
pub async fn restore(owner_url: &Secret, ends: Option<&Ends>, again: bool) -> Result<Restored, Error> {
    let mut connection = connect(owner_url).await?;
    let mut transaction = connection.begin().await?;
    // Whoever comes now waits, and then finds the new timeline.
    sqlx::query("SET LOCAL lock_timeout = '10s'")
        .execute(&mut *transaction)
        .await?;
    sqlx::query("LOCK TABLE log_meta, shards IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await?;
    let setup = found(&mut transaction).await?;
    let restored = match earlier(&mut transaction, again).await? {
        Some((previous, epoch)) => (setup.timeline, previous, epoch, true),
        None => {
            let timeline = later_than(setup.timeline);
            let epoch = begin(&mut transaction, timeline, setup.timeline).await?;
            if let Some(ends) = ends {
                go_on_from(&mut transaction, ends).await?;
            }
            (timeline, setup.timeline, epoch, false)
        }
    };
    let good =
        "SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())";
    let tokens = sqlx::query_scalar(good).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    connection.close().await?;
    let (timeline, previous, epoch, already) = restored;
    Ok(Restored {
        timeline,
        previous,
        shards: setup.shards,
        epoch,
        already,
        tokens,
    })
}

async fn connect(owner_url: &Secret) -> Result<PgConnection, Error> {
    let options: PgConnectOptions = owner_url.reveal().parse()?;
    let mut connection = options.application_name("grid restore").connect().await?;
    become_owner(&mut connection).await?;
    Ok(connection)
}

/// The log, when nobody uses it.
async fn found(connection: &mut PgConnection) -> Result<Setup, Error> {
    let there: bool =
        sqlx::query_scalar("SELECT to_regclass('log_meta') IS NOT NULL AND to_regclass('shards') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    if !there {
        return Err(Error::NotRestorable(
            "the database holds no log; load the backup into it first (pg_restore, or a base backup)".to_owned(),
        ));
    }
    let connected = "
        SELECT application_name || ', process ' || pid || coalesce(' from ' || client_addr::text, '')
        FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'grid%' AND pid <> pg_backend_pid()
        ORDER BY pid LIMIT 10";
    let connected: Vec<String> = sqlx::query_scalar(connected).fetch_all(&mut *connection).await?;
    if !connected.is_empty() {
        return Err(Error::NotRestorable(format!(
            "processes of grid use this database ({}); stop them first, and be sure that it is the restored one",
            connected.join("; ")
        )));
    }
    read_setup(connection).await
}

/// The timeline before this one and the lowest epoch, when this one was begun by a restore and nothing has used it since.
async fn earlier(connection: &mut PgConnection, again: bool) -> Result<Option<(Uuid, i64)>, Error> {
    let last = "
        SELECT r.previous, r.epoch, to_char(r.restored_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
               EXISTS (SELECT FROM shards WHERE claimed_at IS NOT NULL)
        FROM restores r JOIN log_meta USING (timeline)";
    let Some(row) = sqlx::query(last).fetch_optional(connection).await? else {
        return Ok(None);
    };
    let (at, used): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
    if !used {
        return Ok(Some((row.try_get(0)?, row.try_get(1)?)));
    }
    if again {
        return Ok(None);
    }
    Err(Error::NotRestorable(format!(
        "this log began its timeline at the restore of {at} and has been used since; only when the database was restored \
         once more, from a backup that was made after that: grid restore --again"
    )))
}

async fn begin(connection: &mut PgConnection, timeline: Uuid, previous: Uuid) -> Result<i64, Error> {
    // The time in microseconds rises faster than any shard changes hands, and passes what is added here within a second: so
    // the epochs of a second restore of the same backup are above those of the first.
    let raise = "
        WITH risen AS (
            UPDATE shards SET epoch = greatest(epoch + $1, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint),
                   bus = '', command_cursor = 0, report_cursor = 0, published_seq = 0, owner = '', claimed_at = NULL
            RETURNING epoch
        )
        SELECT coalesce(min(epoch), 0) FROM risen";
    let epoch: i64 = sqlx::query_scalar(raise)
        .bind(EPOCHS)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::query("UPDATE log_meta SET timeline = $1")
        .bind(timeline)
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO restores (timeline, previous, epoch) VALUES ($1, $2, $3)")
        .bind(timeline)
        .bind(previous)
        .bind(epoch)
        .execute(connection)
        .await?;
    Ok(epoch)
}

async fn go_on_from(connection: &mut PgConnection, ends: &Ends) -> Result<(), Error> {
    let place = "
        UPDATE shards s SET bus = $1, command_cursor = e.commands, report_cursor = e.reports
        FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS e(commands, reports, place)
        WHERE s.shard = e.place - 1";
    let (commands, reports): (Vec<i64>, Vec<i64>) = ends.offsets.iter().copied().unzip();
    sqlx::query(place)
        .bind(&ends.bus)
        .bind(commands)
        .bind(reports)
        .execute(connection)
        .await?;
    Ok(())
}

/// A new id that is greater, also where the clock is behind the one that made the previous.
fn later_than(previous: Uuid) -> Uuid {
    let now = Uuid::now_v7();
    if now > previous {
        return now;
    }
    // The first 48 bits are milliseconds (RFC 9562, section 5.7).
    Uuid::from_u128(previous.as_u128().saturating_add(1 << 80))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_timeline_is_greater_whatever_the_clock_says() {
        let now = Uuid::now_v7();
        assert!(later_than(now) > now);
        let ahead = Uuid::from_u128(now.as_u128() + (3_600_000 << 80));
        let later = later_than(ahead);
        assert!(later > ahead);
        assert_eq!(later.get_version_num(), 7);
    }
}
