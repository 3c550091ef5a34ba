//! What metrics and logs cost: the same tasks with both and without, in turns.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::list::quantile;
use super::server::{Folder, Server, Target};

/// How much is done.
#[derive(Args, Clone, Copy, Debug)]
pub struct Load {
    /// No-op tasks
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    pub noops: u32,
    /// Tasks that run a process, which writes 20 lines
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    pub commands: u32,
    /// Records that each of 8 pipelines reads, filters and writes; one in 1,000 fails
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub records: u32,
    /// Runs of each kind, with and without, in turns; the median counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub rounds: u32,
}

/// What one kind of task came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverheadBench {
    pub kind: &'static str,
    pub rounds: u32,
    /// What is counted a second: tasks, or records of pipelines.
    pub counted: u64,
    pub without_per_second: f64,
    pub with_per_second: f64,
    /// By how much the second is less.
    pub fall_percent: f64,
    /// Values of points that the store took a second.
    pub points_per_second: f64,
    /// Lines that the store took a second.
    pub lines_per_second: f64,
}

const REPLICAS_MOST: u32 = 25_000;
const PIPELINES: u32 = 8;
const LINES: u32 = 20;
const INPUT: &str = "records.ndjson";
const WITHOUT: [&str; 2] = ["metrics.enabled=false", "worker.send_logs=false"];

/// Runs no-op tasks, processes that write, and pipelines.
///
/// # Errors
/// When the server fails, or a task does not complete.
pub async fn run(target: &Target, load: Load) -> anyhow::Result<Vec<OverheadBench>> {
    anyhow::ensure!(
        target.server.is_none(),
        "a server that runs cannot be told to measure nothing"
    );
    let folder = Folder::new()?;
    let records = u64::from(load.records) * u64::from(PIPELINES);
    fill(&folder.path().join(INPUT), load.records)?;
    let mut kinds = Vec::new();
    for (kind, counted, documents) in [
        ("no-op tasks", u64::from(load.noops), noops(load.noops)),
        ("processes", u64::from(load.commands), vec![commands(load.commands)]),
        ("pipelines", records, vec![pipelines(folder.path())]),
    ] {
        kinds.push(compare(target, (kind, counted), &documents, (folder.path(), load.rounds)).await?);
    }
    Ok(kinds)
}

fn noops(count: u32) -> Vec<Value> {
    let jobs = count.div_ceil(REPLICAS_MOST);
    let replicas = (0..jobs).map(|job| REPLICAS_MOST.min(count - job * REPLICAS_MOST));
    replicas
        .map(|replicas| json!({"tasks": [{"externalId": "noop", "replicas": replicas, "executor": "noop"}]}))
        .collect()
}

fn commands(count: u32) -> Value {
    let command = format!("seq {LINES}");
    json!({"tasks": [{"externalId": "writer", "replicas": count, "command": ["sh", "-c", command]}]})
}

fn pipelines(folder: &Path) -> Value {
    let input = folder.join(INPUT);
    let tasks: Vec<Value> = (0..PIPELINES)
        .map(|number| {
            let output = folder.join(format!("strong-{number}.ndjson"));
            let strong = json!({"condition": "to_float!(.mag) >= 4"});
            json!({"externalId": format!("pipeline-{number}"), "dag": [
                {"id": "in", "commandName": "filesource", "config": {"path": input}, "outputs": ["strong"]},
                {"id": "strong", "commandName": "filter", "config": strong, "outputs": ["out"]},
                {"id": "out", "commandName": "filesink", "config": {"path": output}, "outputs": []},
            ]})
        })
        .collect();
    json!({"tasks": tasks})
}

fn fill(path: &Path, records: u32) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for number in 0..records {
        let mag = if number % 1_000 == 0 {
            json!("unknown")
        } else {
            json!(f64::from(number % 80) / 10.0)
        };
        let record = json!({"id": number, "mag": mag, "place": format!("{} km of nowhere", number % 977)});
        writeln!(file, "{record}")?;
    }
    file.flush()
}

/// Figures of one run.
struct Run {
    rate: f64,
    points: f64,
    lines: f64,
}

async fn compare(
    target: &Target,
    (kind, counted): (&'static str, u64),
    documents: &[Value],
    (folder, rounds): (&Path, u32),
) -> anyhow::Result<OverheadBench> {
    let mut target = target.clone();
    target.set.push(format!("worker.allow_paths={}", folder.display()));
    let mut silent = target.clone();
    silent.set.extend(WITHOUT.map(str::to_owned));
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        without.push(once(&silent, counted, documents).await?);
        with.push(once(&target, counted, documents).await?);
    }
    let median = |runs: &[Run], of: fn(&Run) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(of).collect();
        figures.sort_unstable_by(f64::total_cmp);
        quantile(&figures, 0.5)
    };
    let without_per_second = median(&without, |run| run.rate);
    let with_per_second = median(&with, |run| run.rate);
    Ok(OverheadBench {
        kind,
        rounds,
        counted,
        without_per_second,
        with_per_second,
        fall_percent: 100.0 * (1.0 - with_per_second / without_per_second),
        points_per_second: median(&with, |run| run.points),
        lines_per_second: median(&with, |run| run.lines),
    })
}

async fn once(target: &Target, counted: u64, documents: &[Value]) -> anyhow::Result<Run> {
    let server = Server::open(target).await?;
    let begun = Instant::now();
    let mut jobs = Vec::new();
    for document in documents {
        jobs.push(server.submit(document).await?);
    }
    for job in &jobs {
        server.until(job, "COMPLETED").await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let run = Run {
        rate: counted as f64 / seconds,
        points: server.metric("grid_metric_points_written_total").await? / seconds,
        lines: server.metric("grid_log_lines_taken_total").await? / seconds,
    };
    server.stop().await?;
    Ok(run)
}
