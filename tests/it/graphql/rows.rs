//! What subscriptions read is read for many at once, and one that is early holds back nobody.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use grid::api::live::Rows;
use grid::domain::{JobId, Position, Seq};
use grid::projection::Reading;

use crate::api::{Fixture, SHARDS, text};

#[actix_web::test]
async fn a_question_ahead_of_the_read_models_holds_back_no_other() {
    let grid = Fixture::new().await;
    let rows = Rows::start(Reading::new(grid.log.pool().clone()), grid.parts.watermarks.clone());
    let id: JobId = text(&grid.submit("tasks: []").await["jobId"]).parse().unwrap();
    let at = |seq| Position {
        shard: id.shard(SHARDS),
        seq: Seq(seq),
    };
    // More than there are statements at a time, and before the one that can be answered.
    let places = [at(1_000_000), at(1_000_001), at(1_000_002), at(1_000_003), at(1)];
    let mut answers: FuturesUnordered<_> = places.into_iter().map(|place| rows.job(id, place)).collect();
    let first = answers
        .next()
        .await
        .unwrap()
        .expect("the only answer that can be given");
    assert_eq!(first.map(|at| at.row.id), Some(id));
    while let Some(late) = answers.next().await {
        assert_eq!(
            late.expect_err("the log does not reach so far").code,
            "READ_MODEL_BEHIND"
        );
    }
    grid.stop().await;
}
