//! What a program that failed half-way has changed of its record, put back: the dead letter shows what came in.
//!
//! Must stay true: a record is as it was, to the last field; and what that costs each record that does not fail is only the
//! fields that its program may change before it can fail.

use std::collections::BTreeSet;

use vrl::compiler::Program;
use vrl::parser::ast;
use vrl::path::{OwnedSegment, OwnedTargetPath, OwnedValuePath, PathPrefix};
use vrl::value::{KeyString, Value};

/// What of a record a program may have changed when it fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// These fields of the record itself, or what is in them; none of a program that cannot fail.
    Fields(BTreeSet<KeyString>),
    Anything,
}

/// Of one record, before its program runs.
pub(super) enum Kept {
    /// `None`: there was no such field.
    Fields(Vec<(KeyString, Option<Value>)>),
    Whole(Value),
}

impl Changes {
    /// `leaves_object`: whatever happens, the record is an object when the program ends.
    pub fn of(program: &Program, source: &str, leaves_object: bool) -> Self {
        let info = program.info();
        if !leaves_object {
            // What it left may be no record, which is a failure too.
            return Self::Anything;
        }
        if !info.fallible {
            return Self::Fields(BTreeSet::new());
        }
        let mut assigned = info.target_assignments.as_slice();
        if let (Some(last), Some((its, before))) = (last_assignment(source), assigned.split_last())
            && its.prefix == PathPrefix::Event
            && its.path == last
        {
            // Nothing comes behind it that could fail. (The compiler notes an assignment down behind those inside of it.)
            assigned = before;
        }
        // Besides assignments only `del` changes a record, and its argument is among what is read.
        let deletes = source.contains("del");
        let deleted = info.target_queries.iter().filter(|_| deletes);
        let fields = assigned
            .iter()
            .chain(deleted)
            .filter(|path| path.prefix == PathPrefix::Event);
        let fields: Option<BTreeSet<KeyString>> = fields.map(field).collect();
        fields.map_or(Self::Anything, Self::Fields)
    }

    pub fn keep(&self, record: &Value) -> Kept {
        match (self, record) {
            (Self::Fields(fields), Value::Object(record)) => {
                let kept = fields.iter().map(|field| (field.clone(), record.get(field).cloned()));
                Kept::Fields(kept.collect())
            }
            (Self::Fields(_) | Self::Anything, _) => Kept::Whole(record.clone()),
        }
    }
}

impl Kept {
    pub fn put_back(self, record: &mut Value) {
        match (self, record) {
            (Self::Fields(fields), Value::Object(record)) => {
                for (field, before) in fields {
                    match before {
                        Some(value) => record.insert(field, value),
                        None => record.remove(&field),
                    };
                }
            }
            // It is an object as long as no more than fields are assigned.
            (Self::Fields(_), _) => {}
            (Self::Whole(before), record) => *record = before,
        }
    }
}

/// `None`: more than one field of the record.
fn field(path: &OwnedTargetPath) -> Option<KeyString> {
    match path.path.segments.first() {
        Some(OwnedSegment::Field(field)) => Some(field.clone()),
        Some(OwnedSegment::Index(_)) | None => None,
    }
}

/// Where in the record the program's last expression puts its value, when it is such an assignment.
fn last_assignment(source: &str) -> Option<OwnedValuePath> {
    let ast::Program(roots) = vrl::parser::parse(source).ok()?;
    assigned(roots.last()?.inner())
}

