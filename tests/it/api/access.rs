//! Who may use which route: every route of the table is tried by everybody.

use grid::api::{Access, Role, rules};
use reqwest::Method;
use serde_json::Value;

use super::fixture::TOKEN;
use super::{Fixture, Options};

/// An id that is well-formed wherever one is asked for, and of nothing that is there.
const NOBODY: &str = "019a0000-0000-7000-8000-000000000001";

/// A path of the table with its parameters filled in.
fn filled(pattern: &str) -> String {
    let parts = pattern
        .split('/')
        .map(|part| if part.starts_with('{') { NOBODY } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[actix_web::test]
async fn every_route_lets_in_only_those_who_may_use_it() {
    let grid = Fixture::with(Options {
        anonymous_role: None,
        ..Options::default()
    })
    .await;
    let worker = format!("Bearer {TOKEN}");
    let callers = [(None, None), (Some(Role::Worker), Some(worker.as_str()))];
    for rule in rules() {
        for (role, credential) in callers {
            let headers: Vec<(&str, &str)> = credential.map(|text| ("authorization", text)).into_iter().collect();
            let method: Method = rule.method.parse().unwrap();
            let response = grid.call(method, &filled(rule.path), &headers, Vec::new()).await;
            let status = response.status().as_u16();
            let name = format!("{} {} as {role:?}: {status}", rule.method, rule.path);
            let expected = match (rule.access, role) {
                (Access::Open, _) => None,
                (Access::Secret, _) => {
                    assert!(matches!(status, 401 | 403 | 404), "{name}");
                    continue;
                }
                (Access::Least(least), Some(role)) if role.includes(least) => None,
                (Access::Least(_), None) => Some((401, "UNAUTHENTICATED")),
                (Access::Least(_), Some(_)) => Some((403, "FORBIDDEN")),
            };
            match expected {
                None => assert!(!matches!(status, 401 | 403 | 405), "{name}"),
                Some((expected, code)) => {
                    assert_eq!(status, expected, "{name}");
                    assert_eq!(
                        response.headers().contains_key("www-authenticate"),
                        expected == 401,
                        "{name}"
                    );
                    if rule.method != "HEAD" {
                        let problem: Value = response.json().await.unwrap();
                        assert_eq!(problem["code"], code, "{name}");
                    }
                }
            }
        }
    }
    grid.stop().await;
}
