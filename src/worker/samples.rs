//! Points of a running attempt: now and then while it runs, and one at its end.
//!
//! Must stay true: what the points of an attempt add up to is what it counted; nothing of this holds the attempt up.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::executor::{AttemptContext, LiveCounters, Usage};
use super::pipeline::{DagNode, NodeCounts, PipelineCounters};
use super::together::{Share, Together};
use crate::document::TaskKind;
use crate::domain::Timestamp;
use crate::metrics::{Point, Points, Tags};

/// An attempt that was shorter, and counted nothing, leaves no point.
const SHORTEST: Duration = Duration::from_secs(1);

/// What has been counted, of all that only rises.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    input_events: u64,
    output_events: u64,
    input_bytes: u64,
    output_bytes: u64,
    errors: u64,
    dead_letters: u64,
    log_lines: u64,
    log_bytes: u64,
    cpu_seconds: f64,
}

/// Of one node; events in and out, bytes in and out, errors.
type OfNode = [u64; 5];

const NODE_METRICS: [&str; 5] = [
    "node_input_events",
    "node_output_events",
    "node_input_bytes",
    "node_output_bytes",
    "node_errors",
];

struct Node {
    command: String,
    /// Records enter the pipeline here.
    is_source: bool,
    /// Records leave it here.
    is_sink: bool,
}

fn nodes_of(dag: &[DagNode]) -> Vec<Node> {
    let node = |node: &DagNode| Node {
        command: node.command_name.clone(),
        is_source: !dag.iter().any(|other| other.outputs.contains(&node.id)),
        is_sink: node.outputs.is_empty(),
    };
    dag.iter().map(node).collect()
}

/// Reading /proc takes a moment, and others run on this thread.
async fn measure(live: LiveCounters) -> Option<Usage> {
    if !live.has_processes() {
        return None;
    }
    let measured = tokio::task::spawn_blocking(move || live.measure()).await;
    measured.ok().flatten()
}

/// Measures one attempt.
pub(super) struct Sampler {
    points: Points,
    /// `None`: its points carry its task.
    share: Option<Share>,
    every: Duration,
    tags: Tags,
    live: LiveCounters,
    /// The nodes of a pipeline, in the order of the dag.
    nodes: Vec<Node>,
    begun: Instant,
    told: Counted,
    told_of_nodes: Vec<OfNode>,
    has_told: bool,
}

impl Sampler {
    /// `None`: nobody wants to know.
    pub(super) fn begin(points: &Points, together: &Arc<Together>, attempt: &AttemptContext) -> Option<Self> {
        let every = points.pace()?.every;
        let nodes = match &attempt.task.kind {
            TaskKind::Dag(dag) => nodes_of(dag),
            TaskKind::Command { .. } | TaskKind::Noop => Vec::new(),
        };
        let mut tags = attempt.tags();
        let share = (!points.tagging().carries(attempt.task_id)).then(|| {
            tags.remove("task_id");
            together.join()
        });
        Some(Self {
            points: points.clone(),
            share,
            every,
            tags,
            live: attempt.live.clone(),
            nodes,
            begun: Instant::now(),
            told: Counted::default(),
            told_of_nodes: Vec::new(),
            has_told: false,
        })
    }

    /// Measures while `run` runs, and at its end.
    pub(super) async fn along<T>(mut self, run: impl Future<Output = T>) -> T {
        let mut run = pin!(run);
        let mut next = self.begun + self.every;
        loop {
            tokio::select! {
                biased;
                done = &mut run => {
                    // The executor has measured the processes before they were gone.
                    self.tell(self.live.used(), true);
                    return done;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            next = Instant::now() + self.every;
            tokio::select! {
                biased;
                done = &mut run => {
                    self.tell(self.live.used(), true);
                    return done;
                }
                used = measure(self.live.clone()) => self.tell(used, false),
            }
        }
    }

    fn tell(&mut self, used: Option<Usage>, is_last: bool) {
        let counts = self.live.get().map(PipelineCounters::nodes).unwrap_or_default();
        let (log_lines, log_bytes) = self.live.output();
        let mut now = Counted {
            log_lines,
            log_bytes,
            dead_letters: self.live.get().map_or(0, |counters| counters.dead_letters()),
            cpu_seconds: used.map_or(0.0, |used| used.cpu_seconds).max(self.told.cpu_seconds),
            ..Counted::default()
        };
        for (counts, node) in counts.iter().zip(&self.nodes) {
            // A dead letter sink may be both: nothing enters there.
            now.input_events += if node.is_source && !node.is_sink {
                counts.events_in
            } else {
                0
            };
            now.output_events += if node.is_sink { counts.events_out } else { 0 };
            now.input_bytes += counts.bytes_in;
            now.output_bytes += counts.bytes_out;
            now.errors += counts.errors;
        }
        let has_counted = log_lines > 0 || now.input_events > 0 || now.output_events > 0;
        let lasted = self.begun.elapsed();
        if is_last && !self.has_told && lasted < SHORTEST && !has_counted {
            return;
        }
        self.has_told = true;
        let at = crate::clock::now();
        self.put(self.point(at, now, used, lasted, is_last));
        self.told = now;
        self.tell_nodes(at, counts);
    }

    fn put(&self, point: Point) {
        match &self.share {
            Some(share) => share.add(&point, self.every),
            None => self.points.put(point),
        }
    }

    fn point(&self, at: Timestamp, now: Counted, used: Option<Usage>, lasted: Duration, is_last: bool) -> Point {
        let told = self.told;
        let mut point = Point::new(at, self.tags.clone())
            .with("duration_seconds", lasted.as_secs_f64())
            .with("log_lines", (now.log_lines - told.log_lines) as f64)
            .with("log_bytes", (now.log_bytes - told.log_bytes) as f64);
        if let Some(used) = used {
            point = point.with("cpu_seconds", now.cpu_seconds - told.cpu_seconds);
            if !is_last {
                point = point.with("rss_bytes", used.rss_bytes);
            }
        }
        if self.live.get().is_some() {
            for (name, now, told) in [
                ("input_events", now.input_events, told.input_events),
                ("output_events", now.output_events, told.output_events),
                ("input_bytes", now.input_bytes, told.input_bytes),
                ("output_bytes", now.output_bytes, told.output_bytes),
                ("errors", now.errors, told.errors),
                ("dead_letters", now.dead_letters, told.dead_letters),
            ] {
                point = point.with(name, now.saturating_sub(told) as f64);
            }
        }
        point
    }

    fn tell_nodes(&mut self, at: Timestamp, counts: Vec<NodeCounts>) {
        self.told_of_nodes.resize(counts.len(), OfNode::default());
        let told = self.told_of_nodes.iter_mut().zip(&self.nodes);
        for (counts, (told, node)) in counts.into_iter().zip(told) {
            let mut tags = self.tags.clone();
            tags.insert("node_id", counts.node);
            tags.insert("command_name", node.command.clone());
            let now = [
                counts.events_in,
                counts.events_out,
                counts.bytes_in,
                counts.bytes_out,
                counts.errors,
            ];
            let mut point = Point::new(at, tags);
            for ((name, now), told) in NODE_METRICS.into_iter().zip(now).zip(*told) {
                point = point.with(name, now.saturating_sub(told) as f64);
            }
            *told = now;
            match &self.share {
                Some(share) => share.add(&point, self.every),
                None => self.points.put(point),
            }
        }
    }
}
