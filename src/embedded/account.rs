//! As whom the server runs: as the user of grid, or, since Postgres refuses root, as an unprivileged one.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{Gid, Uid, User};

use super::Error;

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub name: String,
    /// This process is root, and has to give files and processes to the account.
    pub dropped: bool,
}

impl Account {
    /// The user for a cluster in `dir`: its owner when it exists.
    ///
    /// # Errors
    /// The folder belongs to somebody else, or there is nobody to drop to.
    pub fn choose(dir: &Path) -> Result<Self, Error> {
        let me = Uid::effective();
        let owner = std::fs::metadata(dir).ok().map(|metadata| metadata.uid());
        if !me.is_root() {
            return match owner {
                Some(owner) if owner != me.as_raw() => Err(Error::ForeignOwner {
                    path: dir.to_owned(),
                    owner,
                    uid: me.as_raw(),
                }),
                Some(_) | None => Ok(Self::of(me, Gid::effective(), false)),
            };
        }
        // A folder made as root and not yet given away counts as none.
        let owner = owner
            .filter(|owner| *owner != 0)
            .and_then(|owner| user(User::from_uid(Uid::from_raw(owner))));
        let user = owner
            .or_else(|| user(User::from_name("postgres")))
            .or_else(|| user(User::from_name("nobody")))
            .filter(|user| !user.uid.is_root())
            .ok_or(Error::NoAccount)?;
        Ok(Self::of(user.uid, user.gid, true))
    }

    fn of(uid: Uid, gid: Gid, dropped: bool) -> Self {
        let name = user(User::from_uid(uid)).map_or_else(|| uid.to_string(), |user| user.name);
        Self {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            name,
            dropped,
        }
    }

    /// The name of the user of this process.
    pub fn own_name() -> String {
        Self::of(Uid::effective(), Gid::effective(), false).name
    }

    /// Gives a file or folder to the account.
    pub fn give(&self, path: &Path) -> Result<(), Error> {
        if self.dropped {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("give away", path))?;
        }
        Ok(())
    }

    /// Sees to it that the account can enter every folder down to `data_dir`, which is opened for passing through when
    /// it is ours; the folders above are not ours to change.
    pub fn open_way(&self, data_dir: &Path) -> Result<(), Error> {
        if !self.dropped {
            return Ok(());
        }
        for dir in data_dir.ancestors() {
            let metadata = std::fs::metadata(dir).map_err(Error::io("open", dir))?;
            if self.may_enter(&metadata) {
                continue;
            }
            if dir != data_dir {
                return Err(Error::CannotEnter {
                    user: self.name.clone(),
                    path: dir.to_owned(),
                });
            }
            let mode = metadata.permissions().mode() | 0o011;
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir, permissions).map_err(Error::io("change the mode of", dir))?;
        }
        Ok(())
    }

    fn may_enter(&self, metadata: &std::fs::Metadata) -> bool {
        let bit = if metadata.uid() == self.uid {
            0o100
        } else if metadata.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & bit != 0
    }

    /// Lets a command run as the account, with none of root's groups, in a process group of its own, so that a Ctrl-C
    /// meant for grid does not reach it.
    pub fn run_as(&self, command: &mut tokio::process::Command) {
        command.process_group(0);
        if self.dropped {
            // Setting the uid as root also clears the supplementary groups (std::os::unix::process::CommandExt::uid).
            command.uid(self.uid).gid(self.gid);
        }
    }
}

/// A user that cannot be looked up is as good as none.
fn user(found: nix::Result<Option<User>>) -> Option<User> {
    found.ok().flatten()
}
