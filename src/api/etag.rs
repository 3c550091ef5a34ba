//! Entity tags (RFC 9110, section 8.8.3): who has an answer already is told that it is still true, without its body.
//!
//! A tag is a digest of the bytes of the answer itself. So it changes with every change that can be seen, whatever makes
//! it (an event, a rebuild, another version of the program), and costs some microseconds.

use actix_web::http::header::{self, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::projection::to_base64url;

/// 128 bits: no two answers share one by chance.
const DIGEST_BYTES: usize = 16;

/// A strong tag of these bytes.
pub fn of(body: &[u8]) -> EntityTag {
    EntityTag::new_strong(to_base64url(&Sha256::digest(body)[..DIGEST_BYTES]))
}

/// The object as JSON with its tag, or 304 when the client has just that.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn answer(request: &HttpRequest, object: &impl Serialize) -> Result<HttpResponse, Problem> {
    let body = serde_json::to_vec(object).map_err(|error| Problem::internal("write an answer", &error))?;
    let tag = of(&body);
    Ok(tagged(request, "application/json", &tag, || body.into()))
}

/// The same of bytes whose tag is known.
pub fn tagged(
    request: &HttpRequest,
    content_type: &'static str,
    tag: &EntityTag,
    body: impl FnOnce() -> bytes::Bytes,
) -> HttpResponse {
    let is_known = has(request, tag);
    let mut response = if is_known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.insert_header(header::ETag(tag.clone()));
    // May be kept, but is asked for again each time: the tag makes that cheap.
    response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
    if is_known {
        return response.finish();
    }
    response.content_type(content_type).body(body())
}

/// Whether the client says that it has it. A condition that cannot be read is none.
fn has(request: &HttpRequest, tag: &EntityTag) -> bool {
    if !request.headers().contains_key(header::IF_NONE_MATCH) {
        return false;
    }
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    fn status(condition: Option<&str>) -> StatusCode {
        let mut request = TestRequest::get();
        if let Some(condition) = condition {
            request = request.insert_header((header::IF_NONE_MATCH, condition));
        }
        answer(&request.to_http_request(), &"it").unwrap().status()
    }

    #[test]
    fn only_who_has_it_is_spared_the_body() {
        let tag = of(b"\"it\"").to_string();
        let (same, other) = (StatusCode::NOT_MODIFIED, StatusCode::OK);
        let cases = [
            (None, other),
            (Some(tag.clone()), same),
            (Some(format!("W/{tag}")), same),
            (Some(format!("\"another\", {tag}")), same),
            (Some("*".to_owned()), same),
            (Some("\"another\"".to_owned()), other),
            (Some("no tag at all".to_owned()), other),
            (Some(String::new()), other),
        ];
        for (condition, expected) in cases {
            assert_eq!(status(condition.as_deref()), expected, "{condition:?}");
        }
        assert_ne!(of(b"a"), of(b"b"));
    }
}
