//! The description of the API as it is served, and the page to browse it.

use reqwest::Method;

use super::Fixture;

#[actix_web::test]
async fn the_description_is_served_with_its_tag() {
    let grid = Fixture::new().await;
    let path = "/api/openapi.json";
    let response = grid.call(Method::GET, path, &[], Vec::new()).await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let served: serde_json::Value = response.json().await.unwrap();
    let committed = include_str!("../../../schema/openapi.json");
    assert!(served == serde_json::from_str::<serde_json::Value>(committed).unwrap());
    let again = grid
        .call(Method::GET, path, &[("if-none-match", &tag)], Vec::new())
        .await;
    assert_eq!(again.status(), 304);
    assert_eq!(again.headers()["etag"], tag.as_str());
    grid.stop().await;
}

/// What the quotes behind `name=` in a page hold.
fn values<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("{name}=\"");
    let found = page.split(begin.as_str()).skip(1);
    found.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The policy is what keeps it so in a browser; here it is shown that nothing else is even named.
#[actix_web::test]
async fn the_page_loads_only_what_this_server_has() {
    let grid = Fixture::new().await;
    let response = grid.call(Method::GET, "/api/docs", &[], Vec::new()).await;
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    assert!(directives.contains(&"default-src 'none'"), "{policy}");
    assert!(directives.contains(&"script-src 'self'"), "{policy}");
    assert!(directives.contains(&"connect-src 'self'"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
    let page = response.text().await.unwrap();
    assert!(
        !page.contains("<script>") && !page.contains("<style") && !page.contains(" onload"),
        "{page}"
    );
    let parts = [values(&page, "src"), values(&page, "href")].concat();
    let types = [
        ("/api/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/api/docs/start.js", "text/javascript"),
        ("/api/docs/favicon-32x32.png", "image/png"),
        ("/api/docs/swagger-ui.css", "text/css"),
    ];
    assert_eq!(parts, types.map(|(path, _)| path));
    for (path, expected) in types {
        let response = grid.call(Method::GET, path, &[], Vec::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], expected, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        let bytes = response.bytes().await.unwrap();
        assert!(!bytes.is_empty(), "{path}");
        if path.ends_with("start.js") {
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                text.contains("\"/api/openapi.json\"") && !text.contains("http"),
                "{text}"
            );
        }
    }
    for missing in ["index.html", "oauth2-redirect.html", "..%2fopenapi.json"] {
        let path = format!("/api/docs/{missing}");
        assert_eq!(
            grid.call(Method::GET, &path, &[], Vec::new()).await.status(),
            404,
            "{path}"
        );
    }
    grid.stop().await;
}

/// Where the alerts' links lead.
#[actix_web::test]
async fn pages_of_the_documentation_are_served_with_places_to_jump_to() {
    let grid = Fixture::new().await;
    for name in ["failed-at-night", "metrics", "pipelines", "runbook"] {
        let response = grid
            .call(Method::GET, &format!("/api/docs/{name}"), &[], Vec::new())
            .await;
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("script"), "{policy}");
    }
    let response = grid.call(Method::GET, "/api/docs/runbook", &[], Vec::new()).await;
    let page = response.text().await.unwrap();
    let rules = include_str!("../../../docker/grafana/provisioning/alerting/rules.yaml");
    let mut sections = 0;
    for link in rules.split("/api/docs/runbook#").skip(1) {
        let section = link.split_whitespace().next().unwrap();
        assert!(
            page.contains(&format!("<b id=\"{section}\">## {section}</b>")),
            "{section}: {page}"
        );
        sections += 1;
    }
    assert_eq!(sections, 10);
    grid.stop().await;
}
