//! The graph of a pipeline as a client writes it, and everything that can be known to be wrong with it without running
//! it. [`check`] reports all it finds, each with a JSON pointer into the `dag` array.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::config::{NodeConfig, NodeKind};
use super::{config, program};

/// The most nodes one pipeline may have.
pub const MAX_NODES: usize = 200;
/// The longest id of a node, in bytes.
pub const MAX_NODE_ID_BYTES: usize = 100;

/// One node as it stands in the job document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DagNode {
    pub id: String,
    pub command_name: String,
    #[serde(default = "empty_object")]
    pub config: serde_json::Value,
    #[serde(default)]
    pub outputs: Vec<String>,
}

fn empty_object() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

/// A place inside a VRL program, counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramPlace {
    pub line: u32,
    pub column: u32,
}

/// One thing that is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}{message}", node.as_deref().map(|id| format!("node `{id}`: ")).unwrap_or_default())]
pub struct DagError {
    /// The id of the node, when the error belongs to one.
    pub node: Option<String>,
    /// A JSON pointer relative to the `dag` array: `/1/config/condition`; empty for the array itself.
    pub pointer: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// Where in the node's VRL program, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<ProgramPlace>,
}

impl DagError {
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self {
            node: None,
            pointer: String::new(),
            message: message.into(),
            place: None,
        }
    }

    pub(super) fn at(index: usize, id: &str, below: &str, message: impl Into<String>) -> Self {
        Self {
            node: Some(id.to_owned()),
            pointer: format!("/{index}{below}"),
            message: message.into(),
            place: None,
        }
    }
}

/// A graph whose shape, configuration and programs are right.
pub(super) struct CheckedDag {
    pub nodes: Vec<CheckedNode>,
    /// The dead letter sink.
    pub letters: Option<usize>,
}

pub(super) struct CheckedNode {
    pub id: String,
    pub config: NodeConfig,
    /// Indices of the nodes that take this node's records; never the dead letter sink.
    pub outputs: Vec<usize>,
}

