//! Whether the log's database can be had at all: reached, let in, new enough, with room on its disk. What is wrong is said
//! with where it is and what to do.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use super::Error;
use crate::clock;
use crate::config::{OLDEST_POSTGRES, Secret};

const PAUSE: Duration = Duration::from_millis(200);

/// A database, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub(super) fn of(options: &PgConnectOptions) -> Self {
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let at = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self(format!("database {database} at {at}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a URL of Postgres.
///
/// # Errors
/// When it is none; its text is not repeated, since it may hold a password.
pub(super) fn options_of(url: &Secret) -> Result<PgConnectOptions, Error> {
    let read = url.reveal().parse::<PgConnectOptions>();
    read.map_err(|error| Error::BadUrl(error.source().map_or_else(|| error.to_string(), ToString::to_string)))
}

/// Connects once, to find out whether that is possible.
///
/// # Errors
/// Says which database, why not, and what to do.
pub async fn reachable(url: &Secret, patience: Duration) -> Result<(), Error> {
    let connection = connected(&options_of(url)?, patience).await?;
    Ok(connection.close().await?)
}

/// A connection. A server that cannot be reached, or is still starting, is tried again while there is patience.
pub(super) async fn connected(options: &PgConnectOptions, patience: Duration) -> Result<PgConnection, Error> {
    let deadline = Instant::now() + patience;
    let mut last: Option<sqlx::Error> = None;
    loop {
        match tokio::time::timeout_at(deadline, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) if may_pass(&error) && Instant::now() + PAUSE < deadline => last = Some(error),
            Ok(Err(error)) => return Err(unreachable(options, Some(&error), patience)),
            Err(_elapsed) => return Err(unreachable(options, last.as_ref(), patience)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Nobody listens yet, or "starting up", "shutting down", "too many clients".
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "57P01" | "53300")),
        _ => false,
    }
}

fn unreachable(options: &PgConnectOptions, error: Option<&sqlx::Error>, patience: Duration) -> Error {
    let waited = || format!("within {}", humantime::format_duration(patience));
    let (why, advice) = match error {
        None => (
            format!("it did not answer {}", waited()),
            "check host and port, and the network between",
        ),
        Some(sqlx::Error::Io(error)) => (
            format!("{error}, {}", waited()),
            "is Postgres running there? Check host and port",
        ),
        Some(sqlx::Error::Database(error)) => {
            let code = error.code().unwrap_or_default();
            (error.message().to_owned(), advice_for(&code))
        }
        Some(other) => (other.to_string(), "check the URL, and the server's log"),
    };
    Error::Unreachable {
        place: Place::of(options),
        user: options.get_username().to_owned(),
        why,
        advice,
    }
}

/// By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn advice_for(code: &str) -> &'static str {
    match code {
        "28P01" => "correct the password in the URL, or give the user a new one: ALTER ROLE … PASSWORD '…'",
        "28000" => {
            "`grid migrate` as a superuser makes the roles grid and grid_owner; a user that is there must be let in by \
             pg_hba.conf"
        }
        "3D000" => "create the database (CREATE DATABASE …), or correct its name in the URL",
        "42501" => "let the user in: GRANT CONNECT ON DATABASE … TO …",
        "53300" => "raise max_connections of the server, or lower postgres.max_connections of each process",
        "57P03" => "it is still starting or recovering: wait, and see its log",
        _ => "see the server's log",
    }
}

/// Refuses a server that is too old.
pub(super) fn check_version(connection: &PgConnection, place: &Place) -> Result<(), Error> {
    let version = connection.server_version_num().unwrap_or(0);
    if version >= OLDEST_POSTGRES * 10_000 {
        return Ok(());
    }
    Err(Error::OldPostgres {
        place: place.clone(),
        found: format!("{}.{}", version / 10_000, version % 10_000),
    })
}

/// How far the database's clock is ahead of this machine's, in milliseconds, and how sure that is.
pub(super) async fn clock_ahead_ms(connection: &mut PgConnection) -> Result<(i64, i64), sqlx::Error> {
    let before = clock::now();
    let told: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .fetch_one(connection)
        .await?;
    let took = i64::try_from(clock::now().since(before).as_millis()).unwrap_or(i64::MAX);
    Ok((told - before.as_ms() - took / 2, took / 2))
}

/// Tells when the two clocks differ.
pub(super) fn tell_clock(place: &Place, ahead_ms: i64, give_ms: i64) {
    metrics::gauge!("grid_clock_difference_seconds", "of" => "database").set(ahead_ms as f64 / 1_000.0);
    let surely = ahead_ms.unsigned_abs().saturating_sub(give_ms.unsigned_abs());
    if u128::from(surely) >= clock::AGREE.as_millis() {
        let advice = "set the clocks of both machines by NTP: the partitions of days are made by the database's";
        tracing::warn!(of = %place, ahead_ms, advice, "clock.differs");
    }
}

/// What Postgres says, without the line of its source. A full disk is told as such.
pub(super) fn told(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let message = match database.constraint() {
                Some(constraint) => format!("{} ({constraint})", database.message()),
                None => database.message().to_owned(),
            };
            if is_full(database.code().as_deref()) {
                format!("{NO_ROOM} ({message})")
            } else {
                message
            }
        }
        other => other.to_string(),
    }
}

/// What to do about a full disk, in the words of every place that meets one.
pub const NO_ROOM: &str = "the disk of the log's database is full: free space there or add some; nothing that was \
                           acknowledged is lost, and work goes on by itself";

/// `disk_full`.
fn is_full(code: Option<&str>) -> bool {
    code == Some("53100")
}

/// Whether an error, or what caused it, is that the database's disk is full.
pub fn has_no_room(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(database)) = error.downcast_ref() {
            return is_full(database.code().as_deref());
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_without_its_password() {
        let place = |url: &str| Place::of(&options_of(&Secret::new(url.to_owned())).unwrap()).to_string();
        assert_eq!(
            place("postgres://grid:hush@db.example:6000/jobs"),
            "database jobs at db.example:6000"
        );
        assert_eq!(place("postgres://grid@%2Frun%2Fpg/grid"), "database grid at /run/pg");
        let wrong = options_of(&Secret::new("hush".to_owned())).unwrap_err().to_string();
        assert!(wrong.contains("postgres://") && !wrong.contains("hush"), "{wrong}");
    }
}
