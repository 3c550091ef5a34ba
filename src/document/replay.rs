//! The document of a job that replays dead letters: of each group of tasks whose records failed, what comes from the nodes
//! at which they did, with those records as sources.
//!
//! Must stay true: a record enters the node at which it failed and no other; the files of the first run are not touched;
//! parts of a graph that have nothing in common are tasks of their own, so that no two write the same file.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::job::{JobDocument, TaskKind};
use super::normal::normalise;
use crate::domain::JobId;
use crate::worker::pipeline::{DagNode, MAX_NODES, is_source};

/// The label of a job that replays another one's dead letters; its value is that job's id.
pub const REPLAY_LABEL: &str = "grid/replay-of";

/// Records that failed at a node of a group of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAt {
    /// The group's name.
    pub group: String,
    pub node: String,
    /// Numbers of the tasks that they are of.
    pub first_task: u32,
    pub last_task: u32,
    /// Whole ones.
    pub whole: u64,
    /// Of those, the ones that are texts, which a source could not read.
    pub texts: u64,
}

/// A document, and what it replays.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// JSON.
    pub document: Vec<u8>,
    /// Records that its sources read.
    pub letters: u64,
}

/// Why a document cannot replay the letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the document has no pipeline called {0:?}, whose records failed: give one that has, or name other tasks")]
    NoGroup(String),
    #[error(
        "the pipeline {group:?} has no node {node:?}, at which records failed: give a document that has, or name another node"
    )]
    NoNode { group: String, node: String },
    #[error("none of them can be replayed: the rest are cut, or rows of a csv file")]
    Nothing,
}

/// Makes the document for those letters of `job` that were kept up to the id `up_to`.
///
/// # Errors
/// When the document lacks what records failed at.
pub fn replay(document: &JobDocument, job: JobId, up_to: i64, failed: &[FailedAt]) -> Result<Replay, ReplayError> {
    let mut groups: BTreeMap<&str, Vec<&FailedAt>> = BTreeMap::new();
    for at in failed {
        groups.entry(&at.group).or_default().push(at);
    }
    // Canonical JSON, written a moment ago.
    let mut whole: Map<String, Value> = serde_json::from_slice(&normalise(document).bytes).unwrap_or_default();
    let entries = whole.remove("tasks");
    let entries: Vec<Value> = entries
        .and_then(|tasks| serde_json::from_value(tasks).ok())
        .unwrap_or_default();
    let (mut tasks, mut letters) = (Vec::new(), 0);
    for (name, failed) in groups {
        let entry = entries.iter().find(|entry| entry["externalId"] == name);
        let spec = document.tasks.iter().find(|task| task.external_id == name);
        let (Some(entry), Some(TaskKind::Dag(dag))) = (entry, spec.map(|task| &task.kind)) else {
            return Err(ReplayError::NoGroup(name.to_owned()));
        };
        let graph = Graph { dag, job, up_to };
        let (parts, read) = graph.replay(&failed)?;
        letters += read;
        let several = parts.len() > 1;
        for (number, part) in parts.into_iter().enumerate() {
            let mut task = entry.clone();
            task["replicas"] = json!(1);
            task["dag"] = json!(part);
            if several {
                task["externalId"] = json!(format!("{name} ({})", number + 1));
            }
            tasks.push(task);
        }
    }
    if tasks.is_empty() {
        return Err(ReplayError::Nothing);
    }
    whole.insert("tasks".to_owned(), json!(tasks));
    let labels = whole.entry("labels").or_insert_with(|| json!({}));
    labels[REPLAY_LABEL] = json!(job.to_string());
    Ok(Replay {
        document: Value::Object(whole).to_string().into_bytes(),
        letters,
    })
}

/// The pipeline of a group, and whose letters.
struct Graph<'a> {
    dag: &'a [DagNode],
    job: JobId,
    up_to: i64,
}

