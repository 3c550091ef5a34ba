//! Who may ask for which field: the one place where a field's role is checked.

use async_graphql::{Context, Guard, Result};

use super::fault::Fault;
use crate::api::{Caller, Role};

/// What a caller must be for a field of the roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Queries and subscriptions.
    Viewer,
    /// Mutations.
    Operator,
    /// Those that cannot be made good.
    Admin,
}

impl Guard for Needs {
    async fn check(&self, context: &Context<'_>) -> Result<()> {
        let least = match self {
            Self::Viewer => Role::Viewer,
            Self::Operator => Role::Operator,
            Self::Admin => Role::Admin,
        };
        let allowed = context.data_unchecked::<Caller>().may(least);
        Ok(allowed.map_err(Fault)?)
    }
}
