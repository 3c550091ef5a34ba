//! A page to try the API out: GraphiQL, from files in this program; it loads nothing from outside.
//!
//! The files are those of npm's `graphiql`, `react` and `react-dom` (see page/README.md), compressed as they are sent.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::api::problem::Problem;

/// What the page may do: load what is served here, and ask here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
    name: &'static str,
    content_type: &'static str,
    compressed: bool,
    bytes: &'static [u8],
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [File; 5] = [
    File {
        name: "start.js",
        content_type: SCRIPT,
        compressed: false,
        bytes: include_bytes!("page/start.js"),
    },
    File {
        name: "react.js",
        content_type: SCRIPT,
        compressed: true,
        bytes: include_bytes!("page/react.production.min.js.gz"),
    },
    File {
        name: "react-dom.js",
        content_type: SCRIPT,
        compressed: true,
        bytes: include_bytes!("page/react-dom.production.min.js.gz"),
    },
    File {
        name: "graphiql.js",
        content_type: SCRIPT,
        compressed: true,
        bytes: include_bytes!("page/graphiql.min.js.gz"),
    },
    File {
        name: "graphiql.css",
        content_type: "text/css; charset=utf-8",
        compressed: true,
        bytes: include_bytes!("page/graphiql.css.gz"),
    },
];

/// Whether a person looks at `/graphql` with a browser.
pub fn is_wanted(request: &HttpRequest) -> bool {
    let accept = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let wants_html = accept.is_some_and(|text| text.split(',').any(|part| part.trim().starts_with("text/html")));
    matches!(*request.method(), Method::GET | Method::HEAD) && wants_html && request.query_string().is_empty()
}

pub fn show() -> HttpResponse {
    guarded(StatusCode::OK, "text/html; charset=utf-8").body(include_str!("page/index.html"))
}

fn guarded(status: StatusCode, content_type: &'static str) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .content_type(content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}

/// `GET /graphql/page/{name}`.
pub async fn file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let file = FILES.iter().find(|file| file.name == name.as_str());
    let file = file.ok_or_else(|| Problem::not_found(format!("the file {:?}", name.as_str())))?;
    let mut response = guarded(StatusCode::OK, file.content_type);
    // Another program may have other files under these names.
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    if file.compressed {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(response.body(file.bytes))
}
