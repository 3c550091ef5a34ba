//! VRL in pipelines: which functions there are, how a program is compiled, and how its errors are told.
//!
//! What must stay true: a program is a pure function of its record, so that a retry gives the same output and nothing
//! of the worker (files, environment, network) can be reached through it. Hence the allow-list, the UTC time zone
//! instead of the machine's, and that metadata (`%`) cannot be written, which would carry over to the next record.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use vrl::compiler::state::{ExternalEnv, RuntimeState};
use vrl::compiler::{CompileConfig, Context, ExpressionError, Function, Program, TargetValueRef, TimeZone};
use vrl::diagnostic::{Diagnostic, DiagnosticList};
use vrl::path::{OwnedTargetPath, PathPrefix};
use vrl::value::{Secrets, Value};

use super::config::NodeKind;
use super::dag::{CheckedNode, DagError, ProgramPlace};
use super::projection::Projection;

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
}

/// A program that changes the record.
pub(super) struct Mapping {
    program: Program,
    /// The record is sure to be an object afterwards; otherwise it has to be looked at.
    pub always_object: bool,
    /// No run can fail, so that the record need not be kept for the dead letters.
    pub infallible: bool,
    /// What the program reads of the record, when nothing else of the record survives it.
    pub reads_only: Option<Projection>,
}

/// What came of running a program on a record.
pub(super) enum Mapped {
    Kept,
    /// `abort`: the program drops the record on purpose.
    Dropped,
    Failed(String),
}

/// What programs need besides the record; one for each run, reused by every call.
pub(super) struct Interpreter {
    state: RuntimeState,
    metadata: Value,
    secrets: Secrets,
    timezone: TimeZone,
}

impl Interpreter {
    pub fn new() -> Self {
        Self {
            state: RuntimeState::default(),
            metadata: Value::Object(BTreeMap::new()),
            secrets: Secrets::default(),
            timezone: TimeZone::parse("UTC").unwrap_or_default(),
        }
    }

    fn resolve(&mut self, program: &Program, record: &mut Value) -> Result<Value, ExpressionError> {
        let mut target = TargetValueRef {
            value: record,
            metadata: &mut self.metadata,
            secrets: &mut self.secrets,
        };
        let result = program.resolve(&mut Context::new(&mut target, &mut self.state, &self.timezone));
        self.state.clear();
        match result {
            Err(ExpressionError::Return { value, .. }) => Ok(value),
            other => other,
        }
    }

    /// `Err` holds VRL's message; an `abort` counts as false.
    pub fn decide(&mut self, condition: &Condition, record: &mut Value) -> Result<bool, String> {
        match self.resolve(&condition.program, record) {
            Ok(Value::Boolean(decision)) => Ok(decision),
            Ok(other) => Err(format!(
                "the condition gave a {} instead of a boolean",
                other.kind_str()
            )),
            Err(ExpressionError::Abort { .. }) => Ok(false),
            Err(error) => Err(runtime_message(&error)),
        }
    }

    pub fn map(&mut self, mapping: &Mapping, record: &mut Value) -> Mapped {
        match self.resolve(&mapping.program, record) {
            Ok(_) => Mapped::Kept,
            Err(ExpressionError::Abort { .. }) => Mapped::Dropped,
            Err(error) => Mapped::Failed(runtime_message(&error)),
        }
    }
}

fn runtime_message(error: &ExpressionError) -> String {
    error.to_string()
}

/// Compiles the program of one node only for its errors.
pub(super) fn check(index: usize, node: &CheckedNode) -> Vec<DagError> {
    let result = match &node.config.kind {
        NodeKind::Filter { condition } | NodeKind::Assertion { condition, .. } => {
            Condition::compile(index, &node.id, condition).map(drop)
        }
        NodeKind::Eval { source } => Mapping::compile(index, &node.id, source).map(drop),
        NodeKind::FileSource(_)
        | NodeKind::GenerateSource(_)
        | NodeKind::Parser(_)
        | NodeKind::Stdout(_)
        | NodeKind::FileSink(_) => Ok(()),
    };
    result.err().unwrap_or_default()
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
            return Ok(Self { program });
        }
        Err(vec![place.error(format!(
            "the condition must give a boolean, this one gives {kind}; compare it with something, or wrap it in `bool!( )`"
        ))])
    }

    /// What of the record the condition looks at.
    pub fn reads(&self) -> Projection {
        reads(&self.program)
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
        let always_object = after.is_object();
        // Without room for unknown fields, every field of the result was put there by the program: the record that came
        // in was replaced whole on every way through, and only what was read of it matters.
        let replaced = always_object
            && after.as_object().is_some_and(|fields| {
                let unknown = fields.unknown_kind();
                unknown.is_undefined() || unknown.is_never()
            });
        let reads_only = replaced.then(|| reads(&program));
        let infallible = always_object && !program.info().fallible && !program.info().abortable;
        Ok(Self {
            program,
            always_object,
            infallible,
            reads_only,
        })
    }
}

fn reads(program: &Program) -> Projection {
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
