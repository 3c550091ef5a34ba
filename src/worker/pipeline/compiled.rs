//! A pipeline made ready for one replica of one attempt.

use std::sync::Arc;

use super::checkpoint::{Pace, Parts, SourceState, State};
use super::config::{FileSinkConfig, FileSourceConfig, GenerateSourceConfig, NodeKind};
use super::context::{Control, RunContext, RunState};
use super::counters::{Counts, PipelineCounters};
use super::dag::{CheckedNode, DagError, DagNode, resolve};
use super::encoding::Encoder;
use super::engine::{Engine, Stage, Work, projection_of};
use super::file_sink::FileSink;
use super::file_source::FileSource;
use super::generate::{GenerateSource, Generated};
use super::http_sink::HttpSink;
use super::http_source::HttpSource;
use super::kafka_sink::KafkaSink;
use super::kafka_source::KafkaSource;
use super::letter_source::{LetterSource, LetterSourceConfig};
use super::letterbox::Tray;
use super::parser::Parser;
use super::paths::{self, PathRefusal, PathTemplate};
use super::program::{Condition, Mapping};
use super::remote::RemoteSink;
use super::remote_config::{HttpSinkConfig, HttpSourceConfig, KafkaSinkConfig, KafkaSourceConfig};
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
    HttpSource(HttpSourceConfig),
    HttpSink(HttpSinkConfig),
    KafkaSource(KafkaSourceConfig),
    KafkaSink(KafkaSinkConfig),
    LetterSource(LetterSourceConfig),
    /// Needs nothing to be opened.
    Ready(Box<Work>),
}

enum Source {
    File(FileSource),
    Generate(GenerateSource),
    Http(Box<HttpSource>),
    Kafka(Box<KafkaSource>),
    Letters(Box<LetterSource>),
}

impl Source {
    fn state(&self) -> Option<SourceState> {
        match self {
            Self::File(file) => file.state(),
            Self::Generate(generate) => Some(generate.state()),
            // What is answered the next time may be something else.
            Self::Http(_) => None,
            // They are few.
            Self::Letters(_) => None,
            Self::Kafka(kafka) => Some(kafka.state()),
        }
    }

    fn step(&mut self, node: usize, engine: &mut Engine<'_>) -> Result<Generated, PipelineFailure> {
        match self {
            Self::File(file) => Ok(if file.step(node, engine)? {
                Generated::More
            } else {
                Generated::Done
            }),
            Self::Generate(generate) => generate.step(node, engine),
            Self::Http(http) => http.step(node, engine),
            Self::Kafka(kafka) => kafka.step(node, engine),
            Self::Letters(letters) => letters.step(node, engine),
        }
    }
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
    /// Why there is no result. Earlier files are as they were then, and nothing of the run remains but, when another
    /// attempt may follow, the part files that a checkpoint of it tells of.
    pub fn run(self, stdout: &mut dyn FnMut(&str)) -> Result<PipelineReport, PipelineFailure> {
        let Self {
            nodes,
            letters,
            context,
            counters,
        } = self;
        let earlier = earlier(&nodes, &context);
        let Opened {
            mut stages,
            sources,
            sinks,
        } = open(nodes, &context)?;
        let earlier = match earlier {
            Some(earlier) if take_over(&mut stages, &sinks, &earlier)? => Some(earlier),
            Some(_) | None => None,
        };
        let sources = open_sources(&stages, sources, earlier.as_ref(), &context)?;
        let failed_before = earlier.as_ref().map_or(0, |earlier| earlier.state.letters);
        let tray = Tray::begin(context.letterbox.clone(), context.attempt, failed_before);
        let inner = (context.control.clone(), tray);
        let mut engine = Engine::new(stages, letters, Arc::clone(&counters), inner, stdout);
        let mut pace = context.keeper.map(Pace::new);
        let result = drive(sources, &mut engine, &context.control, pace.as_mut());
        engine.publish();
        let result = result.and_then(|stopped| engine.finish().map(|()| stopped));
        if let Err(failure) = &result {
            // Where no other attempt follows, nobody goes on from what was written.
            engine.keep_parts(failure.may_pass() && pace.is_some_and(|pace| pace.has_taken));
        }
        engine.publish();
        engine.close_tray();
        Ok(PipelineReport {
            stopped: result?,
            nodes: counters.nodes(),
            dead_letters: engine.dead_letters(),
            first_errors: engine.first_errors(),
            resumed_from: earlier.map(|earlier| earlier.attempt),
        })
    }
}

/// Nodes at work, and what it takes to open their sources, or to empty their sinks.
struct Opened {
    stages: Vec<Stage>,
    sources: Vec<(usize, Plan)>,
    sinks: Vec<(usize, FileSinkConfig)>,
}

