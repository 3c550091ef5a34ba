//! A server that gives prepared answers, one a request, for the tests of the command line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

pub struct Answer {
    status: u16,
    media_type: &'static str,
    headers: String,
    body: String,
}

impl Answer {
    pub fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            media_type: "application/json",
            headers: String::new(),
            body: body.to_owned(),
        }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self {
            media_type: "text/html",
            ..Self::json(status, body)
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }
}

/// Serves until its answers are given out; then nobody listens.
pub struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    if let Some((name, value)) = line.split_once(':')
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                seen.lock().unwrap().push(first.trim().to_owned());
                let Answer {
                    status,
                    media_type,
                    headers,
                    body,
                } = answer;
                let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\n{headers}");
                let head = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                reader
                    .into_inner()
                    .write_all(format!("{head}{body}").as_bytes())
                    .unwrap();
            }
        });
        Self { url, requests, thread }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first lines of the requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The address, once nobody listens on it.
    pub fn into_url_of_nobody(self) -> String {
        self.thread.join().unwrap();
        self.url
    }
}
