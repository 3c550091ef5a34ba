//! `grid bench`: measurements, as a table or JSON.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;
use serde_json::Value;

use super::output::{Output, print, print_json};
use crate::bench::{latency, pipeline, server::Server, tasks};

/// `grid bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// No-op tasks a second, from submission to the read models
    Tasks {
        /// Jobs, submitted one after the other
        #[arg(long, default_value_t = 8)]
        jobs: u32,
        /// Tasks of each job
        #[arg(long, default_value_t = 25_000)]
        replicas: u32,
        /// Slots of the worker of a server that is started for this
        #[arg(long, default_value_t = 64)]
        slots: u32,
        /// Measure this server instead of one started for it
        #[arg(long, value_name = "URL")]
        server: Option<String>,
    },
    /// From sending a job to its task running, on an idle system
    Latency {
        /// How many jobs
        #[arg(long, default_value_t = 300)]
        jobs: u32,
        /// Measure this server instead of one started for it
        #[arg(long, value_name = "URL")]
        server: Option<String>,
    },
    /// Records a second of one pipeline on one core
    Pipeline {
        /// Records to repeat, one a line
        #[arg(long, default_value = "tests/data/earthquakes.ndjson")]
        records: PathBuf,
        /// Size of the input
        #[arg(long, default_value_t = 1_000_000_000)]
        bytes: u64,
        /// Folder for input and output. Default: that of temporary files
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Measures and prints.
pub async fn run(args: BenchArgs, output: Output) -> anyhow::Result<()> {
    match args.what {
        What::Tasks {
            jobs,
            replicas,
            slots,
            server,
        } => {
            let server = Server::open(server, slots, 1).await?;
            show(&tasks::run(&server, jobs, replicas, slots).await?, output)
        }
        What::Latency { jobs, server } => {
            let server = Server::open(server, 4, 1).await?;
            show(&latency::run(&server, jobs).await?, output)
        }
        What::Pipeline { records, bytes, dir } => show(
            &pipeline::run(&records, bytes, &dir.unwrap_or_else(std::env::temp_dir))?,
            output,
        ),
    }
}

fn show(figures: &impl Serialize, output: Output) -> anyhow::Result<()> {
    let figures = serde_json::to_value(figures)?;
    if output == Output::Json {
        return print_json(&figures);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    for (name, value) in figures.as_object().into_iter().flatten() {
        let value = match value {
            Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or(0.0)),
            other => other.to_string(),
        };
        table.add_row([name.clone(), value]);
    }
    print(&format!("{table}\n"))
}
