//! The deterministic simulation: the real machines of shards, workers and publisher in a simulated world.
//!
//! One seed is one history: the same seed replays exactly. `GRID_SIM_SEED=n` runs one seed, `GRID_SIM_SEEDS=n` that
//! many; without them a thousand run.

mod check;
mod client;
mod jobmaster;
mod log;
pub mod mutant;
mod tests;
mod worker;
mod world;
