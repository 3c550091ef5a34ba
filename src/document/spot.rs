//! A node under the reader's eye: its pointer, and the questions that leave a mistake behind when the answer is no.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::error::{DocumentError, ErrorCode, Errors};
use super::node::{Kind, Member, Node, Place, step};
use super::rules::{DURATION_MS, DURATION_TEXT, Form};

pub struct Spot<'a> {
    pub node: &'a Node,
    pub pointer: String,
    errors: &'a Errors,
}

impl<'a> Spot<'a> {
    pub fn root(node: &'a Node, errors: &'a Errors) -> Self {
        Self {
            node,
            pointer: String::new(),
            errors,
        }
    }

    pub fn fail(&self, code: ErrorCode, message: impl Into<String>) {
        self.fail_at(self.node.at, self.pointer.clone(), code, message);
    }

    fn fail_at(&self, at: Place, pointer: String, code: ErrorCode, message: impl Into<String>) {
        self.errors.push(DocumentError::at(at, pointer, code, message));
    }

    /// A mistake at `below` (a pointer from here on), or at the nearest node above it that is there; `within`: line and
    /// column in that node's text.
    pub fn fail_below(&self, below: &str, within: Option<(u32, u32)>, code: ErrorCode, message: impl Into<String>) {
        let node = self.node.nearest(below);
        let at = within.map_or(node.at, |(line, column)| node.within(line, column));
        self.fail_at(at, format!("{}{below}", self.pointer), code, message);
    }

    /// As many mistakes are found as are told: looking for more is idle.
    pub fn has_enough(&self) -> bool {
        self.errors.is_full()
    }

    fn wrong_type(&self, expected: &str) {
        let hint = match (&self.node.kind, expected) {
            (Kind::Number(_) | Kind::Bool(_), "text") => "; put it in quotes",
            _ => "",
        };
        self.fail(
            ErrorCode::WrongType,
            format!("expected {expected}, found {}{hint}", self.node.what()),
        );
    }

    pub fn is_null(&self) -> bool {
        self.node.kind == Kind::Null
    }

    pub fn text(&self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Text(text) => Some(text),
            _ => {
                self.wrong_type("text");
                None
            }
        }
    }

    /// Text in the given form.
    pub fn form(&self, form: &Form) -> Option<&'a str> {
        let text = self.text()?;
        if (form.fits)(text) {
            return Some(text);
        }
        let message = format!("{} {}; found {}", form.what, form.says, shown(text));
        self.fail(ErrorCode::BadValue, message);
        None
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.wrong_type("true or false");
                None
            }
        }
    }

    fn out_of_range<T: Display>(&self, kind: &str, range: &RangeInclusive<T>, found: impl Display) {
        let message = format!(
            "expected {kind} from {} to {}, found {found}",
            range.start(),
            range.end()
        );
        self.fail(ErrorCode::OutOfRange, message);
    }

    /// A whole number; `2.0` is one as well.
    pub fn whole(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let Kind::Number(number) = &self.node.kind else {
            self.wrong_type("a whole number");
            return None;
        };
        let whole = number.as_u64().or_else(|| {
            let double = number.as_f64()?;
            // Below 2^53 every whole double is exact.
            (double.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&double)).then_some(double as u64)
        });
        match whole {
            Some(whole) if range.contains(&whole) => Some(whole),
            _ => {
                self.out_of_range("a whole number", range, number);
                None
            }
        }
    }

    pub fn number(&self, range: &RangeInclusive<f64>) -> Option<f64> {
        let Kind::Number(number) = &self.node.kind else {
            self.wrong_type("a number");
            return None;
        };
        match number.as_f64() {
            Some(double) if range.contains(&double) => Some(double),
            _ => {
                self.out_of_range("a number", range, number);
                None
            }
        }
    }

    /// A duration as humantime writes them, in milliseconds.
    pub fn duration_ms(&self) -> Option<u64> {
        const EXPECTED: &str = "a duration such as \"90s\" or \"1h 30m\"";
        let Kind::Text(text) = &self.node.kind else {
            self.wrong_type(EXPECTED);
            return None;
        };
        let duration = match humantime::parse_duration(text) {
            Ok(duration) => duration,
            Err(error) => {
                let message = format!("expected {EXPECTED}, found {}: {error}", shown(text));
                self.fail(ErrorCode::BadDuration, message);
                return None;
            }
        };
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if DURATION_MS.contains(&ms) {
            return Some(ms);
        }
        self.out_of_range("a duration", &DURATION_TEXT, shown(text));
        None
    }

    pub fn list(&self) -> Option<impl Iterator<Item = Spot<'a>> + use<'a>> {
        let Kind::List(nodes) = &self.node.kind else {
            self.wrong_type("a list");
            return None;
        };
        let (pointer, errors) = (self.pointer.clone(), self.errors);
        Some(nodes.iter().enumerate().map(move |(index, node)| Spot {
            node,
            pointer: format!("{pointer}/{index}"),
            errors,
        }))
    }

    fn members(&self) -> Option<&'a [Member]> {
        match &self.node.kind {
            Kind::Object(members) => Some(members),
            _ => {
                self.wrong_type("an object");
                None
            }
        }
    }

    fn child(&self, member: &'a Member) -> Spot<'a> {
        let pointer = format!("{}{}", self.pointer, step(&member.name));
        Spot {
            node: &member.node,
            pointer,
            errors: self.errors,
        }
    }

    /// Every field of an object whose names are the client's own, as (name, value).
    pub fn entries(&self) -> Option<impl Iterator<Item = (&'a str, Spot<'a>)>> {
        Some(
            self.members()?
                .iter()
                .map(|member| (member.name.as_str(), self.child(member))),
        )
    }

    /// The fields of an object, of which only those in `known` may occur.
    pub fn fields(&self, known: &'static [&'static str]) -> Option<Fields<'a, '_>> {
        let members = self.members()?;
        for member in members {
            if self.has_enough() {
                break;
            }
            if !known.contains(&member.name.as_str()) {
                let pointer = format!("{}{}", self.pointer, step(&member.name));
                self.fail_at(
                    member.name_at,
                    pointer,
                    ErrorCode::UnknownField,
                    unknown_field(&member.name, known),
                );
            }
        }
        Some(Fields { spot: self, members })
    }
}

