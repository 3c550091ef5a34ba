//! How API tokens look, and what is kept of them.
//!
//! `grid_<id>_<secret>`, 16 and 64 lower-case hexadecimal digits: a scanner of secrets finds one by
//! `grid_[0-9a-f]{16}_[0-9a-f]{64}`. The id finds the row and may be shown; of the secret only the SHA-256 is kept. A slow
//! hash such as argon2 makes it costly to guess what people choose; 256 random bits cannot be guessed at any speed, and a
//! slow hash would cost every request its time.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::config::Secret;

const PREFIX: &str = "grid_";

/// What a token is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

impl TokenId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_hex(text, 16) {
            return Ok(Self(text.to_owned()));
        }
        Err("the id of a token has 16 lower-case hexadecimal digits; `grid token list` shows them".to_owned())
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A token that was made a moment ago: the only time that all of it is known.
pub struct NewToken {
    pub id: TokenId,
    pub text: Secret,
    pub sha256: [u8; 32],
}

impl NewToken {
    pub fn random() -> Self {
        let id = hex::encode(rand::random::<[u8; 8]>());
        let secret = hex::encode(rand::random::<[u8; 32]>());
        Self {
            text: Secret::new(format!("{PREFIX}{id}_{secret}")),
            sha256: sha256(&secret),
            id: TokenId(id),
        }
    }
}

/// A token as it is shown: by form, not yet by truth.
pub struct Shown {
    pub id: TokenId,
    pub sha256: [u8; 32],
}

impl Shown {
    pub fn read(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id = id.parse().ok()?;
        is_hex(secret, 64).then(|| Self {
            id,
            sha256: sha256(secret),
        })
    }
}

fn sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_form_and_is_never_made_twice() {
        let (one, other) = (NewToken::random(), NewToken::random());
        assert!(one.id != other.id && one.sha256 != other.sha256);
        let text = one.text.reveal();
        assert_eq!(text.len(), 5 + 16 + 1 + 64);
        let shown = Shown::read(text).unwrap();
        assert_eq!((shown.id, shown.sha256), (one.id, one.sha256));
        for wrong in [
            "",
            "grid_",
            &text[1..],
            &text[..85],
            &text.to_uppercase(),
            &text.replace("grid_", "ghp_"),
        ] {
            assert!(Shown::read(wrong).is_none(), "{wrong}");
        }
    }
}
