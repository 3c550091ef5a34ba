//! The description as it is served, and the page to browse it.
//!
//! Must stay true: the page loads nothing from elsewhere, and runs no script that stands in it: its policy forbids both.

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{self, EntityTag};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::{assemble, guide};
use crate::api::etag;
use crate::api::params::Params;
use crate::api::problem::Problem;

struct Served {
    bytes: Bytes,
    tag: EntityTag,
}

static DESCRIPTION: LazyLock<Served> = LazyLock::new(|| {
    let bytes = Bytes::from(assemble::description().openapi.to_string());
    let tag = etag::of(&bytes);
    Served { bytes, tag }
});

/// `GET /api/openapi.json`.
pub async fn description(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(etag::tagged(&request, "application/json", &DESCRIPTION.tag, || {
        DESCRIPTION.bytes.clone()
    }))
}

/// What the page may load and do. Styles are set by its script on elements, so they may stand there; scripts may not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Grid: REST API</title>
<link rel="icon" type="image/png" href="/api/docs/favicon-32x32.png">
<link rel="stylesheet" href="/api/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"><noscript>This page needs JavaScript; /api/openapi.json does not.</noscript></div>
<script src="/api/docs/swagger-ui-bundle.js"></script>
<script src="/api/docs/start.js"></script>
</body>
</html>
"#;

const START: &str = r##""use strict";
SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // A badge of a service elsewhere.
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;

/// Of the package, those that the page loads.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// `GET /api/docs`.
pub async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE))
}

/// `GET /api/docs/{file}`.
pub async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    Params::read(&request, &[])?;
    let missing = || Problem::not_found(format!("the path {:?}", request.path()));
    if let Some(page) = guide::page(&name) {
        return Ok(HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, guide::POLICY))
            .body(page));
    }
    let (bytes, content_type, zipped) = if name.as_str() == "start.js" {
        (
            Bytes::from_static(START.as_bytes()),
            "text/javascript".to_owned(),
            false,
        )
    } else if FILES.contains(&name.as_str()) {
        let found = utoipa_swagger_ui::serve(&name, Arc::new(Config::default()));
        let found = found.map_err(|error| Problem::internal("read a file of the page", &error))?;
        let found = found.ok_or_else(missing)?;
        (Bytes::copy_from_slice(&found.bytes), found.content_type, found.gzpipped)
    } else {
        return Err(missing());
    };
    let mut answer = HttpResponse::Ok();
    if zipped {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(answer
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "max-age=3600"))
        .body(bytes))
}
