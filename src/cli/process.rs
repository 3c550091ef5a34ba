//! Commands that run processes, and those that work on the database without one.

use super::{Failure, ProcessCommand, StoreCommand};
use crate::config::whole::Loaded;
use crate::{node, telemetry};

/// Runs the process until it is told to end.
pub fn run(command: ProcessCommand) -> anyhow::Result<()> {
    let loaded = match &command {
        ProcessCommand::Standalone(args) => args.load(),
        ProcessCommand::Jobmaster(args) => args.load(),
        ProcessCommand::Worker(args) => args.load(),
    };
    let Loaded { config, .. } = loaded.map_err(Failure::from)?;
    let telemetry = telemetry::start(&config.log)?;
    match command {
        ProcessCommand::Standalone(_) => node::run(node::standalone(config, telemetry)),
        ProcessCommand::Jobmaster(_) => node::run(node::jobmaster(config, telemetry)),
        ProcessCommand::Worker(_) => node::run(node::worker(config, telemetry)),
    }
}

/// Works on the database.
pub fn run_on_store(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Migrate(args) => {
            let Loaded { config, .. } = args.load().map_err(Failure::from)?;
            telemetry::start(&config.log)?;
            node::run(node::migrate(&config))
        }
    }
}
