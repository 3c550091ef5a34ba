//! Which call goes where; what is not there, or cannot be done there, is a problem like any other.

use std::collections::HashSet;
use std::sync::LazyLock;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, Resource, Route, web};

use super::auth::{self, Access, Role};
use super::graphql::handlers as graphql;
use super::problem::Problem;
use super::{
    bulk, checkpoints, explain, export, feed, history, jobs, letters, logs, openapi, purge, retries, schema, search,
    series, submit, system, tasks, tokens, workers,
};
use crate::ui;

/// Builds a resource: each method with those who may use it and its handler; any other method is answered with those
/// that there are.
///
/// The only way in: a method cannot be added without saying who may use it, and nothing else adds services to the
/// server.
struct Place {
    path: &'static str,
    resource: Resource,
    rules: Vec<Rule>,
}

/// Who may use a method of a path.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
    pub access: Access,
}

impl Place {
    fn at(path: &'static str) -> Self {
        Self {
            path,
            resource: web::resource(path),
            rules: Vec::new(),
        }
    }

    /// A GET, and a HEAD, which is a GET without its body.
    fn get(self, access: impl Into<Access>, route: fn(Route) -> Route) -> Self {
        let access = access.into();
        let head = Route::new().guard(actix_web::guard::Head());
        self.on("GET", access, web::get(), route)
            .on("HEAD", access, head, route)
    }

    fn post(self, access: impl Into<Access>, route: fn(Route) -> Route) -> Self {
        self.on("POST", access.into(), web::post(), route)
    }

    fn delete(self, access: impl Into<Access>, route: fn(Route) -> Route) -> Self {
        self.on("DELETE", access.into(), web::delete(), route)
    }

    fn on(mut self, method: &'static str, access: Access, guarded: Route, route: fn(Route) -> Route) -> Self {
        let admit = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| auth::admit(access, request, next));
        self.resource = self.resource.route(route(guarded).wrap(admit));
        let path = self.path;
        self.rules.push(Rule { method, path, access });
        self
    }

    fn put_into(self, config: &mut web::ServiceConfig) {
        let methods: Vec<&str> = self.rules.iter().map(|rule| rule.method).collect();
        let allow = methods.join(", ");
        config.service(
            self.resource
                .default_service(web::route().to(move |request: HttpRequest| {
                    let problem = Problem::method_not_allowed(request.method(), &allow);
                    async move { Err::<HttpResponse, Problem>(problem) }
                })),
        );
    }
}

