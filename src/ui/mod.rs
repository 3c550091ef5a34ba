//! The web page: its files, and how they are given. What it shows comes from `/graphql`.
//!
//! It is written in TypeScript (app/), built into dist/ by `make ui`, and embedded by build.rs as it was built: without a
//! built page the program is complete, and says how to get one.
//!
//! Must stay true: a page loads nothing from outside and runs no script or style that stands in it, and its scripts
//! cannot make markup of text; a file whose name has its hash is kept for ever, the page that names them is asked for
//! again each time.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, EntityTag};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use flate2::read::GzDecoder;

use crate::api::{Problem, etag};

/// The paths of its views, which it tells apart itself.
pub const PAGES: [&str; 8] = [
    "/",
    "/jobs",
    "/jobs/{id}",
    "/tasks/{id}",
    "/workers",
    "/workers/{id}",
    "/logs",
    "/submit",
];

/// What it may do: load what is served here, and ask here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The page of a program that was built without it.
const MISSING: &str = include_str!("missing.html");

/// Of every file its name and bytes; `.gz` behind the names of those that are compressed.
const BUILT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/ui_files.rs"));

/// A file as it is given.
struct File {
    content_type: &'static str,
    /// Compressed by gzip, unless it would not become smaller.
    bytes: &'static [u8],
    compressed: bool,
    tag: EntityTag,
}

static FILES: LazyLock<HashMap<&'static str, File>> = LazyLock::new(|| {
    let files = BUILT.iter().filter_map(|&(path, bytes)| {
        let plain = path.strip_suffix(".gz");
        let (name, compressed) = (plain.unwrap_or(path), plain.is_some());
        let file = File {
            content_type: content_type(name)?,
            bytes,
            compressed,
            tag: etag::of(bytes),
        };
        Some((name, file))
    });
    files.collect()
});

/// By the end of its name; `None`: no part of the page.
fn content_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

/// Any of [`PAGES`].
pub async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    page_or_how(&request, FILES.get("index.html"))
}

/// The page; without it, how to build it.
fn page_or_how(request: &HttpRequest, built: Option<&File>) -> Result<HttpResponse, Problem> {
    match built {
        Some(file) => give(request, file, "no-cache"),
        None => Ok(HttpResponse::build(StatusCode::NOT_FOUND)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .body(MISSING)),
    }
}

/// `GET /assets/{name}`: the name has the hash of what is in it.
pub async fn asset(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let file = FILES.get(format!("assets/{name}").as_str());
    let file = file.ok_or_else(|| Problem::not_found(format!("the file {:?}", name.as_str())))?;
    give(&request, file, "public, max-age=31536000, immutable")
}

fn give(request: &HttpRequest, file: &File, keep: &'static str) -> Result<HttpResponse, Problem> {
    let zipped = file.compressed && takes_gzip(request);
    let tag = match (file.compressed, zipped) {
        (true, false) => EntityTag::new_strong(format!("{}-plain", file.tag.tag())),
        (true, true) | (false, _) => file.tag.clone(),
    };
    let bytes = match (file.compressed, zipped) {
        (true, false) => unzip(file.bytes)?,
        (true, true) | (false, _) => Bytes::from_static(file.bytes),
    };
    let mut answer = etag::tagged(request, file.content_type, &tag, || bytes);
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static(keep));
    headers.insert(header::VARY, header::HeaderValue::from_static("accept-encoding"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        header::HeaderValue::from_static(POLICY),
    );
    if zipped && answer.status() == StatusCode::OK {
        let gzip = header::HeaderValue::from_static("gzip");
        answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(answer)
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let given = request.headers().get(header::ACCEPT_ENCODING);
    let text = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(',').any(|part| {
        let mut parts = part.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|quality| matches!(quality, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        is_gzip && !refused
    })
}

fn unzip(bytes: &[u8]) -> Result<Bytes, Problem> {
    let mut plain = Vec::new();
    let read = GzDecoder::new(bytes).read_to_end(&mut plain);
    read.map_err(|error| Problem::internal("read a file of the page", &error))?;
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;

    fn file(compressed: bool, bytes: &'static [u8]) -> File {
        File {
            content_type: "text/css; charset=utf-8",
            bytes,
            compressed,
            tag: etag::of(bytes),
        }
    }

    /// `body {}`, by gzip.
    const ZIPPED: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 75, 202, 79, 169, 84, 168, 174, 5, 0, 250, 234, 80, 216, 7, 0, 0, 0,
    ];

    fn asked(encoding: &str) -> HttpRequest {
        let request = TestRequest::get().insert_header((header::ACCEPT_ENCODING, encoding));
        request.to_http_request()
    }

    #[test]
    fn who_takes_no_gzip_gets_it_plain_under_another_tag() {
        let file = file(true, ZIPPED);
        let tag = |encoding| {
            let answer = give(&asked(encoding), &file, "no-cache").unwrap();
            let tag = answer.headers().get(header::ETAG).unwrap().to_str().unwrap().to_owned();
            (tag, answer.headers().contains_key(header::CONTENT_ENCODING))
        };
        let (zipped, plain) = (tag("br, GZIP;q=0.5"), tag("gzip;q=0, br"));
        assert!(zipped.1 && !plain.1);
        assert_ne!(zipped.0, plain.0);
        assert_eq!(unzip(ZIPPED).unwrap(), "body {}");
    }

    #[test]
    fn who_has_it_is_told_so_with_the_same_rules() {
        let file = file(false, b"it");
        let request = TestRequest::get().insert_header((header::IF_NONE_MATCH, etag::of(b"it").to_string()));
        let answer = give(&request.to_http_request(), &file, "no-cache").unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers().get(header::CACHE_CONTROL).unwrap(), "no-cache");
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
    }

    #[actix_web::test]
    async fn a_program_without_its_page_says_how_to_build_it() {
        let answer = page_or_how(&asked("gzip"), None).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap();
        assert_eq!(policy, POLICY);
        let text = to_bytes(answer.into_body()).await.unwrap();
        assert!(String::from_utf8_lossy(&text).contains("make ui\nmake build"));
    }

    #[test]
    fn what_is_no_part_of_the_page_is_not_given() {
        assert_eq!(content_type("README.md"), None);
        assert_eq!(content_type("none"), None);
    }
}