impl Graph<'_> {
    /// The pipelines that take the letters, and how many these are.
    fn replay(&self, failed: &[&FailedAt]) -> Result<(Vec<Vec<DagNode>>, u64), ReplayError> {
        let mut sources = Vec::new();
        let mut letters = 0;
        for at in failed {
            let Some(node) = self.dag.iter().find(|node| node.id == at.node) else {
                return Err(ReplayError::NoNode {
                    group: at.group.clone(),
                    node: at.node.clone(),
                });
            };
            if let Some((source, count)) = self.source(node, at) {
                sources.push(source);
                letters += count;
            }
        }
        Ok((self.parts(sources), letters))
    }

    /// What reads the letters of a node, and how many; `None`: none of them can be read.
    fn source(&self, node: &DagNode, at: &FailedAt) -> Option<(DagNode, u64)> {
        let mut config = json!({
            "job": self.job.to_string(), "node": at.node, "firstTask": at.first_task, "lastTask": at.last_task,
            "upTo": self.up_to,
        });
        let is_source = is_source(&node.command_name);
        let count = if is_source { at.texts } else { at.whole };
        config["count"] = json!(count);
        let (id, outputs) = if is_source {
            // The texts that it could not read are read in its place.
            let encoding = node.config.get("encoding").and_then(Value::as_str).unwrap_or("ndjson");
            config["encoding"] = json!(encoding);
            // A row of a csv file is none without the file's header.
            let is_line = ["ndjson", "text"].contains(&encoding);
            (node.id.clone(), self.kept(node).filter(|_| is_line)?)
        } else {
            (self.fresh_id(&node.id), vec![node.id.clone()])
        };
        let source = DagNode {
            id,
            command_name: "deadlettersource".to_owned(),
            config,
            outputs,
        };
        (count > 0).then_some((source, count))
    }

    /// Its outputs without the sink of dead letters.
    fn kept(&self, node: &DagNode) -> Option<Vec<String>> {
        let takes_letters = |id: &String| self.dag.iter().any(|node| node.id == *id && is_letter_sink(node));
        let outputs: Vec<String> = node.outputs.iter().filter(|id| !takes_letters(id)).cloned().collect();
        (!outputs.is_empty()).then_some(outputs)
    }

    fn fresh_id(&self, node: &str) -> String {
        let names = (0..=MAX_NODES).map(|number| match number {
            0 => format!("letters-{node}"),
            _ => format!("letters-{number}"),
        });
        let is_free = |id: &String| id.len() <= 100 && self.dag.iter().all(|node| node.id != *id);
        names.into_iter().find(is_free).unwrap_or_default()
    }

    /// Each source with all that it leads to; those that meet are one graph.
    fn parts(&self, sources: Vec<DagNode>) -> Vec<Vec<DagNode>> {
        let mut parts: Vec<(Vec<DagNode>, BTreeSet<usize>)> = Vec::new();
        for source in sources {
            let mut reached = BTreeSet::new();
            self.reach(&source.outputs, &mut reached);
            let mut heads = vec![source];
            let (met, others) = parts.into_iter().partition(|(_, nodes)| !nodes.is_disjoint(&reached));
            parts = others;
            for (earlier, nodes) in Vec::<(Vec<DagNode>, BTreeSet<usize>)>::into_iter(met) {
                heads.splice(0..0, earlier);
                reached.extend(nodes);
            }
            parts.push((heads, reached));
        }
        let whole = |(mut nodes, reached): (Vec<DagNode>, BTreeSet<usize>)| {
            nodes.extend(reached.into_iter().map(|index| self.again(&self.dag[index])));
            nodes
        };
        parts.into_iter().map(whole).collect()
    }

    fn reach(&self, outputs: &[String], reached: &mut BTreeSet<usize>) {
        let mut open: Vec<&String> = outputs.iter().collect();
        while let Some(id) = open.pop() {
            let found = self.dag.iter().position(|node| node.id == *id);
            let found = found.filter(|index| !is_letter_sink(&self.dag[*index]));
            if let Some(index) = found.filter(|index| reached.insert(*index)) {
                open.extend(&self.dag[index].outputs);
            }
        }
    }

    /// A node as it is in a replay.
    fn again(&self, node: &DagNode) -> DagNode {
        let mut node = node.clone();
        node.outputs = self.kept(&node).unwrap_or_default();
        if node.command_name == "filesink"
            && let Some(path) = node.config.get("path").and_then(Value::as_str)
        {
            node.config["path"] = json!(beside(path, self.up_to));
        }
        node
    }
}

fn is_letter_sink(node: &DagNode) -> bool {
    node.config.get("deadletter") == Some(&Value::Bool(true))
}

