//! The way of an attempt's lines: read from its queue, made into lines of the log, given to the shippers.
//!
//! Must stay true: an attempt never waits for the log's store; what its task writes last is given on like all else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::executor::{LineSink, LogLine, Stream};
use super::log_shipper::Shipper;
use crate::domain::{Attempt, TaskId, WorkerName};
use crate::logs::Line;
use crate::logs::capture::{Capture, Origin, Output, Rate};
use crate::logs::recent::Recent;

/// Lines of one attempt that may wait to be made.
const QUEUE_LINES: usize = 1_024;
/// How long an attempt may be held up when they do. Making a line takes microseconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// A line is held back so long for what may go on with it.
const HOLD: Duration = Duration::from_millis(100);

/// Where lines go.
#[derive(Clone)]
pub(super) struct Outlets {
    pub shippers: Arc<[Arc<Shipper>]>,
    pub recent: Arc<Recent>,
}

/// The queue for an attempt's lines; they are given on until the last of its senders is gone.
pub(super) fn open(task: TaskId, attempt: Attempt, worker: &WorkerName, rate: Rate, to: &Outlets) -> LineSink {
    // Any of their threads can make lines.
    let Some(first) = to.shippers.first() else {
        return LineSink::discard();
    };
    let (sink, lines) = LineSink::bounded(QUEUE_LINES, PATIENCE);
    let origin = Origin {
        job_id: task.job.to_string(),
        task_id: task.to_string(),
        worker_id: worker.to_string(),
        attempt: attempt.0,
    };
    let capture = Capture::new(origin, rate);
    let work = give_on(lines, capture, to.clone());
    crate::task::spawn_on(first.runtime(), "attempt_lines", work);
    sink
}

async fn give_on(mut lines: mpsc::Receiver<LogLine>, mut capture: Capture, to: Outlets) {
    let mut made = Vec::new();
    loop {
        let line = if capture.holds() {
            tokio::time::timeout(HOLD, lines.recv()).await
        } else {
            Ok(lines.recv().await)
        };
        match line {
            Ok(Some(line)) => capture.take(line.at, output(line.stream), &line.text, &mut made),
            Err(_) => capture.flush(crate::clock::now(), &mut made),
            Ok(None) => break,
        }
        give(&mut made, &to);
    }
    capture.flush(crate::clock::now(), &mut made);
    give(&mut made, &to);
}

fn give(made: &mut Vec<Line>, to: &Outlets) {
    for line in made.drain(..) {
        to.recent
            .take(line, |line| to.shippers.iter().for_each(|shipper| shipper.take(line)));
    }
}

const fn output(stream: Stream) -> Output {
    match stream {
        Stream::Stdout => Output::Stdout,
        Stream::Stderr => Output::Stderr,
    }
}
