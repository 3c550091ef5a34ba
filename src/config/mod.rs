//! Configuration in layers: defaults < TOML file < environment `GRID__SECTION__KEY` < flags.
//!
//! Must stay true: only variables with the prefix `GRID__` are read, and every one of them strictly; every key is
//! documented where it is declared ([`options!`](crate::options)); every problem is reported at once, with the key, the
//! place it came from and what was expected; a secret is never printed.
//!
//! A component declares its `Options` with [`options!`](crate::options) and adds one line to [`whole::Config`]. All but
//! [`whole`] stands below the components; `whole` knows them all.

mod error;
mod options;
mod secret;
mod sections;
mod setting;
mod sources;
pub mod whole;

pub use error::{Error, Problem};
pub use options::{Key, Options, Reader, Schema};
pub use secret::Secret;
pub use sections::{
    LogFormat, LogOptions, OLDEST_POSTGRES, PostgresOptions, ServerOptions, ShardsOptions, StandaloneOptions,
    TracingOptions,
};
pub use setting::{Properties, Setting, Shape};
pub use sources::{Flag, Origin, Sources};

use figment::Figment;

/// The figment value at `section.key`, with its origin.
fn find(figment: &Figment, key: &str) -> Option<(figment::value::Value, Origin)> {
    let value = figment.find_value(key).ok()?;
    let origin = figment.get_metadata(value.tag()).map_or(Origin::Default, Origin::of);
    Some((value, origin))
}
