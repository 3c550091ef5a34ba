//! Who may ask for which field: every field of the roots, as the schema names them, is tried by everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use grid::api::Role;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::api::{Fixture, text};

/// The least role for each field. A field without a row is a mistake, and so is a row without a field.
const FIELDS: [(&str, Role, &[&str]); 4] = [
    (
        "Query",
        Role::Viewer,
        &[
            "clusterOverview",
            "deadLetters",
            "info",
            "job",
            "jobAsOf",
            "jobs",
            "logs",
            "metrics",
            "quarantine",
            "retries",
            "search",
            "task",
            "taskAsOf",
            "tasks",
            "worker",
            "workers",
            "you",
        ],
    ),
    (
        "Mutation",
        Role::Operator,
        &[
            "bringForwardRetry",
            "cancelRetry",
            "cordonWorker",
            "drainWorker",
            "killJob",
            "killJobs",
            "replayDeadLetters",
            "retryJob",
            "retryJobs",
            "stopJob",
            "stopJobs",
            "submitJob",
            "uncordonWorker",
        ],
    ),
    ("Mutation", Role::Admin, &["purgeJob"]),
    (
        "Subscription",
        Role::Viewer,
        &[
            "clusterOverview",
            "events",
            "jobChanged",
            "logs",
            "metrics",
            "taskChanged",
            "workerChanged",
        ],
    ),
];

/// Well-formed wherever an id is asked for, and of nothing that is there.
const NOBODY: &str = "019a0000-0000-7000-8000-000000000001";

/// The schema that the server gives to those who ask, by the names of its types.
struct Schema(BTreeMap<String, TypeDefinition>);

