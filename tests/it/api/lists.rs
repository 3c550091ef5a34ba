//! Lists: pages, cursors, order.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fixture::{Fixture, text};

fn ids(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| text(&job["jobId"]).to_owned())
        .collect()
}

#[actix_web::test]
async fn jobs_are_listed_newest_first_by_page_and_by_cursor() {
    let grid = Fixture::new().await;
    for _ in 0..23 {
        grid.submit("tasks: []").await;
    }
    let all = grid.get("/api/v1/jobs?size=500").await;
    assert_eq!(
        (&all["total"], &all["page"], &all["size"]),
        (&json!(23), &json!(0), &json!(500))
    );
    assert!(all["nextCursor"].is_null());
    let keys: Vec<(String, String)> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (text(&job["createdAt"]).to_owned(), text(&job["jobId"]).to_owned()))
        .collect();
    assert!(keys.windows(2).all(|pair| pair[0] > pair[1]), "{keys:?}");

    let (mut by_page, mut by_cursor) = (Vec::new(), Vec::new());
    for page in 0..6 {
        by_page.extend(ids(&grid.get(&format!("/api/v1/jobs?page={page}&size=4")).await));
    }
    let mut path = "/api/v1/jobs?size=4".to_owned();
    for page in 0.. {
        let list = grid.get(&path).await;
        assert_eq!(list["page"], page);
        by_cursor.extend(ids(&list));
        let Some(cursor) = list["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs?size=4&cursor={cursor}");
    }
    assert_eq!(by_page, ids(&all));
    assert_eq!(by_cursor, ids(&all));
    let beyond = grid.get("/api/v1/jobs?page=9&size=4").await;
    assert_eq!(
        (&beyond["items"], &beyond["total"], &beyond["nextCursor"]),
        (&json!([]), &json!(23), &Value::Null)
    );
    let last = grid.get("/api/v1/jobs?page=4294967295&size=500").await;
    assert_eq!(last["items"], json!([]));
    grid.stop().await;
}

#[actix_web::test]
async fn tasks_are_listed_by_number() {
    let grid = Fixture::new().await;
    let job = grid
        .submit("tasks: [{ externalId: t, executor: noop, replicas: 1234 }]")
        .await;
    let id = text(&job["jobId"]);
    let (mut path, mut numbers) = (format!("/api/v1/jobs/{id}/tasks?size=500"), Vec::new());
    loop {
        let list = grid.get(&path).await;
        assert_eq!(list["total"], 1234);
        numbers.extend(
            list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| task["replicaIndex"].as_u64().unwrap()),
        );
        let Some(cursor) = list["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs/{id}/tasks?size=500&cursor={cursor}");
    }
    assert_eq!(numbers, (0..1234).collect::<Vec<_>>());
    let page = grid.get(&format!("/api/v1/jobs/{id}/tasks?page=12&size=100")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 34);
    let names: BTreeSet<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| text(&task["externalId"]))
        .collect();
    assert!(names.contains("t-1233") && !names.contains("t-1199"));
    grid.stop().await;
}
