//! Lines of tasks: how they are made from what an attempt writes, how they are kept, searched and followed.
//!
//! Must stay true: a line says truly whose it is, whatever the task writes; nothing here is in the log of events; whatever
//! holds lines is bounded, and what is lost is counted and shown.

pub mod capture;
pub mod following;
mod line;
pub mod logsql;
pub mod nanos;
mod options;
mod question;
pub mod recent;
mod store;

pub use line::{Line, RESERVED};
pub use options::{LogsOptions, VictoriaOptions};
pub use question::Question;
pub use store::{Batch, Embedded, Key, LogStore, Order, Page, Search, StoreError, StoredLine, Victoria};
