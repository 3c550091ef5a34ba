//! Which call goes where; what is not there, or cannot be done there, is a problem like any other.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, Resource, Route, web};

use super::problem::Problem;
use super::{history, jobs, submit, system, tasks, workers};

/// Builds a resource: each method with its handler; any other is answered with those that there are.
struct Place {
    resource: Resource,
    allow: Vec<&'static str>,
}

impl Place {
    fn at(path: &str) -> Self {
        Self {
            resource: web::resource(path),
            allow: Vec::new(),
        }
    }

    fn get(self, route: fn(Route) -> Route) -> Self {
        // A HEAD is a GET without its body.
        let head = Route::new().guard(actix_web::guard::Head());
        let with_head = Self {
            resource: self.resource.route(route(head)),
            allow: self.allow,
        };
        with_head.on("GET", web::get(), route).also("HEAD")
    }

    fn post(self, route: fn(Route) -> Route) -> Self {
        self.on("POST", web::post(), route)
    }

    fn delete(self, route: fn(Route) -> Route) -> Self {
        self.on("DELETE", web::delete(), route)
    }

    fn on(mut self, method: &'static str, guarded: Route, route: fn(Route) -> Route) -> Self {
        self.resource = self.resource.route(route(guarded));
        self.also(method)
    }

    fn also(mut self, method: &'static str) -> Self {
        self.allow.push(method);
        self
    }

    fn put_into(self, config: &mut web::ServiceConfig) {
        let allow = self.allow.join(", ");
        config.service(
            self.resource
                .default_service(web::route().to(move |request: HttpRequest| {
                    let problem = Problem::method_not_allowed(request.method(), &allow);
                    async move { Err::<HttpResponse, Problem>(problem) }
                })),
        );
    }
}

/// Everything that the API answers.
pub fn configure(config: &mut web::ServiceConfig) {
    let places = [
        Place::at("/api/v1/jobs")
            .get(|it| it.to(jobs::list))
            .post(|it| it.to(submit::submit)),
        Place::at("/api/v1/jobs/kill/{id}").delete(|it| it.to(jobs::kill)),
        Place::at("/api/v1/jobs/{id}").get(|it| it.to(jobs::get)),
        Place::at("/api/v1/jobs/{id}/tasks").get(|it| it.to(tasks::list)),
        Place::at("/api/v1/jobs/{id}/document").get(|it| it.to(jobs::document)),
        Place::at("/api/v1/jobs/{id}/events").get(|it| it.to(history::of_job)),
        Place::at("/api/v1/jobs/{id}/retry").post(|it| it.to(jobs::retry)),
        Place::at("/api/v1/jobs/{id}/stop").post(|it| it.to(jobs::stop)),
        Place::at("/api/v1/tasks/{id}").get(|it| it.to(tasks::get)),
        Place::at("/api/v1/tasks/{id}/events").get(|it| it.to(history::of_task)),
        Place::at("/api/v1/tasks/{id}/retry")
            .post(|it| it.to(tasks::bring_forward))
            .delete(|it| it.to(tasks::cancel_retry)),
        Place::at("/api/v1/workers").get(|it| it.to(workers::list)),
        Place::at("/api/v1/workers/{id}").get(|it| it.to(workers::get)),
        Place::at("/api/v1/workers/{id}/events").get(|it| it.to(history::of_worker)),
        Place::at("/api/v1/quarantine").get(|it| it.to(history::quarantine)),
        Place::at("/api/v1/info").get(|it| it.to(system::info)),
        Place::at("/api/v1/internal/documents/{hash}").get(|it| it.to(system::document)),
        Place::at("/health/live").get(|it| it.to(system::live)),
        Place::at("/health/ready").get(|it| it.to(system::ready)),
        Place::at("/metrics").get(|it| it.to(system::metrics)),
    ];
    for place in places {
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
