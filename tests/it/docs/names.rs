//! Whether what pages name is there: sections, variables of the environment, paths of the API, metrics, tests. Nothing is
//! started for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::markdown::{Page, repository};
use super::pages;

/// How a heading is named in links to it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn links_to_sections_lead_to_one() {
    let mut found = 0;
    for page in pages() {
        for (path, fragment) in page.fragments() {
            let target = Page::read(path.to_str().unwrap());
            assert!(
                target.headings().iter().any(|heading| anchor(heading) == fragment),
                "{}: {} has no section #{fragment}",
                page.name,
                path.display()
            );
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
    assert_eq!(
        anchor("What Grid's `disk` says, 2 times"),
        "what-grids-disk-says-2-times"
    );
}

/// Words of a text that begin so, and go on with these characters.
fn words<'a>(text: &'a str, start: &str, goes_on: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    let is_begin = |at: &usize| {
        !text[..*at]
            .chars()
            .next_back()
            .is_some_and(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    let begins = text.match_indices(start).map(|(at, _)| at).filter(is_begin);
    begins
        .map(|at| {
            let rest = &text[at..];
            &rest[..rest.find(|char: char| !goes_on(char)).unwrap_or(rest.len())]
        })
        .collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// `section.key` of docs/configuration.md, which a test holds against the program.
fn options() -> BTreeSet<String> {
    let page = read("docs/configuration.md");
    let mut section = "";
    let mut options = BTreeSet::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        } else if let Some(row) = line.strip_prefix("| `") {
            options.insert(format!("{section}.{}", row.split('`').next().unwrap()));
        }
    }
    options
}

#[test]
fn variables_in_pages_are_options() {
    let options = options();
    let mut found = 0;
    for page in pages() {
        for name in words(page.text(), "GRID__", |char| {
            char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'
        }) {
            let option = name.trim_start_matches("GRID__").to_lowercase().replacen("__", ".", 1);
            // How they are made is told with these words.
            if option != "section.key" {
                assert!(options.contains(&option), "{}: {name} sets no option", page.name);
                found += 1;
            }
        }
    }
    assert!(found > 3, "{found}");
}

/// Whether a path of a page may be one of the API: `{…}` and words in capitals stand for any.
fn fits(named: &str, path: &str) -> bool {
    let is_any = |part: &str| {
        part.starts_with('{') || part == "…" || (!part.is_empty() && part.chars().all(|char| char.is_ascii_uppercase()))
    };
    let (named, path): (Vec<&str>, Vec<&str>) = (named.split('/').collect(), path.split('/').collect());
    named.len() == path.len()
        && named
            .iter()
            .zip(&path)
            .all(|(named, part)| named == part || (is_any(part) && !named.is_empty()) || is_any(named))
}

#[test]
fn paths_in_pages_are_served() {
    let description: serde_json::Value = serde_json::from_str(&read("schema/openapi.json")).unwrap();
    let served: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    let mut found = 0;
    for page in pages() {
        for named in words(page.text(), "/api/v1/", |char| {
            char.is_ascii_alphanumeric() || "/-_{}…".contains(char)
        }) {
            let named = named.trim_end_matches('/');
            // A whole family: `/api/v1/internal/…`.
            let family = named.trim_end_matches('…');
            let is_served = served.iter().any(|path| {
                fits(named, path)
                    || (family != named && path.starts_with(family))
                    || path.starts_with(&format!("{named}/"))
            });
            assert!(is_served, "{}: {named} is not served", page.name);
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
    assert!(fits("/api/v1/jobs/JOB/tasks", "/api/v1/jobs/{jobId}/tasks") && !fits("/api/v1/jobs/x", "/api/v1/jobs"));
}

#[test]
fn metrics_in_pages_are_told() {
    // Names that are no metrics: of a role and of functions of the database, and of a variable of the dashboards.
    const OTHERS: [&str; 4] = ["grid_owner", "grid_make_days", "grid_create_read_models", "grid_url"];
    let known: BTreeSet<String> = read("docs/prometheus.md")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    let mut found = 0;
    for page in pages() {
        for name in words(page.text(), "grid_", |char| {
            char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_'
        }) {
            // A token, or a family of metrics.
            if name.ends_with('_') || OTHERS.contains(&name) {
                continue;
            }
            let of_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(|name| known.contains(name)));
            let is_token = page.text().contains(&format!("{name}_…")) || page.text().contains(&format!("={name}_"));
            assert!(
                known.contains(name) || of_histogram || is_token,
                "{}: no process tells {name}",
                page.name
            );
            found += 1;
        }
    }
    assert!(found > 60, "{found}");
}

/// Whether there is a test `faults::outages::NAME` in tests/it, or in src.
fn is_test(path: &str) -> bool {
    let Some((module, name)) = path.rsplit_once("::") else {
        return false;
    };
    let file = module.replace("::", "/");
    let places = [
        format!("tests/it/{file}.rs"),
        format!("tests/it/{file}/mod.rs"),
        format!("src/{file}.rs"),
        format!("src/{}.rs", file.trim_end_matches("/tests")),
    ];
    let has = |place: &String| {
        fs::read_to_string(repository().join(place)).is_ok_and(|text| text.contains(&format!("fn {name}(")))
    };
    places.iter().any(has)
}

#[test]
fn tests_that_pages_name_are_there() {
    let lower = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
    };
    let mut found = 0;
    for page in pages() {
        for span in page.spans() {
            // Of one word the last part is a module.
            let is_path = span.contains("::") && span.split("::").all(lower);
            if is_path && span.rsplit("::").next().unwrap().contains('_') && span.matches('_').count() > 2 {
                assert!(is_test(&span), "{}: there is no test {span}", page.name);
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found}");
    assert!(!is_test("docs::names::no_such_test") && Path::new(&repository()).exists());
}
