//! Search by the beginning of ids, names and labels.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::fixture::{Fixture, text};

/// Kind, id, field and value of what is found.
async fn found(grid: &Fixture, query: &str) -> Vec<(String, String, String, String)> {
    let answer = grid.get(&format!("/api/v1/search?q={query}")).await;
    let items = answer["items"].as_array().unwrap().iter();
    let field = |item: &Value, name: &str| text(&item[name]).to_owned();
    items
        .map(|item| {
            (
                field(item, "kind"),
                field(item, "id"),
                field(item, "field"),
                field(item, "value"),
            )
        })
        .collect()
}

fn hit(kind: &str, id: &str, field: &str, value: &str) -> (String, String, String, String) {
    (kind.to_owned(), id.to_owned(), field.to_owned(), value.to_owned())
}

#[actix_web::test]
async fn what_begins_so_is_found() {
    let grid = Fixture::new().await;
    let first = grid
        .submit(
            "externalId: nightly-import\nlabels: { team: seismology }\ntasks: [{ externalId: quake, executor: noop, \
             replicas: 45 }, { externalId: report, executor: noop }]",
        )
        .await;
    let second = grid
        .submit("externalId: nightly\nlabels: { area: team }\ntasks: [{ externalId: quake-x, executor: noop }]")
        .await;
    let (first, second) = (text(&first["jobId"]), text(&second["jobId"]));
    let (a, b) = (
        first.strip_prefix("job-").unwrap(),
        second.strip_prefix("job-").unwrap(),
    );
    let task = |job: &str, number: u32| format!("task-{job}-{number}");
    grid.psql(
        "INSERT INTO grid_read.workers (name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at,
             created_at, seq) VALUES ('nightly-1', 0, gen_random_uuid(), '', 1, '{}', now(), now(), 1)",
    );

    let by_name = [
        hit("JOB", second, "externalId", "nightly"),
        hit("JOB", first, "externalId", "nightly-import"),
        hit("WORKER", "worker-nightly-1", "id", "worker-nightly-1"),
    ];
    assert_eq!(found(&grid, "nightly").await, by_name);
    assert_eq!(found(&grid, "nightly-i").await, by_name[1..2]);
    assert_eq!(found(&grid, "worker-night").await, by_name[2..]);
    assert_eq!(found(&grid, "Nightly").await, []);
    assert_eq!(
        found(&grid, "seis").await,
        [hit("JOB", first, "label", "team=seismology")]
    );
    assert_eq!(
        found(&grid, "team:se").await,
        [hit("JOB", first, "label", "team=seismology")]
    );
    assert_eq!(found(&grid, "team%3Dx").await, []);
    let by_value_and_name = [
        hit("JOB", second, "label", "area=team"),
        hit("JOB", first, "label", "team=seismology"),
    ];
    assert_eq!(found(&grid, "team").await, by_value_and_name);

    assert_eq!(found(&grid, first).await, [hit("JOB", first, "id", first)]);
    assert_eq!(found(&grid, a).await, [hit("JOB", first, "id", first)]);
    let both = [hit("JOB", second, "id", second), hit("JOB", first, "id", first)];
    let newest_first = if a > b {
        [both[1].clone(), both[0].clone()]
    } else {
        both
    };
    assert_eq!(found(&grid, &first[..10]).await, newest_first);
    assert_eq!(
        found(&grid, &format!("task-{b}")).await,
        [hit("TASK", &task(b, 1), "id", &task(b, 1))]
    );
    let fourth: Vec<String> = found(&grid, &format!("task-{a}-4"))
        .await
        .into_iter()
        .map(|it| it.1)
        .collect();
    assert_eq!(fourth, [4, 40, 41, 42, 43, 44, 45, 46].map(|number| task(a, number)));

    let quakes = [
        hit("TASK", &task(a, 1), "externalId", "quake-0"),
        hit("TASK", &task(b, 1), "externalId", "quake-x"),
    ];
    assert_eq!(found(&grid, "quak").await, quakes);
    assert_eq!(
        found(&grid, "quake-44").await,
        [hit("TASK", &task(a, 45), "externalId", "quake-44")]
    );
    assert_eq!(found(&grid, "quake-45").await, []);
    assert_eq!(
        found(&grid, "report").await,
        [hit("TASK", &task(a, 46), "externalId", "report")]
    );
    assert_eq!(found(&grid, "%25").await, [], "no pattern");
    for (query, names) in [
        ("q=", "1 to 255"),
        ("", "1 to 255"),
        ("q=a%00b", "NUL"),
        ("q=a%01b", "control"),
        ("q=a&limit=0", "1 to 100"),
    ] {
        let refused = grid
            .json(Method::GET, &format!("/api/v1/search?{query}"), StatusCode::BAD_REQUEST)
            .await;
        assert!(text(&refused["detail"]).contains(names), "{refused}");
    }
    grid.stop().await;
}
