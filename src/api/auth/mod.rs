//! Who asks, and what they may do.
//!
//! Must stay true: a route cannot be added without saying who may use it; what is not allowed is refused before its
//! handler runs; a credential that is wrong is refused everywhere, also where none is needed; what goes on after a request
//! was let in ends with the token.

mod body;
mod caller;
mod gate;
mod headers;
mod hosts;
mod keeper;
mod lease;
mod limits;
mod options;
mod role;
mod token;
mod tokens;

pub use caller::Caller;
pub(super) use gate::{Gate, admit, admit_page, admit_scraper, identify};
pub use headers::PAGE;
pub use keeper::REVOKED_WITHIN;
pub use lease::Lease;
pub use options::{AnonymousRole, AuthOptions};
pub use role::{Access, Role};
pub use token::{NewToken, TokenId};
pub use tokens::{TokenError, TokenRow, Wanted, any, create, list, revoke};
