//! Limits of GraphQL: how deep and how wide a document may be, and how much a connection may hold.
//!
//! Must stay true: a document is weighed before anything walks it that takes longer than its text; fragments count where
//! they are used. Introspection has limits of its own, so that tools can read the whole schema.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::StatusCode;
use async_graphql::parser::types::{ExecutableDocument, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Name, Positioned};

use super::fault::coded;
use crate::api::problem::Problem;
use crate::options;

options! {
    /// GraphQL: how much one request, connection or subscription may take.
    pub struct GraphqlOptions {
        /// How deep fields may be nested; introspection does not count.
        depth: u32 = 12,
        /// The most fields that a document may ask for; a list counts what it may hold.
        complexity: u32 = 10_000,
        /// The longest request, or message of a WebSocket, in bytes.
        request_bytes: u32 = 1_048_576,
        /// The most items of one list.
        list_size: u32 = 500,
        /// Operations that may be under way on one connection.
        subscriptions_per_connection: u32 = 100,
        /// How long a client of a WebSocket may take to introduce itself.
        init_timeout: Duration = Duration::from_secs(3),
        /// How often a WebSocket is pinged, and a stream of events says that it is there; who has not answered a ping
        /// by the next is dropped.
        ping_interval: Duration = Duration::from_secs(12),
        /// How long a client may leave what is sent to it unread.
        slow_after: Duration = Duration::from_secs(10),
        /// How long a slow client may take to hear that it is dropped.
        close_grace: Duration = Duration::from_secs(20),
        /// How often a stream that leaves events out says how far it is.
        token_interval: Duration = Duration::from_secs(10),
    }
}

/// Nesting of brackets in the text: the parser calls itself for each.
const MOST_NESTING: usize = 200;
/// Nesting of selections, fragments and inline fragments included.
const MOST_SELECTIONS_DEEP: usize = 64;
/// Lists of an introspection within each other, as graphql-js has it.
const INTROSPECTION_LISTS: usize = 3;

fn too_deep(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "QUERY_TOO_DEEP", detail)
}

/// Looks at the text before it is parsed.
///
/// # Errors
/// 400 when brackets are nested too deep.
pub fn check_text(query: &str) -> Result<(), Problem> {
    let mut rest = query.as_bytes();
    let mut depth = 0_usize;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            b'#' => after(behind, &[b"\n", b"\r"], b""),
            b'"' if behind.starts_with(b"\"\"") => after(&behind[2..], &[b"\"\"\""], b"\\\"\"\""),
            b'"' => after(behind, &[b"\"", b"\n", b"\r"], b"\\"),
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > MOST_NESTING {
                    return Err(too_deep(format!("brackets are nested more than {MOST_NESTING} deep")));
                }
                behind
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                behind
            }
            _ => behind,
        };
    }
    Ok(())
}

/// What follows the first of the ends. An escape is passed over; when it is one sign alone, with the one behind it.
fn after<'a>(text: &'a [u8], ends: &[&[u8]], escape: &[u8]) -> &'a [u8] {
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(end) = ends.iter().find(|end| rest.starts_with(end)) {
            return &rest[end.len()..];
        }
        let passed = match escape.len() {
            length if length > 0 && rest.starts_with(escape) => length.max(2),
            _ => 1,
        };
        rest = rest.get(passed..).unwrap_or_default();
    }
    rest
}

/// What a selection comes to when its fragments are written out.
#[derive(Clone, Copy, Default)]
struct Weight {
    fields: u64,
    depth: u32,
    /// Lists within each other, of introspection.
    lists: usize,
}

impl Weight {
    fn beside(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            depth: self.depth.max(other.depth),
            lists: self.lists.max(other.lists),
        }
    }
}

struct Scale<'a> {
    document: &'a ExecutableDocument,
    fragments: HashMap<&'a Name, Option<Weight>>,
}

impl<'a> Scale<'a> {
    fn weigh(&mut self, set: &'a Positioned<SelectionSet>, level: usize) -> Result<Weight, Problem> {
        if level > MOST_SELECTIONS_DEEP {
            return Err(too_deep(format!(
                "selections are nested more than {MOST_SELECTIONS_DEEP} deep"
            )));
        }
        let mut whole = Weight::default();
        for selection in &set.node.items {
            let weight = match &selection.node {
                Selection::Field(field) => {
                    let inner = self.weigh(&field.node.selection_set, level + 1)?;
                    let name = field.node.name.node.as_str();
                    let is_list = matches!(name, "fields" | "interfaces" | "possibleTypes" | "inputFields");
                    Weight {
                        fields: inner.fields.saturating_add(1),
                        // What lies under an introspection has its own measure.
                        depth: if name.starts_with("__") {
                            1
                        } else {
                            inner.depth.saturating_add(1)
                        },
                        lists: inner.lists + usize::from(is_list),
                    }
                }
                Selection::InlineFragment(fragment) => self.weigh(&fragment.node.selection_set, level + 1)?,
                Selection::FragmentSpread(spread) => {
                    let mut weight = self.fragment(&spread.node.fragment_name.node, level + 1)?;
                    // One without fields costs something too.
                    weight.fields = weight.fields.saturating_add(1);
                    weight
                }
            };
            whole = whole.beside(weight);
        }
        Ok(whole)
    }

