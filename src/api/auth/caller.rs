//! Who asks, and as part of what.

use std::sync::Arc;

use actix_web::http::StatusCode;

use super::{Access, Lease, Role};
use crate::api::problem::Problem;

/// Who asks. Every request has one, in its extensions, before it reaches a handler.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Stands in every event that the request causes.
    pub principal: Arc<str>,
    /// `None`: nobody who may do anything but what is open.
    pub role: Option<Role>,
    /// No credential was shown.
    pub anonymous: bool,
    /// W3C trace context, when the request has one.
    pub traceparent: Option<Arc<str>>,
    /// What goes on after the request was let in must end with it.
    pub lease: Lease,
}

impl Caller {
    /// Of a caller who shows no credential.
    pub const ANONYMOUS: &'static str = "anonymous";
    /// Of workers that show the secret that all of them share.
    pub const WORKERS: &'static str = "worker";

    /// One who shows no credential and may do nothing but what is open.
    pub fn nobody() -> Self {
        Self {
            principal: Arc::from(Self::ANONYMOUS),
            role: None,
            anonymous: true,
            traceparent: None,
            lease: Lease::default(),
        }
    }

    /// # Errors
    /// 401 when a credential might help, 403 when the caller's role does not suffice.
    pub fn may(&self, access: impl Into<Access>) -> Result<(), Problem> {
        let Access::Least(least) = access.into() else {
            return Ok(());
        };
        match self.role {
            Some(role) if role.includes(least) => Ok(()),
            Some(role) if !self.anonymous => {
                let detail = format!("this needs the role {least}; {} has the role {role}", self.principal);
                Err(Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail))
            }
            Some(_) | None => Err(Problem::unauthenticated(format!(
                "this needs the role {least}: show a token as `Authorization: Bearer …`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Option<Role>, anonymous: bool) -> Caller {
        Caller {
            principal: Arc::from("somebody"),
            role,
            anonymous,
            traceparent: None,
            lease: Lease::default(),
        }
    }

    #[test]
    fn a_role_includes_those_below_it_and_a_worker_stands_apart() {
        let may = |role, least| caller(Some(role), false).may(least).is_ok();
        let table = [
            (Role::Viewer, [true, false, false, false]),
            (Role::Operator, [true, true, false, false]),
            (Role::Admin, [true, true, true, false]),
            (Role::Worker, [false, false, false, true]),
        ];
        for (role, expected) in table {
            assert_eq!(Role::ALL.map(|least| may(role, least)), expected, "{role}");
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().unwrap_err().contains("viewer"));
    }

    #[test]
    fn a_refusal_says_whether_a_token_would_help() {
        let status = |role, anonymous| {
            let refused = caller(role, anonymous).may(Role::Admin).unwrap_err();
            (refused.status.as_u16(), refused.challenge)
        };
        assert_eq!(status(Some(Role::Operator), false), (403, false));
        assert_eq!(status(Some(Role::Operator), true), (401, true));
        assert_eq!(status(None, true), (401, true));
        for open in [Access::Open, Access::Secret] {
            assert!(caller(None, true).may(open).is_ok());
        }
    }
}
