//! Batches to a Vector (its source `logstash`), or to anything else that speaks Lumberjack: each line is a JSON frame of a
//! window, which the other side acknowledges, in parts or at once.
//!
//! Must stay true: a line counts as taken when it was acknowledged; after a break only lines that were not go again, so
//! that a line can come twice and is not lost.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferro_lumberjack::frame::{Frame, FrameDecoder, encode_json_frame, encode_window};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Failed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For what is written, and for each acknowledgement.
const TIMEOUT: Duration = Duration::from_secs(30);
const ACKNOWLEDGEMENT_BYTES: usize = 64;

/// What lines go over: TCP, or TLS over it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub struct Vector {
    /// HOST:PORT
    address: String,
    /// PEM; with them, by TLS.
    authorities: Option<PathBuf>,
    connection: Option<Box<dyn Wire>>,
}

impl Vector {
    pub fn new(address: &str, authorities: Option<&Path>) -> Self {
        Self {
            address: address.to_owned(),
            authorities: authorities.map(Path::to_owned),
            connection: None,
        }
    }

    /// Sends the lines behind the first `taken`, which grows with each that is acknowledged.
    pub async fn send(&mut self, lines: &Bytes, taken: &mut usize) -> Result<(), Failed> {
        let lines: Vec<&[u8]> = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .skip(*taken)
            .collect();
        let sent = self.send_window(&lines, taken).await;
        sent.map_err(|error| {
            // What is on its way over it belongs to no window any more.
            self.connection = None;
            Failed::ForNow(format!("{} (worker.vector) does not take lines: {error}", self.address))
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect(&self.address).await?;
        let Some(authorities) = &self.authorities else {
            return Ok(Box::new(stream));
        };
        // Read each time: they are renewed.
        let connector = TlsConnector::from(Arc::new(trusting(authorities)?));
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    async fn send_window(&mut self, lines: &[&[u8]], taken: &mut usize) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => within(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let sending = async {
            connection.write_all(&window(lines)).await?;
            connection.flush().await
        };
        within(TIMEOUT, sending).await?;
        let mut frames = FrameDecoder::new();
        let mut acknowledged = 0;
        while acknowledged < lines.len() {
            let sequence = acknowledgement(&mut *connection, &mut frames).await? as usize;
            // 0 only says that it is still there.
            if sequence > lines.len() || (sequence < acknowledged && sequence > 0) {
                return Err(io::Error::other(format!(
                    "it acknowledges line {sequence} of {}",
                    lines.len()
                )));
            }
            let more = sequence.max(acknowledged) - acknowledged;
            acknowledged += more;
            *taken += more;
        }
        self.connection = Some(connection);
        Ok(())
    }
}

/// A client that trusts these authorities and no others.
fn trusting(authorities: &Path) -> io::Result<ClientConfig> {
    let unusable = |why: String| io::Error::other(format!("{} (worker.vector_ca): {why}", authorities.display()));
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::pem_file_iter(authorities).map_err(|error| unusable(error.to_string()))?;
    for certificate in pem {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// All lines as one window, numbered from 1.
fn window(lines: &[&[u8]]) -> Vec<u8> {
    // A batch has at most 1 MiB.
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let mut bytes = encode_window(count).to_vec();
    for (sequence, line) in (1..=count).zip(lines) {
        bytes.extend(encode_json_frame(sequence, line));
    }
    bytes
}

async fn acknowledgement(connection: &mut dyn Wire, frames: &mut FrameDecoder) -> io::Result<u32> {
    loop {
        match frames.next_frame().map_err(io::Error::other)? {
            Some(Frame::Ack { seq }) => return Ok(seq),
            Some(other) => return Err(io::Error::other(format!("it sends {other:?}"))),
            None => {}
        }
        let mut bytes = [0; ACKNOWLEDGEMENT_BYTES];
        let count = within(TIMEOUT, connection.read(&mut bytes)).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        frames.feed(&bytes[..count]);
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
