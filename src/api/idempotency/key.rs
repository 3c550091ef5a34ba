//! The key as clients write it.

use std::fmt;
use std::str::FromStr;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;

use crate::api::problem::Problem;

const HEADER: &str = "idempotency-key";
const MAX_CHARS: usize = 255;

/// 1 to 255 visible ASCII characters, best a random uuid. In the header it may stand bare or as the quoted string of the
/// IETF's draft (draft-ietf-httpapi-idempotency-key-header); both are the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to 255 visible ASCII characters, without spaces, bare or in double quotes")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// The request's key, when it has one.
    ///
    /// # Errors
    /// 400 when it is not one key.
    pub fn of(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        let mut values = request.headers().get_all(HEADER);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(invalid("it is given twice"));
        }
        let text = value.to_str().map_err(|_| invalid(&InvalidKey.to_string()))?;
        let key = text.trim().parse();
        key.map(Some).map_err(|error: InvalidKey| invalid(&error.to_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn invalid(why: &str) -> Problem {
    let detail = format!("Idempotency-Key: {why}");
    Problem::new(StatusCode::BAD_REQUEST, "INVALID_IDEMPOTENCY_KEY", detail)
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let key = match text.strip_prefix('"') {
            None => text.to_owned(),
            Some(quoted) => unquoted(quoted).ok_or(InvalidKey)?,
        };
        let fits = (1..=MAX_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(key)) } else { Err(InvalidKey) }
    }
}

/// What stands behind the opening quote of a string (RFC 9651, section 3.3.3).
fn unquoted(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => key.push(chars.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => key.push(other),
        }
    }
    chars.next().is_none().then_some(key)
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_bare_and_quoted() {
        let key = |text: &str| text.parse::<IdempotencyKey>().map(|key| key.0);
        assert_eq!(key("8e03978e-40d5").as_deref(), Ok("8e03978e-40d5"));
        assert_eq!(key("\"8e03978e-40d5\"").as_deref(), Ok("8e03978e-40d5"));
        assert_eq!(key(r#""a\"b\\c""#).as_deref(), Ok(r#"a"b\c"#));
        assert_eq!(key(&"k".repeat(255)).map(|key| key.len()), Ok(255));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for text in ["", "\"\"", "a b", "\"a", "\"a\"b", r#""a\b""#, "ä", "a\u{7f}", &long] {
            assert_eq!(text.parse::<IdempotencyKey>(), Err(InvalidKey), "{text:?}");
        }
    }
}
