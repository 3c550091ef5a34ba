//! `grid.events` as a contract: messages of real runs against the schemas in schema/, and readers that know nothing else.

mod access;
mod busy;
mod consumer;
mod republish;
mod restore;
mod standalone;
