//! Purges that were interrupted, and who may purge.

use grid::api::Role;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::fixture::wanted;
use super::{Fixture, text};

const EMPTY: &str = "tasks: []";

#[actix_web::test]
async fn a_purge_that_was_interrupted_is_told_and_can_be_run_again_by_an_admin() {
    let grid = Fixture::new().await;
    let headers = [("content-type", "application/yaml")];
    let job = grid.call(Method::POST, "/api/v1/jobs", &headers, EMPTY.into()).await;
    let job: Value = job.json().await.unwrap();
    let id = text(&job["jobId"]).to_owned();
    let began = "INSERT INTO purges (job, purged_by) VALUES ($1::uuid, 'ann')";
    let began = sqlx::query(began).bind(id.trim_start_matches("job-").parse::<uuid::Uuid>().unwrap());
    began.execute(grid.log.pool()).await.unwrap();

    let document = format!("/api/v1/jobs/{id}/document");
    let hidden = grid.call(Method::GET, &document, &[], Vec::new()).await;
    assert_eq!(hidden.status(), StatusCode::GONE, "it is still there, and not shown");
    let retry = format!("/api/v1/jobs/{id}/retry");
    let refused = grid.call(Method::POST, &retry, &[], Vec::new()).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "JOB_PURGED");
    assert!(text(&refused["detail"]).contains("by ann at 20"), "{refused}");
    assert!(
        text(&refused["detail"]).contains("has not finished: run it again"),
        "{refused}"
    );

    let purge = format!("/api/v1/jobs/{id}/purge");
    let operator = grid.token(wanted(Role::Operator, "cat")).await;
    let operator = [("authorization", operator.as_str())];
    let operator = grid.call(Method::POST, &purge, &operator, Vec::new()).await;
    assert_eq!(operator.status(), StatusCode::FORBIDDEN);
    let bob = grid.token(wanted(Role::Admin, "bob@example.com")).await;
    let bob = [("authorization", bob.as_str())];
    let done = grid.call(Method::POST, &purge, &bob, Vec::new()).await;
    assert_eq!(done.status(), StatusCode::OK);
    let gone = grid.call(Method::GET, &document, &bob, Vec::new()).await;
    assert_eq!(gone.status(), StatusCode::GONE);
    let gone: Value = gone.json().await.unwrap();
    assert_eq!(gone["code"], "DOCUMENT_PURGED");
    assert!(text(&gone["detail"]).contains("by bob@example.com at 20"), "{gone}");

    // What was written down stays, and the service can remove nothing that nobody wished.
    for sql in [
        "DELETE FROM purges",
        "UPDATE purges SET purged_by = 'nobody'",
        "SELECT grid_purge(id) FROM purges WHERE finished_at IS NOT NULL",
        "DELETE FROM documents",
        "DELETE FROM submissions",
    ] {
        let refused = sqlx::query(sql).execute(grid.log.pool()).await;
        assert!(refused.is_err(), "{sql}");
    }
    grid.stop().await;
}
