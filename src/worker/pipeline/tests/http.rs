//! The nodes that speak HTTP, with a server that listens.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use super::super::{DagNode, PipelineFailure, PipelineFailureReason, SecretReader};
use super::{Place, data, multiset, node, run_in};

/// What the server was sent: content type, and body.
type Sent = Arc<Mutex<Vec<(String, String)>>>;

struct Server {
    address: SocketAddr,
    sent: Sent,
    handle: ServerHandle,
}

impl Server {
    fn start() -> Self {
        let sent = Sent::default();
        let (told, heard) = mpsc::sync_channel(1);
        let kept = Arc::clone(&sent);
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    let kept = web::Data::from(Arc::clone(&kept));
                    App::new().app_data(kept).default_service(web::to(answer))
                };
                let server = HttpServer::new(app).workers(1).disable_signals();
                let server = server.bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                told.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = heard.recv().unwrap();
        Self { address, sent, handle }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn sent(&self) -> Vec<(String, String)> {
        self.sent.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, sent: web::Data<Mutex<Vec<(String, String)>>>) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    match request.path() {
        "/quakes" => HttpResponse::Ok().body(std::fs::read(data("earthquakes.ndjson")).unwrap()),
        "/csv" => HttpResponse::Ok().body("a;b\n1;\"x\ny\"\n2;z\n"),
        "/closed" if header("authorization") == "Bearer open sesame" => HttpResponse::Ok().body("{\"in\":true}\n"),
        "/closed" => HttpResponse::Unauthorized().body("who are you?"),
        "/forbidden" => HttpResponse::Forbidden().finish(),
        "/shape" => HttpResponse::UnprocessableEntity().body("it has no name"),
        "/moved" => HttpResponse::Found().insert_header(("location", "/closed")).finish(),
        "/away" => {
            let elsewhere = format!("http://localhost:{}/csv", request.app_config().local_addr().port());
            HttpResponse::Found().insert_header(("location", elsewhere)).finish()
        }
        "/silent" => std::future::pending().await,
        "/take" | "/busy" => {
            let mut sent = sent.lock().unwrap();
            sent.push((header("content-type"), String::from_utf8(body.to_vec()).unwrap()));
            // The first two times of each body there is no room.
            let same = sent
                .iter()
                .filter(|(_, earlier)| earlier.as_bytes() == &body[..])
                .count();
            if request.path() == "/busy" && same <= 2 {
                HttpResponse::ServiceUnavailable().finish()
            } else {
                HttpResponse::NoContent().finish()
            }
        }
        _ => HttpResponse::InternalServerError().body("out of order"),
    }
}

fn from(url: &str, more: Value) -> Vec<DagNode> {
    let mut config = json!({"url": url});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    vec![
        node("in", "httpsource", config, &["out"]),
        node("out", "filesink", json!({"path": "out-${REPLICA_INDEX}.ndjson"}), &[]),
    ]
}

fn to(url: &str, count: u64, more: Value) -> Vec<DagNode> {
    let mut config = json!({"url": url});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    vec![
        node("in", "generatesource", json!({"count": count}), &["out", "copy"]),
        node("out", "httpsink", config, &[]),
        node("copy", "filesink", json!({"path": "copy.ndjson"}), &[]),
    ]
}

fn failure(place: &Place, dag: &[DagNode]) -> PipelineFailure {
    place.run(dag).unwrap_err()
}

#[test]
fn replicas_read_every_record_of_an_answer_once() {
    let server = Server::start();
    let place = Place::new();
    let dag = from(&server.url("/quakes"), json!({}));
    let mut made = Vec::new();
    for index in 0..3 {
        place.run_replica(&dag, index, 3).unwrap();
        let part = place.read(&format!("out-{index}.ndjson"));
        assert!(!part.is_empty());
        made.push(part);
    }
    let same = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
    let wanted = std::fs::read_to_string(data("earthquakes.ndjson")).unwrap();
    let of = |texts: Vec<String>| multiset(texts.iter().map(String::as_str));
    let made: Vec<String> = made.iter().flat_map(|part| part.lines().map(same)).collect();
    assert_eq!(of(made), of(wanted.lines().map(same).collect()));
    assert_eq!(place.files(), ["out-0.ndjson", "out-1.ndjson", "out-2.ndjson"]);
}

#[test]
fn answers_have_the_encodings_of_files() {
    let server = Server::start();
    let place = Place::new();
    let csv = from(&server.url("/csv"), json!({"encoding": "csv", "delimiter": ";"}));
    place.run(&csv).unwrap();
    assert_eq!(
        place.records("out-0.ndjson"),
        [json!({"a": "1", "b": "x\ny"}), json!({"a": "2", "b": "z"})]
    );
}

