//! Traces: what a client's call leads to, as spans that are told to a collector over OTLP.
//!
//! A span is made where something begins and ends with its value, also in another process: what travels between them is
//! W3C's `traceparent` (https://www.w3.org/TR/trace-context/), with the call in commands and events, with the job's
//! submission in assignments. Must stay true: without a collector nothing is made and what clients send travels as it
//! is; a collector that is away costs spans and nothing else.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use opentelemetry::trace::SpanKind;

use crate::config::TracingOptions;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();
/// How long what has been made may take to be told at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Ends the telling of spans.
#[derive(Default)]
pub struct Tracing(Option<SdkTracerProvider>);

/// Tells spans from now on, when the options name a collector. Not on a thread of a runtime: it makes a client of its own.
///
/// # Errors
/// What is wrong with the collector's URL.
pub(super) fn start(options: &TracingOptions) -> Result<Tracing, opentelemetry_otlp::ExporterBuildError> {
    let Some(endpoint) = &options.otlp_endpoint else {
        return Ok(Tracing::default());
    };
    let base = endpoint.trim_end_matches('/');
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{base}/v1/traces"))
        .with_timeout(options.timeout)
        .build()?;
    let resource = Resource::builder_empty()
        .with_service_name("grid")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    TRACER.get_or_init(|| provider.tracer("grid"));
    Ok(Tracing(Some(provider)))
}

impl Tracing {
    /// Tells what has been made. Blocks.
    pub fn stop(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown_with_timeout(LAST_WORDS)) {
            tracing::warn!(%error, "tracing.not_told");
        }
    }
}

/// Something that goes on until this is dropped; nothing when no spans are told.
#[derive(Default)]
pub struct Span(Option<Box<opentelemetry_sdk::trace::Span>>);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// The context that a `traceparent` names.
fn remote(traceparent: &str) -> Option<Context> {
    let mut parts = traceparent.split('-');
    let (_version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context
        .is_valid()
        .then(|| Context::new().with_remote_span_context(context))
}

impl Span {
    /// Whether anybody is told of spans.
    pub fn are_told() -> bool {
        TRACER.get().is_some()
    }

    /// Begins a span under the one that the text names, or a trace of its own.
    pub fn begin(name: impl FnOnce() -> String, kind: SpanKind, parent: Option<&str>) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self::default();
        };
        let parent = parent.and_then(remote).unwrap_or_default();
        let builder = SpanBuilder::from_name(name()).with_kind(kind);
        Self(Some(Box::new(tracer.build_with_context(builder, &parent))))
    }

    /// As [`Span::begin`], but none where there is nothing that it would be under.
    pub fn under(parent: Option<&str>, name: &'static str, kind: SpanKind) -> Self {
        match parent {
            Some(parent) if TRACER.get().is_some() => Self::begin(|| name.to_owned(), kind, Some(parent)),
            _ => Self::default(),
        }
    }

    /// What those under it have to know; `None` when no spans are told.
    pub fn traceparent(&self) -> Option<Arc<str>> {
        let context = self.0.as_ref()?.span_context();
        let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        Some(format!("00-{trace}-{span}-{flags:02x}").into())
    }

    /// Says something of it.
    pub fn set(&mut self, key: &'static str, value: &dyn fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value.to_string()));
        }
    }

    pub fn fail(&mut self, why: &dyn fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why.to_string()));
        }
    }
}
