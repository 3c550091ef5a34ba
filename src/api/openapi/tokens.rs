//! What can be done with API tokens.

use super::operation::{Operation, Tag, delete, get};
use super::parameter::{Parameter, text_like};
use crate::api::auth::TokenRow;
use crate::api::page::List;

pub fn operations() -> Vec<Operation> {
    let id = Parameter::path_of(
        "id",
        text_like("^[0-9a-f]{16}$"),
        "The token's id, which opens nothing.",
    );
    vec![
        get("/api/v1/tokens", "listTokens", Tag::Tokens, "List API tokens")
            .about("The newest first; of none what opens something.")
            .paged(50)
            .answers::<List<TokenRow>>(200, "A page of tokens."),
        delete("/api/v1/tokens/{id}", "revokeToken", Tag::Tokens, "Revoke a token")
            .about("One that was revoked before stays as it is.")
            .takes(id.example("0123456789abcdef"))
            .answers::<TokenRow>(200, "The token as it is then.")
            .problem(400, &["INVALID_ID"])
            .problem(404, &["NOT_FOUND"]),
    ]
}
