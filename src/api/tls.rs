//! TLS of the server: a certificate and its key from PEM files, read again when they change.
//!
//! Must stay true: a renewal needs no restart; files that cannot be used leave the certificate in place that was read last.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::ServerOptions;

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(30);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TlsFiles {
    /// The server's certificate, then those between it and the authority.
    certificate: PathBuf,
    key: PathBuf,
}

/// What is wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{file} ({key}) cannot be read: {why}")]
    File {
        key: &'static str,
        file: String,
        why: String,
    },
    #[error("the certificate (server.tls_cert) and the key (server.tls_key) do not go together: {0}")]
    Pair(#[source] rustls::Error),
    #[error("the process cannot listen for SIGHUP: {0}")]
    Signal(#[source] std::io::Error),
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// What was read, to see whether it has changed.
#[derive(PartialEq, Eq)]
struct Read {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    fn read(&self) -> Result<Read, TlsError> {
        let read = |key, path: &PathBuf| {
            std::fs::read(path).map_err(|error| TlsError::File {
                key,
                file: path.display().to_string(),
                why: error.to_string(),
            })
        };
        Ok(Read {
            certificate: read("server.tls_cert", &self.certificate)?,
            key: read("server.tls_key", &self.key)?,
        })
    }

    fn parse(&self, read: &Read) -> Result<CertifiedKey, TlsError> {
        let bad = |key, path: &PathBuf, why: String| TlsError::File {
            key,
            file: path.display().to_string(),
            why,
        };
        let bad_certificate = |why| bad("server.tls_cert", &self.certificate, why);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad_certificate("there is no certificate in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&read.key)
            .map_err(|error| bad("server.tls_key", &self.key, error.to_string()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Pair)
    }
}

/// The certificate that is shown at the moment.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS as it is set up; dropped, it looks at the files no more.
pub struct Tls {
    pub config: ServerConfig,
    watching: JoinHandle<()>,
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Tls {
    /// As the options say; `None`: by plain HTTP.
    ///
    /// # Errors
    /// As [`Tls::start`].
    pub fn of(options: &ServerOptions) -> Result<Option<Self>, TlsError> {
        match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => Self::start(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })
            .map(Some),
            (None, _) | (_, None) => Ok(None),
        }
    }

    /// Reads the files, and from now on looks whether they have changed: every half minute, and at SIGHUP.
    ///
    /// # Errors
    /// Says which file is wrong and why.
    fn start(files: TlsFiles) -> Result<Self, TlsError> {
        let read = files.read()?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(files.parse(&read)?))));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        // From here on SIGHUP does not end the process.
        let hangups = signal(SignalKind::hangup()).map_err(TlsError::Signal)?;
        let watching = crate::task::spawn("api.tls", watch(files, read, shown, hangups));
        Ok(Self { config, watching })
    }
}

async fn watch(files: TlsFiles, mut last: Read, shown: Arc<Shown>, mut hangups: Signal) {
    loop {
        // Either way it is time to look.
        let _ = tokio::time::timeout(LOOKED_AT_EVERY, hangups.recv()).await;
        let look = || {
            let read = files.read()?;
            let changed = read != last;
            changed.then(|| files.parse(&read).map(|key| (read, key))).transpose()
        };
        match look() {
            Ok(None) => {}
            Ok(Some((read, key))) => {
                last = read;
                *shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("api.tls.renewed");
            }
            Err(error) => {
                metrics::counter!("grid_api_tls_failures_total").increment(1);
                tracing::error!(%error, "api.tls.not_renewed");
            }
        }
    }
}
