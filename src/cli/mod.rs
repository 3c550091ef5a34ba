//! The command line.
//!
//! Must stay true: exit codes are 0 good, 1 failed, 2 usage or configuration (`verify`: 0 clean, 2 differences, 3 could
//! not check); results go to stdout, everything else to stderr; a closed pipe is no error.

mod archive;
pub mod args;
mod bench;
mod bulk;
mod client;
mod completion;
mod configure;
mod context;
mod dead_letters;
mod events;
mod explain;
mod export;
mod feed;
mod filter;
#[cfg(test)]
mod fixture;
mod init;
mod jobs;
mod logs;
mod migrate;
mod output;
mod problem;
mod process;
mod purge;
mod restore;
mod retries;
mod search;
mod submit;
mod tasks;
mod token;
mod view;
mod watch;
mod whole_file;
mod workers;

pub use args::{JobmasterArgs, MigrateArgs, RebuildArgs, RepublishArgs, StandaloneArgs, VerifyArgs, WorkerArgs};
pub use output::Output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::worker::executor::{GUARDIAN_ARGUMENT, guardian_main};
use crate::{config, domain};
use context::ServerArgs;
use events::EventsCommand;
use jobs::Wish;

const EXIT_CODES: &str = "Exit codes: 0 good, 1 failed, 2 wrong usage or configuration.

Examples:
  grid init; grid validate job.yaml
  grid submit job.yaml --watch
  grid jobs --status RUNNING --output json
  grid explain JOB";

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
#[expect(clippy::large_enum_variant, reason = "there is one of them, read at the start")]
pub enum Command {
    #[command(flatten)]
    Process(ProcessCommand),
    #[command(flatten)]
    Client(ClientCommand),
    #[command(flatten)]
    Store(StoreCommand),
    /// Check job documents, without a server
    Validate(submit::ValidateArgs),
    /// Write a job to begin with
    Init(init::InitArgs),
    /// Show the effective configuration, and where each value came from
    Config(Box<configure::ConfigureArgs>),
    /// Name servers and their tokens, and choose which one commands talk to
    Context(context::ContextArgs),
    /// Print a script that completes commands and flags in a shell
    Completion(completion::CompletionArgs),
    /// Show the version
    Version,
    /// Measure this program on this machine
    Bench(bench::BenchArgs),
}

/// What runs until it is told to end.
#[derive(Debug, Subcommand)]
pub enum ProcessCommand {
    /// Run everything in one process: API, jobmaster, workers, and a private Postgres in the data folder
    Standalone(Box<StandaloneArgs>),
    /// Run a process that decides jobs and serves the API; needs Postgres and Kafka
    Jobmaster(Box<JobmasterArgs>),
    /// Run a process that runs tasks; needs Kafka and a jobmaster
    Worker(Box<WorkerArgs>),
}

/// What works on the log's database itself.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Prepare the database and the topics; repeated, it changes nothing
    Migrate(Box<MigrateArgs>),
    /// Prove that the log is whole: places, versions, hash chain, transitions, snapshots, read models; or that an archive
    /// is. Exit codes: 0 clean, 2 differences, 3 could not check
    Verify(Box<VerifyArgs>),
    /// Write days of the log into files, prove them, and drop them from the database
    Archive(Box<archive::ArchiveArgs>),
    /// Begin a new timeline of a log that was restored from a backup
    Restore(Box<restore::RestoreArgs>),
    /// Make, list and revoke API tokens
    Token(Box<token::TokenArgs>),
    /// Make the read models anew from the log, beside the present ones, and swap them; a running process goes on
    Rebuild(Box<RebuildArgs>),
}

