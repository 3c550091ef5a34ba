//! What the description promises of roles, tried from outside: each operation by each role and by nobody.

use grid::api::Role;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Fixture;

const OPENAPI: &str = include_str!("../../../schema/openapi.json");
const NOBODY: &str = "019a0000-0000-7000-8000-000000000001";

/// The operations: method, path with its parameters filled in, and the role that it is said to need.
fn described() -> Vec<(Method, String, String)> {
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut found = Vec::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        let parts = path.split('/');
        let filled: Vec<&str> = parts
            .map(|part| if part.starts_with('{') { NOBODY } else { part })
            .collect();
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-grid-role"].as_str().unwrap().to_owned();
            let method: Method = method.to_uppercase().parse().unwrap();
            if method == Method::GET {
                found.push((Method::HEAD, filled.join("/"), role.clone()));
            }
            found.push((method, filled.join("/"), role));
        }
    }
    found
}

#[actix_web::test]
async fn each_operation_needs_the_role_that_it_is_said_to_need() {
    let grid = Fixture::closed().await;
    let callers = grid.callers().await;
    let described = described();
    assert!(described.len() > 40, "{} operations", described.len());
    for (method, path, needed) in described {
        for (role, credential) in &callers {
            let headers: Vec<(&str, &str)> = credential.iter().map(|text| ("authorization", text.as_str())).collect();
            let response = grid.call(method.clone(), &path, &headers, Vec::new()).await;
            let status = response.status();
            let name = format!("{method} {path} needs {needed}; {role:?}: {status}");
            match (needed.parse::<Role>(), role) {
                (Ok(needed), Some(role)) if role.includes(needed) => {
                    assert!(!matches!(status.as_u16(), 401 | 403 | 405), "{name}");
                }
                (Ok(_), Some(_)) => assert_eq!(status, StatusCode::FORBIDDEN, "{name}"),
                (Ok(_), None) => assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}"),
                // What is wrong is refused also where nothing is needed.
                (Err(_), None) if credential.is_some() => assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}"),
                // The handler decides, by what the request carries besides.
                (Err(_), _) if needed == "secret" => assert!(!status.is_server_error(), "{name}"),
                (Err(_), _) => {
                    assert_eq!(needed, "open", "{name}");
                    assert!(!matches!(status.as_u16(), 401 | 403 | 405), "{name}");
                }
            }
        }
    }
    grid.stop().await;
}
