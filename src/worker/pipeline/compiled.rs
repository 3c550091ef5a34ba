//! A pipeline made ready for one replica of one attempt.

use std::sync::Arc;

use super::config::{FileSinkConfig, FileSourceConfig, GenerateSourceConfig, NodeKind};
use super::context::{Control, RunContext, RunState};
use super::counters::{Counts, PipelineCounters};
use super::dag::{CheckedNode, DagError, DagNode, resolve};
use super::encoding::Encoder;
use super::engine::{Engine, Stage, Work, projection_of};
use super::file_sink::FileSink;
use super::file_source::FileSource;
use super::generate::{GenerateSource, Generated};
use super::parser::Parser;
use super::paths::{self, PathRefusal, PathTemplate};
use super::program::{Condition, Mapping};
use super::report::{PipelineFailure, PipelineReport};

/// Compiled, with every path found to be allowed, nothing opened yet.
pub struct Pipeline {
    nodes: Vec<Prepared>,
    letters: Option<usize>,
    context: RunContext,
    counters: Arc<PipelineCounters>,
}

struct Prepared {
    id: String,
    outputs: Vec<usize>,
    fail_on_error: bool,
    work: Plan,
}

/// A node's work before anything is opened.
enum Plan {
    FileSource(FileSourceConfig),
    GenerateSource(GenerateSourceConfig),
    FileSink(FileSinkConfig),
    /// Needs nothing to be opened.
    Ready(Box<Work>),
}

enum Source {
    File(FileSource),
    Generate(GenerateSource),
}