#[test]
fn credentials_are_secrets_and_a_refusal_is_not_tried_again() {
    let server = Server::start();
    let place = Place::new();
    let headers = json!({"headers": {"Authorization": {"secret": "TOKEN"}}});
    let dag = from(&server.url("/closed?key=value"), headers);
    let with = |value: &'static str| {
        let mut context = place.context(0, 1);
        context.secrets = SecretReader::new(move |name| {
            assert_eq!(name, "TOKEN");
            Ok(value.to_owned())
        });
        run_in(&dag, &context)
    };
    with("Bearer open sesame").unwrap();
    assert_eq!(place.records("out-0.ndjson"), [json!({"in": true})]);
    let moved = |path: &str| {
        let headers = json!({"headers": {"Authorization": {"secret": "TOKEN"}}, "encoding": "text"});
        let mut context = place.context(0, 1);
        context.secrets = SecretReader::new(|_| Ok("Bearer open sesame".to_owned()));
        run_in(&from(&server.url(path), headers), &context)
    };
    moved("/moved").unwrap();
    assert!(
        moved("/away").unwrap_err().message.contains("302"),
        "a secret goes nowhere else"
    );
    place
        .run(&from(&server.url("/away"), json!({"encoding": "text"})))
        .unwrap();
    let moved = failure(&place, &to(&server.url("/moved"), 3, json!({})));
    assert!(moved.message.contains("302"), "nothing was taken: {moved}");
    let refused = with("Bearer wrong word").unwrap_err();
    assert_eq!(refused.reason, PipelineFailureReason::Authentication);
    let told = format!("{refused} {:?}", refused.causes);
    assert!(told.contains("401") && told.contains("who are you?"), "{told}");
    assert!(!told.contains("wrong word") && !told.contains("value"), "{told}");
    // Here there are no secrets.
    let missing = failure(&place, &dag);
    assert!(
        missing.reason == PipelineFailureReason::Error && missing.message.contains("TOKEN"),
        "{missing}"
    );
    for dag in [
        from(&server.url("/forbidden"), json!({})),
        to(&server.url("/forbidden"), 3, json!({})),
        to(&server.url("/closed"), 3, json!({"method": "PUT"})),
    ] {
        assert_eq!(failure(&place, &dag).reason, PipelineFailureReason::Authentication);
    }
}

#[test]
fn what_does_not_answer_is_told_without_what_it_was_asked() {
    let server = Server::start();
    let place = Place::new();
    let broken = failure(&place, &from(&server.url("/broken?key=value"), json!({})));
    assert_eq!(broken.reason, PipelineFailureReason::Error);
    assert!(
        broken.message.contains("500") && broken.causes == ["out of order"],
        "{broken:?}"
    );
    let silent = from(&server.url("/silent?key=value"), json!({"timeoutSeconds": 1}));
    let silent = failure(&place, &silent);
    let told = format!("{silent} {:?}", silent.causes);
    assert!(
        silent.reason == PipelineFailureReason::Error && !told.contains("value"),
        "{told}"
    );
    let nobody = failure(&place, &from("http://127.0.0.1:1/x?key=value", json!({})));
    let told = format!("{nobody} {:?}", nobody.causes);
    assert!(
        told.contains("127.0.0.1:1/x does not answer") && !told.contains("value"),
        "{told}"
    );
}

#[test]
fn a_cancelled_run_does_not_wait_for_an_answer() {
    let server = Server::start();
    let place = Place::new();
    for dag in [
        from(&server.url("/silent"), json!({})),
        to(&server.url("/silent"), 1, json!({})),
    ] {
        let context = place.context(0, 1);
        let control = context.control.clone();
        let cancels = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            control.cancel();
        });
        let begun = Instant::now();
        let cancelled = run_in(&dag, &context).unwrap_err();
        assert_eq!(cancelled.reason, PipelineFailureReason::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(10));
        cancels.join().unwrap();
    }
    assert!(place.files().is_empty());
}

#[test]
fn a_stopped_run_does_not_wait_for_the_rest_of_an_answer() {
    let server = Server::start();
    let place = Place::new();
    let context = place.context(0, 1);
    let control = context.control.clone();
    let stops = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        control.stop();
    });
    let begun = Instant::now();
    let (report, _) = run_in(&from(&server.url("/silent"), json!({})), &context).unwrap();
    assert!(report.stopped && begun.elapsed() < Duration::from_secs(10));
    assert_eq!(place.records("out-0.ndjson"), [] as [Value; 0]);
    stops.join().unwrap();
}

