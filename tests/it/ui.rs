//! The web page in Chromium, on a real `grid standalone` (tests/web/ui).

use crate::api::Fixture;
use crate::cli::server::Standalone;
use crate::support::{chromium, node};

/// The page is in the program when `make ui` came before the build.
fn is_built() {
    let page = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/ui/dist/index.html.gz"));
    assert!(page.exists(), "the page is not built: run make ui, and build again");
}

#[tokio::test]
async fn every_view_lives_and_acts() {
    is_built();
    let grid = Standalone::start();
    for file in ["ui/views.test.mjs", "ui/submit.test.mjs", "ui/logs.test.mjs"] {
        node(&grid.url, file, &[chromium()]).await;
    }
}

#[tokio::test]
async fn what_jobs_do_is_drawn() {
    is_built();
    // What is measured is seen soon.
    let grid = Standalone::start_with(&["--slots", "4", "--set", "metrics.sample_interval=1s"]);
    for file in ["ui/charts.test.mjs", "ui/pipeline.test.mjs", "ui/past.test.mjs"] {
        node(&grid.url, file, &[chromium()]).await;
    }
}

#[actix_web::test]
async fn who_is_not_known_signs_in_and_is_offered_what_they_may() {
    is_built();
    let grid = Fixture::closed().await;
    let tokens = grid.tokens().await.to_string();
    let url = format!("http://{}", grid.address);
    node(&url, "ui/sign-in.test.mjs", &[chromium(), ("GRID_TOKENS", tokens)]).await;
    grid.stop().await;
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
    node(&url, "ui/workers.test.mjs", &[chromium()]).await;
    grid.stop().await;
}
