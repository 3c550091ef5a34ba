//! Lines of a job removed from a VictoriaLogs: from a real one, which does so only when it was started for it.

use grid::clock::now;
use grid::logs::{Line, LogStore, LogsOptions, Order, StoreError, Victoria, VictoriaOptions};
use uuid::Uuid;

use super::victoria::{batch, everything, store};
use crate::support::VictoriaLogs;

fn job() -> String {
    format!("job-{}", Uuid::now_v7())
}

fn line(job: &str, message: &str) -> Line {
    Line {
        job_id: job.to_owned(),
        ..super::line(&now().to_string(), message)
    }
}

async fn found(store: &Victoria, job: &str) -> usize {
    let search = everything(job, Order::OldestFirst, 10);
    store.search(&search).await.unwrap().lines.len()
}

#[tokio::test]
async fn lines_of_a_job_are_removed_and_no_others() {
    let Some((server, store)) = store() else { return };
    let (one, other) = (job(), job());
    let lines = vec![line(&one, "of ann"), line(&other, "of bob"), line(&one, "and of ann")];
    store.add(batch(1, lines)).await.unwrap();
    server.flush().await;
    assert_eq!((found(&store, &one).await, found(&store, &other).await), (2, 1));
    assert_eq!(store.can_erase().await.unwrap(), "victorialogs");
    store.erase(&one).await.unwrap();
    assert_eq!((found(&store, &one).await, found(&store, &other).await), (0, 1));
    // Another time it finds nothing left to do.
    store.erase(&one).await.unwrap();
}

#[tokio::test]
async fn a_server_that_removes_nothing_is_told_of_with_what_to_do() {
    let Some(server) = VictoriaLogs::that_keeps_all() else {
        return;
    };
    let options = VictoriaOptions {
        url: Some(server.url.clone()),
        ..VictoriaOptions::default()
    };
    let store = Victoria::new(&options, &LogsOptions::default()).unwrap().unwrap();
    for refused in [store.can_erase().await.map(drop), store.erase(&job()).await] {
        let Err(StoreError::CannotErase(why)) = refused else {
            panic!("{refused:?}")
        };
        assert!(why.contains("start it with the flag -delete.enable"), "{why}");
    }
}
