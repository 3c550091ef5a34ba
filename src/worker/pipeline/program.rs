//! VRL in pipelines: which functions there are, how a program is compiled, and how its errors are told.
//!
//! What must stay true: a program is a pure function of its record, so that a retry gives the same output and nothing
//! of the worker (files, environment, network) can be reached through it. Hence the allow-list, the UTC time zone
//! instead of the machine's, and that metadata (`%`) cannot be written, which would carry over to the next record.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use bytes::Bytes;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{CompileConfig, ExpressionError, Function, Program, TargetValueRef, TimeZone};
use vrl::diagnostic::{Diagnostic, DiagnosticList};
use vrl::parser::ast;
use vrl::path::{OwnedTargetPath, PathPrefix};
use vrl::value::{KeyString, Secrets, Value};

use super::config::NodeKind;
use super::context::{Control, RunState};
use super::dag::{DagError, ProgramPlace};
use super::parser::Parser;
use super::projection::Projection;
use super::undo::{Changes, assigned};

const ALLOWED: &str = include_str!("vrl_functions.txt");
const REFUSED: &str = include_str!("vrl_refused.txt");
/// The longest program, in bytes.
const MAX_PROGRAM_BYTES: usize = 64 * 1024;

fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

static FUNCTIONS: LazyLock<Vec<Box<dyn Function>>> = LazyLock::new(|| {
    let allowed: Vec<&str> = lines(ALLOWED).collect();
    vrl::stdlib::all()
        .into_iter()
        .filter(|function| allowed.contains(&function.identifier()))
        .collect()
});

/// Why a function of VRL's standard library is refused, by name.
static REASONS: LazyLock<BTreeMap<&'static str, &'static str>> =
    LazyLock::new(|| lines(REFUSED).filter_map(|line| line.split_once(": ")).collect());

/// A program that decides: it reads the record and gives a boolean.
pub(super) struct Condition {
    program: Program,
    /// What of the record it looks at.
    pub reads: Projection,
}

/// A program that changes the record.
pub(super) struct Mapping {
    program: Program,
    /// What of the record must be kept for the dead letter of a run that fails.
    pub changes: Changes,
    /// What the program reads of the record, when nothing else of the record survives it.
    pub reads_only: Option<Projection>,
}

/// A program of a node's own that makes something of a text; the text is the field `text` of what it is run on.
pub(super) struct TextProgram(Program);

/// What came of running a program on a record.
pub(super) enum Ran<T> {
    Done(T),
    /// `abort`: the program gives the record up on purpose.
    Aborted,
    /// A runtime error, in VRL's words.
    Failed(String),
    /// The run was cancelled in the middle of the program.
    Cancelled,
}

/// What programs need besides the record; one for each run, reused by every call.
pub(super) struct Interpreter {
    runtime: Runtime,
    metadata: Value,
    secrets: Secrets,
    timezone: TimeZone,
    control: Control,
}

impl Interpreter {
    pub fn new(control: Control) -> Self {
        Self {
            runtime: Runtime::default(),
            metadata: Value::Object(BTreeMap::new()),
            secrets: Secrets::default(),
            timezone: TimeZone::parse("UTC").unwrap_or_default(),
            control,
        }
    }

    pub fn decide(&mut self, condition: &Condition, record: &mut Value) -> Ran<bool> {
        match self.resolve(&condition.program, record) {
            Ran::Done(Value::Boolean(decision)) => Ran::Done(decision),
            Ran::Done(other) => Ran::Failed(format!(
                "the condition gave a {} instead of a boolean",
                other.kind_str()
            )),
            Ran::Aborted => Ran::Aborted,
            Ran::Failed(message) => Ran::Failed(message),
            Ran::Cancelled => Ran::Cancelled,
        }
    }

    /// The record is what the program left; after a failure, possibly half-changed.
    pub fn map(&mut self, mapping: &Mapping, record: &mut Value) -> Ran<Value> {
        self.resolve(&mapping.program, record)
    }

