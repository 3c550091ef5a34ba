//! The web page in Chromium, on a real `grid standalone` (tests/web/ui).

use serde_json::json;

use crate::api::Fixture;
use crate::cli::server::Standalone;
use crate::support::pages;

/// The page is in the program when `make ui` came before the build.
fn is_built() {
    let page = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ui/dist/index.html.gz"));
    assert!(page.exists(), "the page is not built: run make ui, and build again");
}

#[tokio::test]
async fn every_view_lives_and_acts() {
    is_built();
    let grid = Standalone::start();
    pages(&grid.url, &["views", "live", "submit", "logs"], &[]).await;
}

#[tokio::test]
async fn what_jobs_do_is_drawn_and_everybody_can_use_it() {
    is_built();
    // What is measured is seen soon.
    let grid = Standalone::start_with(&["--slots", "8", "--set", "metrics.sample_interval=1s"]);
    pages(&grid.url, &["accessible", "charts", "past", "pipeline"], &[]).await;
}

#[tokio::test]
async fn who_is_not_known_signs_in_and_is_offered_what_they_may() {
    is_built();
    let grid = Standalone::start_with(&["--slots", "4", "--set", "auth.anonymous_role=none"]);
    let token = |role: &str| {
        let name = format!("a-{role}");
        let place = ["--expires", "1d", "--data-dir", "data"];
        let (code, out, err) = grid.run(&[&["token", "create", "--role", role, "--name", &name], &place[..]].concat());
        assert_eq!(code, 0, "{err}");
        out.trim_end().to_owned()
    };
    let tokens = json!({
        "viewer": token("viewer"),
        "operator": token("operator"),
        "admin": token("admin"),
        "revoked": token("viewer"),
    });
    pages(&grid.url, &["sign-in"], &[("GRID_TOKENS", tokens.to_string())]).await;
}

#[actix_web::test]
async fn a_worker_that_does_not_respond_is_told_of() {
    is_built();
    let grid = Fixture::new().await;
    grid.psql(
        "INSERT INTO grid_read.workers (name, shard, incarnation, endpoint_url, max_capacity, labels, registered_at,
             created_at, left_at, left_cause, seq)
         SELECT name, 0, gen_random_uuid(), 'http://10.0.0.1:9000', 4, '{}', now(), now(), now() - ago, cause, 1
         FROM (VALUES ('lost', interval '1 min', 'LOST'), ('old', '2 days', 'LOST'), ('left', '1 min', 'DRAINED'))
             gone(name, ago, cause)",
    );
    let url = format!("http://{}", grid.address);
    pages(&url, &["workers"], &[]).await;
    grid.stop().await;
}
