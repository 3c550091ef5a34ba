//! Whole pipelines, run as a worker runs them.

mod real_data;
mod speed;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Control, DagError, DagNode, Pipeline, PipelineFailure, PipelineReport, RunContext};

/// The project's real input.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn node(id: &str, command: &str, config: Value, outputs: &[&str]) -> DagNode {
    serde_json::from_value(json!({"id": id, "commandName": command, "config": config, "outputs": outputs})).unwrap()
}

/// A data folder and what is run in it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder that holds the project's real input.
    fn with(name: &str) -> Self {
        let bench = Self::new();
        std::fs::copy(data(name), bench.path(name)).unwrap();
        bench
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
        let pipeline = Pipeline::compile(dag, &self.context(index, count))?;
        let mut lines = Vec::new();
        let report = pipeline.run(&mut |line| lines.push(line.to_owned()))?;
        Ok((report, lines))
    }

    fn compile(&self, dag: &[DagNode]) -> Result<Pipeline, Vec<DagError>> {
        Pipeline::compile(dag, &self.context(0, 1))
    }
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
