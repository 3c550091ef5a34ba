//! By which names the server may be asked for, and which pages may ask.
//!
//! A page of anybody can make a browser on this machine call a server on this machine. Two things keep it out. A name of
//! the page's own that it has pointed here (DNS rebinding) is not a name of this server. And a browser tells from which
//! page a call comes (`Origin`): one of another server is refused, be it a submission without a content type or the
//! opening of a WebSocket, which no other rule of browsers stops.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};

use crate::api::options::ApiOptions;
use crate::api::problem::Problem;

/// What stands in `api.allowed_hosts` for any name.
const ANY: &str = "*";

/// What pages of other servers may send, when they may call at all.
const ALLOWED_HEADERS: &str = "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, \
                               traceparent, x-graphql-event-stream-token";
/// What they may see of an answer, besides what they always do.
const EXPOSED_HEADERS: &str = "allow, etag, location, retry-after, www-authenticate";
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

pub struct Hosts {
    names: HashSet<String>,
    /// Of other servers whose pages may call: `https://name:port`.
    origins: HashSet<String>,
}

impl Hosts {
    /// `bound`: where the server listens.
    pub fn new(options: &ApiOptions, public_url: Option<&str>, bound: SocketAddr) -> Self {
        let mut names: HashSet<String> = options.allowed_hosts.iter().map(|name| canonical(name)).collect();
        let mut origins: HashSet<String> = options.cors_origins.iter().map(|origin| canonical(origin)).collect();
        if let Some(uri) = public_url.and_then(|url| url.parse::<Uri>().ok()) {
            names.extend(uri.host().map(canonical));
            // Behind a proxy that asks by another name, the server's own pages look like those of another.
            if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
                origins.insert(canonical(&format!("{scheme}://{authority}")));
            }
        }
        // Names that nobody can point elsewhere.
        names.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        let bound = bound.ip();
        if bound.is_unspecified() {
            names.extend(own_addresses().map(bracketed));
        } else {
            names.insert(bracketed(bound));
        }
        Self { names, origins }
    }

    /// # Errors
    /// 421 for a name that is not the server's; 400 when there are several, or it is none.
    pub fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut given = headers.get_all(header::HOST);
        let host = match (given.next(), given.next()) {
            // Of HTTP/1.0 alone, which no browser speaks.
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().map_err(|_| bad_host())?),
            (Some(_), Some(_)) => return Err(bad_host()),
        };
        // A whole URL in the first line counts before the header.
        for authority in [uri.authority().map(|authority| authority.as_str()), host]
            .into_iter()
            .flatten()
        {
            let name = name_of(authority).ok_or_else(bad_host)?;
            if !self.names.contains(ANY) && !self.names.contains(&name) {
                let detail = format!(
                    "this server is not called {name:?}; if it should be, add that to api.allowed_hosts or set \
                     server.public_url"
                );
                return Err(Problem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "HOST_NOT_ALLOWED",
                    detail,
                ));
            }
        }
        Ok(())
    }

    /// Whether the call comes from a page of another server that may call; then the answer has to say so.
    ///
    /// # Errors
    /// 403 when it may not.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(None);
        };
        let text = canonical(origin.to_str().unwrap_or("null"));
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = text.split_once("://").map(|(_, authority)| authority);
        if authority.is_some() && authority == host.map(canonical).as_deref() {
            return Ok(None);
        }
        if self.origins.contains(&text) {
            return Ok(Some(origin.clone()));
        }
        let detail = format!("pages of {text:?} may not call this server; api.cors_origins lists those that may");
        Err(Problem::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", detail))
    }

    /// Whether answers differ by who asks.
    pub fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }
}