/// Checks all that can be known of a graph at submission: its shape, the configuration of every node, and that every
/// program compiles within the allow-list.
///
/// # Errors
/// Everything that was found to be wrong, in the order of the document.
pub fn check(dag: &[DagNode]) -> Result<(), Vec<DagError>> {
    let Examined {
        configs, mut errors, ..
    } = examine(dag);
    for (index, (node, config)) in dag.iter().zip(&configs).enumerate() {
        if let Some(config) = config {
            errors.extend(program::check(index, &node.id, &config.kind));
        }
    }
    errors.sort_by_key(|error| {
        dag.iter()
            .position(|node| error.node.as_deref() == Some(node.id.as_str()))
    });
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Checks what depends on the number of replicas: two replicas must never write the same file.
///
/// # Errors
/// One error for each file sink whose path is the same for every replica.
pub fn check_replicas(dag: &[DagNode], replicas: u32) -> Result<(), Vec<DagError>> {
    let checked = resolve(dag)?;
    if replicas <= 1 {
        return Ok(());
    }
    let errors: Vec<DagError> = checked
        .nodes
        .iter()
        .enumerate()
        .filter_map(|(index, node)| match &node.config.kind {
            NodeKind::FileSink(sink) if !sink.path.depends_on_replica() => Some(DagError::at(
                index,
                &node.id,
                "/config/path",
                format!(
                    "{replicas} replicas would write the same file `{}`; put ${{REPLICA_INDEX}} into the path",
                    sink.path
                ),
            )),
            _ => None,
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Shape and configuration; the programs are left as text.
pub(super) fn resolve(dag: &[DagNode]) -> Result<CheckedDag, Vec<DagError>> {
    let Examined {
        configs,
        edges,
        letters,
        errors,
    } = examine(dag);
    if !errors.is_empty() {
        return Err(errors);
    }
    let nodes = dag
        .iter()
        .zip(configs.into_iter().flatten())
        .zip(edges)
        .map(|((node, config), outputs)| CheckedNode {
            id: node.id.clone(),
            config,
            outputs: outputs.into_iter().filter(|output| Some(*output) != letters).collect(),
        })
        .collect();
    Ok(CheckedDag { nodes, letters })
}

/// What was found; without errors everything is there.
#[derive(Default)]
struct Examined {
    configs: Vec<Option<NodeConfig>>,
    edges: Vec<Vec<usize>>,
    letters: Option<usize>,
    errors: Vec<DagError>,
}

fn examine(dag: &[DagNode]) -> Examined {
    let refused = |message: String| Examined {
        errors: vec![DagError::whole(message)],
        ..Examined::default()
    };
    if dag.is_empty() {
        return refused("the dag is empty; a pipeline needs at least a source and a sink".to_owned());
    }
    if dag.len() > MAX_NODES {
        return refused(format!(
            "the dag has {} nodes; at most {MAX_NODES} are allowed",
            dag.len()
        ));
    }
    let mut errors = Vec::new();
    let index_of = check_ids(dag, &mut errors);
    let configs = config::read_all(dag, &mut errors);
    let edges = check_edges(dag, &index_of, &mut errors);
    let mut letters = None;
    // Shape is judged only when every node and edge is known: otherwise one mistake would be told many times.
    if errors.is_empty() {
        let known: Vec<&NodeConfig> = configs.iter().flatten().collect();
        letters = check_letters(dag, &known, &mut errors);
        check_degrees(dag, &known, &edges, letters, &mut errors);
        check_acyclic(dag, &edges, &mut errors);
        check_connected(dag, &edges, letters, &mut errors);
        check_paths(dag, &known, &mut errors);
    }
    Examined {
        configs,
        edges,
        letters,
        errors,
    }
}

fn check_ids<'a>(dag: &'a [DagNode], errors: &mut Vec<DagError>) -> HashMap<&'a str, usize> {
    let mut index_of = HashMap::new();
    for (index, node) in dag.iter().enumerate() {
        if node.id.is_empty() || node.id.len() > MAX_NODE_ID_BYTES {
            errors.push(DagError::at(
                index,
                &node.id,
                "/id",
                format!("the id of a node must have 1 to {MAX_NODE_ID_BYTES} bytes"),
            ));
        }
        if let Some(first) = index_of.insert(node.id.as_str(), index) {
            index_of.insert(node.id.as_str(), first);
            errors.push(DagError::at(
                index,
                &node.id,
                "/id",
                format!(
                    "the id `{}` is already that of node {first}; ids must be unique",
                    node.id
                ),
            ));
        }
    }
    index_of
}

fn check_edges(dag: &[DagNode], index_of: &HashMap<&str, usize>, errors: &mut Vec<DagError>) -> Vec<Vec<usize>> {
    let mut edges = Vec::with_capacity(dag.len());
    for (index, node) in dag.iter().enumerate() {
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for (position, output) in node.outputs.iter().enumerate() {
            let below = format!("/outputs/{position}");
            match index_of.get(output.as_str()) {
                None => {
                    errors.push(DagError::at(
                        index,
                        &node.id,
                        &below,
                        format!("there is no node with id `{output}`"),
                    ));
                }
                Some(to) if outputs.contains(to) => {
                    errors.push(DagError::at(
                        index,
                        &node.id,
                        &below,
                        format!("`{output}` is listed twice"),
                    ));
                }
                Some(to) => outputs.push(*to),
            }
        }
        edges.push(outputs);
    }
    edges
}

fn check_letters(dag: &[DagNode], configs: &[&NodeConfig], errors: &mut Vec<DagError>) -> Option<usize> {
    let mut letters = None;
    let marked = configs
        .iter()
        .enumerate()
        .filter(|(_, config)| config.deadletter)
        .map(|(index, _)| index);
    for index in marked {
        match letters {
            None => letters = Some(index),
            Some(first) => errors.push(DagError::at(
                index,
                &dag[index].id,
                "/config/deadletter",
                format!(
                    "`{}` already is the dead letter sink; at most one is allowed",
                    dag[first].id
                ),
            )),
        }
    }
    letters
}

fn check_degrees(
    dag: &[DagNode],
    configs: &[&NodeConfig],
    edges: &[Vec<usize>],
    letters: Option<usize>,
    errors: &mut Vec<DagError>,
) {
    let mut has_input = vec![false; dag.len()];
    for (from, outputs) in edges.iter().enumerate() {
        for (position, to) in outputs.iter().enumerate() {
            has_input[*to] = true;
            if configs[*to].kind.is_source() {
                errors.push(DagError::at(
                    from,
                    &dag[from].id,
                    &format!("/outputs/{position}"),
                    format!(
                        "`{}` is a source ({}) and takes no input",
                        dag[*to].id, dag[*to].command_name
                    ),
                ));
            }
        }
    }
    for (index, config) in configs.iter().enumerate() {
        let id = &dag[index].id;
        let onward = edges[index].iter().any(|to| Some(*to) != letters);
        if config.kind.is_sink() {
            if !edges[index].is_empty() {
                let message = format!(
                    "`{id}` is a sink ({}) and must have no outputs",
                    dag[index].command_name
                );
                errors.push(DagError::at(index, id, "/outputs", message));
            }
        } else if !onward {
            errors.push(DagError::at(
                index,
                id,
                "/outputs",
                "its records go nowhere; name an output",
            ));
        }
        if !has_input[index] && !config.kind.is_source() && Some(index) != letters {
            errors.push(DagError::at(index, id, "", "no node lists it among its outputs"));
        }
    }
    if !configs.iter().any(|config| config.kind.is_source()) {
        errors.push(DagError::whole(
            "the dag has no source; begin it with one (filesource, generatesource)",
        ));
    }
}

/// Kahn's algorithm: what is left when no node without inputs remains lies on a cycle or behind one.
fn check_acyclic(dag: &[DagNode], edges: &[Vec<usize>], errors: &mut Vec<DagError>) {
    let mut inputs = vec![0_usize; dag.len()];
    edges.iter().flatten().for_each(|to| inputs[*to] += 1);
    let mut free: Vec<usize> = (0..dag.len()).filter(|index| inputs[*index] == 0).collect();
    let mut left: HashSet<usize> = (0..dag.len()).collect();
    while let Some(index) = free.pop() {
        left.remove(&index);
        for to in &edges[index] {
            inputs[*to] -= 1;
            if inputs[*to] == 0 {
                free.push(*to);
            }
        }
    }
    // Nodes behind a cycle are not on it: keep those from which a remaining node, and in the end themselves, is reached.
    let Some(cycle) = left
        .iter()
        .copied()
        .min()
        .and_then(|start| find_cycle(start, edges, &left))
    else {
        return;
    };
    let first = cycle.iter().copied().min().unwrap_or_default();
    let names: Vec<&str> = cycle
        .iter()
        .chain(cycle.first())
        .map(|index| dag[*index].id.as_str())
        .collect();
    errors.push(DagError::at(
        first,
        &dag[first].id,
        "/outputs",
        format!("a cycle: {}", names.join(" -> ")),
    ));
}

/// Walks backwards inside `left` (there every node has a predecessor in `left`) until a node comes again.
fn find_cycle(start: usize, edges: &[Vec<usize>], left: &HashSet<usize>) -> Option<Vec<usize>> {
    let mut walked = vec![start];
    loop {
        let here = *walked.last()?;
        let before = *left.iter().filter(|from| edges[**from].contains(&here)).min()?;
        if let Some(at) = walked.iter().position(|index| *index == before) {
            let mut cycle = walked.split_off(at);
            cycle.reverse();
            return Some(cycle);
        }
        walked.push(before);
    }
}

fn check_connected(dag: &[DagNode], edges: &[Vec<usize>], letters: Option<usize>, errors: &mut Vec<DagError>) {
    let mut neighbours = vec![Vec::new(); dag.len()];
    for (from, outputs) in edges.iter().enumerate() {
        for to in outputs {
            neighbours[from].push(*to);
            neighbours[*to].push(from);
        }
    }
    // The dead letter sink hangs on every node without an edge being drawn, so it neither needs nor makes a connection.
    let Some(start) = (0..dag.len()).find(|index| Some(*index) != letters) else {
        return;
    };
    let mut seen = HashSet::from([start]);
    let mut open = vec![start];
    while let Some(index) = open.pop() {
        for next in &neighbours[index] {
            if Some(*next) != letters && seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    if let Some(apart) = (0..dag.len()).find(|index| Some(*index) != letters && !seen.contains(index)) {
        errors.push(DagError::at(
            apart,
            &dag[apart].id,
            "",
            format!(
                "the dag is not connected: no way leads from `{}` to `{}`",
                dag[start].id, dag[apart].id
            ),
        ));
    }
}

/// Two sinks on one path would overwrite each other; a source that reads what a sink of the same pipeline writes would
/// read the old or the new file depending on which replica ends first.
fn check_paths(dag: &[DagNode], configs: &[&NodeConfig], errors: &mut Vec<DagError>) {
    let mut written: HashMap<&str, usize> = HashMap::new();
    for (index, config) in configs.iter().enumerate() {
        if let NodeKind::FileSink(sink) = &config.kind
            && let Some(first) = written.insert(sink.path.as_str(), index)
        {
            errors.push(DagError::at(
                index,
                &dag[index].id,
                "/config/path",
                format!("`{}` already writes `{}`", dag[first].id, sink.path),
            ));
        }
    }
    for (index, config) in configs.iter().enumerate() {
        if let NodeKind::FileSource(source) = &config.kind
            && let Some(sink) = written.get(source.path.as_str())
        {
            errors.push(DagError::at(
                index,
                &dag[index].id,
                "/config/path",
                format!(
                    "`{}` writes the file `{}` that this source reads",
                    dag[*sink].id, source.path
                ),
            ));
        }
    }
}
