//! The private Postgres of `grid standalone`: run from the system's programs, inside the data folder.
//!
//! Must stay true: one process of grid at a time uses a data folder; the server outlives a kill of grid and is adopted by
//! the next; one that dies is started again; durability is never turned off; only the private socket is listened on, and
//! the service role has a password that is kept beside the data.

mod account;
mod cluster;
mod lock;
mod programs;
mod roles;
mod server;
mod supervisor;
#[cfg(test)]
mod tests;

pub use lock::DataDir;
pub use roles::Role;
pub use supervisor::State;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{PostgresOptions, Secret, StandaloneOptions};
use cluster::Cluster;
use server::Server;

/// What the private server needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that holds everything; made when missing.
    pub data_dir: PathBuf,
    /// Folder with `initdb` and `postgres`; searched when not given.
    pub bin_dir: Option<PathBuf>,
    /// How long the server may take to answer, recovery after a crash included.
    pub start_timeout: Duration,
    /// How long the server may take to write everything down and end.
    pub stop_timeout: Duration,
}

impl Options {
    /// In `data_dir`, with defaults for the rest.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            bin_dir: None,
            start_timeout: Duration::from_secs(300),
            stop_timeout: Duration::from_secs(30),
        }
    }

    /// As configured.
    pub fn of(postgres: &PostgresOptions, standalone: &StandaloneOptions) -> Self {
        Self {
            bin_dir: postgres.bin_dir.clone(),
            ..Self::in_dir(&standalone.data_dir)
        }
    }
}

/// Why the private server cannot be had; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the data folder {} is in use by {holder}; stop that process, or choose another folder with --data-dir",
        path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("no Postgres server found ({}); install one (Debian, Ubuntu: apt-get install postgresql), or name the \
        folder of initdb and postgres as postgres.bin_dir, or use a server of your own with --postgres URL", .searched)]
    NoPrograms { searched: String },
    #[error("the data in {} was written by Postgres {found}, but the programs found are of {}; install postgresql-{found} \
        or name its folder as postgres.bin_dir", path.display(), .available)]
    Version {
        path: PathBuf,
        found: u32,
        available: String,
    },
    #[error("the user {user} (Postgres does not run as root) cannot enter {}: chmod o+x {}, or choose another folder \
        with --data-dir", path.display(), path.display())]
    CannotEnter { user: String, path: PathBuf },
    #[error("{} belongs to user id {owner}, this process runs as {uid}: start grid as that user, or choose another \
        folder with --data-dir", path.display())]
    ForeignOwner { path: PathBuf, owner: u32, uid: u32 },
    #[error("no user to run Postgres as: it refuses to run as root, and there is neither a user postgres nor nobody")]
    NoAccount,
    #[error("cannot {what} {}: {source}{}", path.display(), advice(source))]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{program} failed ({status}):\n{output}")]
    Program {
        program: &'static str,
        status: String,
        output: String,
    },
    #[error("Postgres ended while it was starting; the end of {}:\n{tail}", log.display())]
    Ended { log: PathBuf, tail: String },
    #[error("Postgres did not answer within {} ({last}); the end of {}:\n{tail}",
        humantime::format_duration(*within), log.display())]
    Silent {
        within: Duration,
        last: String,
        log: PathBuf,
        tail: String,
    },
    #[error("Postgres (process {pid}) did not end within {}; it is left running", humantime::format_duration(*within))]
    WillNotStop { pid: i32, within: Duration },
    #[error("cannot set up the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the task that watches Postgres ended: {0}")]
    Supervisor(#[from] tokio::task::JoinError),
}

fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => "; mount it for writing, or choose another folder with --data-dir",
        std::io::ErrorKind::StorageFull => {
            "; free some space there and start again, or choose another folder with --data-dir"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; let the user of this process write there, or choose another folder with --data-dir"
        }
        _ => "",
    }
}

impl Error {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// The running private server. Dropped, it leaves the server running, to be adopted; [`Embedded::stop`] ends it.
#[derive(Debug)]
pub struct Embedded {
    cluster: Cluster,
    state: watch::Receiver<State>,
    stop: Option<oneshot::Sender<()>>,
    supervisor: Option<JoinHandle<Result<(), Error>>>,
    // Last, so that the folder is free only when nothing here uses it.
    data_dir: DataDir,
}

impl Embedded {
    /// Locks the data folder, makes the cluster when there is none, adopts or starts the server, waits until it answers,
    /// sees to roles and database, and from then on keeps it running.
    ///
    /// # Errors
    /// See [`Error`]; a server that was started stays, to be adopted by the next try.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let data_dir = DataDir::lock(&options.data_dir)?;
        let cluster = Cluster::open(data_dir.path(), options.bin_dir.as_deref()).await?;
        let (server, adopted) = cluster.launch(options.start_timeout).await?;
        roles::ensure(&cluster).await?;
        tracing::info!(pid = server.pid(), adopted, socket = %cluster.socket_dir().display(), "postgres.ready");
        let (stop, stopped) = oneshot::channel();
        let (supervisor, state) = supervisor::Supervisor::new(cluster.clone(), &options, server, adopted);
        let supervisor = crate::task::spawn("postgres-supervisor", supervisor.run(stopped));
        Ok(Self {
            cluster,
            state,
            stop: Some(stop),
            supervisor: Some(supervisor),
            data_dir,
        })
    }

    /// URL of the database `grid` for a role.
    pub fn url(&self, role: Role) -> Secret {
        self.cluster.url(role)
    }

    /// One of the programs that come with the server, such as `pg_restore`.
    ///
    /// # Errors
    /// When the server was only connected to.
    pub fn program(&self, name: &str) -> Result<PathBuf, Error> {
        self.cluster.program(name)
    }

    /// How the server is, and every change of it.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The locked folder.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// Ends the server in order: connections are cut, everything is written down.
    ///
    /// # Errors
    /// The server did not end in time; it is left running.
    pub async fn stop(mut self) -> Result<(), Error> {
        if let Some(stop) = self.stop.take() {
            // Refused only when the supervisor has ended; its result tells why.
            let _ = stop.send(());
        }
        match self.supervisor.take() {
            Some(supervisor) => supervisor.await?,
            None => Ok(()),
        }
    }

    /// URLs of the server that some other process of grid runs in `data_dir`; none when no server runs there.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn attach(data_dir: &std::path::Path) -> Result<Option<Attached>, Error> {
        let Some(cluster) = Cluster::existing(data_dir)? else {
            return Ok(None);
        };
        let running = Server::running(&cluster)?.is_some();
        Ok(running.then_some(Attached { cluster }))
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.abort();
        }
    }
}

/// A server that runs under another process of grid.
#[derive(Debug)]
pub struct Attached {
    cluster: Cluster,
}

impl Attached {
    /// URL of the database `grid` for a role.
    pub fn url(&self, role: Role) -> Secret {
        self.cluster.url(role)
    }
}