/// Whether a browser asks whether it may ask.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets the page of another server see the answer. Never with cookies: there are none.
pub fn allow(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let mut add = |name, value| headers.insert(name, HeaderValue::from_static(value));
    if preflight {
        add(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        add(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        add(header::ACCESS_CONTROL_MAX_AGE, "600");
    } else {
        add(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

fn bad_host() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "INVALID_HOST",
        "a request has one Host: a name or address, and a port",
    )
}

fn canonical(text: &str) -> String {
    text.trim().trim_end_matches('/').to_ascii_lowercase()
}

/// The name in `name:port` or `[address]:port`.
fn name_of(authority: &str) -> Option<String> {
    let lower = authority.to_ascii_lowercase();
    let end = match lower.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => lower.find(':').unwrap_or(lower.len()),
    };
    let (name, rest) = lower.split_at(end);
    let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    // One dot at the end is the same name, whole.
    let name = name.strip_suffix('.').unwrap_or(name);
    (port && !name.is_empty() && !name.contains('@')).then(|| name.to_owned())
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Those of this machine as the process starts.
fn own_addresses() -> impl Iterator<Item = IpAddr> {
    let found = nix::ifaddrs::getifaddrs().into_iter().flatten();
    found.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str) -> Hosts {
        let options = ApiOptions {
            cors_origins: vec!["https://Board.example/".to_owned()],
            ..ApiOptions::default()
        };
        Hosts::new(&options, Some("https://grid.example:8443"), bound.parse().unwrap())
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn status(hosts: &Hosts, uri: &str, given: &[&str]) -> u16 {
        let given: Vec<_> = given.iter().map(|host| (header::HOST, *host)).collect();
        let checked = hosts.check_host(&uri.parse().unwrap(), &headers(&given));
        checked.map_or_else(|problem| problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn the_server_answers_to_its_own_names_alone() {
        let hosts = hosts("192.0.2.7:8080");
        for own in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "jobmaster",
            "jobmaster.:80",
            "grid.example",
            "192.0.2.7:8080",
        ] {
            assert_eq!(status(&hosts, "/x", &[own]), 200, "{own}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example:8080",
            "192.0.2.8",
            "[::2]",
            "localhost..",
        ] {
            assert_eq!(status(&hosts, "/x", &[other]), 421, "{other}");
        }
        for none in ["", ":80", "localhost:x", "localhost:99999", "a@localhost", "[::1"] {
            assert_eq!(status(&hosts, "/x", &[none]), 400, "{none}");
        }
        assert_eq!(status(&hosts, "/x", &["localhost", "localhost"]), 400);
        assert_eq!(status(&hosts, "/x", &[]), 200);
        assert_eq!(status(&hosts, "http://evil.example/x", &["localhost"]), 421);
        assert_eq!(status(&hosts, "http://localhost:80/x", &["evil.example"]), 421);
    }

    #[test]
    fn bound_to_all_addresses_it_answers_to_each_of_them() {
        let hosts = hosts("0.0.0.0:8080");
        let own: Vec<String> = own_addresses().map(bracketed).collect();
        assert!(own.contains(&"127.0.0.1".to_owned()), "{own:?}");
        for own in own {
            assert_eq!(status(&hosts, "/x", &[&own]), 200, "{own}");
        }
        assert_eq!(status(&hosts, "/x", &["0.0.0.0:8080"]), 421);
    }

    #[test]
    fn pages_of_others_are_kept_out_unless_they_are_listed() {
        let hosts = hosts("127.0.0.1:8080");
        let check = |host, origin| {
            let headers = headers(&[(header::HOST, host), (header::ORIGIN, origin)]);
            hosts
                .check_origin(&headers)
                .map(|origin| origin.is_some())
                .map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(check("localhost:8080", "http://localhost:8080"), Ok(false));
        assert_eq!(check("localhost:8080", "http://localhost:3000"), Err(403));
        assert_eq!(check("localhost:8080", "http://evil.example"), Err(403));
        assert_eq!(check("localhost:8080", "null"), Err(403));
        assert_eq!(check("null", "null"), Err(403));
        assert_eq!(check("localhost:8080", "https://board.example"), Ok(true));
        assert_eq!(check("localhost:8080", "https://grid.example:8443"), Ok(true));
        assert!(
            hosts
                .check_origin(&headers(&[(header::HOST, "localhost")]))
                .unwrap()
                .is_none()
        );
    }
}