#[test]
fn records_are_sent_in_batches() {
    let server = Server::start();
    let place = Place::new();
    let report = place
        .run(&to(&server.url("/take"), 25, json!({"batchRecords": 10})))
        .unwrap();
    let sent = server.sent();
    let lines: Vec<usize> = sent.iter().map(|(_, body)| body.lines().count()).collect();
    assert_eq!(lines, [10, 10, 5]);
    assert!(sent.iter().all(|(kind, _)| kind == "application/x-ndjson"));
    let all: String = sent.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(all, place.read("copy.ndjson"));
    let of_sink = report.nodes.iter().find(|counts| counts.node == "out").unwrap();
    assert_eq!(of_sink.bytes_out, all.len() as u64);
}

#[test]
fn a_request_is_tried_again_when_there_may_be_room_later() {
    let server = Server::start();
    let place = Place::new();
    place
        .run(&to(&server.url("/busy"), 4, json!({"batchRecords": 2})))
        .unwrap();
    let bodies: Vec<String> = server.sent().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 6);
    assert!(bodies[..3].iter().all(|body| *body == bodies[0]) && bodies[0] != bodies[3]);
    // What is wrong stays wrong; and no file appears when what belongs to it did not arrive.
    std::fs::remove_file(place.path("copy.ndjson")).unwrap();
    let wrong = failure(&place, &to(&server.url("/shape"), 4, json!({})));
    assert_eq!(wrong.reason, PipelineFailureReason::Unrecoverable);
    assert!(wrong.causes.contains(&"it has no name".to_owned()), "{wrong:?}");
    assert!(place.files().is_empty());
}

#[test]
fn records_that_failed_can_be_sent_to_a_server() {
    let server = Server::start();
    let place = Place::new();
    place.write("in.ndjson", "{\"a\":1}\nno json\n");
    let dag = [
        node("in", "filesource", json!({"path": "in.ndjson"}), &["out"]),
        node("out", "filesink", json!({"path": "out.ndjson"}), &[]),
        node(
            "letters",
            "httpsink",
            json!({"url": server.url("/take"), "deadletter": true}),
            &[],
        ),
    ];
    let report = place.run(&dag).unwrap();
    assert_eq!(
        (report.dead_letters, place.records("out.ndjson")),
        (1, vec![json!({"a": 1})])
    );
    let sent = server.sent();
    let letter: Value = serde_json::from_str(&sent[0].1).unwrap();
    assert_eq!(
        (sent.len(), &letter["node"], &letter["record"]),
        (1, &json!("in"), &json!("no json"))
    );
}

#[test]
fn a_slow_source_does_not_hold_its_records_back() {
    let server = Server::start();
    let place = Place::new();
    let mut dag = to(&server.url("/take"), 1, json!({}));
    dag[0] = node("in", "generatesource", json!({"rate": 0.01}), &["out", "copy"]);
    let context = place.context(0, 1);
    let control = context.control.clone();
    let sent = Arc::clone(&server.sent);
    let stops = std::thread::spawn(move || {
        let begun = Instant::now();
        while sent.lock().unwrap().is_empty() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        control.stop();
        begun.elapsed()
    });
    let (report, _) = run_in(&dag, &context).unwrap();
    assert!(report.stopped && stops.join().unwrap() < Duration::from_secs(30));
    assert_eq!(server.sent().len(), 1);
}

#[test]
fn what_is_no_request_is_refused_with_its_place() {
    let place = Place::new();
    for (config, below) in [
        (json!({"url": "ftp://here/x"}), "url"),
        (json!({"url": "nowhere"}), "url"),
        (json!({"url": "http://me:word@here/"}), "url"),
        (json!({"url": "http://here/", "headers": {"a b": "c"}}), "headers"),
        (
            json!({"url": "http://here/", "headers": {"a": {"secrets": "c"}}}),
            "headers",
        ),
        (json!({"url": "http://here/", "headers": ["a"]}), "headers"),
        (json!({"url": "http://here/", "timeoutSeconds": 0}), "timeoutSeconds"),
        (json!({"url": "http://here/", "encoding": "xml"}), "encoding"),
    ] {
        let mut dag = from("http://here/", json!({}));
        dag[0] = node("in", "httpsource", config.clone(), &["out"]);
        let refused = place.refusals(&dag);
        assert_eq!(refused.len(), 1, "{config}: {refused:?}");
        assert_eq!(refused[0].pointer, format!("/0/config/{below}"), "{config}");
    }
    let refused = place.refusals(&to("http://here/", 1, json!({"batchRecords": 0, "encoding": "csv"})));
    assert_eq!(refused.len(), 2, "{refused:?}");
}
