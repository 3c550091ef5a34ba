//! Whom a client of the API trusts besides the authorities of the machine.

use std::path::Path;

use reqwest::{Certificate, ClientBuilder};

/// Why a file of authorities cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the authorities in {file} cannot be read: {why}")]
pub struct TrustError {
    file: String,
    why: String,
}

/// Also trusts the authorities in `file` (PEM, one or more), when there is one.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn trust(builder: ClientBuilder, file: Option<&Path>) -> Result<ClientBuilder, TrustError> {
    let Some(path) = file else { return Ok(builder) };
    let failed = |why: String| TrustError {
        file: path.display().to_string(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let authorities = Certificate::from_pem_bundle(&bytes).map_err(|error| failed(error.to_string()))?;
    if authorities.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(builder.tls_certs_merge(authorities))
}
