//! Preparing the database, and refusing one that is not fit.
//!
//! Must stay true: the number of shards is fixed at the first migration; the service never runs with rights to change
//! the log, nor on a server that may lose what it has acknowledged; an older program changes nothing where an upgrade was
//! finished, and goes on beside a newer one where it was not.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::reach::{Place, check_version, clock_ahead_ms, connected, options_of, tell_clock};
use super::{Error, Format, Log, migrations};
use crate::config::Secret;

/// What the log says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    pub timeline: Uuid,
    pub shards: u16,
    /// The active one: what is written.
    pub format: Format,
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub setup: Setup,
    /// The log was begun by it.
    pub begun: bool,
    pub migrations_applied: usize,
    /// Partitions made.
    pub days_made: u32,
}

/// Brings the database to this program's schema, as far as older programs stand it; repeated, it changes nothing.
///
/// As a superuser it makes the roles `grid_owner` and `grid` when they are missing and works as `grid_owner`. As anybody
/// else it works as that user, who then owns the tables; the role `grid` must exist, or the user be able to create it.
///
/// # Errors
/// When the log has another number of shards, or a statement fails. What was done until then stays, and can be repeated.
pub async fn migrate(owner_url: &Secret, shards: u16) -> Result<Migrated, Error> {
    let mut connection = connect_as_owner(owner_url).await?;
    become_owner(&mut connection).await?;
    // A log that is begun now has nobody who knows less.
    let active = read_format(&mut connection).await?.unwrap_or_else(Format::known);
    let migrations_applied = migrate_to(&mut connection, active).await?;
    connection.execute("GRANT SELECT ON _sqlx_migrations TO grid").await?;
    let begun = begin(&mut connection, shards).await?;
    let setup = read_setup(&mut connection).await?;
    if setup.shards != shards {
        return Err(Error::ShardsDiffer {
            found: setup.shards,
            wanted: shards,
        });
    }
    let days: i32 = sqlx::query_scalar("SELECT grid_make_days()")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(Migrated {
        setup,
        begun,
        migrations_applied,
        days_made: days.unsigned_abs(),
    })
}

/// Applies the migrations that may be applied while `active` is; gives their number.
pub(super) async fn migrate_to(connection: &mut PgConnection, active: Format) -> Result<usize, Error> {
    let before = applied(connection).await?;
    let migrator = migrations::allowed(active);
    migrator.run_direct(None, connection, false).await?;
    Ok(applied(connection).await?.len() - before.len())
}

/// How long a server that is just starting is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection of the tables' owner, or of a superuser.
pub(super) async fn connect_as_owner(owner_url: &Secret) -> Result<PgConnection, Error> {
    let options = options_of(owner_url)?.application_name("grid migrate");
    let connection = connected(&options, PATIENCE).await?;
    check_version(&connection, &Place::of(&options))?;
    Ok(connection)
}

pub(super) async fn become_owner(connection: &mut PgConnection) -> Result<(), Error> {
    let superuser: bool = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        .fetch_one(&mut *connection)
        .await?;
    make_role(connection, "grid", "CREATE ROLE grid LOGIN").await?;
    if !superuser {
        return Ok(());
    }
    make_role(connection, "grid_owner", "CREATE ROLE grid_owner LOGIN").await?;
    connection
        .execute(
            "DO $$ BEGIN
                 IF NOT has_schema_privilege('grid_owner', 'public', 'CREATE') THEN
                     GRANT USAGE, CREATE ON SCHEMA public TO grid_owner;
                 END IF;
                 IF NOT has_database_privilege('grid_owner', current_database(), 'CREATE') THEN
                     EXECUTE format('GRANT CREATE ON DATABASE %I TO grid_owner', current_database());
                 END IF;
             END $$;
             SET ROLE grid_owner",
        )
        .await?;
    Ok(())
}

async fn make_role(connection: &mut PgConnection, name: &str, statement: &'static str) -> Result<(), Error> {
    let there = sqlx::query("SELECT 1 FROM pg_roles WHERE rolname = $1").bind(name);
    if there.fetch_optional(&mut *connection).await?.is_some() {
        return Ok(());
    }
    match connection.execute(statement).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) => match error.code().as_deref() {
            // Another migration of the same server was quicker.
            Some("42710" | "23505") => Ok(()),
            Some("42501") => Err(Error::NotMigrated(format!(
                "the role {name} is missing and this user may not create it; run as a superuser: {statement}"
            ))),
            _ => Err(sqlx::Error::Database(error).into()),
        },
        Err(error) => Err(error.into()),
    }
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, Error> {
    let table: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !table {
        return Ok(Vec::new());
    }
    let versions = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    Ok(versions.fetch_all(connection).await?)
}

/// Writes the first rows, once.
async fn begin(connection: &mut PgConnection, shards: u16) -> Result<bool, Error> {
    let begin = "
        WITH meta AS (
            INSERT INTO log_meta (timeline, shards, log_format) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1
        ), rows AS (
            INSERT INTO shards (shard, log_format) SELECT shard, $3 FROM generate_series(0, $2 - 1) AS shard, meta
        )
        SELECT count(*) FROM meta";
    let shards = i16::try_from(shards).map_err(|_| Error::Unsafe(format!("{shards} shards are too many")))?;
    let query = sqlx::query_scalar(begin)
        .bind(Uuid::now_v7())
        .bind(shards)
        .bind(Format::known().number());
    Ok(query.fetch_one(connection).await.map(|rows: i64| rows > 0)?)
}

