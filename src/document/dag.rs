//! The meaning of a document's pipelines: what the worker's own check says of them, with the places of this document.

use std::collections::HashMap;

use super::error::ErrorCode;
use super::spot::Spot;
use crate::worker::pipeline::{self, DagError, DagNode};

/// Checks pipelines; equal ones, of which a document may have thousands, once.
#[derive(Default)]
pub struct Checker {
    known: HashMap<String, Vec<DagError>>,
}

impl Checker {
    /// Leaves what is wrong with `nodes`, read from the list at `spot`, among its errors.
    pub fn check(&mut self, nodes: &[DagNode], replicas: u32, spot: &Spot<'_>) {
        let key = format!("{}{}", u8::from(replicas > 1), serde_json::json!(nodes));
        let errors = self.known.entry(key).or_insert_with(|| {
            let meaning = pipeline::check(nodes);
            // What depends on the replicas can be told of a graph that is right otherwise.
            meaning
                .and_then(|()| pipeline::check_replicas(nodes, replicas))
                .err()
                .unwrap_or_default()
        });
        for error in errors {
            let within = error.place.map(|place| (place.line, place.column));
            spot.fail_below(&error.pointer, within, ErrorCode::InvalidDag, error.to_string());
        }
    }
}