/// An object whose fields are known by name.
pub struct Fields<'a, 's> {
    spot: &'s Spot<'a>,
    members: &'a [Member],
}

impl<'a> Fields<'a, '_> {
    pub fn get(&self, name: &str) -> Option<Spot<'a>> {
        let member = self.members.iter().find(|member| member.name == name)?;
        Some(self.spot.child(member))
    }

    pub fn require(&self, name: &str) -> Option<Spot<'a>> {
        let found = self.get(name);
        if found.is_none() {
            self.spot
                .fail(ErrorCode::MissingField, format!("the field {name:?} is missing"));
        }
        found
    }
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    let found = shown(name);
    // Beyond some length it is no slip of the fingers, and the comparison would take long.
    let near = known
        .iter()
        .filter(|_| name.len() <= 64)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, candidate)) => format!("unknown field {found}; did you mean {candidate:?}?"),
        None if name == "<<" => "unknown field \"<<\": YAML 1.2 has no merge keys".to_owned(),
        None => format!("unknown field {found}; expected one of {}", known.join(", ")),
    }
}

/// The client's text in a message: quoted and not too long.
pub fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Says of every object in the tree which field it has twice.
pub fn report_duplicate_keys(root: &Node, errors: &Errors) {
    visit(root, &mut String::new(), errors);
}

fn visit(node: &Node, pointer: &mut String, errors: &Errors) {
    if errors.is_full() {
        return;
    }
    let length = pointer.len();
    match &node.kind {
        Kind::List(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                visit(node, pointer, errors);
                pointer.truncate(length);
            }
        }
        Kind::Object(members) => {
            let mut first: HashMap<&str, Place> = HashMap::with_capacity(members.len());
            for member in members {
                pointer.push_str(&step(&member.name));
                match first.get(member.name.as_str()) {
                    Some(at) => {
                        let message = format!("{} is already set in line {}", shown(&member.name), at.line);
                        errors.push(DocumentError::at(
                            member.name_at,
                            pointer.clone(),
                            ErrorCode::DuplicateKey,
                            message,
                        ));
                    }
                    None => {
                        first.insert(&member.name, member.name_at);
                    }
                }
                visit(&member.node, pointer, errors);
                pointer.truncate(length);
            }
        }
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
}
