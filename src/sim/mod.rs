//! The deterministic simulation: the real machines of shards, workers and publishers in a simulated world.
//!
//! One seed is one history: the same seed replays exactly. `GRID_SIM_SEED=n` runs one seed, `GRID_SIM_SEEDS=n` that
//! many, `GRID_SIM_SEEDS=n..m` those; `GRID_SIM_TRACE=1` tells what happens in them, see [`trace`].

mod check;
mod client;
mod commits;
mod faults;
mod group;
mod jobmaster;
mod log;
pub mod mutant;
mod outputs;
mod publisher;
mod tests;
mod trace;
mod worker;
mod world;
