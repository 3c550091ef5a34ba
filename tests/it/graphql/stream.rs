//! A subscription as events of the server, read to an end.

use std::collections::BTreeMap;

use grid::projection::PositionToken;
use serde_json::{Value, json};

pub struct Stream {
    response: reqwest::Response,
    text: Vec<u8>,
}

impl Stream {
    pub async fn open(url: &str, query: &str, variables: &Value) -> Self {
        let response = reqwest::Client::new()
            .post(format!("{url}/graphql/stream"))
            .json(&json!({"query": query, "variables": variables}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: Vec::new(),
        }
    }

    /// The data of the next answer; `None`: it was the last.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let text = String::from_utf8(event).unwrap();
                if text.starts_with("event: complete") {
                    return None;
                }
                if let Some((_, data)) = text.split_once("data: ") {
                    let answer: Value = serde_json::from_str(data).unwrap();
                    assert!(answer.get("errors").is_none(), "{answer}");
                    return Some(answer["data"].clone());
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.text.extend_from_slice(&bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// Shards and places of a token.
pub fn places(token: &Value) -> BTreeMap<u16, u64> {
    let token: PositionToken = token.as_str().unwrap().parse().unwrap();
    token.positions().map(|place| (place.shard.0, place.seq.0)).collect()
}

/// The one place of an event's own token.
pub fn place(token: &Value) -> (u16, u64) {
    let places = places(token);
    assert_eq!(places.len(), 1);
    places.into_iter().next().unwrap()
}
