//! Processes of grid, and the servers behind them, are killed, paused and cut off under load; afterwards a checker that
//! shares no code with grid reads the database and the topic of events.
//!
//! What must hold, whatever was killed:
//!
//! - every acknowledged job is in the log and comes to its end, every task in a final state;
//! - no task completes twice, no step is illegal, no place is missing, the chain of hashes is whole;
//! - a reader of `grid.events` that follows the rule of schema/events.md gets every event once and in order;
//! - the read models equal the history;
//! - no two attempts of a task ever ran at the same time, and no process of a task lives two seconds after its worker
//!   was killed.
//!
//! Each has a short version; `make chaos` runs the long ones. scripts/chaos.sh says how to set the numbers.

pub mod check;
mod checkpoints;
mod clocks;
pub mod cluster;
mod full_disk;
mod jobmasters;
pub mod load;
mod outages;
pub mod process;
mod retries;
mod standalone;
mod standings;
mod upgrade;
mod workers;

/// How often something is killed: `GRID_CHAOS_<WHAT>` times, else a few times as a test and many times as `make chaos`.
pub fn times(what: &str, short: u32, long: u32) -> u32 {
    if let Ok(number) = std::env::var(format!("GRID_CHAOS_{what}")) {
        return number.parse().expect("a number");
    }
    if std::env::var("GRID_CHAOS").is_ok_and(|value| value == "long") {
        long
    } else {
        short
    }
}
