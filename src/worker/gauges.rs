//! The worker's metrics: `grid_worker_…{worker}`.

use metrics::{Counter, Gauge};

use super::machine::{Glance, Totals};
use crate::domain::WorkerName;

/// Which of the totals a counter shows.
type Total = fn(&Totals) -> u64;

pub(super) struct Gauges {
    running: Gauge,
    queued: Gauge,
    unacknowledged: Gauge,
    slots: Gauge,
    prefetch: Gauge,
    outstanding: Gauge,
    jobmasters: Gauge,
    registered: Gauge,
    fading: Gauge,
    totals: Vec<(Counter, Total)>,
    /// What earlier incarnations have counted is not lost: counters only ever rise.
    told: Totals,
}

impl Gauges {
    pub(super) fn new(worker: &WorkerName) -> Self {
        let gauge = |name: &'static str| metrics::gauge!(name, "worker" => worker.to_string());
        let counter = |name: &'static str| metrics::counter!(name, "worker" => worker.to_string());
        let ended = |outcome: &'static str| metrics::counter!("grid_worker_attempts_ended_total", "worker" => worker.to_string(), "outcome" => outcome);
        let totals: Vec<(Counter, Total)> = vec![
            (counter("grid_worker_attempts_started_total"), |totals| totals.started),
            (ended("completed"), |totals| totals.completed),
            (ended("failed"), |totals| totals.failed),
            (ended("handed_back"), |totals| totals.handed_back),
            (counter("grid_worker_reports_total"), |totals| totals.reports),
            (counter("grid_worker_report_items_total"), |totals| totals.report_items),
            (counter("grid_worker_report_repeats_total"), |totals| totals.repeats),
            (counter("grid_worker_heartbeats_total"), |totals| totals.beats),
            (counter("grid_worker_dropped_total"), |totals| totals.dropped),
        ];
        Self {
            running: gauge("grid_worker_running"),
            queued: gauge("grid_worker_queued"),
            unacknowledged: gauge("grid_worker_unacknowledged"),
            slots: gauge("grid_worker_slots"),
            prefetch: gauge("grid_worker_prefetch"),
            outstanding: gauge("grid_worker_credits_outstanding"),
            jobmasters: gauge("grid_worker_live_jobmasters"),
            registered: gauge("grid_worker_registered"),
            fading: gauge("grid_worker_cut_off"),
            totals,
            told: Totals::default(),
        }
    }

    pub(super) fn show(&mut self, slots: u32, glance: &Glance, totals: &Totals) {
        self.running.set(glance.running);
        self.queued.set(glance.queued);
        self.unacknowledged.set(glance.unacknowledged);
        self.slots.set(slots);
        self.prefetch.set(glance.prefetch as f64);
        self.outstanding.set(glance.outstanding as f64);
        self.jobmasters.set(glance.live_jobmasters);
        self.registered.set(f64::from(u8::from(glance.registered)));
        self.fading.set(f64::from(u8::from(glance.fading)));
        for (counter, total) in &self.totals {
            counter.increment(total(totals).saturating_sub(total(&self.told)));
        }
        self.told = *totals;
    }
}
