//! The publisher: committed events go out to `grid.events`, in order, partition = shard, for anybody to read.
//!
//! Must stay true: nothing is published before it is in the log, and nothing is passed over; the cursor of a shard stands
//! on a message that is acknowledged, as is everything before it; after any failure all shards publish again from their
//! cursors. What readers can rely on is said in schema/events.md, and is [`ConsumerRule`].
//!
//! [`Machine`] decides, synchronously; [`Publisher`] is the actor around it that talks to the bus and the log.

mod consumer;
pub mod contract;
mod encode;
mod machine;
mod service;

#[cfg(test)]
mod tests;

pub use consumer::{ConsumerRule, Incoming, NotAnEvent, Verdict};
pub use encode::{Encoded, encode};
pub use machine::{Asked, Batch, Item, Machine, Next, Options, Run};
pub use service::{Publisher, PublisherHandle, ReadLog};
