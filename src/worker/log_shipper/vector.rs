//! Batches to a Vector (its source `logstash`), or to anything else that speaks Lumberjack: each line is a JSON frame of a
//! window, which the other side acknowledges, in parts or at once.
//!
//! Must stay true: a line counts as taken when it was acknowledged; after a break only lines that were not go again, so
//! that a line can come twice and is not lost.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ferro_lumberjack::frame::{Frame, FrameDecoder, encode_json_frame, encode_window};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Failed;
use crate::logs::nanos;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For what is written, and for each acknowledgement.
const TIMEOUT: Duration = Duration::from_secs(30);
const ACKNOWLEDGEMENT_BYTES: usize = 64;

pub struct Vector {
    /// HOST:PORT
    address: String,
    connection: Option<TcpStream>,
}

impl Vector {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            connection: None,
        }
    }

    /// Sends the lines of the batch behind the first `taken`, which grows with each that is acknowledged.
    pub async fn send(&mut self, number: u64, batch: &Bytes, taken: &mut usize) -> Result<(), Failed> {
        let lines: Vec<Vec<u8>> = batch
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate()
            .skip(*taken)
            .map(|(place, line)| numbered(line, nanos::below_ms(number, place)))
            .collect();
        let sent = self.send_window(&lines, taken).await;
        sent.map_err(|error| {
            // What is on its way over it belongs to no window any more.
            self.connection = None;
            Failed::ForNow(format!("{} (worker.vector) does not take lines: {error}", self.address))
        })
    }

    async fn send_window(&mut self, lines: &[Vec<u8>], taken: &mut usize) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => within(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await?,
        };
        within(TIMEOUT, connection.write_all(&window(lines))).await?;
        let mut frames = FrameDecoder::new();
        let mut acknowledged = 0;
        while acknowledged < lines.len() {
            let sequence = acknowledgement(&mut connection, &mut frames).await? as usize;
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

/// With digits below the millisecond, by which VictoriaLogs keeps lines in order.
fn numbered(line: &[u8], below_ms: u32) -> Vec<u8> {
    let mut line = line.to_vec();
    nanos::number(&mut line, 0, below_ms);
    line
}

/// All lines as one window, numbered from 1.
fn window(lines: &[Vec<u8>]) -> Vec<u8> {
    // A batch has at most 1 MiB.
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let mut bytes = encode_window(count).to_vec();
    for (sequence, line) in (1..=count).zip(lines) {
        bytes.extend(encode_json_frame(sequence, line));
    }
    bytes
}

async fn acknowledgement(connection: &mut TcpStream, frames: &mut FrameDecoder) -> io::Result<u32> {
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
