//! A collector of spans: OTLP over HTTP, as protobuf.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;

/// A span that was told, ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Told {
    pub trace: String,
    pub id: String,
    /// Empty: it is the first of its trace.
    pub parent: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// Of the process that told it.
    pub process: String,
    /// Nanoseconds since 1970.
    pub begun: u64,
    pub ended: u64,
}

/// Serves until the process of the tests ends.
pub struct Collector {
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
}

fn attributes(found: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?} of {}", attribute.key),
    };
    found.iter().map(|one| (one.key.clone(), text(one))).collect()
}

fn read(body: &[u8]) -> Vec<Told> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut told = Vec::new();
    for spans in request.resource_spans {
        let resource = attributes(&spans.resource.unwrap().attributes);
        assert_eq!(resource["service.name"], "grid");
        for span in spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            told.push(Told {
                trace: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                name: span.name,
                attributes: attributes(&span.attributes),
                process: resource["process.pid"].clone(),
                begun: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
            });
        }
    }
    told
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let kept = Arc::clone(&told);
        std::thread::spawn(move || {
            let server = HttpServer::new(move || {
                let kept = Arc::clone(&kept);
                let take = move |body: web::Bytes| {
                    kept.lock().unwrap().extend(read(&body));
                    let answer = ExportTraceServiceResponse::default().encode_to_vec();
                    async move { HttpResponse::Ok().content_type("application/x-protobuf").body(answer) }
                };
                App::new().route("/v1/traces", web::post().to(take))
            });
            let server = server.workers(1).disable_signals().listen(listener).unwrap();
            actix_web::rt::System::new().block_on(server.run()).unwrap();
        });
        Self { url, told }
    }

    /// The spans of a trace that were told.
    pub fn of(&self, trace: &str) -> Vec<Told> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|span| span.trace == trace).cloned().collect()
    }
}