impl Schema {
    fn served() -> Self {
        let document = parse_schema(grid::api::graphql::sdl()).unwrap();
        let types = document.definitions.into_iter().filter_map(|it| match it {
            TypeSystemDefinition::Type(it) => Some((it.node.name.node.to_string(), it.node)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Self(types.collect())
    }

    fn fields(&self, root: &str) -> Vec<&FieldDefinition> {
        let TypeKind::Object(object) = &self.0[root].kind else {
            panic!("{root} is no object");
        };
        object.fields.iter().map(|field| &field.node).collect()
    }

    /// An operation with nothing but this field, and what it cannot be asked without.
    fn operation(&self, root: &str, field: &FieldDefinition) -> String {
        let mut given: Vec<String> = Vec::new();
        for argument in field.arguments.iter().map(|it| &it.node) {
            // No stream says anything before something happens; each says at once that a token is none.
            let refused = root == "Subscription" && argument.name.node == "after";
            if refused || is_asked_for(argument) {
                given.push(format!("{}: {}", argument.name.node, self.value(&argument.ty.node)));
            }
        }
        let arguments = match given.as_slice() {
            [] => String::new(),
            given => format!("({})", given.join(", ")),
        };
        let selection = if self.has_fields(&field.ty.node) {
            " { __typename }"
        } else {
            ""
        };
        format!(
            "{} {{ {}{arguments}{selection} }}",
            root.to_lowercase(),
            field.name.node
        )
    }

    fn has_fields(&self, ty: &Type) -> bool {
        match &ty.base {
            BaseType::List(of) => self.has_fields(of),
            BaseType::Named(name) => self.0.get(name.as_str()).is_some_and(|it| {
                matches!(
                    it.kind,
                    TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_)
                )
            }),
        }
    }

    /// A well-formed value of a type.
    fn value(&self, ty: &Type) -> String {
        let name = match &ty.base {
            BaseType::List(of) => return format!("[{}]", self.value(of)),
            BaseType::Named(name) => name.as_str(),
        };
        match (name, self.0.get(name).map(|it| &it.kind)) {
            ("ID", _) => format!("{NOBODY:?}"),
            ("DateTime", _) => "\"2026-01-01T00:00:00Z\"".to_owned(),
            ("Int" | "Float", _) => "1".to_owned(),
            ("Boolean", _) => "true".to_owned(),
            ("JSON", _) => "{}".to_owned(),
            ("String", _) => "\"x\"".to_owned(),
            (_, Some(TypeKind::Enum(of))) => of.values[0].node.value.node.to_string(),
            (_, Some(TypeKind::InputObject(of))) => {
                let fields = of.fields.iter().map(|it| &it.node).filter(|it| is_asked_for(it));
                let fields = fields.map(|it| format!("{}: {}", it.name.node, self.value(&it.ty.node)));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            (other, _) => panic!("say what a well-formed {other} is"),
        }
    }
}

fn is_asked_for(argument: &InputValueDefinition) -> bool {
    !argument.ty.node.nullable && argument.default_value.is_none()
}

/// What is wrong by the first answer to an operation; `None`: nothing.
async fn code(grid: &Fixture, operation: &str, credential: Option<&str>) -> Option<String> {
    let path = match operation.starts_with("subscription") {
        true => "/graphql/stream",
        false => "/graphql",
    };
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(credential.map(|text| ("authorization", text)));
    let body = json!({"query": operation}).to_string().into_bytes();
    let response = grid.call(Method::POST, path, &headers, body).await;
    let is_stream = path == "/graphql/stream" && response.status() == StatusCode::OK;
    let answer: Value = if is_stream {
        let first = tokio::time::timeout(Duration::from_secs(20), first(response)).await;
        first.unwrap_or_else(|_| panic!("{operation}: it says nothing"))
    } else {
        response.json().await.unwrap()
    };
    // A problem of the transport is one of REST.
    let code = answer
        .get("code")
        .or_else(|| answer.pointer("/errors/0/extensions/code"));
    assert!(code.is_some() || answer.get("data").is_some(), "{operation}: {answer}");
    code.map(|code| text(code).to_owned())
}

/// The first answer of a stream.
async fn first(mut response: Response) -> Value {
    let mut have = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&have);
        let mut events = text.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
        if let Some((_, data)) = events.find_map(|event| event.split_once("data: ")) {
            return serde_json::from_str(data).unwrap();
        }
        let more = response.chunk().await.unwrap();
        have.extend_from_slice(&more.unwrap_or_else(|| panic!("no answer: {text}")));
    }
}

#[test]
fn every_field_of_the_roots_has_a_row() {
    let schema = Schema::served();
    for root in ["Query", "Mutation", "Subscription"] {
        let fields: BTreeSet<_> = schema.fields(root).iter().map(|it| it.name.node.to_string()).collect();
        let of_root = FIELDS.iter().filter(|(of, _, _)| *of == root);
        let rows: BTreeSet<_> = of_root
            .flat_map(|(_, _, rows)| *rows)
            .map(|&row| row.to_owned())
            .collect();
        assert_eq!(fields, rows, "{root}: give each field a row that says who may use it");
    }
}

#[actix_web::test]
async fn every_field_is_only_for_those_who_may_use_it() {
    let grid = Fixture::closed().await;
    let callers = grid.callers().await;
    let schema = Schema::served();
    let (mut admitted, mut refused) = (0, 0);
    for (root, least, rows) in FIELDS {
        for field in schema.fields(root) {
            let operation = schema.operation(root, field);
            let has_row =
                |(of, _, rows): &(&str, Role, &[&str])| *of == root && rows.contains(&field.name.node.as_str());
            assert!(FIELDS.iter().any(has_row), "{operation}: it has no row");
            if !rows.contains(&field.name.node.as_str()) {
                continue;
            }
            for (role, credential) in &callers {
                let code = code(&grid, &operation, credential.as_deref()).await;
                let name = format!("{operation} as {role:?}: {code:?}");
                let expected = match role {
                    None => "UNAUTHENTICATED",
                    Some(role) if !role.includes(least) => "FORBIDDEN",
                    Some(_) => {
                        admitted += 1;
                        // Neither refused nor wrong before the field was reached.
                        let unreached = [
                            "UNAUTHENTICATED",
                            "FORBIDDEN",
                            "INVALID_QUERY",
                            "SYNTAX",
                            "INVALID_REQUEST",
                        ];
                        assert!(code.is_none_or(|code| !unreached.contains(&code.as_str())), "{name}");
                        continue;
                    }
                };
                refused += 1;
                assert_eq!(code.as_deref(), Some(expected), "{name}");
            }
        }
    }
    println!("{admitted} admitted, {refused} refused");
    assert!(admitted > 0 && refused > admitted);
    grid.stop().await;
}
