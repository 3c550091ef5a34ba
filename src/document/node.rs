//! The tree of a document: values as in JSON, each with its place in the text.

use serde_json::{Map, Number, Value};

/// Line and column in the text, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place just behind `text`.
    pub fn after(text: &str) -> Self {
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self {
            line: clamp(lines + 1),
            column: clamp(last.chars().count() + 1),
        }
    }
}

pub fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub at: Place,
    pub kind: Kind,
    /// Text whose lines stand in the document as they are (YAML's `|`), the first of them at `at`.
    pub is_literal: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In document order; a repeated name is kept, and reported once the tree stands.
    Object(Vec<Member>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub name: String,
    pub name_at: Place,
    pub node: Node,
}

impl Node {
    pub fn new(at: Place, kind: Kind) -> Self {
        Self {
            at,
            kind,
            is_literal: false,
        }
    }

    /// Where in the document a place within the node's text is, as far as that can be told.
    pub fn within(&self, line: u32, column: u32) -> Place {
        match &self.kind {
            // A first line that is blank, or indented by itself, may hide where the text begins.
            Kind::Text(text) if self.is_literal && !text.starts_with(char::is_whitespace) => Place {
                line: self.at.line.saturating_add(line.saturating_sub(1)),
                column: self.at.column.saturating_add(column.saturating_sub(1)),
            },
            _ => self.at,
        }
    }

    /// What it is, for a message: "expected text, found a number".
    pub fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(value) => Value::String(value.clone()),
            Kind::List(nodes) => Value::Array(nodes.iter().map(Self::to_json).collect()),
            Kind::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|member| (member.name.clone(), member.node.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The node that `pointer` (RFC 6901) names, or the nearest one above it that exists.
    pub fn nearest(&self, pointer: &str) -> &Self {
        let mut node = self;
        for step in pointer.split('/').skip(1) {
            let child = match &node.kind {
                Kind::List(nodes) => step.parse::<usize>().ok().and_then(|index| nodes.get(index)),
                Kind::Object(members) => {
                    let name = step.replace("~1", "/").replace("~0", "~");
                    members
                        .iter()
                        .find(|member| member.name == name)
                        .map(|member| &member.node)
                }
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => None,
            };
            match child {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }
}

/// One step of a pointer, escaped as RFC 6901 wants it.
pub fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
