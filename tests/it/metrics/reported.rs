//! What programs report themselves, and points of attempts that carry no task, on a real `grid standalone`.

use std::time::Duration;

use serde_json::Value;

use crate::cli::server::Standalone;
use crate::support::wait_for;

/// Two replicas, each with three reports that are taken and some that are not.
const JOB: &str = r#"
tasks:
  - externalId: trains
    replicas: 2
    command:
      - sh
      - -c
      - |
        post() { : > said; curl -s -o said -w '%{http_code} ' --data-binary "$2" "$GRID_METRICS_URL$1"; cat said; echo; }
        cd "$(mktemp -d)"
        post "" "training,layer=3 loss=0.5,step=12i"
        post "/write?db=x&precision=s" "training loss=0.25 $(date +%s)"
        printf 'training loss=0.75\n' | gzip | curl -s -w '%{http_code}\n' -H 'Content-Encoding: gzip' --data-binary @- "$GRID_METRICS_URL/api/v2/write?org=o&bucket=b"
        post "" "$(printf 'good v=1\n\nbad,job_id=job-1 v=1')"
        post "" 'bad v="text"'
        post "?colour=red" "good v=1"
        curl -s -o /dev/null -w '%{http_code} of another\n' --data-binary "good v=1" "$(echo "$GRID_METRICS_URL" | sed 's/.....$/00000/')"
        head -c 300000 /dev/zero | tr '\0' x | curl -s -o /dev/null -w '%{http_code} too large\n' --data-binary @- "$GRID_METRICS_URL"
        echo "$GRID_METRICS_URL"
"#;

fn points(standalone: &Standalone, path: &str) -> Vec<Value> {
    let answer = standalone.get(&format!("/api/v1/metrics?{path}"));
    answer["dataPoints"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer:#}"))
        .clone()
}

#[test]
fn a_program_reports_for_itself_and_counts_are_summed_without_tasks() {
    // The first of the two carries its tag, the second does not.
    let sampled = [
        "metrics.sample_interval=300ms",
        "metrics.task_tag=sampled",
        "metrics.task_tag_every=2",
    ];
    let more = sampled.map(|setting| ["--set", setting]).concat();
    let standalone = Standalone::start_with(&more);
    standalone.write("job.yaml", JOB);
    let (code, submitted) = standalone.json(&["submit", "--wait", "job.yaml"]);
    assert_eq!(code, 0, "{submitted:#}");
    let job = submitted["jobId"].as_str().unwrap();

    let of_job = |metric: &str, more: &str| {
        points(
            &standalone,
            &format!("metric={metric}&interval=1d&tag.job_id={job}{more}"),
        )
    };
    let loss = wait_for("all reports", Duration::from_secs(30), || {
        let sums = of_job("reported", "&tag.name=training.loss&aggregation=count");
        let counted: f64 = sums.iter().map(|point| point["value"].as_f64().unwrap()).sum();
        (counted >= 6.0).then(|| of_job("reported", "&tag.name=training.loss&aggregation=sum"))
    });
    // Of each task one with its dimensions, and one of the two without.
    assert_eq!(loss.len(), 4, "{loss:#?}");
    for point in &loss {
        let tags = &point["tags"];
        let (value, dimensions) = (point["value"].as_f64().unwrap(), tags["dimensions"].as_str());
        assert_eq!(
            value,
            if dimensions == Some("layer=3") { 0.5 } else { 1.0 },
            "{point:#}"
        );
        assert_eq!(
            (tags["job_id"].as_str(), tags["worker_id"].as_str()),
            (Some(job), Some("worker-local"))
        );
        assert!(tags["task_id"].as_str().unwrap().starts_with("task-"), "{point:#}");
    }
    let names = of_job("reported", "&groupBy=name&aggregation=count");
    let names: Vec<_> = names
        .iter()
        .map(|point| point["tags"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["training.loss", "training.step"],
        "what was refused has left nothing"
    );
    assert_eq!(
        of_job("reported", "&tag.dimensions=layer=3&groupBy=dimensions").len(),
        1
    );
    the_program_was_told(&standalone, job);

    let first = format!("task-{}-1", job.trim_start_matches("job-"));
    let lines = wait_for("all lines", Duration::from_secs(30), || {
        let lines = of_job("log_lines", "&aggregation=sum");
        let sum: f64 = lines.iter().map(|point| point["value"].as_f64().unwrap()).sum();
        (sum >= 18.0).then_some(lines)
    });
    let mut seen: Vec<_> = lines
        .iter()
        .map(|point| (point["tags"]["task_id"].as_str(), point["value"].as_f64().unwrap()))
        .collect();
    seen.sort_by_key(|(task, _)| task.is_some());
    assert_eq!(seen, [(None, 9.0), (Some(first.as_str()), 9.0)], "{lines:#?}");
    let durations = of_job("duration_seconds", "");
    assert!(
        durations.iter().all(|point| point["tags"]["task_id"] == *first),
        "{durations:#?}"
    );
    assert_eq!(durations.len(), 1, "{durations:#?}");
}

/// What each of the requests answered is in its log; the secret is not.
fn the_program_was_told(standalone: &Standalone, job: &str) {
    let lines = wait_for("the log", Duration::from_secs(30), || {
        let found = standalone.get(&format!("/api/v1/logs/search?job_id={job}&limit=100"));
        let lines = found["lines"].as_array().unwrap();
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect();
        (lines.len() >= 18).then_some(lines)
    });
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    for expected in [
        "line 3: the tag job_id is not a task's to set: the worker says it; nothing of the report was taken",
        "line 1: the field v is text; only numbers are taken",
        "the parameter colour is unknown",
        "404 of another",
        "413 too large",
        "***",
    ] {
        assert_eq!(count(expected), 2, "{expected}: {lines:#?}");
    }
    let answers = |code: &str| lines.iter().filter(|line| line.starts_with(code)).count();
    assert_eq!((answers("204"), answers("400")), (6, 6), "{lines:#?}");
}