/// A file beside the one that the first run wrote.
fn beside(path: &str, up_to: i64) -> String {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let (folder, name) = path.split_at(name_at);
    match name
        .rsplit_once('.')
        .filter(|(stem, _)| !stem.is_empty() && !name.ends_with('}'))
    {
        Some((stem, extension)) => format!("{folder}{stem}.replay-{up_to}.{extension}"),
        None => format!("{path}.replay-{up_to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    const JOB: &str = "job-019a0000-0000-7000-8000-000000000001";

    fn at(node: &str, whole: u64, texts: u64) -> FailedAt {
        FailedAt {
            group: "clean".to_owned(),
            node: node.to_owned(),
            first_task: 2,
            last_task: 5,
            whole,
            texts,
        }
    }

    fn document(encoding: &str) -> JobDocument {
        let text = json!({
            "externalId": "nightly", "labels": {"team": "a"},
            "tasks": [
                {"externalId": "other", "executor": "noop"},
                {"externalId": "clean", "replicas": 4, "dag": [
                    {"id": "in", "commandName": "filesource", "config": {"path": "in", "encoding": encoding}, "outputs": ["a", "b"]},
                    {"id": "a", "commandName": "filter", "config": {"condition": "true"}, "outputs": ["out", "dead"]},
                    {"id": "b", "commandName": "filter", "config": {"condition": "true"}, "outputs": ["out", "more"]},
                    {"id": "out", "commandName": "filesink", "config": {"path": "d.x/out-${REPLICA_INDEX}.ndjson"}},
                    {"id": "more", "commandName": "filesink", "config": {"path": "more-${REPLICA_INDEX}"}},
                    {"id": "dead", "commandName": "stdout", "config": {"deadletter": true}},
                ]},
            ],
        });
        parse(text.to_string().as_bytes(), None).unwrap()
    }

    /// The tasks, each node as `id->outputs`.
    fn shape(replay: &Replay) -> Vec<Vec<String>> {
        let job = parse(&replay.document, Some("application/json")).unwrap();
        assert_eq!(job.labels[REPLAY_LABEL], JOB);
        let nodes = |kind: &TaskKind| match kind {
            TaskKind::Dag(dag) => dag
                .iter()
                .map(|node| format!("{}->{}", node.id, node.outputs.join(",")))
                .collect(),
            other => panic!("{other:?}"),
        };
        job.tasks.iter().map(|task| nodes(&task.kind)).collect()
    }

    fn made(document: &JobDocument, failed: &[FailedAt]) -> Result<Replay, ReplayError> {
        replay(document, JOB.parse().unwrap(), 17, failed)
    }

    #[test]
    fn a_record_begins_where_it_failed() {
        let made = made(&document("ndjson"), &[at("a", 3, 0)]).unwrap();
        assert_eq!(made.letters, 3);
        assert_eq!(shape(&made), [["letters-a->a", "a->out", "out->"]]);
        let text = String::from_utf8(made.document).unwrap();
        assert!(
            text.contains(r#""path":"d.x/out-${REPLICA_INDEX}.replay-17.ndjson""#),
            "{text}"
        );
        assert!(text.contains(r#""firstTask":2"#) && text.contains(r#""lastTask":5"#) && text.contains(r#""count":3"#));
    }

    #[test]
    fn graphs_that_meet_are_one_task_and_others_are_not() {
        let document = document("ndjson");
        let met = made(&document, &[at("a", 1, 0), at("b", 1, 0), at("more", 1, 0)]).unwrap();
        assert_eq!(shape(&met).len(), 1);
        let apart = made(&document, &[at("out", 1, 0), at("more", 1, 0)]).unwrap();
        assert_eq!(
            shape(&apart),
            [["letters-out->out", "out->"], ["letters-more->more", "more->"]]
        );
    }

    #[test]
    fn a_source_reads_the_texts_again_unless_they_are_rows() {
        let made_of = |encoding| made(&document(encoding), &[at("in", 3, 2)]);
        let texts = made_of("ndjson").unwrap();
        assert_eq!((texts.letters, shape(&texts)[0][0].as_str()), (2, "in->a,b"));
        assert_eq!(made_of("csv"), Err(ReplayError::Nothing));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = made(&document("ndjson"), &[at("gone", 1, 0)]).unwrap_err();
        assert!(missing.to_string().contains("no node \"gone\""), "{missing}");
        let mut other = at("a", 1, 0);
        other.group = "other".to_owned();
        assert_eq!(
            made(&document("ndjson"), &[other]),
            Err(ReplayError::NoGroup("other".to_owned()))
        );
    }

    #[test]
    fn a_file_is_written_beside_the_first() {
        assert_eq!(beside("a.b/c", 1), "a.b/c.replay-1");
        assert_eq!(beside("c.${REPLICA_INDEX}", 1), "c.${REPLICA_INDEX}.replay-1");
        assert_eq!(beside(".hidden", 1), ".hidden.replay-1");
        assert_eq!(beside("/x/y.tar.gz", 1), "/x/y.tar.replay-1.gz");
    }
}
