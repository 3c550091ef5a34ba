//! The contracts as files: what is under `schema/` in the source, embedded, under the same names.

use std::sync::LazyLock;

use actix_web::http::header::EntityTag;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::etag;
use super::params::Params;
use super::problem::Problem;

/// Of name and text, by name.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/schema_files.rs"));

/// One file.
pub struct SchemaFile {
    /// Its path under `schema/`.
    pub name: &'static str,
    pub text: &'static str,
    pub content_type: &'static str,
    tag: EntityTag,
}

static FILES: LazyLock<Vec<SchemaFile>> = LazyLock::new(|| {
    let file = |(name, text): &(&'static str, &'static str)| SchemaFile {
        name,
        text,
        content_type: content_type(name),
        tag: etag::of(text.as_bytes()),
    };
    EMBEDDED.iter().map(file).collect()
});

fn content_type(name: &str) -> &'static str {
    let ends = |suffix: &str| name.ends_with(suffix);
    if ends(".schema.json") {
        "application/schema+json"
    } else if ends(".json") {
        "application/json"
    } else if ends(".yaml") {
        "application/yaml"
    } else if ends(".md") {
        "text/markdown; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    }
}

/// The files that describe how Grid is spoken to.
#[derive(Serialize, ToSchema)]
#[schema(as = SchemaFiles)]
pub struct FilesView {
    items: Vec<FileView>,
}

/// A file that describes how Grid is spoken to.
#[derive(Serialize, ToSchema)]
#[schema(as = SchemaFile)]
#[serde(rename_all = "camelCase")]
struct FileView {
    name: &'static str,
    url: String,
    content_type: &'static str,
    bytes: usize,
}

/// `GET /api/v1/schema`: which files there are.
pub async fn list(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let view = |file: &SchemaFile| FileView {
        name: file.name,
        url: format!("/api/v1/schema/{}", file.name),
        content_type: file.content_type,
        bytes: file.text.len(),
    };
    let items = FILES.iter().map(view).collect();
    etag::answer(&request, &FilesView { items })
}

/// `GET /api/v1/schema/{name}`: one of them.
pub async fn get(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let file = FILES.iter().find(|file| file.name == *name);
    let file = file.ok_or_else(|| Problem::not_found(format!("the schema file {:?}", *name)))?;
    let body = || bytes::Bytes::from_static(file.text.as_bytes());
    Ok(etag::tagged(&request, file.content_type, &file.tag, body))
}
