//! YAML 1.2 (core schema) into the tree, with the place of every node.
//!
//! Only what has a counterpart in JSON is accepted: keys are text, no tags but the core schema's, one document. Aliases
//! are expanded, within a bound on what they expand to, so that a few lines cannot become gigabytes.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::Number;

use super::error::{DocumentError, ErrorCode};
use super::json;
use super::node::{Kind, Member, Node, Place, clamp};
use super::rules::{MAX_DEPTH, MAX_EXPANDED_BYTES};

type Read<T> = Result<T, Box<DocumentError>>;

pub fn load(text: &str) -> Read<Node> {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        expanded_bytes: 0,
    };
    loader.document()
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// By the parser's number of the anchor: the whole node, and its weight.
    anchors: HashMap<usize, (Node, usize)>,
    expanded_bytes: usize,
}

fn place(marker: Marker) -> Place {
    Place {
        line: clamp(marker.line()),
        column: clamp(marker.col() + 1),
    }
}

fn syntax(at: Place, message: impl Into<String>) -> Box<DocumentError> {
    Box::new(DocumentError::at(at, String::new(), ErrorCode::Syntax, message))
}

fn too_large(at: Place, message: impl Into<String>) -> Box<DocumentError> {
    Box::new(DocumentError::at(at, String::new(), ErrorCode::TooLarge, message))
}

fn scan_error(error: &ScanError) -> Box<DocumentError> {
    syntax(place(*error.marker()), format!("this is not YAML: {}", error.info()))
}

/// About the bytes that a copy of the node takes.
fn weight(node: &Node) -> usize {
    let own = size_of::<Node>();
    own + match &node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => 0,
        Kind::Text(text) => text.len(),
        Kind::List(nodes) => nodes.iter().map(weight).sum(),
        Kind::Object(members) => members
            .iter()
            .map(|member| member.name.len() + own + weight(&member.node))
            .sum(),
    }
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Read<Node> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::Nothing | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Err(syntax(Place::START, "the document is empty")),
                _ => {
                    let root = self.node(event, span, 1)?;
                    self.end()?;
                    return Ok(root);
                }
            }
        }
    }

    /// Nothing may follow the one document.
    fn end(&mut self) -> Read<()> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => {
                    return Err(syntax(
                        place(span.start),
                        "a second YAML document; send one job at a time",
                    ));
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        let at = place(span.start);
        if depth > MAX_DEPTH {
            return Err(too_large(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let is_literal = matches!(event, Event::Scalar(_, ScalarStyle::Literal, ..));
        let (kind, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            Event::Scalar(text, style, anchor, tag) => (scalar(text, style, tag.as_deref(), at)?, anchor),
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", at)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", at)?;
                (self.object(depth)?, anchor)
            }
            _ => return Err(syntax(at, "this is not YAML: expected a value")),
        };
        let node = Node { at, kind, is_literal };
        if anchor > 0 {
            let weight = weight(&node);
            self.expand(weight, at)?;
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok(node)
    }

    fn expand(&mut self, weight: usize, at: Place) -> Read<()> {
        self.expanded_bytes = self.expanded_bytes.saturating_add(weight);
        if self.expanded_bytes > MAX_EXPANDED_BYTES {
            return Err(too_large(
                at,
                format!("the aliases expand to more than {MAX_EXPANDED_BYTES} bytes"),
            ));
        }
        Ok(())
    }

    /// A copy of the anchored node. Its parts keep the places where they are written; the copy itself has the alias's.
    fn alias(&mut self, anchor: usize, at: Place, depth: usize) -> Read<Node> {
        let Some((node, weight)) = self.anchors.get(&anchor) else {
            return Err(syntax(at, "this alias stands inside the node that it names"));
        };
        let (mut node, weight) = (node.clone(), *weight);
        if depth + height(&node) - 1 > MAX_DEPTH {
            return Err(too_large(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.expand(weight, at)?;
        node.at = at;
        node.is_literal = false;
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Read<Kind> {
        let mut nodes = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Kind::List(nodes));
            }
            nodes.push(self.node(event, span, depth + 1)?);
        }
    }

    fn object(&mut self, depth: usize) -> Read<Kind> {
        let mut members = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Object(members));
            }
            let name_at = place(span.start);
            let name = match event {
                // A key is text whatever it looks like, as in JSON.
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                Event::Alias(_) | Event::Scalar(..) => {
                    return Err(syntax(name_at, "a field's name is plain text: no anchor, alias or tag"));
                }
                _ => return Err(syntax(name_at, "a field's name is text, not a list or an object")),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            members.push(Member { name, name_at, node });
        }
    }
}

fn height(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => 0,
        Kind::List(nodes) => nodes.iter().map(height).max().unwrap_or(0),
        Kind::Object(members) => members.iter().map(|member| height(&member.node)).max().unwrap_or(0),
    }
}

fn check_tag(tag: Option<&Tag>, core: &str, at: Place) -> Read<()> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == core => Ok(()),
        Some(tag) => Err(syntax(at, format!("the tag `{tag}` has no meaning here"))),
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, at: Place) -> Read<Kind> {
    let Some(tag) = tag else {
        if style != ScalarStyle::Plain {
            return Ok(Kind::Text(text.into_owned()));
        }
        // JSON has no infinity and no NaN.
        if is_infinite(&text) {
            return Err(syntax(at, format!("{text} is not a number of JSON")));
        }
        return Ok(plain(&text).unwrap_or_else(|| Kind::Text(text.into_owned())));
    };
    let unfit = |text: &str| syntax(at, format!("{text:?} is not what the tag `{tag}` says"));
    if !tag.is_yaml_core_schema() {
        return Err(syntax(at, format!("the tag `{tag}` has no meaning here")));
    }
    let typed = plain(&text);
    match (tag.suffix.as_str(), typed) {
        ("str", _) => Ok(Kind::Text(text.into_owned())),
        ("null", Some(Kind::Null)) => Ok(Kind::Null),
        ("bool", Some(Kind::Bool(value))) => Ok(Kind::Bool(value)),
        ("int", Some(Kind::Number(value))) if !value.is_f64() => Ok(Kind::Number(value)),
        ("float", Some(Kind::Number(value))) => Ok(Kind::Number(value)),
        _ => Err(unfit(&text)),
    }
}

fn is_infinite(text: &str) -> bool {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(bare, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN")
}

/// What an unquoted scalar is by the core schema (YAML 1.2.2, 10.3.2); `None`: text.
fn plain(text: &str) -> Option<Kind> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "true" | "True" | "TRUE" => return Some(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Kind::Bool(false)),
        _ => {}
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !is_decimal(unsigned) {
        return None;
    }
    let negative = if text.starts_with('-') { "-" } else { "" };
    json::number(&format!("{negative}{unsigned}")).map(Kind::Number)
}

fn radix(digits: &str, radix: u32) -> Option<Kind> {
    // from_str_radix would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix)
        .ok()
        .map(|whole| Kind::Number(Number::from(whole)))
}

/// `[0-9]+ | (\.[0-9]+ | [0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    if let Some(after) = rest.strip_prefix(['e', 'E']) {
        let after = after.strip_prefix(['+', '-']).unwrap_or(after);
        let exponent = digits(after);
        return exponent > 0 && exponent == after.len();
    }
    rest.is_empty()
}
