//! Every route is described, and schema/openapi.json says just what is.

use serde_json::json;

use super::assemble::{Description, describe, description};
use super::operation::{Operation, Tag, get};
use super::{UNDESCRIBED, operations};
use crate::api::routes::{Rule, rules};
use crate::generated;

#[test]
fn every_route_is_described_and_nothing_else() {
    let mistakes = description().mistakes;
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
    for (path, reason) in UNDESCRIBED {
        assert!(!reason.is_empty(), "{path}");
    }
}

#[test]
fn the_committed_description_is_not_stale() {
    generated::check("openapi.json", &format!("{:#}\n", description().openapi));
}

/// Who may use it, by the description and by the table, in both directions.
#[test]
fn roles_are_those_of_the_table() {
    let openapi = description().openapi;
    let mut described = Vec::new();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"] == json!([]);
            let role = operation["x-grid-role"].as_str().unwrap();
            assert_eq!(open, matches!(role, "open" | "secret"), "{method} {path}");
            described.push((path.clone(), method.to_uppercase(), role.to_owned()));
        }
    }
    let is_undescribed = |rule: &Rule| rule.method == "HEAD" || UNDESCRIBED.iter().any(|(path, _)| *path == rule.path);
    let mut ruled: Vec<_> = rules()
        .into_iter()
        .filter(|rule| !is_undescribed(rule))
        .map(|rule| {
            let path = rule.path.replace(":.+}", "}");
            (path, rule.method.to_owned(), rule.access.to_string())
        })
        .collect();
    described.sort();
    ruled.sort();
    assert_eq!(described, ruled);
}

fn mistakes(rules: &[Rule], operations: Vec<Operation>, undescribed: &[(&str, &str)]) -> Vec<String> {
    describe(rules, operations, undescribed).mistakes
}

#[test]
fn what_is_not_described_or_not_served_is_told() {
    let all = rules();
    let named = |found: Vec<String>, what: &str| {
        assert!(
            found.iter().any(|mistake| mistake.contains(what)),
            "{what} in {found:?}"
        );
    };
    let fewer = operations().into_iter().filter(|it| it.id != "getTask").collect();
    named(
        mistakes(&all, fewer, UNDESCRIBED),
        "GET /api/v1/tasks/{id} has no description",
    );
    let more = [
        operations(),
        vec![get("/api/v1/nothing", "getNothing", Tag::System, "Nothing")],
    ]
    .concat();
    named(
        mistakes(&all, more, UNDESCRIBED),
        "GET /api/v1/nothing is described and not served",
    );
    let twice = [operations(), vec![get("/api/v1/info", "getTask", Tag::System, "Twice")]].concat();
    named(mistakes(&all, twice, UNDESCRIBED), "getTask is described twice");
    named(mistakes(&all, operations(), &[]), "/api/docs/{file} has no description");
    let stale = [UNDESCRIBED, &[("/api/v1/gone", "it was")]].concat();
    named(
        mistakes(&all, operations(), &stale),
        "/api/v1/gone is excepted and not served",
    );
    let loose = get("/api/v1/info", "getInfo", Tag::System, "Loose")
        .answers_with(
            200,
            "",
            "application/json",
            json!({"$ref": "#/components/schemas/Nowhere"}),
        )
        .leads_to(200, "getNowhere", json!({}));
    let fewer = operations().into_iter().filter(|it| it.id != "getInfo");
    let found = mistakes(&all, fewer.chain([loose]).collect(), UNDESCRIBED);
    named(found.clone(), "#/components/schemas/Nowhere is not there");
    named(found, "getNowhere, which is not there");
}

/// What each operation must say of itself.
#[test]
fn every_operation_says_what_it_takes_and_answers() {
    let Description { openapi, .. } = description();
    for (path, item) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            for field in ["operationId", "summary"] {
                assert!(
                    operation[field].as_str().is_some_and(|text| !text.is_empty()),
                    "{name}: {field}"
                );
            }
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let mut in_path: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')).collect();
            for parameter in parameters {
                assert!(
                    parameter["description"].is_string() && parameter["schema"].is_object(),
                    "{name}"
                );
                if parameter["in"] == "path" {
                    let given = parameter["name"].as_str().unwrap();
                    in_path.retain(|part| part.trim_end_matches('}') != given);
                }
            }
            assert!(in_path.is_empty(), "{name}: {in_path:?} is not described");
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers
                    .keys()
                    .any(|status| status.starts_with('2') || status.starts_with('1')),
                "{name}"
            );
            for (status, answer) in answers {
                assert!(
                    answer["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{name} {status}"
                );
                let is_problem = answer["content"]["application/problem+json"].is_object();
                assert_eq!(is_problem, status.starts_with(['4', '5']), "{name} {status}");
            }
        }
    }
}