/// The active format; nothing before the log was begun.
///
/// # Errors
/// When this program does not know it.
pub(super) async fn read_format(connection: &mut PgConnection) -> Result<Option<Format>, Error> {
    let table: bool = sqlx::query_scalar("SELECT to_regclass('log_meta') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !table {
        return Ok(None);
    }
    let format = sqlx::query_scalar("SELECT log_format FROM log_meta")
        .fetch_optional(connection)
        .await?;
    match format.map(Format) {
        Some(format) if format > Format::known() => Err(Error::newer("the log", format)),
        format => Ok(format),
    }
}

pub(super) async fn read_setup(connection: &mut PgConnection) -> Result<Setup, Error> {
    let not_begun = || Error::NotMigrated("the log was not begun".to_owned());
    let format = read_format(connection).await?.ok_or_else(not_begun)?;
    let row = sqlx::query("SELECT timeline, shards FROM log_meta")
        .fetch_one(connection)
        .await?;
    Ok(Setup {
        timeline: row.try_get(0)?,
        shards: row.try_get::<i16, _>(1)? as u16,
        format,
    })
}

impl Log {
    /// What must hold before a service may start. `shards`: as configured, when that is to be compared.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub async fn check(&self, shards: Option<u16>) -> Result<Setup, Error> {
        let log = self.clone();
        let setup = self
            .run("log.check", async move {
                let connection = &mut *log.inner.pool.acquire().await?;
                check_server(connection, &log.inner.place).await?;
                check_rights(connection).await?;
                read_setup(connection).await
            })
            .await?;
        self.heard(setup.format);
        match shards {
            Some(wanted) if wanted != setup.shards => Err(Error::ShardsDiffer {
                found: setup.shards,
                wanted,
            }),
            _ => Ok(setup),
        }
    }

    /// As [`Log::check`], for the owner of the tables, who has rights that the service must not have.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub async fn check_as_owner(&self) -> Result<Setup, Error> {
        let log = self.clone();
        let unit = async move {
            let connection = &mut *log.inner.pool.acquire().await?;
            check_server(connection, &log.inner.place).await?;
            read_setup(connection).await
        };
        self.run("log.check", unit).await
    }

    /// Makes the partitions from yesterday to a week ahead that are missing; returns how many.
    pub async fn make_days(&self) -> Result<u32, Error> {
        let log = self.clone();
        let unit = async move {
            let days: i32 = sqlx::query_scalar("SELECT grid_make_days()")
                .fetch_one(&log.inner.pool)
                .await?;
            Ok(days.unsigned_abs())
        };
        self.run("log.make_days", unit).await
    }

    /// Tells when the database's clock and this machine's differ.
    async fn compare_clocks(&self) {
        let pool = self.inner.pool.clone();
        let asked = async move { Ok(clock_ahead_ms(&mut *pool.acquire().await?).await?) };
        match self.run("log.compare_clocks", asked).await {
            Ok((ahead_ms, give_ms)) => tell_clock(&self.inner.place, ahead_ms, give_ms),
            Err(error) => tracing::warn!(%error, "clock.not_compared"),
        }
    }

    /// Makes partitions now and every hour, until the handle is aborted. A failure is tried again the next time: there
    /// is a week for it.
    pub fn keep_days(&self) -> JoinHandle<()> {
        let log = self.clone();
        crate::task::spawn_on(&self.inner.runtime, "log.keep_days", async move {
            let mut hourly = tokio::time::interval(Duration::from_secs(3600));
            loop {
                hourly.tick().await;
                log.compare_clocks().await;
                match log.make_days().await {
                    Ok(0) => {}
                    Ok(days) => tracing::info!(days, "log.partitions_made"),
                    Err(error) => {
                        metrics::counter!("grid_log_partition_failures_total").increment(1);
                        tracing::error!(error = %error, "log.partitions_not_made");
                    }
                }
            }
        })
    }
}

async fn check_server(connection: &mut PgConnection, place: &Place) -> Result<(), Error> {
    check_version(connection, place)?;
    for setting in ["fsync", "synchronous_commit"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await?;
        if value == "off" {
            return Err(Error::Unsafe(format!(
                "{setting} is off in {place}, so a crash loses what was acknowledged; set it to on"
            )));
        }
    }
    let prepared: bool = sqlx::query_scalar(
        "SELECT to_regclass('log_meta') IS NOT NULL AND to_regclass('_sqlx_migrations') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !prepared {
        return Err(Error::NotMigrated(format!("{place} has no log")));
    }
    let applied = applied(connection).await?;
    if let Some(missing) = migrations::missing(&applied) {
        return Err(Error::NotMigrated(format!("{place} lacks migration {missing}")));
    }
    Ok(())
}

async fn check_rights(connection: &mut PgConnection) -> Result<(), Error> {
    let may: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s on %s', p, t) FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p,
         unnest(ARRAY['events', 'batches']) t WHERE has_table_privilege(t, p)",
    )
    .fetch_all(&mut *connection)
    .await?;
    if !may.is_empty() {
        let may = may.join(", ");
        return Err(Error::Unsafe(format!(
            "this user may change the log ({may}); connect as the service role `grid`"
        )));
    }
    Ok(())
}
