//! Roles, passwords and the database of the private server.
//!
//! `grid_owner` owns the tables and runs the migrations; `grid` is the service, with the rights that migrations give it.
//! The superuser `postgres` has no password: the system tells the server who is at the other end of the socket.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use super::Error;
use super::cluster::Cluster;
use crate::config::Secret;

/// Whom to connect as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `postgres`: for setting up, and for looking at what the others may not touch.
    Superuser,
    /// `grid_owner`: migrations.
    Owner,
    /// `grid`: everything else.
    Service,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Superuser => "postgres",
            Self::Owner => "grid_owner",
            Self::Service => "grid",
        }
    }
}

pub const DATABASE: &str = "grid";

/// The passwords of the roles: random, made once, in a file that only the user of grid may read.
#[derive(Clone, Serialize, Deserialize)]
pub struct Passwords {
    owner: String,
    service: String,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(***)")
    }
}

impl Passwords {
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(Error::io("read", path))?;
        serde_json::from_slice(&text).map_err(|error| Error::io("read", path)(error.into()))
    }

    pub fn load_or_create(path: &Path) -> Result<Self, Error> {
        if path.exists() {
            return Self::load(path);
        }
        let passwords = Self {
            owner: random_text(),
            service: random_text(),
        };
        let new = path.with_extension("new");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new);
        let mut file = file.map_err(Error::io("write", &new))?;
        let text = serde_json::to_vec(&passwords).map_err(|error| Error::io("write", &new)(error.into()))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", &new))?;
        std::fs::rename(&new, path).map_err(Error::io("put into place", path))?;
        Ok(passwords)
    }

    fn of(&self, role: Role) -> Option<&str> {
        match role {
            Role::Superuser => None,
            Role::Owner => Some(&self.owner),
            Role::Service => Some(&self.service),
        }
    }
}

/// Hexadecimal, so that it needs no quoting anywhere.
fn random_text() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// `postgres://role:password@%2Fsocket%2Fdir/grid`, understood by sqlx and by libpq's programs.
pub fn url(socket_dir: &Path, role: Role, passwords: &Passwords) -> Secret {
    let password = passwords
        .of(role)
        .map(|password| format!(":{password}"))
        .unwrap_or_default();
    let host: String = socket_dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| percent(*byte))
        .collect();
    Secret::new(format!(
        "postgres://{}{password}@{host}/{DATABASE}?sslmode=disable",
        role.name()
    ))
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// How the superuser connects.
pub fn superuser(socket_dir: &Path, database: &str) -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass().socket(socket_dir).port(5432);
    options
        .username(Role::Superuser.name())
        .database(database)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
}

/// Makes the roles and the database when they are missing; repeated, it changes nothing.
pub async fn ensure(cluster: &Cluster) -> Result<(), Error> {
    let mut server = superuser(cluster.socket_dir(), "postgres").connect().await?;
    for role in [Role::Owner, Role::Service] {
        ensure_role(&mut server, cluster, role).await?;
    }
    let exists = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(DATABASE);
    if exists.fetch_optional(&mut server).await?.is_none() {
        server.execute("CREATE DATABASE grid OWNER grid_owner").await?;
    }
    server.close().await?;
    let mut database = superuser(cluster.socket_dir(), DATABASE).connect().await?;
    let owned = "SELECT 1 FROM pg_namespace WHERE nspname = 'public' AND nspowner = 'grid_owner'::regrole";
    if sqlx::query(owned).fetch_optional(&mut database).await?.is_none() {
        database
            .execute(
                "BEGIN;
                 REVOKE CREATE ON SCHEMA public FROM PUBLIC;
                 ALTER SCHEMA public OWNER TO grid_owner;
                 REVOKE CONNECT, TEMPORARY ON DATABASE grid FROM PUBLIC;
                 GRANT CONNECT ON DATABASE grid TO grid;
                 COMMIT",
            )
            .await?;
    }
    Ok(database.close().await?)
}

/// Makes the role, or gives it the password of the file anew when the two differ.
async fn ensure_role(server: &mut PgConnection, cluster: &Cluster, role: Role) -> Result<(), Error> {
    let exists = sqlx::query("SELECT 1 FROM pg_roles WHERE rolname = $1").bind(role.name());
    let exists = exists.fetch_optional(&mut *server).await?.is_some();
    if exists && can_log_in(cluster, role).await? {
        return Ok(());
    }
    let verb = if exists { "ALTER" } else { "CREATE" };
    let password = cluster.passwords().of(role).unwrap_or_default();
    // A utility statement takes no parameters; the password is hexadecimal and the name a constant.
    let statement = format!("{verb} ROLE {} LOGIN PASSWORD '{password}'", role.name());
    server.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

async fn can_log_in(cluster: &Cluster, role: Role) -> Result<bool, Error> {
    let options: PgConnectOptions = cluster.url(role).reveal().parse()?;
    match options.connect().await {
        Ok(connection) => {
            connection.close().await?;
            Ok(true)
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("28P01") => Ok(false),
        // The database is made after the roles: the password was right.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => Ok(true),
        // Likewise when the database is there but not yet granted to the role.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => Ok(true),
        Err(error) => Err(error.into()),
    }
}
