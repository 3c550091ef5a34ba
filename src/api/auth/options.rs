//! Options of who may do what.

use figment::value::Value;

use super::Role;
use crate::config::Setting;
use crate::options;

options! {
    /// Options of who may do what.
    pub struct AuthOptions {
        /// What callers may do who show no token: none, viewer or operator. Without a value: operator when the server
        /// listens on a loopback address, else none; and then it starts only when there is a token.
        anonymous_role: Option<AnonymousRole> = None,
    }
}

/// What a caller may do who shows no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnonymousRole {
    None,
    Viewer,
    Operator,
}

impl AnonymousRole {
    pub fn role(self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Operator => Some(Role::Operator),
        }
    }

    fn name(self) -> &'static str {
        self.role().map_or("none", Role::name)
    }
}

impl Setting for AnonymousRole {
    fn expected() -> String {
        "none, viewer or operator".to_owned()
    }
    fn read(value: &Value) -> Result<Self, String> {
        let all = [Self::None, Self::Viewer, Self::Operator];
        let found = all.into_iter().find(|role| value.as_str() == Some(role.name()));
        found.ok_or_else(|| format!("found {:?}, expected {}", value.as_str(), Self::expected()))
    }
    fn show(&self) -> serde_json::Value {
        self.name().into()
    }
}