    pub fn read(&mut self, program: &TextProgram, text: Bytes) -> Ran<Value> {
        let mut record = Value::Object(BTreeMap::from([(KeyString::from("text"), Value::Bytes(text))]));
        self.resolve(&program.0, &mut record)
    }

    fn resolve(&mut self, program: &Program, record: &mut Value) -> Ran<Value> {
        let mut target = TargetValueRef {
            value: record,
            metadata: &mut self.metadata,
            secrets: &mut self.secrets,
        };
        // Asked between expressions, so that loops inside loops over a large record can be cancelled, too.
        let control = &self.control;
        let mut checkpoint = || match control.state() {
            RunState::Cancel => ControlFlow::Break(()),
            RunState::Run | RunState::Stop => ControlFlow::Continue(()),
        };
        let result = self
            .runtime
            .resolve_with_control(&mut target, program, &self.timezone, &mut checkpoint);
        self.runtime.clear();
        match result {
            Ok(value) => Ran::Done(value),
            Err(Terminate::Interrupted) => Ran::Cancelled,
            Err(Terminate::Abort(ExpressionError::Abort { .. })) => Ran::Aborted,
            Err(Terminate::Abort(error) | Terminate::Error(error)) => Ran::Failed(error.to_string()),
        }
    }
}

/// Compiles the program of one node only for its errors.
pub(super) fn check(index: usize, id: &str, kind: &NodeKind) -> Vec<DagError> {
    let result = match kind {
        NodeKind::Filter { condition } | NodeKind::Assertion { condition, .. } => {
            Condition::compile(index, id, condition).map(drop)
        }
        NodeKind::Eval { source } => Mapping::compile(index, id, source).map(drop),
        NodeKind::FileSource(_)
        | NodeKind::GenerateSource(_)
        | NodeKind::HttpSource(_)
        | NodeKind::KafkaSource(_)
        | NodeKind::Stdout(_)
        | NodeKind::FileSink(_)
        | NodeKind::HttpSink(_)
        | NodeKind::KafkaSink(_)
        | NodeKind::LetterSource(_) => Ok(()),
        NodeKind::Parser(config) => Parser::compile(index, id, config).map(drop),
    };
    result.err().unwrap_or_default()
}

impl TextProgram {
    pub fn compile(index: usize, id: &str, source: &str) -> Result<Self, Vec<DagError>> {
        let place = Place {
            index,
            id,
            below: "/config/type",
            source,
        };
        compile(&place, CompileConfig::default()).map(Self)
    }
}

impl Condition {
    pub fn compile(index: usize, id: &str, source: &str) -> Result<Self, Vec<DagError>> {
        let place = Place {
            index,
            id,
            below: "/config/condition",
            source,
        };
        let mut config = CompileConfig::default();
        config.set_read_only();
        let program = compile(&place, config)?;
        let kind = program.final_type_info().result.kind().clone();
        if kind.is_boolean() {
            let reads = reads(&program, source);
            return Ok(Self { program, reads });
        }
        Err(vec![place.error(format!(
            "the condition must give a boolean, this one gives {kind}; compare it with something, or wrap it in `bool!( )`"
        ))])
    }
}

impl Mapping {
    pub fn compile(index: usize, id: &str, source: &str) -> Result<Self, Vec<DagError>> {
        let place = Place {
            index,
            id,
            below: "/config/source",
            source,
        };
        let mut config = CompileConfig::default();
        config.set_read_only_path(OwnedTargetPath::metadata_root(), true);
        let program = compile(&place, config)?;
        let after = program.final_type_info().state.external.target_kind().clone();
        if !after.contains_object() && !after.contains_array() && !after.is_never() {
            return Err(vec![place.error(format!(
                "the program leaves {after} as the record; a record must be an object (or a list of objects, which \
                 become records each)"
            ))]);
        }
        let changes = Changes::of(&program, source, after.is_object());
        let reads_only = replaces_record(source).then(|| reads(&program, source));
        Ok(Self {
            program,
            changes,
            reads_only,
        })
    }
}