/// Everything that the API answers, and who may ask.
fn places() -> Vec<Place> {
    use Access::{Open, Secret};
    use Role::{Admin, Operator, Viewer, Worker};
    let pages = ui::PAGES.into_iter();
    let pages = pages.map(|path| Place::at(path).get(Open, |it| it.to(ui::page)));
    let mut places = vec![
        Place::at("/assets/{name}").get(Open, |it| it.to(ui::asset)),
        Place::at("/api/v1/jobs")
            .get(Viewer, |it| it.to(jobs::list))
            .post(Operator, |it| it.to(submit::submit)),
        Place::at("/api/v1/jobs/bulk").post(Operator, |it| it.to(bulk::run)),
        Place::at("/api/v1/jobs/export").get(Viewer, |it| it.to(export::jobs)),
        Place::at("/api/v1/jobs/kill/{id}").delete(Operator, |it| it.to(jobs::kill)),
        Place::at("/api/v1/jobs/{id}").get(Viewer, |it| it.to(jobs::get)),
        Place::at("/api/v1/jobs/{id}/tasks").get(Viewer, |it| it.to(tasks::list)),
        Place::at("/api/v1/jobs/{id}/document").get(Viewer, |it| it.to(jobs::document)),
        Place::at("/api/v1/jobs/{id}/events").get(Viewer, |it| it.to(history::of_job)),
        Place::at("/api/v1/jobs/{id}/explain").get(Viewer, |it| it.to(explain::of_job)),
        Place::at("/api/v1/jobs/{id}/purge").post(Admin, |it| it.to(purge::purge)),
        Place::at("/api/v1/jobs/{id}/retry").post(Operator, |it| it.to(jobs::retry)),
        Place::at("/api/v1/jobs/{id}/stop").post(Operator, |it| it.to(jobs::stop)),
        Place::at("/api/v1/tasks").get(Viewer, |it| it.to(tasks::list_all)),
        Place::at("/api/v1/tasks/{id}").get(Viewer, |it| it.to(tasks::get)),
        Place::at("/api/v1/tasks/{id}/events").get(Viewer, |it| it.to(history::of_task)),
        Place::at("/api/v1/tasks/{id}/explain").get(Viewer, |it| it.to(explain::of_task)),
        Place::at("/api/v1/tasks/{id}/retry")
            .post(Operator, |it| it.to(tasks::bring_forward))
            .delete(Operator, |it| it.to(tasks::cancel_retry)),
        Place::at("/api/v1/jobs/{id}/retries").get(Viewer, |it| it.to(retries::of_job)),
        Place::at("/api/v1/jobs/{id}/dead-letters").get(Viewer, |it| it.to(letters::list)),
        Place::at("/api/v1/jobs/{id}/dead-letters/export").get(Viewer, |it| it.to(letters::export)),
        Place::at("/api/v1/jobs/{id}/dead-letters/replay").post(Operator, |it| it.to(letters::replay)),
        Place::at("/api/v1/retries").get(Viewer, |it| it.to(retries::list)),
        Place::at("/api/v1/workers").get(Viewer, |it| it.to(workers::list)),
        Place::at("/api/v1/workers/{id}").get(Viewer, |it| it.to(workers::get)),
        Place::at("/api/v1/workers/{id}/cordon").post(Operator, |it| it.to(workers::cordon)),
        Place::at("/api/v1/workers/{id}/uncordon").post(Operator, |it| it.to(workers::uncordon)),
        Place::at("/api/v1/workers/{id}/drain").post(Operator, |it| it.to(workers::drain)),
        Place::at("/api/v1/workers/{id}/events").get(Viewer, |it| it.to(history::of_worker)),
        Place::at("/api/v1/events").get(Viewer, |it| it.to(feed::events)),
        Place::at("/api/v1/logs/download").get(Viewer, |it| it.to(logs::download)),
        Place::at("/api/v1/logs/tail").get(Viewer, |it| it.to(logs::tail)),
        Place::at("/api/v1/logs/search").get(Viewer, |it| it.to(logs::search)),
        Place::at("/api/v1/search").get(Viewer, |it| it.to(search::search)),
        Place::at("/api/v1/metrics").get(Viewer, |it| it.to(series::series)),
        Place::at("/api/v1/quarantine").get(Viewer, |it| it.to(history::quarantine)),
        Place::at("/api/v1/schema").get(Viewer, |it| it.to(schema::list)),
        Place::at("/api/v1/schema/{name:.+}").get(Viewer, |it| it.to(schema::get)),
        Place::at("/api/v1/tokens").get(Admin, |it| it.to(tokens::list)),
        Place::at("/api/v1/tokens/{id}").delete(Admin, |it| it.to(tokens::revoke)),
        Place::at("/api/v1/info").get(Viewer, |it| it.to(system::info)),
        Place::at("/api/v1/internal/setup").get(Worker, |it| it.to(system::setup)),
        Place::at("/api/v1/internal/documents/{hash}").get(Worker, |it| it.to(system::document)),
        Place::at("/api/v1/internal/logs/{incarnation}/{number}").post(Worker, |it| it.to(logs::take)),
        Place::at("/api/v1/internal/dead-letters").post(Worker, |it| it.to(letters::take)),
        Place::at("/api/v1/internal/dead-letters/{id}").get(Worker, |it| it.to(letters::records)),
        // Who may ask for a field is said at the field: a WebSocket tells who it is after it is open.
        Place::at("/graphql")
            .get(Secret, |it| it.to(graphql::graphql))
            .post(Secret, |it| it.to(graphql::graphql)),
        Place::at("/graphql/stream")
            .get(Secret, |it| it.to(graphql::stream))
            .post(Secret, |it| it.to(graphql::stream)),
        Place::at("/graphql/page/{name}").get(Open, |it| it.to(graphql::page_file)),
        Place::at("/api/v1/internal/checkpoint-key/{incarnation}").get(Worker, |it| it.to(checkpoints::key)),
        Place::at("/api/v1/checkpoints/{task}/{attempt}/{secret}")
            .get(Secret, |it| it.to(checkpoints::get))
            .post(Secret, |it| it.to(checkpoints::save)),
        Place::at("/api/openapi.json").get(Open, |it| it.to(openapi::description)),
        Place::at("/api/docs").get(Open, |it| it.to(openapi::page)),
        Place::at("/api/docs/{file}").get(Open, |it| it.to(openapi::file)),
        Place::at("/health/live").get(Open, |it| it.to(system::live)),
        Place::at("/health/ready").get(Open, |it| it.to(system::ready)),
        Place::at("/metrics").get(Viewer, |it| it.to(system::metrics)),
    ];
    places.extend(pages);
    places
}

/// Whether a path that the server knows, by its pattern, has rules. Something that was added beside the table has none.
pub fn has_rules(pattern: &str) -> bool {
    static PATTERNS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| places().iter().map(|it| it.path).collect());
    PATTERNS.contains(pattern)
}

/// Who may use which route: all of them, as they are served.
pub fn rules() -> Vec<Rule> {
    places().into_iter().flat_map(|place| place.rules).collect()
}

/// Which routes a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    All,
    /// What workers and their tasks need.
    Workers,
    /// Health and metrics.
    Metrics,
}

impl Offer {
    fn has(self, place: &Place) -> bool {
        match self {
            Self::All => true,
            Self::Workers => {
                let for_workers = |rule: &Rule| matches!(rule.access, Access::Secret | Access::Least(Role::Worker));
                place.path.starts_with("/api/v1/") && place.rules.iter().all(for_workers)
            }
            Self::Metrics => ["/metrics", "/health/live", "/health/ready"].contains(&place.path),
        }
    }
}

pub fn configure(config: &mut web::ServiceConfig, offer: Offer) {
    for place in places().into_iter().filter(|place| offer.has(place)) {
        place.put_into(config);
    }
    config.default_service(web::route().to(|request: HttpRequest| {
        let problem = Problem::not_found(format!("the path {:?}", request.path()));
        async move { Err::<HttpResponse, Problem>(problem) }
    }));
}

/// Around every request: its time, by pattern; and that what it gives is not kept.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = tokio::time::Instant::now();
    let method = known(request.method());
    let mut response = next.call(request).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let status = response.status().as_u16().to_string();
    metrics::histogram!("grid_api_request_seconds", "route" => route, "method" => method, "status" => status)
        .record(begun.elapsed().as_secs_f64());
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

/// A label has few values, whatever a client calls its method.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
