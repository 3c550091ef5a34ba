//! The files of the private server: where they are, how they are made, how the server is configured.
//!
//! ```text
//! <data folder>/postgres/        belongs to the server's account, mode 0700
//!     data/                      the cluster; made as data.new-…, renamed when whole
//!     run/                       the socket, unless its path would be too long
//!     server.log                 what the server says; the one before as server.log.1
//! <data folder>/postgres.passwords
//! ```

use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Error;
use super::account::Account;
use super::programs::Programs;
use super::roles::{self, Passwords, Role};
use super::server::{self, Server};
use crate::config::Secret;

/// Longest path of a Unix socket, its final zero left out (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// A log beyond this is put aside at the next start.
const LOG_LIMIT_BYTES: u64 = 10 << 20;

/// A cluster on disk.
#[derive(Clone, Debug)]
pub struct Cluster {
    root: PathBuf,
    socket_dir: PathBuf,
    account: Account,
    programs: Option<Programs>,
    passwords: Passwords,
}

impl Cluster {
    /// Opens the cluster of a locked data folder, making it when there is none.
    pub async fn open(data_dir: &Path, bin_dir: Option<&Path>) -> Result<Self, Error> {
        let root = data_dir.join("postgres");
        let account = Account::choose(&root)?;
        let version = version(&root)?;
        let found = Programs::find(bin_dir, version.map(|version| (root.as_path(), version)))?;
        account.open_way(data_dir)?;
        private_dir(&root, &account)?;
        let socket_dir = socket_dir(&root);
        private_dir(&socket_dir, &account)?;
        let passwords = Passwords::load_or_create(&passwords_file(data_dir))?;
        let cluster = Self {
            root,
            socket_dir,
            account,
            programs: Some(found),
            passwords,
        };
        if version.is_none() {
            cluster.create().await?;
        }
        cluster.configure()?;
        Ok(cluster)
    }

    /// The cluster of a data folder, only to connect to; none when there is none.
    pub fn existing(data_dir: &Path) -> Result<Option<Self>, Error> {
        let Ok(data_dir) = data_dir.canonicalize() else {
            return Ok(None);
        };
        let root = data_dir.join("postgres");
        if version(&root)?.is_none() {
            return Ok(None);
        }
        let account = Account::choose(&root)?;
        let passwords = Passwords::load(&passwords_file(&data_dir))?;
        Ok(Some(Self {
            socket_dir: socket_dir(&root),
            root,
            account,
            programs: None,
            passwords,
        }))
    }

    /// Where the cluster's data is.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }

    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// URL of `grid` for a role.
    pub fn url(&self, role: Role) -> Secret {
        roles::url(&self.socket_dir, role, &self.passwords)
    }

    /// Adopts the running server, or starts one; returns when it answers, and whether it was adopted.
    pub async fn launch(&self, timeout: Duration) -> Result<(Server, bool), Error> {
        if let Some(mut server) = Server::running(self)? {
            match server::ready(self, &mut server, timeout).await {
                Ok(()) => return Ok((server, true)),
                // It was on its way out: nobody is there to adopt.
                Err(Error::Ended { .. }) => tracing::info!(pid = server.pid(), "postgres.adoption_missed"),
                Err(error) => return Err(error),
            }
        }
        let mut server = self.start().await?;
        server::ready(self, &mut server, timeout).await?;
        Ok((server, false))
    }

    async fn start(&self) -> Result<Server, Error> {
        let program = self.program("postgres")?;
        // The pid file of a crash names a process that is gone; when the number was given to another process of the
        // account, Postgres would take that one for its predecessor.
        Server::forget_stale(self)?;
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(Error::io("open", self.log()))?;
        let mut command = self.command(&program);
        command
            .arg("-D")
            .arg(self.data())
            .stdin(std::process::Stdio::null())
            .stdout(log)
            .stderr(errors);
        let child = command.spawn().map_err(Error::io("start", &program))?;
        Server::of_child(child)
    }

    /// A program of the server's version, where the cluster was opened to run.
    pub fn program(&self, name: &str) -> Result<PathBuf, Error> {
        let searched = || Error::NoPrograms {
            searched: "opened only to connect".to_owned(),
        };
        Ok(self.programs.as_ref().ok_or_else(searched)?.dir.join(name))
    }

    fn command(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir(&self.root);
        self.account.run_as(&mut command);
        command
    }