/// Whether the program is sure to put something new in place of the whole record: `. = …` stands among its outermost
/// expressions, and no `return` can leave before. (An `abort` can, but drops the record.)
fn replaces_record(source: &str) -> bool {
    if source.contains("return") {
        return false;
    }
    let Ok(ast::Program(roots)) = vrl::parser::parse(source) else {
        return false;
    };
    roots
        .iter()
        .any(|root| assigned(root.inner()).is_some_and(|path| path.is_root()))
}

/// What of the record a program looks at, as its compiler noted it down. `unnest` alone reads more than its argument
/// says: it copies the whole record. A test runs the examples of all functions on whole and on projected records.
fn reads(program: &Program, source: &str) -> Projection {
    if source.contains("unnest") {
        return Projection::Whole;
    }
    let mut projection = Projection::nothing();
    for path in program
        .info()
        .target_queries
        .iter()
        .filter(|path| path.prefix == PathPrefix::Event)
    {
        projection.add(&path.path);
    }
    projection
}

/// Where a program stands in the document.
struct Place<'a> {
    index: usize,
    id: &'a str,
    below: &'static str,
    source: &'a str,
}

impl Place<'_> {
    fn error(&self, message: String) -> DagError {
        DagError::at(self.index, self.id, self.below, message)
    }
}

fn compile(place: &Place<'_>, config: CompileConfig) -> Result<Program, Vec<DagError>> {
    if place.source.len() > MAX_PROGRAM_BYTES {
        let message = format!(
            "the program has {} bytes; at most {MAX_PROGRAM_BYTES}",
            place.source.len()
        );
        return Err(vec![place.error(message)]);
    }
    vrl::compiler::compile_with_external(place.source, &FUNCTIONS, &ExternalEnv::default(), config)
        .map(|compiled| compiled.program)
        .map_err(|diagnostics| tell(place, &diagnostics))
}

/// VRL's own words, with the place the first label points at.
fn tell(place: &Place<'_>, diagnostics: &DiagnosticList) -> Vec<DagError> {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_problem())
        .map(|diagnostic| tell_one(place, diagnostic))
        .collect()
}

fn tell_one(place: &Place<'_>, diagnostic: &Diagnostic) -> DagError {
    let label = diagnostic
        .labels
        .iter()
        .find(|label| label.primary)
        .or(diagnostic.labels.first());
    let spanned = label.map(|label| {
        (
            label.span.start(),
            place.source.get(label.span.range()).unwrap_or_default(),
        )
    });
    let at = spanned.map(|(start, _)| locate(place.source, start));
    let undefined = diagnostic.code == vrl::compiler::codes::ExprCode::UndefinedFunction as usize;
    let refused = spanned
        .filter(|_| undefined)
        .and_then(|(_, name)| REASONS.get(name).map(|reason| (name, *reason)));
    let told = match refused {
        Some((name, reason)) => format!("the function `{name}` is not allowed in pipelines: {reason}"),
        None => {
            let mut told = format!("VRL error E{:03}: {}", diagnostic.code, diagnostic.message);
            for label in diagnostic.labels.iter().filter(|label| !label.message.is_empty()) {
                told.push_str("; ");
                told.push_str(&label.message);
            }
            for note in diagnostic.notes() {
                told.push_str("; ");
                told.push_str(&note.to_string());
            }
            told
        }
    };
    let message = match at {
        Some(at) => format!("{told} (line {}, column {})", at.line, at.column),
        None => told,
    };
    DagError {
        place: at,
        ..place.error(message)
    }
}

fn locate(source: &str, offset: usize) -> ProgramPlace {
    let before: Vec<char> = source
        .char_indices()
        .take_while(|(at, _)| *at < offset)
        .map(|(_, char)| char)
        .collect();
    let line = before.iter().filter(|char| **char == '\n').count();
    let column = before.iter().rev().take_while(|char| **char != '\n').count();
    let from_one = |count: usize| u32::try_from(count).unwrap_or(u32::MAX - 1) + 1;
    ProgramPlace {
        line: from_one(line),
        column: from_one(column),
    }
}
