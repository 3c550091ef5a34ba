//! What can be asked and wished.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Fixture, text};

impl Fixture {
    /// Asks; gives the whole answer.
    pub async fn graphql(&self, query: &str, variables: &Value) -> Value {
        let headers = [("content-type", "application/json")];
        let body = json!({"query": query, "variables": variables}).to_string();
        let answer = self.call(Method::POST, "/graphql", &headers, body.into_bytes()).await;
        answer.json().await.unwrap()
    }

    /// Asks for a stream that ends by itself; gives its text.
    pub async fn graphql_stream(&self, query: &str, variables: &Value) -> String {
        let headers = [("content-type", "application/json")];
        let body = json!({"query": query, "variables": variables}).to_string();
        let answer = self
            .call(Method::POST, "/graphql/stream", &headers, body.into_bytes())
            .await;
        answer.text().await.unwrap()
    }

    /// The data of an answer without errors.
    pub async fn data(&self, query: &str, variables: &Value) -> Value {
        let answer = self.graphql(query, variables).await;
        assert!(answer.get("errors").is_none(), "{answer:#}");
        answer["data"].clone()
    }

    /// The code of the first error.
    pub async fn code(&self, query: &str, variables: &Value) -> String {
        let answer = self.graphql(query, variables).await;
        let extensions = &answer["errors"][0]["extensions"];
        assert!(extensions["status"].is_number(), "{answer:#}");
        text(&extensions["code"]).to_owned()
    }
}

const DOCUMENT: &str = "
externalId: pair
labels: { team: a }
tasks:
  - { externalId: x, replicas: 3, executor: noop }
";

#[actix_web::test]
async fn jobs_are_submitted_listed_and_ended() {
    let grid = Fixture::new().await;
    let submit = "mutation ($document: String!, $key: String, $dry: Boolean! = false) {
        submitJob(document: $document, idempotencyKey: $key, dryRun: $dry) {
            job { jobId status labels taskCounters { ready } } position replayed taskCount } }";
    let dry = grid.data(submit, &json!({"document": DOCUMENT, "dry": true})).await;
    assert_eq!(dry["submitJob"]["taskCount"], 3);
    assert!(dry["submitJob"]["job"].is_null());
    let first = grid.data(submit, &json!({"document": DOCUMENT, "key": "k"})).await["submitJob"].clone();
    let again = grid.data(submit, &json!({"document": DOCUMENT, "key": "k"})).await["submitJob"].clone();
    assert_eq!(first["job"]["jobId"], again["job"]["jobId"]);
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!(first["job"]["labels"], json!({"team": "a"}));
    let second = grid.data(submit, &json!({"document": "tasks: []"})).await["submitJob"].clone();

    let list = "query ($after: String, $filter: JobFilter) { jobs(first: 1, after: $after, filter: $filter) {
        totalCount pageInfo { hasNextPage hasPreviousPage endCursor } edges { cursor node { jobId status } } } }";
    let page = grid.data(list, &json!({})).await["jobs"].clone();
    assert_eq!(page["totalCount"], 2);
    assert_eq!(page["edges"][0]["node"]["jobId"], second["job"]["jobId"]);
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let page = grid.data(list, &json!({"after": page["pageInfo"]["endCursor"]})).await["jobs"].clone();
    assert_eq!(page["edges"][0]["node"]["jobId"], first["job"]["jobId"]);
    assert_eq!(
        page["pageInfo"],
        json!({"hasNextPage": false, "hasPreviousPage": true, "endCursor": page["edges"][0]["cursor"]})
    );
    let filtered = json!({"filter": {"statuses": ["RUNNING"], "labels": ["team=a"]}});
    assert_eq!(grid.data(list, &filtered).await["jobs"]["totalCount"], 1);

    let kill = "mutation ($ids: [ID!]!) { killJobs(ids: $ids) { jobId job { jobId } error { code status } } }";
    let unknown = "job-0198c2a0-7c00-7000-8000-000000000001";
    let ids = json!({"ids": [first["job"]["jobId"], unknown, "no id"]});
    let outcomes = grid.data(kill, &ids).await["killJobs"].clone();
    assert_eq!(outcomes[0]["job"]["jobId"], first["job"]["jobId"]);
    assert!(outcomes[0]["error"].is_null());
    assert_eq!(outcomes[1]["error"], json!({"code": "NOT_FOUND", "status": 404}));
    assert_eq!(outcomes[2]["error"], json!({"code": "INVALID_ID", "status": 400}));
    grid.stop().await;
}