    fn open_log(&self) -> Result<std::fs::File, Error> {
        let path = self.log();
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT_BYTES) {
            std::fs::rename(&path, self.root.join("server.log.1")).map_err(Error::io("put aside", &path))?;
        }
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(Error::io("open", &path))?;
        self.account.give(&path)?;
        Ok(file)
    }

    /// Makes the cluster beside its place and renames it when it is whole, so that a kill leaves none or all of it.
    async fn create(&self) -> Result<(), Error> {
        tracing::info!(dir = %self.root.display(), "postgres.initdb");
        self.remove_unfinished()?;
        let unfinished = self.root.join(format!("{UNFINISHED}{}", std::process::id()));
        let mut command = self.command(&self.program("initdb")?);
        command.args(["--username=postgres", "--auth=peer", "--encoding=UTF8", "--locale=C"]);
        command.arg("-D").arg(&unfinished).stdin(std::process::Stdio::null());
        let output = command
            .output()
            .await
            .map_err(Error::io("run initdb for", &unfinished))?;
        if !output.status.success() {
            let output_text = [output.stdout, output.stderr].concat();
            let output_text = String::from_utf8_lossy(&output_text);
            // It speaks the language of the locale C.
            if output_text.contains("No space left on device") {
                let full = std::io::Error::from_raw_os_error(nix::libc::ENOSPC);
                return Err(Error::io("make a database in", &self.root)(full));
            }
            return Err(Error::Program {
                program: "initdb",
                status: output.status.to_string(),
                output: output_text.trim().to_owned(),
            });
        }
        let data = self.data();
        std::fs::rename(&unfinished, &data).map_err(Error::io("put into place", &data))?;
        sync_dir(&self.root)
    }

    fn remove_unfinished(&self) -> Result<(), Error> {
        let entries = std::fs::read_dir(&self.root).map_err(Error::io("list", &self.root))?;
        for entry in entries.flatten() {
            let old = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            if old && let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "postgres.leftover");
            }
        }
        Ok(())
    }

    /// Writes the server's configuration; the next start takes it up.
    fn configure(&self) -> Result<(), Error> {
        let me = Account::own_name();
        let account = &self.account.name;
        self.write("postgresql.conf", &settings(&self.socket_dir))?;
        self.write(
            "pg_hba.conf",
            "local all postgres peer map=grid\nlocal all all scram-sha-256\n",
        )?;
        let mut users = vec![account.as_str(), me.as_str()];
        users.dedup();
        let map: String = users.iter().map(|user| format!("grid \"{user}\" postgres\n")).collect();
        self.write("pg_ident.conf", &map)
    }

    /// Replaces a file of the cluster in one step; the server may be reading it.
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.data().join(name);
        let new = self.data().join(format!("{name}.new"));
        std::fs::write(&new, text).map_err(Error::io("write", &new))?;
        self.account.give(&new)?;
        std::fs::rename(&new, &path).map_err(Error::io("put into place", &path))
    }
}

const UNFINISHED: &str = "data.new-";

fn passwords_file(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.passwords")
}

/// The major version of the cluster in `root`, when there is one.
fn version(root: &Path) -> Result<Option<u32>, Error> {
    let path = root.join("data/PG_VERSION");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The folder of the socket: beside the data, or, when that path is too long for a socket, one named after it.
fn socket_dir(root: &Path) -> PathBuf {
    let beside = root.join("run");
    if beside.as_os_str().len() + 1 + SOCKET_FILE.len() <= LONGEST_SOCKET_PATH {
        return beside;
    }
    let hash = hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()));
    PathBuf::from(format!("/tmp/grid-{}", &hash[..16]))
}

/// Makes a folder that only the account may enter. One that is somebody else's (anybody can make one in /tmp) is refused.
fn private_dir(path: &Path, account: &Account) -> Result<(), Error> {
    match std::fs::create_dir(path) {
        Ok(()) => account.give(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("make the folder", path)(error)),
    }
    let metadata = std::fs::symlink_metadata(path).map_err(Error::io("open", path))?;
    if metadata.uid() == 0 && account.dropped && metadata.is_dir() {
        // Made by a root that was killed before it gave the folder away.
        account.give(path)?;
    } else if metadata.uid() != account.uid || !metadata.is_dir() {
        return Err(Error::ForeignOwner {
            path: path.to_owned(),
            owner: metadata.uid(),
            uid: account.uid,
        });
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(Error::io("close to others", path))
}

/// Makes a rename last.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("sync", dir))
}

/// Settings for a small machine. Durability is Postgres's default and said aloud: nothing acknowledged may be lost.
fn settings(socket_dir: &Path) -> String {
    let socket_dir = socket_dir.to_string_lossy().replace('\'', "''");
    format!(
        "# Written by grid at every start. Settings of your own go into custom.conf beside this file.
listen_addresses = ''
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 50
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 128MB
effective_cache_size = 512MB
max_wal_size = 4GB
min_wal_size = 256MB
wal_compression = on
wal_buffers = 16MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off
max_parallel_workers_per_gather = 0
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
lc_messages = 'C'
include_if_exists = 'custom.conf'
"
    )
}
