//! The live feed: what shards commit, brought to those who follow it, and spliced with the log.
//!
//! Must stay true: a follower gets every event of its scope after its place, once, and in the order of its shard, however
//! slow it is and whatever the feed has lost: what the feed did not bring is read from the log. A follower takes bounded
//! memory; when it is full, what it holds is forgotten and read again. Without followers nothing is kept, and no topic
//! is read.

mod follower;
mod hub;
mod inbox;
mod marks;
mod rows;
mod topic;

pub use follower::Follower;
pub use hub::{Hub, HubParts, Scope, Source};
pub use marks::Marks;
pub use rows::{JobAt, Rows, TaskAt};