fn open(nodes: Vec<Prepared>, context: &RunContext) -> Result<Opened, PipelineFailure> {
    let mut opened = Opened {
        stages: Vec::with_capacity(nodes.len()),
        sources: Vec::new(),
        sinks: Vec::new(),
    };
    for (index, node) in nodes.into_iter().enumerate() {
        let Prepared {
            id,
            outputs,
            fail_on_error,
            work,
        } = node;
        let work = match work {
            Plan::Ready(work) => *work,
            Plan::FileSink(config) => {
                let sink = FileSink::open(&id, &config, context)?;
                opened.sinks.push((index, config));
                Work::FileSink(sink)
            }
            Plan::HttpSink(config) => Work::remote(RemoteSink::Http(HttpSink::open(&id, &config, context)?)),
            Plan::KafkaSink(config) => Work::remote(RemoteSink::Kafka(KafkaSink::open(&id, &config, context)?)),
            source @ (Plan::FileSource(_)
            | Plan::GenerateSource(_)
            | Plan::HttpSource(_)
            | Plan::KafkaSource(_)
            | Plan::LetterSource(_)) => {
                opened.sources.push((index, source));
                Work::Source
            }
        };
        opened.stages.push(Stage {
            id,
            work,
            outputs,
            counts: Counts::default(),
            fail_on_error,
            first_error: None,
        });
    }
    Ok(opened)
}

/// Where an earlier attempt stood.
struct Earlier {
    attempt: u32,
    state: State,
}

/// `None`: there is nothing to go on from, or the sources are not what they were.
fn earlier(nodes: &[Prepared], context: &RunContext) -> Option<Earlier> {
    let resume = context.resume.as_ref()?;
    let state = State::read(&resume.data);
    let fits = |state: &State| {
        nodes.iter().all(|node| match &node.work {
            Plan::FileSource(config) => match state.sources.get(&node.id) {
                Some(SourceState::File { identity, .. }) => FileSource::is_unchanged(config, *identity, context),
                Some(SourceState::Generate { .. } | SourceState::Kafka { .. }) | None => false,
            },
            Plan::GenerateSource(_) => matches!(state.sources.get(&node.id), Some(SourceState::Generate { .. })),
            Plan::KafkaSource(config) => matches!(
                state.sources.get(&node.id),
                Some(SourceState::Kafka { topic, .. }) if *topic == config.kafka.topic
            ),
            Plan::HttpSource(_) | Plan::LetterSource(_) => false,
            Plan::FileSink(_) => state.sinks.contains_key(&node.id),
            Plan::HttpSink(_) | Plan::KafkaSink(_) | Plan::Ready(_) => true,
        })
    };
    let attempt = resume.attempt;
    let Some(state) = state.filter(fits) else {
        tracing::info!(attempt, "pipeline.checkpoint.does_not_fit");
        return None;
    };
    Some(Earlier { attempt, state })
}

/// Copies what the part files held at the checkpoint; when one of them is not there any more, none is copied.
fn take_over(
    stages: &mut [Stage],
    sinks: &[(usize, FileSinkConfig)],
    earlier: &Earlier,
) -> Result<bool, PipelineFailure> {
    let mut is_whole = true;
    for (index, _) in sinks {
        let Stage { id, work, .. } = &mut stages[*index];
        let (Work::FileSink(sink), Some(state)) = (work, earlier.state.sinks.get(id.as_str())) else {
            continue;
        };
        is_whole = sink.take_over(earlier.attempt, state).unwrap_or_else(|error| {
            tracing::warn!(node = %id, %error, "pipeline.checkpoint.part_file_unreadable");
            false
        });
        if !is_whole {
            break;
        }
    }
    if !is_whole {
        tracing::info!(attempt = earlier.attempt, "pipeline.checkpoint.part_file_missing");
        for (index, config) in sinks {
            if let Work::FileSink(sink) = &mut stages[*index].work {
                sink.start_over(config)?;
            }
        }
    }
    Ok(is_whole)
}

