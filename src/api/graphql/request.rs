//! A request as it comes, over whichever transport, and how it is made ready for the executor.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::OperationType;
use async_graphql::{Request, ServerError, Variables};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::limits::{GraphqlOptions, check_operation, check_text};
use crate::api::Caller;
use crate::api::problem::Problem;

/// The parameters of <https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Received {
    pub query: String,
    #[serde(default)]
    pub operation_name: Option<String>,
    #[serde(default)]
    pub variables: Option<Map<String, Value>>,
    /// None is known.
    #[serde(default, rename = "extensions")]
    _extensions: Option<Map<String, Value>>,
}

/// What the executor takes.
pub struct Prepared {
    pub request: Request,
    pub kind: OperationType,
}

impl Received {
    /// # Errors
    /// 400 when it is no object with these parameters.
    pub fn read(value: Value) -> Result<Self, Problem> {
        serde_json::from_value(value).map_err(|error| {
            let detail = format!("expected an object with query, operationName, variables, extensions: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", detail)
        })
    }

    /// Parses and weighs the document, for this caller.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn prepare(self, options: &GraphqlOptions, caller: Caller) -> Result<Prepared, Box<ServerError>> {
        let refuse = |problem| Box::new(super::fault::coded(problem));
        check_text(&self.query).map_err(refuse)?;
        let document = parse_query(&self.query).map_err(|error| {
            let mut error = ServerError::from(error);
            let extensions = error.extensions.get_or_insert_default();
            extensions.set("code", "SYNTAX");
            extensions.set("status", 400);
            Box::new(error)
        })?;
        let mut operations = document.operations.iter();
        let operation = match &self.operation_name {
            Some(name) => operations.find(|(known, _)| known.is_some_and(|known| known.as_str() == name)),
            None => operations.next().filter(|_| operations.next().is_none()),
        };
        let Some((_, operation)) = operation else {
            let detail = match self.operation_name {
                Some(name) => format!("the document has no operation {name:?}"),
                None => "the document has several operations: say which by operationName".to_owned(),
            };
            return Err(refuse(Problem::new(StatusCode::BAD_REQUEST, "INVALID_QUERY", detail)));
        };
        check_operation(options, &document, &operation.node).map_err(refuse)?;
        let kind = operation.node.ty;
        let variables = Value::Object(self.variables.unwrap_or_default());
        let mut request = Request::new(self.query)
            .variables(Variables::from_json(variables))
            .data(caller);
        if let Some(name) = self.operation_name {
            request = request.operation_name(name);
        }
        request.set_parsed_query(document);
        Ok(Prepared { request, kind })
    }
}

/// The parameters of a query string.
///
/// # Errors
/// 400 when one is unknown, or is not what it must be.
pub fn from_query_string(pairs: Vec<(String, String)>) -> Result<Received, Problem> {
    let mut object = BTreeMap::new();
    for (name, text) in pairs {
        let is_json = matches!(name.as_str(), "variables" | "extensions");
        let value = match is_json {
            true if text.is_empty() => Value::Null,
            true => serde_json::from_str(&text)
                .map_err(|error| Problem::bad_parameter(&name, format!("expected JSON: {error}")))?,
            false => Value::String(text),
        };
        if object.insert(name.clone(), value).is_some() {
            return Err(Problem::bad_parameter(&name, "it is given twice"));
        }
    }
    Received::read(Value::Object(object.into_iter().collect()))
}
