//! `grid bench`: measurements, as a table or JSON.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::output::{Output, print, print_json};
use crate::bench::server::Target;
use crate::bench::{api, fanout, latency, list, logs, metrics, overhead, pipeline, start, subscriptions, tasks};

/// `grid bench`
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// No-op tasks a second, from submission to the read models (and to Kafka)
    Tasks {
        /// Jobs, submitted one after the other
        #[arg(long, default_value_t = 8)]
        jobs: u32,
        /// Tasks of each job; several sizes give a column each, and show how the cost grows
        #[arg(long, default_value = "25000", value_delimiter = ',')]
        replicas: Vec<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// From sending a job to its task running, on an idle system
    Latency {
        /// How many jobs
        #[arg(long, default_value_t = 300)]
        jobs: u32,
        #[command(flatten)]
        target: Target,
    },
    /// One large job: until all its tasks are READY, and until they are killed
    Fanout {
        /// Tasks; several sizes give a column each
        #[arg(long, default_value = "1000000", value_delimiter = ',')]
        tasks: Vec<u32>,
        #[command(flatten)]
        target: Target,
    },
    /// The list of jobs when there are many
    List {
        /// Jobs; several sizes give a column each
        #[arg(long, default_value = "100000", value_delimiter = ',')]
        jobs: Vec<u32>,
        /// Requests of each kind
        #[arg(long, default_value_t = 1_000)]
        requests: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Subscriptions, each on one job, while the jobs run: how soon each change arrives
    Subscriptions {
        /// How many, each with a job of its own
        #[arg(long, default_value_t = 1_000)]
        subscriptions: u32,
        /// Tasks of each job
        #[arg(long, default_value_t = 100)]
        replicas: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Lists, details and search when there are many jobs and tasks, while tasks run
    Api {
        /// Jobs; several sizes give a column each
        #[arg(long, default_value = "100000", value_delimiter = ',')]
        jobs: Vec<u32>,
        /// Tasks of each job
        #[arg(long, default_value_t = 10)]
        tasks_per_job: u32,
        /// Requests of each kind, one after the other
        #[arg(long, default_value_t = 1_000)]
        requests: u32,
        /// Tasks a second that run beside the reading
        #[arg(long, default_value_t = 2_000)]
        tasks_per_second: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Lines of tasks: searched among many, and taken in while tasks run
    Logs {
        #[command(flatten)]
        load: logs::Load,
        #[command(flatten)]
        target: Target,
    },
    /// Start of standalone on a data folder, until the first job is accepted
    Start {
        #[command(flatten)]
        data: start::Data,
        #[command(flatten)]
        target: Target,
    },
    /// Points of metrics when there are many: 7 days at 1 h of one job, and its last hour
    Metrics {
        /// Raw points, of jobs that have run for a week; several sizes give a column each
        #[arg(long, default_value = "10000000", value_delimiter = ',')]
        points: Vec<u64>,
        /// Requests of each kind, one after the other
        #[arg(long, default_value_t = 200)]
        requests: u32,
        #[command(flatten)]
        target: Target,
    },
    /// What metrics and logs cost: the same tasks with both and without, in turns
    Overhead {
        #[command(flatten)]
        load: overhead::Load,
        #[command(flatten)]
        target: Target,
    },
    /// Records a second of one pipeline on one core
    Pipeline {
        /// Records to repeat, one a line
        #[arg(long, default_value = "tests/data/earthquakes.ndjson")]
        records: PathBuf,
        /// Size of the input; several sizes give a column each
        #[arg(long, default_value = "1000000000", value_delimiter = ',')]
        bytes: Vec<u64>,
        /// Folder for input and output. Default: that of temporary files
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Measures and prints.
pub async fn run(args: BenchArgs, output: Output) -> anyhow::Result<()> {
    let mut columns = Vec::new();
    match args.what {
        What::Tasks { jobs, replicas, target } => {
            for replicas in replicas {
                columns.push(Column::of(&tasks::run(&target, jobs, replicas).await?)?);
            }
        }
        What::Latency { jobs, target } => columns.push(Column::of(&latency::run(&target, jobs).await?)?),
        What::Fanout { tasks, target } => {
            for tasks in tasks {
                columns.push(Column::of(&fanout::run(&target, tasks).await?)?);
            }
        }
        What::List { jobs, requests, target } => {
            for jobs in jobs {
                columns.push(Column::of(&list::run(&target, jobs, requests).await?)?);
            }
        }
        What::Subscriptions {
            subscriptions,
            replicas,
            target,
        } => columns.push(Column::of(
            &subscriptions::run(&target, subscriptions, replicas).await?,
        )?),
        What::Api {
            jobs,
            tasks_per_job,
            requests,
            tasks_per_second,
            target,
        } => {
            for jobs in jobs {
                let load = api::Load {
                    jobs,
                    tasks_per_job,
                    requests,
                    tasks_per_second,
                };
                columns.push(Column::of(&api::run(&target, load).await?)?);
            }
        }
        What::Logs { load, target } => columns.push(Column::of(&logs::run(&target, load).await?)?),
        What::Metrics {
            points,
            requests,
            target,
        } => {
            for points in points {
                columns.push(Column::of(&metrics::run(&target, points, requests).await?)?);
            }
        }
        What::Start { data, target } => {
            for figures in start::run(&target, data).await? {
                columns.push(Column::of(&figures)?);
            }
        }
        What::Overhead { load, target } => {
            for figures in overhead::run(&target, load).await? {
                columns.push(Column::of(&figures)?);
            }
        }
        What::Pipeline { records, bytes, dir } => {
            let dir = dir.unwrap_or_else(std::env::temp_dir);
            for bytes in bytes {
                columns.push(Column::of(&pipeline::run(&records, bytes, &dir)?)?);
            }
        }
    }
    show(&columns, output)
}

/// A column for each measurement, a line for each figure; JSON: an array of objects.
fn show(columns: &[Column], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let objects = columns.iter().map(|column| column.0.iter().cloned().collect());
        return print_json(&Value::Array(objects.map(Value::Object).collect()));
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let names = columns.first().into_iter().flat_map(|column| &column.0);
    for (line, (name, _)) in names.enumerate() {
        let figures = columns.iter().filter_map(|column| Some(figure(&column.0.get(line)?.1)));
        table.add_row(std::iter::once(name.clone()).chain(figures));
    }
    print(&format!("{table}\n"))
}

/// Names and figures in the order that they are declared in, which JSON's objects do not keep.
struct Column(Vec<(String, Value)>);

impl Column {
    fn of(figures: &impl Serialize) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(&serde_json::to_string(figures)?)?)
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("figures by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields).map(Self)
    }
}

fn figure(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:.3}", number.as_f64().unwrap_or(0.0)),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}