fn plan(index: usize, id: &str, kind: NodeKind) -> Result<Plan, Vec<DagError>> {
    let work = match kind {
        NodeKind::FileSource(config) => return Ok(Plan::FileSource(config)),
        NodeKind::GenerateSource(config) => return Ok(Plan::GenerateSource(config)),
        NodeKind::FileSink(config) => return Ok(Plan::FileSink(config)),
        NodeKind::HttpSource(config) => return Ok(Plan::HttpSource(config)),
        NodeKind::HttpSink(config) => return Ok(Plan::HttpSink(config)),
        NodeKind::KafkaSource(config) => return Ok(Plan::KafkaSource(config)),
        NodeKind::KafkaSink(config) => return Ok(Plan::KafkaSink(config)),
        NodeKind::LetterSource(config) => return Ok(Plan::LetterSource(config)),
        NodeKind::Filter { condition } => Work::Filter(Condition::compile(index, id, &condition)?),
        NodeKind::Assertion { condition, message } => Work::Assertion {
            condition: Condition::compile(index, id, &condition)?,
            message,
        },
        NodeKind::Eval { source } => Work::Eval(Mapping::compile(index, id, &source)?),
        NodeKind::Parser(config) => Work::Parser(Parser::compile(index, id, &config)?),
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
    earlier: Option<&Earlier>,
    context: &RunContext,
) -> Result<Vec<(usize, Source)>, PipelineFailure> {
    let mut sources = Vec::with_capacity(configs.len());
    for (index, config) in configs {
        let state = earlier.and_then(|earlier| earlier.state.sources.get(&stages[index].id));
        match config {
            Plan::FileSource(file) => {
                let projection = projection_of(stages, index);
                let resume_at = match state {
                    Some(SourceState::File { offset, .. }) => Some(*offset),
                    Some(SourceState::Generate { .. } | SourceState::Kafka { .. }) | None => None,
                };
                let source = FileSource::open(&stages[index].id, &file, projection, resume_at, context)?;
                sources.push((index, Source::File(source)));
            }
            Plan::GenerateSource(generate) => {
                let mut source = GenerateSource::new(&generate, context);
                if let Some(SourceState::Generate { next }) = state {
                    source.resume(*next);
                }
                sources.push((index, Source::Generate(source)));
            }
            Plan::HttpSource(http) => {
                let projection = projection_of(stages, index);
                let source = HttpSource::open(&stages[index].id, http, projection, context)?;
                sources.push((index, Source::Http(Box::new(source))));
            }
            Plan::KafkaSource(kafka) => {
                let places = match state {
                    Some(SourceState::Kafka { places, .. }) => Some(places.as_slice()),
                    Some(SourceState::File { .. } | SourceState::Generate { .. }) | None => None,
                };
                let source = KafkaSource::open(&stages[index].id, kafka, places, context)?;
                sources.push((index, Source::Kafka(Box::new(source))));
            }
            Plan::LetterSource(letters) => {
                let projection = projection_of(stages, index);
                let source = LetterSource::new(&stages[index].id, letters, projection, context);
                sources.push((index, Source::Letters(Box::new(source))));
            }
            Plan::FileSink(_) | Plan::HttpSink(_) | Plan::KafkaSink(_) | Plan::Ready(_) => {}
        }
    }
    Ok(sources)
}

/// How far all has come; `None` when a source stands where no run could go on.
fn checkpoint(
    sources: impl Iterator<Item = (usize, Option<SourceState>)>,
    engine: &mut Engine<'_>,
) -> Result<Option<(State, Parts)>, PipelineFailure> {
    let mut state = State::new();
    for (node, source) in sources {
        let Some(source) = source else { return Ok(None) };
        state.sources.insert(engine.stages[node].id.clone(), source);
    }
    let parts = engine.checkpoint(&mut state)?;
    Ok(Some((state, parts)))
}

/// Takes the sources in turns, a batch each, until all are done; whether a stop ended them early.
fn drive(
    mut sources: Vec<(usize, Source)>,
    engine: &mut Engine<'_>,
    control: &Control,
    mut pace: Option<&mut Pace>,
) -> Result<bool, PipelineFailure> {
    let mut done = Vec::new();
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
            match source.step(node, engine)? {
                Generated::More => idle = false,
                Generated::Wait(until) => wait = Some(wait.map_or(until, |earlier| until.min(earlier))),
                Generated::Done => {
                    done.push((node, source.state()));
                    continue;
                }
            }
            left.push((node, source));
        }
        sources = left;
        let tend = engine.tend()?;
        engine.publish();
        if let Some(pace) = pace.as_deref_mut() {
            let read = sources.iter().map(|(node, source)| (*node, source.state()));
            pace.take_if_due(|| checkpoint(read.chain(done.iter().cloned()), engine))?;
            engine.keep_parts(pace.has_taken);
        }
        if let (true, Some(until)) = (idle, wait) {
            control.wait_until(tend.map_or(until, |tend| tend.min(until)));
        }
    }
    match control.state() {
        RunState::Cancel => Err(PipelineFailure::cancelled()),
        RunState::Run | RunState::Stop => Ok(false),
    }
}
