//! Who has an answer already is told that it is still true.

use std::path::Path;

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::fixture::{Fixture, text};
use crate::support::eventually;

fn tag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

async fn ask(grid: &Fixture, method: Method, path: &str, tag: Option<&str>) -> Response {
    let headers: Vec<(&str, &str)> = tag.map(|tag| ("if-none-match", tag)).into_iter().collect();
    grid.call(method, path, &headers, Vec::new()).await
}

/// Its tag, after it was shown to be of use.
async fn spared(grid: &Fixture, path: &str) -> String {
    let full = ask(grid, Method::GET, path, None).await;
    assert_eq!(full.status(), StatusCode::OK, "{path}");
    assert_eq!(full.headers()["cache-control"], "private, no-cache");
    let known = tag(&full);
    assert!(known.starts_with('"') && known.ends_with('"'), "{known}");
    for method in [Method::GET, Method::HEAD] {
        let same = ask(grid, method, path, Some(&known)).await;
        assert_eq!((same.status(), tag(&same)), (StatusCode::NOT_MODIFIED, known.clone()));
        assert!(same.bytes().await.unwrap().is_empty());
    }
    let head = ask(grid, Method::HEAD, path, None).await;
    assert_eq!((head.status(), tag(&head)), (StatusCode::OK, known.clone()));
    assert_eq!(head.headers()["content-length"], full.headers()["content-length"]);
    assert!(head.bytes().await.unwrap().is_empty());
    known
}

#[actix_web::test]
async fn jobs_and_tasks_have_tags_that_change_with_them() {
    let grid = Fixture::new().await;
    let job = grid
        .submit("tasks: [{ externalId: a, executor: noop }, { externalId: b, executor: noop }]")
        .await;
    let id = text(&job["jobId"]);
    let (path, task) = (
        format!("/api/v1/jobs/{id}"),
        format!("/api/v1/tasks/task-{}-1", id.strip_prefix("job-").unwrap()),
    );
    let (job_tag, task_tag) = (spared(&grid, &path).await, spared(&grid, &task).await);
    assert_ne!(job_tag, task_tag);

    grid.json(Method::DELETE, &format!("/api/v1/jobs/kill/{id}"), StatusCode::OK)
        .await;
    for (path, before) in [(&path, &job_tag), (&task, &task_tag)] {
        let changed = eventually("the change is seen", std::time::Duration::from_secs(20), async || {
            let response = ask(&grid, Method::GET, path, Some(before)).await;
            (response.status() == StatusCode::OK).then_some(response)
        })
        .await;
        assert_ne!(&tag(&changed), before);
    }
    eventually("it has finished", std::time::Duration::from_secs(20), async || {
        (!grid.get(&path).await["finishedAt"].is_null()).then_some(())
    })
    .await;
    assert_ne!(spared(&grid, &path).await, job_tag);
    assert_ne!(spared(&grid, &task).await, task_tag);
    // Problems have none.
    let missing = ask(&grid, Method::GET, &format!("{path}0"), Some("*")).await;
    assert_eq!(missing.status(), StatusCode::BAD_REQUEST);
    grid.stop().await;
}

fn files(folder: &Path, found: &mut Vec<String>, root: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found, root);
        } else {
            found.push(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

#[actix_web::test]
async fn every_schema_file_is_served() {
    let grid = Fixture::new().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut there = Vec::new();
    files(&root, &mut there, &root);
    there.sort();
    let list = grid.get("/api/v1/schema").await;
    let listed: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item["name"]))
        .collect();
    assert_eq!(listed, there);
    for item in list["items"].as_array().unwrap() {
        spared(&grid, text(&item["url"])).await;
        let response = ask(&grid, Method::GET, text(&item["url"]), None).await;
        assert_eq!(response.headers()["content-type"], text(&item["contentType"]));
        assert_eq!(
            response.bytes().await.unwrap(),
            std::fs::read(root.join(text(&item["name"]))).unwrap()
        );
    }
    let schema: Value = grid.get("/api/v1/schema/job.schema.json").await;
    assert!(schema["$schema"].is_string());
    let missing = grid
        .json(Method::GET, "/api/v1/schema/none.json", StatusCode::NOT_FOUND)
        .await;
    assert_eq!(missing["code"], "NOT_FOUND");
    grid.stop().await;
}
