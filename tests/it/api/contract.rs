//! What the server answers, held against schema/openapi.json alone: every answer that a test receives comes through here.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};

const OPENAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/openapi.json");
const PROBLEM: &str = "application/problem+json";

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

struct Contract {
    openapi: Value,
    /// Of each body that is described, by its place in the document.
    validators: Mutex<HashMap<String, &'static Validator>>,
}

/// Panics when the description does not know of this answer. Bodies that stream are left to the test.
pub async fn checked(method: &Method, path: &str, response: Response) -> Response {
    if response.status() == reqwest::StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let name = format!("{method} {path}: {}", response.status());
    let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    let media_type = media_type(&parts.headers);
    let whole = media_type
        .as_deref()
        .is_none_or(|it| it.ends_with("/json") || it.ends_with("+json"));
    let response = Response::from(http::Response::from_parts(parts.clone(), body));
    let mut answer = Answer {
        name: &name,
        method,
        path: path.split('?').next().unwrap_or_default(),
        status: parts.status.as_u16(),
        headers: &parts.headers,
        body: None,
    };
    if !whole {
        CONTRACT.check(&answer);
        return response;
    }
    let bytes = response.bytes().await.unwrap();
    answer.body = Some(&bytes);
    CONTRACT.check(&answer);
    Response::from(http::Response::from_parts(parts, bytes))
}

/// One answer, and what it answers.
struct Answer<'a> {
    name: &'a str,
    method: &'a Method,
    path: &'a str,
    status: u16,
    headers: &'a HeaderMap,
    /// Unless it streams.
    body: Option<&'a [u8]>,
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("content-type")?.to_str().unwrap();
    Some(value.split(';').next().unwrap_or_default().trim().to_owned())
}

impl Contract {
    fn read() -> Self {
        let mut openapi: Value = serde_json::from_slice(&std::fs::read(OPENAPI).unwrap()).unwrap();
        for (name, schema) in openapi["components"]["schemas"].as_object_mut().unwrap() {
            // Clients must bear fields that are new; a test must not.
            let open = schema["additionalProperties"].is_object();
            if schema["properties"].is_object() && !open && !name.starts_with("Problem") {
                schema["additionalProperties"] = json!(false);
            }
        }
        Self {
            openapi,
            validators: Mutex::default(),
        }
    }

    fn check(&self, answer: &Answer) {
        let &Answer {
            name,
            method,
            path,
            status,
            headers,
            body,
        } = answer;
        let media_type = media_type(headers);
        let wanted = if method == Method::HEAD { "get" } else { method.as_str() };
        let described = self.template(path).and_then(|template| {
            let pointer = format!("/paths/{}/{}", escaped(&template), wanted.to_lowercase());
            self.openapi.pointer(&pointer).map(|operation| (pointer, operation))
        });
        let Some((pointer, operation)) = described else {
            // Not there, or there in another way only, or not part of this contract.
            if media_type.as_deref() == Some(PROBLEM) && method != Method::HEAD {
                self.valid(name, "/components/schemas/Problem", body.unwrap());
            }
            return;
        };
        let answer = &operation["responses"][status.to_string()];
        assert!(answer.is_object(), "{name} is not described");
        for (header, said) in answer["headers"].as_object().into_iter().flatten() {
            assert!(
                said["required"] != true || headers.contains_key(header),
                "{name}: without {header}"
            );
        }
        let content = &answer["content"];
        match (&media_type, body) {
            (None, _) => assert!(
                content.is_null() || body.is_none_or(<[u8]>::is_empty),
                "{name}: without a type"
            ),
            (Some(found), _) => assert!(content[found].is_object(), "{name}: {found} is not described"),
        }
        if let (Some(found), Some(body)) = (media_type, body)
            && method != Method::HEAD
        {
            let place = format!("{pointer}/responses/{status}/content/{}/schema", escaped(&found));
            self.valid(name, &place, body);
        }
    }

    /// The path of the description that fits: words before parameters.
    fn template(&self, path: &str) -> Option<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &&String| {
            let mut of_template = template.split('/');
            parts.len() == template.split('/').count()
                && parts
                    .iter()
                    .all(|part| of_template.next().is_some_and(|it| it == *part || it.starts_with('{')))
        };
        let templates = self.openapi["paths"].as_object().unwrap().keys();
        templates.filter(fits).min_by_key(|it| it.matches('{').count()).cloned()
    }

    fn valid(&self, name: &str, place: &str, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut validators = self.validators.lock().unwrap();
        let validator = *validators.entry(place.to_owned()).or_insert_with(|| {
            let mut schema = self.openapi.pointer(place).unwrap().clone();
            schema["components"] = self.openapi["components"].clone();
            let built = jsonschema::options().should_validate_formats(true).build(&schema);
            Box::leak(Box::new(built.unwrap()))
        });
        let mistakes: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            mistakes.is_empty(),
            "{name} is not as described: {mistakes:#?}\n{body:#}"
        );
    }
}

/// As a part of a JSON pointer.
fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
