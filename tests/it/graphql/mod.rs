//! GraphQL: the public audits, the reference clients of its transports, and what subscriptions promise.

mod access;
mod clients;
mod cluster;
mod following;
mod lists;
mod many;
mod queries;
mod rows;
mod standing;
mod statements;
pub mod stream;