    fn fragment(&mut self, name: &'a Name, level: usize) -> Result<Weight, Problem> {
        match self.fragments.get(name) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => {
                let detail = format!("fragment {name} contains itself");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "INVALID_QUERY", detail));
            }
            None => {}
        }
        // One that is not there is told by the validation.
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Weight::default());
        };
        self.fragments.insert(name, None);
        let weight = self.weigh(&fragment.node.selection_set, level)?;
        self.fragments.insert(name, Some(weight));
        Ok(weight)
    }
}

/// Weighs an operation of a document.
///
/// # Errors
/// 400 with `QUERY_TOO_DEEP` or `QUERY_TOO_COMPLEX`.
pub fn check_operation(
    options: &GraphqlOptions,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
) -> Result<(), Problem> {
    let mut scale = Scale {
        document,
        fragments: HashMap::new(),
    };
    let mut weight = scale.weigh(&operation.selection_set, 0)?;
    // The validation walks all of them.
    for (_, other) in document.operations.iter() {
        let other = scale.weigh(&other.node.selection_set, 0)?;
        weight.fields = weight.fields.max(other.fields);
    }
    if weight.lists > INTROSPECTION_LISTS && is_introspection(operation) {
        return Err(too_deep(
            "the introspection goes in circles: ask for fewer lists within each other".to_owned(),
        ));
    }
    if weight.depth > options.depth {
        return Err(too_deep(format!(
            "fields are nested {} deep; at most {} (graphql.depth)",
            weight.depth, options.depth
        )));
    }
    if weight.fields > u64::from(options.complexity) {
        return Err(too_complex(options));
    }
    Ok(())
}

fn is_introspection(operation: &OperationDefinition) -> bool {
    let asks = |selection: &Positioned<Selection>| match &selection.node {
        Selection::Field(field) => field.node.name.node.as_str().starts_with("__"),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => true,
    };
    operation.selection_set.node.items.iter().any(asks)
}

pub fn too_complex(options: &GraphqlOptions) -> Problem {
    let detail = format!(
        "the document asks for more than {} fields (graphql.complexity): ask for less, or for shorter lists",
        options.complexity
    );
    Problem::new(StatusCode::BAD_REQUEST, "QUERY_TOO_COMPLEX", detail)
}

/// The same, as the executor finds it by the sizes of lists.
pub fn name_complexity(options: &GraphqlOptions, response: &mut async_graphql::Response) {
    for error in &mut response.errors {
        if error.extensions.is_none() && error.message == "Query is too complex." {
            *error = coded(too_complex(options));
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn check(query: &str) -> Result<(), String> {
        check_text(query).map_err(|problem| problem.code.into_owned())?;
        let document = parse_query(query).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        check_operation(&GraphqlOptions::default(), &document, &operation.node)
            .map_err(|problem| problem.code.into_owned())
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "{a".repeat(depth), "}".repeat(depth))
    }

    #[test]
    fn depth_counts_fields() {
        assert_eq!(check(&nested(12)), Ok(()));
        assert_eq!(check(&nested(13)), Err("QUERY_TOO_DEEP".to_owned()));
        assert_eq!(check(&nested(5_000)), Err("QUERY_TOO_DEEP".to_owned()));
        // Neither a comment nor a string hides what follows it.
        for before in [
            "# \" \n",
            "# \\\n",
            "{ a(b: \"\"\"\\\\\"\"\" \"\"\") }",
            "{ a(b: \"\"\"\n\"\"\") }",
            "{ a(b: \"\\\"\") }",
        ] {
            let hidden = format!("{before} query Q {}", nested(1_000));
            assert_eq!(check(&hidden), Err("QUERY_TOO_DEEP".to_owned()), "{before}");
        }
        let spread = format!("{{ ...F }} fragment F on Q {}", nested(13));
        assert_eq!(check(&spread), Err("QUERY_TOO_DEEP".to_owned()));
    }

    #[test]
    fn introspection_may_go_deeper_but_not_in_circles() {
        let types = "type { ofType { ofType { ofType { ofType { ofType { ofType { ofType { ofType { ofType { name \
                     } } } } } } } } } }";
        assert_eq!(
            check(&format!(
                "{{ __schema {{ types {{ fields {{ args {{ {types} }} }} }} }} }}"
            )),
            Ok(())
        );
        let circle =
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }";
        assert_eq!(check(circle), Err("QUERY_TOO_DEEP".to_owned()));
    }

    #[test]
    fn fragments_that_multiply_are_weighed_without_writing_them_out() {
        let mut query = "{ ...F0 }".to_owned();
        for number in 0..40 {
            query += &format!(" fragment F{number} on Q {{ ...F{0} ...F{0} }}", number + 1);
        }
        query += " fragment F40 on Q { a }";
        assert_eq!(check(&query), Err("QUERY_TOO_COMPLEX".to_owned()));
        let wide = format!("{{ {} }}", (0..10_001).map(|n| format!("a{n}: a ")).collect::<String>());
        assert_eq!(check(&wide), Err("QUERY_TOO_COMPLEX".to_owned()));
        assert_eq!(
            check("{ ...F } fragment F on Q { ...F }"),
            Err("INVALID_QUERY".to_owned())
        );
    }
}
