//! What can be asked of points of metrics.

use super::operation::{Operation, Tag, get};
use super::parameter::{Parameter, one_of, text, text_like, whole};
use crate::api::series::{SeriesView, TAG_PARAMS};
use crate::metrics::{Aggregation, METRICS, TAGS};

/// A time before now, now, RFC 3339, or a day.
const MOMENT: &str = "^(now|(now)?-[0-9]+(ms|s|m|h|d|w)|[0-9]{4}-[0-9]{2}-[0-9]{2}.*)$";

pub fn operations() -> Vec<Operation> {
    let mut operation = get(
        "/api/v1/metrics",
        "listMetrics",
        Tag::System,
        "Measured values by window",
    )
    .about(
        "Of tasks, workers, jobs and processes; docs/metrics.md has the table of metrics. Without `metric`, those for which \
         a mean is right. Windows without points are left out.",
    )
    .takes(Parameter::query("from", text_like(MOMENT), "The begin; default -1h.").example("-1h"))
    .takes(Parameter::query("to", text_like(MOMENT), "The end; default now.").example("now"))
    .takes(
        Parameter::query(
            "interval",
            text_like("^[0-9]+(ms|s|m|h|d|w)$"),
            "Length of a window; default: one that makes up to 500 windows.",
        )
        .example("1m"),
    )
    .takes(Parameter::query(
        "limit",
        whole(1, 10_000, 1_000),
        "Most points; the newest are given.",
    ))
    .takes(Parameter::repeated(
        "metric",
        &one_of(METRICS.iter().map(|metric| metric.name)),
        "Only these metrics.",
    ))
    .takes(Parameter::query(
        "aggregation",
        one_of(Aggregation::ALL.map(Aggregation::name)),
        "How values of a window become one; default: mean. Rates are sums by second whatever it is.",
    ))
    .takes(Parameter::repeated(
        "groupBy",
        &one_of(TAGS),
        "Tags that points are kept apart by; default: all.",
    ));
    for name in TAG_PARAMS {
        operation = operation.takes(Parameter::repeated(
            name,
            &text(),
            "Only points with one of these values of the tag.",
        ));
    }
    vec![
        operation
            .problem(400, &["INVALID_PARAMETER", "TOO_MANY_SERIES"])
            .problem(503, &["UNAVAILABLE"])
            .answers::<SeriesView>(200, "The points, oldest first."),
    ]
}
