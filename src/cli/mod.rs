//! The command line.
//!
//! Must stay true: exit codes are 0 good, 1 failed, 2 usage or configuration (`verify`: 0 clean, 2 differences, 3 could
//! not check); results go to stdout, everything else to stderr; a closed pipe is no error.

pub mod args;
mod configure;
mod output;

pub use args::{JobmasterArgs, MigrateArgs, RebuildArgs, StandaloneArgs, VerifyArgs, WorkerArgs};

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config;
use output::Output;

const EXIT_CODES: &str = "Exit codes: 0 good, 1 failed, 2 wrong usage or configuration.";

/// An event-sourced control plane for distributed data pipelines.
#[derive(Debug, Parser)]
#[command(name = "grid", version, propagate_version = true, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How to print results
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// What `grid` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the effective configuration, and where each value came from
    Config(Box<configure::ConfigureArgs>),
    /// Show the version
    Version,
}

/// Why a command ended without success; tells the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage or configuration: 2.
    #[error("{0}")]
    Usage(String),
    /// Already told to the user: this exit code, nothing more.
    #[error("exit code {0}")]
    Told(u8),
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    exit_code(run(cli))
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Told(code)) => ExitCode::from(*code),
        Some(Failure::Usage(what)) => {
            eprintln!("error: {what}");
            ExitCode::from(2)
        }
        None => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Config(args) => configure::run(&args, cli.output),
        Command::Version => output::version(cli.output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