/// Where in the record an outermost expression puts its value: `. = …`, `.a.b = …`.
pub(super) fn assigned(root: &ast::RootExpr) -> Option<OwnedValuePath> {
    let ast::RootExpr::Expr(expression) = root else {
        return None;
    };
    let ast::Expr::Assignment(assignment) = expression.inner() else {
        return None;
    };
    let ast::Assignment::Single {
        target,
        op: ast::AssignmentOp::Assign,
        ..
    } = assignment.inner()
    else {
        return None;
    };
    match target.inner() {
        ast::AssignmentTarget::Query(ast::Query { target, path }) => {
            let of_event = matches!(target.inner(), ast::QueryTarget::External(PathPrefix::Event));
            of_event.then(|| path.inner().clone())
        }
        ast::AssignmentTarget::External(None) => Some(OwnedValuePath::root()),
        ast::AssignmentTarget::External(Some(path)) => (path.prefix == PathPrefix::Event).then(|| path.path.clone()),
        ast::AssignmentTarget::Noop | ast::AssignmentTarget::Internal(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Control;
    use super::super::program::{Interpreter, Mapping, Ran};
    use super::*;

    fn fields(source: &str) -> Option<Vec<String>> {
        match Mapping::compile(0, "it", source).unwrap().changes {
            Changes::Fields(fields) => Some(fields.iter().map(ToString::to_string).collect()),
            Changes::Anything => None,
        }
    }

    #[test]
    fn only_fields_that_change_before_a_failure_are_kept() {
        for (source, expected) in [
            (".a = to_string(.b) ?? \"\"", Some(vec![])),
            (".a = to_int!(.b)", Some(vec![])),
            (".a.x = 1; .c = to_int!(.b)", Some(vec!["a"])),
            (". = {\"a\": to_int!(.b)}", Some(vec![])),
            (". = {\"a\": .a}; .b = to_int!(.b)", None),
            (".a[0] = 1; .d = 2; to_int!(.b)", Some(vec!["a", "d"])),
            ("x = del(.a.x); .c = to_int!(.b) + to_int!(x)", Some(vec!["a", "b"])),
            (
                "for_each(array!(.l)) -> |i, v| { .n = i; .m = to_int!(v) }",
                Some(vec!["m", "n"]),
            ),
            (". = parse_json!(.b)", None),
            ("if .a == 1 { .c = to_int!(.b) }", Some(vec!["c"])),
            (".c = { .a = 1; to_int!(.b) }", Some(vec!["a"])),
            ("x = to_int!(.b); .a = x; x = 2", Some(vec!["a"])),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(fields(source), expected, "{source}");
        }
    }

    #[test]
    fn a_record_whose_program_fails_is_as_it_was() {
        let json = |text: &str| Value::from(serde_json::from_str::<serde_json::Value>(text).unwrap());
        let record = json(r#"{"a": {"x": 1, "y": [1, 2]}, "b": "no number", "l": ["1", "z"], "s": "text"}"#);
        let mut interpreter = Interpreter::new(Control::default());
        for source in [
            ".a = to_int!(.b)",
            ".a.x = 2; .n = 1; .c = to_int!(.b)",
            ".s.deep.er = 1; .a.y[5] = 3; to_int!(.b)",
            ". = {\"n\": to_int!(.b)}",
            ". = {\"a\": 1, \"b\": .b}; .c = to_int!(.b)",
            "x = del(.a.x, compact: true); del(.a.y); del(.s); .c = to_int!(.b)",
            "del(.); .c = to_int!(\"x\")",
            ". = merge(object!(.), {\"a\": 5, \"q\": 6}); to_int!(.b)",
            "for_each(array!(.l)) -> |i, v| { .n = i; .m = to_int!(v) }",
            "for_each(object!(.)) -> |k, v| { . = set!(., [k], 1); to_int!(v) }",
            ".c = { .a = 1; to_int!(.b) }",
            ". |= {\"a\": 7}; .z, err = to_int(.b); if err != null { .a = 8; to_int!(.b) }",
            "if exists(.a) { del(.a); .n = to_int!(.b) }",
        ] {
            let mapping = Mapping::compile(0, "it", source).unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
            let mut changed = record.clone();
            let kept = mapping.changes.keep(&changed);
            let ran = interpreter.map(&mapping, &mut changed);
            assert!(matches!(ran, Ran::Failed(_)), "{source} does not fail");
            kept.put_back(&mut changed);
            assert_eq!(changed, record, "{source}");
        }
    }
}
