//! Points of metrics: the stores, by one suite, and what a real job leaves in them.

mod api;
mod cluster;
mod collector;
mod conformance;
mod grafana;
mod graphql;
mod influx;
mod off;
mod prometheus;
mod reported;
mod standalone;
