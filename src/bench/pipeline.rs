//! Measures one pipeline on one core: filesource → filter → eval → filesink over records repeated to a given size.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;
use serde_json::json;

use crate::worker::pipeline::{
    Control, DagError, DagNode, LetterReader, Letterbox, Pipeline, PipelineFailure, RunContext, SecretReader,
};

/// What a run over `bytes` of records came to.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineBench {
    /// Read from the file.
    pub records: u64,
    /// Read from the file.
    pub bytes: u64,
    /// Written by the sink.
    pub records_out: u64,
    pub seconds: f64,
    /// Of the whole process, user and system, during the run: a hidden second thread would show.
    pub cpu_seconds: f64,
    pub records_per_second: f64,
    /// The highest resident memory of the process up to the beginning of the run, and up to its end.
    pub peak_rss_bytes_before: u64,
    pub peak_rss_bytes_after: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum PipelineBenchError {
    #[error("cannot prepare or read the files of the measurement in {folder}")]
    Io {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{0} holds no records")]
    Empty(PathBuf),
    #[error("the pipeline of the measurement does not compile: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Dag(Vec<DagError>),
    #[error("the pipeline of the measurement failed")]
    Run(#[from] PipelineFailure),
}

const INPUT: &str = "bench-pipeline-in.ndjson";
const OUTPUT: &str = "bench-pipeline-out.ndjson";

/// Repeats the records of `records_path` to at least `target_bytes` in `work_dir`, runs the pipeline over them once,
/// and removes what it wrote. The input is in the page cache by then, so that the disk is not what is measured.
///
/// # Errors
/// When the files cannot be made or the run fails.
pub fn run(records_path: &Path, target_bytes: u64, work_dir: &Path) -> Result<PipelineBench, PipelineBenchError> {
    let failed = |source| PipelineBenchError::Io {
        folder: work_dir.to_owned(),
        source,
    };
    let _files = Files { folder: work_dir };
    repeat(records_path, &work_dir.join(INPUT), target_bytes)?;
    let context = RunContext {
        replica_index: 0,
        replica_count: 1,
        attempt: 1,
        data_dir: work_dir.to_owned(),
        allow_paths: Vec::new(),
        control: Control::default(),
        resume: None,
        keeper: None,
        secrets: SecretReader::default(),
        letterbox: Letterbox::default(),
        letters: LetterReader::default(),
    };
    let pipeline = Pipeline::compile(&dag(), &context).map_err(PipelineBenchError::Dag)?;
    let peak_rss_bytes_before = peak_rss_bytes().map_err(failed)?;
    let cpu_before = cpu_seconds().map_err(failed)?;
    let begun = Instant::now();
    let report = pipeline.run(&mut |_| {})?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds().map_err(failed)? - cpu_before;
    let (source, sink) = (&report.nodes[0], &report.nodes[report.nodes.len() - 1]);
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no 64 bits")]
    let records_per_second = source.events_in as f64 / seconds;
    Ok(PipelineBench {
        records: source.events_in,
        bytes: source.bytes_in,
        records_out: sink.events_out,
        seconds,
        cpu_seconds,
        records_per_second,
        peak_rss_bytes_before,
        peak_rss_bytes_after: peak_rss_bytes().map_err(failed)?,
    })
}

fn dag() -> Vec<DagNode> {
    let node = |id: &str, command_name: &str, config: serde_json::Value, outputs: &[&str]| DagNode {
        id: id.to_owned(),
        command_name: command_name.to_owned(),
        config,
        outputs: outputs.iter().map(|output| (*output).to_owned()).collect(),
    };
    vec![
        node(
            "in",
            "filesource",
            json!({"path": INPUT, "encoding": "ndjson"}),
            &["strong"],
        ),
        node(
            "strong",
            "filter",
            json!({"condition": "to_float!(.properties.mag) >= 4"}),
            &["shape"],
        ),
        node(
            "shape",
            "eval",
            json!({"source": r#". = {"id": .id, "mag": .properties.mag, "place": .properties.place}"#}),
            &["out"],
        ),
        node("out", "filesink", json!({"path": OUTPUT, "encoding": "ndjson"}), &[]),
    ]
}

/// Removes the files also when the measurement fails.
struct Files<'a> {
    folder: &'a Path,
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        for name in [INPUT, OUTPUT] {
            drop(fs::remove_file(self.folder.join(name)));
        }
    }
}

fn repeat(from: &Path, to: &Path, target_bytes: u64) -> Result<(), PipelineBenchError> {
    let failed = |path: &Path, source| PipelineBenchError::Io {
        folder: path.to_owned(),
        source,
    };
    let mut records = fs::read(from).map_err(|error| failed(from, error))?;
    if records.is_empty() {
        return Err(PipelineBenchError::Empty(from.to_owned()));
    }
    if records.last() != Some(&b'\n') {
        records.push(b'\n');
    }
    let write = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(to)?);
        let mut written = 0;
        while written < target_bytes {
            file.write_all(&records)?;
            written += records.len() as u64;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(|error| failed(to, error))
}

fn cpu_seconds() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of a measurement need no 64 bits")]
    let seconds = (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6;
    Ok(seconds)
}

/// From the kernel's status page, since `getrusage` also counts what the process was before `exec`.
fn peak_rss_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim_end().parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no VmHWM in /proc/self/status"))
}
