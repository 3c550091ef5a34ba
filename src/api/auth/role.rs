//! Roles, and which of them a route needs.

use std::fmt;
use std::str::FromStr;

/// What a caller may do. Viewer, operator and admin each include the ones before; a worker may use only what is for
/// workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Also submits, kills, retries, drains.
    Operator,
    /// Also lists and revokes tokens.
    Admin,
    /// A worker process: fetches what it needs for its tasks, nothing else.
    Worker,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Worker];

    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Worker => "worker",
        }
    }

    /// Whether this role suffices where `least` is asked for.
    pub fn includes(self, least: Self) -> bool {
        match (self, least) {
            (Self::Viewer, Self::Viewer)
            | (Self::Operator, Self::Viewer | Self::Operator)
            | (Self::Admin, Self::Viewer | Self::Operator | Self::Admin)
            | (Self::Worker, Self::Worker) => true,
            (Self::Viewer, Self::Operator | Self::Admin | Self::Worker)
            | (Self::Operator, Self::Admin | Self::Worker)
            | (Self::Admin, Self::Worker)
            | (Self::Worker, Self::Viewer | Self::Operator | Self::Admin) => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("expected viewer, operator, admin or worker, found {text:?}"))
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Whom the handler lets in: by a secret that the request carries besides, such as that of an attempt, or by what
    /// comes after the request, such as the first message of a WebSocket. To others it gives nothing.
    Secret,
    /// Whoever has at least this role.
    Least(Role),
}

impl From<Role> for Access {
    fn from(least: Role) -> Self {
        Self::Least(least)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Secret => f.write_str("secret"),
            Self::Least(role) => role.fmt(f),
        }
    }
}