impl Pipeline {
    /// Compiles the graph for this replica.
    ///
    /// # Errors
    /// Everything this worker refuses: what [`super::check`] finds, and paths outside the allowed folders.
    pub fn compile(dag: &[DagNode], context: &RunContext) -> Result<Self, Vec<DagError>> {
        let checked = resolve(dag)?;
        let mut errors = Vec::new();
        let mut nodes = Vec::with_capacity(checked.nodes.len());
        for (index, node) in checked.nodes.into_iter().enumerate() {
            let CheckedNode { id, config, outputs } = node;
            errors.extend(check_path(index, &id, &config.kind, context));
            match plan(index, &id, config.kind) {
                Ok(work) => nodes.push(Prepared {
                    id,
                    outputs,
                    fail_on_error: config.fail_on_error,
                    work,
                }),
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let counters = Arc::new(PipelineCounters::new(nodes.iter().map(|node| node.id.as_str())));
        Ok(Self {
            nodes,
            letters: checked.letters,
            context: context.clone(),
            counters,
        })
    }

    /// Live counts; stays readable during and after the run.
    pub fn counters(&self) -> Arc<PipelineCounters> {
        Arc::clone(&self.counters)
    }

    /// Runs to the end on the calling thread, which it blocks. Lines of `stdout` nodes go to `stdout` without their
    /// line end.
    ///
    /// # Errors
    /// Why there is no result. Nothing of the run remains then, and earlier files are as they were.
    pub fn run(self, stdout: &mut dyn FnMut(&str)) -> Result<PipelineReport, PipelineFailure> {
        let Self {
            nodes,
            letters,
            context,
            counters,
        } = self;
        let mut stages = Vec::with_capacity(nodes.len());
        let mut source_configs = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let Prepared {
                id,
                outputs,
                fail_on_error,
                work,
            } = node;
            let work = match work {
                Plan::Ready(work) => *work,
                Plan::FileSink(config) => Work::FileSink(FileSink::open(&id, &config, &context)?),
                source @ (Plan::FileSource(_) | Plan::GenerateSource(_)) => {
                    source_configs.push((index, source));
                    Work::Source
                }
            };
            stages.push(Stage {
                id,
                work,
                outputs,
                counts: Counts::default(),
                fail_on_error,
                first_error: None,
            });
        }
        let sources = open_sources(&stages, source_configs, &context)?;
        let mut engine = Engine::new(stages, letters, Arc::clone(&counters), context.control.clone(), stdout);
        let stopped = drive(sources, &mut engine, &context.control);
        engine.publish();
        let stopped = stopped?;
        engine.finish()?;
        engine.publish();
        Ok(PipelineReport {
            nodes: counters.nodes(),
            dead_letters: engine.dead_letters(),
            first_errors: engine.first_errors(),
            stopped,
        })
    }
}

fn plan(index: usize, id: &str, kind: NodeKind) -> Result<Plan, Vec<DagError>> {
    let work = match kind {
        NodeKind::FileSource(config) => return Ok(Plan::FileSource(config)),
        NodeKind::GenerateSource(config) => return Ok(Plan::GenerateSource(config)),
        NodeKind::FileSink(config) => return Ok(Plan::FileSink(config)),
        NodeKind::Filter { condition } => Work::Filter(Condition::compile(index, id, &condition)?),
        NodeKind::Assertion { condition, message } => Work::Assertion {
            condition: Condition::compile(index, id, &condition)?,
            message,
        },
        NodeKind::Eval { source } => Work::Eval(Mapping::compile(index, id, &source)?),
        NodeKind::Parser(config) => Work::Parser(Parser::new(&config)),
        NodeKind::Stdout(config) => Work::Stdout {
            encoder: Encoder::new(&config),
            line: Vec::new(),
        },
    };
    Ok(Plan::Ready(Box::new(work)))
}

fn path_of(kind: &NodeKind) -> Option<&PathTemplate> {
    match kind {
        NodeKind::FileSource(source) => Some(&source.path),
        NodeKind::FileSink(sink) => Some(&sink.path),
        _ => None,
    }
}

/// Only what trying again cannot change is an error of the graph; the rest shows when the file is opened.
fn check_path(index: usize, id: &str, kind: &NodeKind, context: &RunContext) -> Option<DagError> {
    match paths::resolve(path_of(kind)?, context) {
        Err(PathRefusal::Forbidden(message)) => Some(DagError::at(index, id, "/config/path", message)),
        Ok(_) | Err(PathRefusal::Io { .. }) => None,
    }
}

/// Last, when all nodes are known: what a file source builds of its records depends on what comes after it.
fn open_sources(
    stages: &[Stage],
    configs: Vec<(usize, Plan)>,
    context: &RunContext,
) -> Result<Vec<(usize, Source)>, PipelineFailure> {
    let mut sources = Vec::with_capacity(configs.len());
    for (index, config) in configs {
        match config {
            Plan::FileSource(file) => {
                let projection = projection_of(stages, index);
                let source = FileSource::open(&stages[index].id, &file, projection, context)?;
                sources.push((index, Source::File(source)));
            }
            Plan::GenerateSource(generate) => {
                sources.push((index, Source::Generate(GenerateSource::new(&generate, context))));
            }
            Plan::FileSink(_) | Plan::Ready(_) => {}
        }
    }
    Ok(sources)
}

/// Takes the sources in turns, a batch each, until all are done; whether a stop ended them early.
fn drive(
    mut sources: Vec<(usize, Source)>,
    engine: &mut Engine<'_>,
    control: &Control,
) -> Result<bool, PipelineFailure> {
    while !sources.is_empty() {
        let mut wait = None;
        let mut idle = true;
        let mut left = Vec::with_capacity(sources.len());
        for (node, mut source) in sources {
            match control.state() {
                RunState::Cancel => return Err(PipelineFailure::cancelled()),
                RunState::Stop => return Ok(true),
                RunState::Run => {}
            }
            let step = match &mut source {
                Source::File(file) => {
                    if file.step(node, engine)? {
                        Generated::More
                    } else {
                        Generated::Done
                    }
                }
                Source::Generate(generate) => generate.step(node, engine)?,
            };
            match step {
                Generated::More => idle = false,
                Generated::Wait(until) => wait = Some(wait.map_or(until, |earlier| until.min(earlier))),
                Generated::Done => continue,
            }
            left.push((node, source));
        }
        sources = left;
        engine.publish();
        if let (true, Some(until)) = (idle, wait) {
            control.wait_until(until);
        }
    }
    match control.state() {
        RunState::Cancel => Err(PipelineFailure::cancelled()),
        RunState::Run | RunState::Stop => Ok(false),
    }
}
