//! Events of the server (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), read from a transfer.

use crate::cli::client::{Error, Transfer};

/// What came at once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: Option<String>,
    pub id: Option<String>,
    /// Its lines joined; empty: it only says where the stream is.
    pub data: String,
}

/// The events of a transfer, one after the other.
pub struct Events {
    transfer: Transfer,
    /// What has come and is no whole event yet.
    rest: Vec<u8>,
}

impl Events {
    pub fn new(transfer: Transfer) -> Self {
        Self {
            transfer,
            rest: Vec::new(),
        }
    }

    /// The next one that says something; none at the end.
    ///
    /// # Errors
    /// The transfer broke off, or nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        // Of what was looked at before, only the last byte can belong to an end.
        let mut seen = 0;
        loop {
            let end = self.rest[seen..].windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end.map(|end| seen + end) {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                seen = 0;
                let event = read(&String::from_utf8_lossy(&block));
                if event != Event::default() {
                    return Ok(Some(event));
                }
                continue;
            }
            seen = self.rest.len().saturating_sub(1);
            match self.transfer.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

fn read(block: &str) -> Event {
    let mut event = Event::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => event.kind = Some(value.to_owned()),
            "id" => event.id = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_by_its_names() {
        let event = read("id: 7\nevent: problem\ndata: a: b\ndata:c\n: comment\nretry: 5\n\n");
        assert_eq!(event.id.as_deref(), Some("7"));
        assert_eq!(event.kind.as_deref(), Some("problem"));
        assert_eq!(event.data, "a: b\nc");
        assert_eq!(read(":\n\n"), Event::default());
    }
}