/// What is asked of a running server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Submit a job
    Submit(submit::SubmitArgs),
    /// List jobs
    Jobs(jobs::JobsArgs),
    /// Show a job
    Job(jobs::JobArgs),
    /// Write jobs as JSON, lines of JSON or CSV, however many
    Export(export::ExportArgs),
    /// Find jobs, tasks and workers by the beginning of an id, a name or a label
    Search(search::SearchArgs),
    /// List the tasks of a job, or of all
    Tasks(tasks::TasksArgs),
    /// Kill a job, or all that fit a filter: what runs is ended, what waits is not started
    Kill(jobs::SteerArgs),
    /// Stop a job, or all that fit a filter: pipelines end their sources and complete, programs get SIGTERM
    Stop(jobs::SteerArgs),
    /// Run the failed tasks of a finished job, or of all that fit a filter, again; or bring a task's retry forward
    Retry(jobs::RetryArgs),
    /// List the tasks that wait for their retry; bring one forward, or cancel it
    Retries(retries::RetriesArgs),
    /// Erase what is known of a finished job beside the log
    Purge(purge::PurgeArgs),
    /// List the records that a job's pipelines could not process; export or replay them
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Say why a job or a task does not run, and what would change it
    Explain(explain::ExplainArgs),
    /// List workers; cordon, uncordon and drain them
    Workers(workers::WorkersArgs),
    /// Show what tasks wrote; follow it, search it, or write it into a file
    Logs(logs::LogsArgs),
    /// Show what happened to a job, task or worker; follow or export all of it
    Events(events::EventsArgs),
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

fn not_an_id(error: domain::IdError) -> Failure {
    Failure::Usage(error.to_string())
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    // Workers start this program again as the guardian of their tasks' processes.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == GUARDIAN_ARGUMENT)
    {
        return guardian_main();
    }
    match Cli::try_parse() {
        Ok(cli) => exit_code(run(cli)),
        Err(refusal) => {
            // A closed terminal takes nothing away from the exit code.
            let _ = refusal.print();
            // 2 would say of `verify` that it found differences.
            let verify = std::env::args_os().nth(1).is_some_and(|command| command == "verify");
            let code = if verify && refusal.use_stderr() {
                3
            } else {
                refusal.exit_code()
            };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.chain().any(is_closed_pipe) {
        return ExitCode::SUCCESS;
    }
    match error.downcast_ref::<Failure>() {
        Some(Failure::Told(code)) => ExitCode::from(*code),
        Some(Failure::Usage(what)) => {
            output::tell(&format!("error: {what}"));
            ExitCode::from(2)
        }
        None => {
            output::tell(&format!("error: {}", crate::causes::chain(&*error)));
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
    let output = cli.output;
    match cli.command {
        Command::Client(ClientCommand::Events(events::EventsArgs {
            command: Some(EventsCommand::Republish(args)),
            ..
        })) => process::republish(&args, output),
        Command::Client(command) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask_server(command, output))
        }
        Command::Config(args) => configure::run(&args, output),
        Command::Context(args) => context::run(&args, output),
        Command::Completion(args) => completion::run(&args, output),
        Command::Init(args) => init::run(&args),
        Command::Validate(args) => submit::validate(&args, output),
        Command::Version => output::version(output),
        Command::Bench(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(bench::run(args, output))
        }
        Command::Process(command) => process::run(command),
        Command::Store(command) => process::run_on_store(command, output),
    }
}

async fn ask_server(command: ClientCommand, output: Output) -> anyhow::Result<()> {
    match command {
        ClientCommand::Submit(args) => submit::submit(&args, output).await,
        ClientCommand::Jobs(args) => jobs::list(&args, output).await,
        ClientCommand::Job(args) => jobs::show(&args, output).await,
        ClientCommand::Export(args) => export::export(&args, output).await,
        ClientCommand::Search(args) => search::search(&args, output).await,
        ClientCommand::Tasks(args) => tasks::tasks(&args, output).await,
        ClientCommand::Kill(args) => jobs::steer(&args, Wish::Kill, output).await,
        ClientCommand::Stop(args) => jobs::steer(&args, Wish::Stop, output).await,
        ClientCommand::Retry(args) => jobs::retry(&args, output).await,
        ClientCommand::Retries(args) => retries::retries(&args, output).await,
        ClientCommand::DeadLetters(args) => dead_letters::dead_letters(&args, output).await,
        ClientCommand::Purge(args) => purge::purge(&args, output).await,
        ClientCommand::Explain(args) => explain::explain(&args, output).await,
        ClientCommand::Workers(args) => workers::workers(&args, output).await,
        ClientCommand::Logs(args) => logs::logs(&args, output).await,
        ClientCommand::Events(args) => events::events(&args, output).await,
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
