//! Whole pipelines, run as a worker runs them.

mod checkpoints;
mod files;
mod http;
mod nodes;
mod programs;
mod projections;
mod real_data;
mod shape;
mod speed;
mod splitting;
mod texts;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Control, DagError, DagNode, LetterReader, Letterbox, Pipeline, PipelineFailure, PipelineReport, RunContext,
    SecretReader,
};

/// The project's real input.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn node(id: &str, command: &str, config: Value, outputs: &[&str]) -> DagNode {
    serde_json::from_value(json!({"id": id, "commandName": command, "config": config, "outputs": outputs})).unwrap()
}

/// `in` (ndjson from `in.ndjson`) → the given node `it` → `out` (ndjson to `out.ndjson`).
fn through(command: &str, config: Value) -> Vec<DagNode> {
    vec![
        node("in", "filesource", json!({"path": "in.ndjson"}), &["it"]),
        node("it", command, config, &["out"]),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
    ]
}

/// The same with a dead letter sink `letters.ndjson`.
fn with_letters(mut dag: Vec<DagNode>) -> Vec<DagNode> {
    dag.push(node(
        "letters",
        "filesink",
        json!({"path": "letters.ndjson", "deadletter": true}),
        &[],
    ));
    dag
}

/// A data folder and what is run in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder that holds the project's real input.
    fn with(name: &str) -> Self {
        let place = Self::new();
        std::fs::copy(data(name), place.path(name)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The records of an ndjson file.
    fn records(&self, name: &str) -> Vec<Value> {
        self.read(name)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn context(&self, replica_index: u32, replica_count: u32) -> RunContext {
        RunContext {
            replica_index,
            replica_count,
            attempt: 1,
            data_dir: self.folder.path().to_owned(),
            allow_paths: Vec::new(),
            control: Control::default(),
            resume: None,
            keeper: None,
            secrets: SecretReader::default(),
            letterbox: Letterbox::default(),
            letters: LetterReader::default(),
        }
    }

    fn run(&self, dag: &[DagNode]) -> Result<PipelineReport, PipelineFailure> {
        self.run_replica(dag, 0, 1).map(|(report, _)| report)
    }

    /// The report and the lines of standard output.
    fn run_replica(
        &self,
        dag: &[DagNode],
        index: u32,
        count: u32,
    ) -> Result<(PipelineReport, Vec<String>), PipelineFailure> {
        run_in(dag, &self.context(index, count))
    }

    fn refusals(&self, dag: &[DagNode]) -> Vec<DagError> {
        Pipeline::compile(dag, &self.context(0, 1)).err().unwrap_or_default()
    }
}

fn run_in(dag: &[DagNode], context: &RunContext) -> Result<(PipelineReport, Vec<String>), PipelineFailure> {
    let pipeline = Pipeline::compile(dag, context)?;
    let mut lines = Vec::new();
    let report = pipeline.run(&mut |line| lines.push(line.to_owned()))?;
    Ok((report, lines))
}

/// The lines of all texts, sorted: a multiset.
fn multiset<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = texts.into_iter().flat_map(str::lines).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What another program writes to its standard output.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