#[actix_web::test]
async fn what_is_wrong_has_the_code_of_rest() {
    let grid = Fixture::new().await;
    let none = json!({});
    assert_eq!(grid.code("{ job(id: \"x\") { status } }", &none).await, "INVALID_ID");
    let unknown = "{ job(id: \"job-0198c2a0-7c00-7000-8000-000000000001\") { status } }";
    assert_eq!(grid.code(unknown, &none).await, "NOT_FOUND");
    assert_eq!(
        grid.code("{ jobs(first: 501) { totalCount } }", &none).await,
        "INVALID_PARAMETER"
    );
    assert_eq!(
        grid.code("{ jobs(after: \"x\") { totalCount } }", &none).await,
        "INVALID_PARAMETER"
    );
    assert_eq!(grid.code("{ nothing }", &none).await, "INVALID_QUERY");
    assert_eq!(grid.code("{", &none).await, "SYNTAX");
    let many = "{ jobs(first: 500) { edges { node { tasks(first: 500) { edges { node { state } } } } } } }";
    assert_eq!(grid.code(many, &none).await, "QUERY_TOO_COMPLEX");
    let submit = "mutation { submitJob(document: \"{tasks: [{externalId: a}]}\") { position } }";
    let answer = grid.graphql(submit, &none).await;
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["status"], 400, "{answer:#}");
    assert!(
        extensions["errors"][0]["pointer"].is_string() && extensions["errors"][0]["line"] == 1,
        "{answer:#}"
    );
    grid.stop().await;
}

#[actix_web::test]
async fn what_belongs_to_the_items_of_a_list_comes_with_them() {
    let grid = Fixture::new().await;
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(grid.submit(DOCUMENT).await);
    }
    for job in &jobs[..6] {
        let kill = "mutation ($id: ID!) { killJob(id: $id) { position } }";
        grid.data(kill, &json!({"id": job["jobId"]})).await;
    }
    let query = "query ($first: Int!) { jobs(first: $first) { edges { node { jobId
        events(first: 5, order: ASC) { edges { node { type } } }
        tasks(first: 2) { totalCount pageInfo { hasNextPage } edges { node {
            externalId state job { jobId } worker { workerId } attempts { attempt } events(first: 3) { nodes { type } }
        } } } } } } }";
    let edges = grid.data(query, &json!({"first": 12})).await["jobs"]["edges"].clone();
    assert_eq!(edges.as_array().unwrap().len(), 12);
    for (edge, job) in edges.as_array().unwrap().iter().zip(jobs.iter().rev()) {
        let node = &edge["node"];
        assert_eq!(node["jobId"], job["jobId"]);
        assert_eq!(node["events"]["edges"][0]["node"]["type"], "JobSubmitted");
        assert_eq!(
            (&node["tasks"]["totalCount"], &node["tasks"]["pageInfo"]["hasNextPage"]),
            (&json!(3), &json!(true))
        );
        for (index, task) in node["tasks"]["edges"].as_array().unwrap().iter().enumerate() {
            let task = &task["node"];
            assert_eq!(task["externalId"], format!("x-{index}"));
            assert_eq!(task["job"]["jobId"], job["jobId"]);
            assert_eq!((&task["worker"], &task["attempts"]), (&Value::Null, &json!([])));
        }
    }
    grid.stop().await;
}
