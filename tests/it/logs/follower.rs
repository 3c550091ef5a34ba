//! A stream of lines, followed as a browser does.

use std::time::Duration;

use serde_json::Value;

pub const SOON: Duration = Duration::from_secs(30);

/// Somebody who follows lines.
pub struct Tail {
    response: reqwest::Response,
    have: Vec<u8>,
    /// The id of the last event that had one.
    pub id: Option<String>,
    /// What was said of the ways to workers.
    pub notices: Vec<String>,
}

impl Tail {
    pub async fn open(url: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(format!("{url}/api/v1/logs/tail?{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self {
            response,
            have: Vec::new(),
            id: last.map(str::to_owned),
            notices: Vec::new(),
        }
    }

    /// The line of the next event, if that has one; `None`: there is no more.
    async fn event(&mut self) -> Option<Option<Value>> {
        let end = loop {
            if let Some(end) = self.have.windows(2).position(|pair| pair == b"\n\n") {
                break end;
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.have.extend_from_slice(&bytes),
                Ok(None) | Err(_) => return None,
            }
        };
        let event: Vec<u8> = self.have.drain(..end + 2).collect();
        let event = String::from_utf8(event).unwrap();
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            self.id = Some(id.to_owned());
        }
        let data = field("data: ");
        match field("event: ") {
            Some("notice") => {
                self.notices.extend(data.map(str::to_owned));
                Some(None)
            }
            Some(other) => panic!("{other}: {event}"),
            None => Some(data.map(|data| serde_json::from_str(data).unwrap())),
        }
    }

    /// The next line; `None`: there is no more.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.event().await? {
                return Some(line);
            }
        }
    }

    pub async fn line(&mut self) -> Value {
        let next = tokio::time::timeout(SOON, self.next()).await;
        next.expect("a line in time").expect("the stream to go on")
    }

    /// Until the stream has said where it begins.
    pub async fn begun(&mut self) {
        let begun = async {
            while self.id.is_none() {
                assert_eq!(self.event().await, Some(None));
            }
        };
        tokio::time::timeout(SOON, begun).await.unwrap();
    }
}

/// How long a line was on its way, by its own time.
pub fn delay_ms(line: &Value) -> i64 {
    let at: grid::domain::Timestamp = line["@timestamp"].as_str().unwrap().parse().unwrap();
    grid::clock::now().as_ms() - at.as_ms()
}
