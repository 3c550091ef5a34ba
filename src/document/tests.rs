use nix::sys::time::TimeValLike;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{BAD, GOOD, YAML};
use super::*;
use crate::domain::{ExecutorKind, GroupIndex};
use crate::generated;
use crate::worker::pipeline::DagNode;

fn told(errors: &[DocumentError]) -> Vec<String> {
    errors
        .iter()
        .map(|e| format!("{}:{} {} {}: {}", e.line, e.column, e.code, e.pointer, e.message))
        .collect()
}

fn good(text: &str) -> JobDocument {
    parse(text.as_bytes(), None).unwrap_or_else(|errors| panic!("{text}\n{:#?}", told(&errors)))
}

#[test]
fn the_documented_job_is_read() {
    let job = good(YAML);
    assert_eq!(job.external_id.as_deref(), Some("strong-earthquakes"));
    assert_eq!(
        (job.deadline_ms, job.max_parallel, job.task_count()),
        (Some(7_200_000), Some(100), 5)
    );
    let filter = &job.tasks[0];
    assert_eq!((filter.replicas, filter.timeouts.run_ms), (4, Some(60_000)));
    let TaskKind::Dag(nodes) = &filter.kind else {
        panic!("{filter:?}")
    };
    assert_eq!(nodes[3].config["path"], "strong-${REPLICA_INDEX}.ndjson");
    let facts = &job.tasks[1];
    assert_eq!((facts.retry.max_retries, facts.retry.base_ms), (0, 1_000));
    assert_eq!((facts.timeouts.start_ms, facts.timeouts.run_ms), (Some(300_000), None));
    assert_eq!(facts.env["TOKEN"], EnvValue::Secret("MY_TOKEN".into()));
    assert_eq!((facts.limits.memory_mib, facts.limits.cpus), (Some(256), Some(1)));
    let places: Vec<_> = (0..7)
        .map(|n| job.task(n).map(|(task, replica)| (task.external_id.as_str(), replica)))
        .collect();
    let expected = [
        None,
        Some(("filter", 0)),
        Some(("filter", 1)),
        Some(("filter", 2)),
        Some(("filter", 3)),
    ];
    assert_eq!(places[..5], expected);
    assert_eq!(places[5..], [Some(("host-facts", 0)), None]);
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (text, expected) in BAD {
        let found = told(&parse(text.as_bytes(), None).expect_err(text));
        if found != *expected {
            wrong.push(format!("{text}\n  told:     {found:#?}\n  expected: {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hint_goes_before_the_look() {
    let flow = b"{tasks: []}";
    assert!(parse(flow, None).is_err());
    assert!(parse(flow, Some("application/yaml; charset=utf-8")).is_ok());
    assert!(parse(flow, Some("job.yml")).is_ok());
    assert!(parse(b"tasks: []", Some("application/json")).is_err());
    assert!(parse(b"tasks: []", Some("text/plain")).is_ok());
    assert!(parse("\u{feff}{\"tasks\": []}".as_bytes(), None).is_ok());
}

#[test]
fn size_depth_and_aliases_are_bounded() {
    let code = |text: &str| {
        let errors = parse(text.as_bytes(), None).unwrap_err();
        assert_eq!(errors.len(), 1, "{:?}", told(&errors));
        (errors[0].code, errors[0].line, errors[0].column)
    };
    let fits = format!("tasks: []{}", " ".repeat(MAX_DOCUMENT_BYTES - 9));
    assert!(parse(fits.as_bytes(), None).is_ok());
    assert_eq!(code(&format!("{fits} ")), (ErrorCode::TooLarge, 1, 1));
    for deep in [
        format!("{{\"a\": {}", "[".repeat(500_000)),
        format!("a: {}", "[".repeat(500_000)),
    ] {
        assert!(matches!(code(&deep), (ErrorCode::TooLarge | ErrorCode::Syntax, 1, _)));
    }
    let nested: String = (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(code(&nested).0, ErrorCode::TooLarge);
    let laughs: String = (1..40)
        .map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1))
        .collect();
    assert_eq!(
        code(&format!("a0: &a0 [x]\n{laughs}tasks: []\n")).0,
        ErrorCode::TooLarge
    );
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(100_000));
    assert_eq!(code(&long).0, ErrorCode::TooLarge);
    assert_eq!(
        told(&parse(b"tasks: \xff[]", None).unwrap_err()),
        ["1:8 syntax : the document is not UTF-8 at byte 7"]
    );
}

/// Of this thread: what else the machine does does not count.
fn processor_time() -> std::time::Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let ms = (usage.user_time() + usage.system_time()).num_milliseconds();
    std::time::Duration::from_millis(ms.unsigned_abs())
}

/// Texts on which a careless parser takes quadratic time, each of nearly a MiB.
#[test]
fn no_text_takes_long() {
    let mut slow = Vec::new();
    let full = |part: &str| part.repeat(MAX_DOCUMENT_BYTES / part.len() - 8);
    let texts = [
        full("["),
        full("{"),
        full("- "),
        full("? "),
        full("[a, "),
        full("a: "),
        full("x"),
        full("\n"),
        full(" "),
        full("# x\n"),
        full("&a "),
        full("*a "),
        full("!!str "),
        full("- a\n"),
        format!("tasks: [{}]", full("1,")),
        format!("a: \"{}\"", full("\\n")),
        full("'"),
        full("\""),
        format!("a: |\n{}", full("  x\n")),
        format!("a: >\n{}", full(" x\n\n")),
        full("a:\n"),
        full("---\n"),
        format!("a: {}", full("x\n ")),
        full("\t"),
        full("%a\n"),
        full("{a: b, "),
        full("a: &a [b]\n"),
        (0..60_000).map(|n| format!("k{n}: {n}\n")).collect(),
        format!("{{\"a\": {}}}", full("0")),
        full("\u{feff}"),
        full("é: "),
        format!(
            "labels: {{{}}}\ntasks: []",
            (0..90_000).map(|n| format!("l{n}: x, ")).collect::<String>()
        ),
        format!(
            "tasks: [{}]",
            (0..20_000)
                .map(|n| format!("{{externalId: a{n}, executor: noop}},"))
                .collect::<String>()
        ),
    ];
    for text in texts {
        for name in ["a.yaml", "a.json"] {
            let before = processor_time();
            let _ = parse(text.as_bytes(), Some(name));
            let took = processor_time() - before;
            if took > std::time::Duration::from_secs(3) {
                slow.push(format!("{name} {:?}: {took:?}", &text[..text.floor_char_boundary(40)]));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

#[test]
fn no_more_than_a_hundred_mistakes_are_listed() {
    let text = format!("tasks: [{}]", "1, ".repeat(10_000));
    assert_eq!(parse(text.as_bytes(), None).unwrap_err().len(), 100);
}

#[test]
fn the_normal_form_is_canonical_and_complete() {
    let job = good(
        "tasks:\n- {externalId: b, command: [x], env: {T: {secret: S}}}\n- {externalId: a, executor: noop, replicas: 0}\n",
    );
    let normal = normalise(&job);
    assert_eq!(
        String::from_utf8(normal.bytes.clone()).unwrap(),
        r#"{"retry":{"baseSeconds":1,"factor":2,"jitter":false,"maxDelaySeconds":3600,"maxRetries":3},"tasks":[{"command":["x"],"env":{"T":{"secret":"S"}},"externalId":"b","replicas":1}]}"#
    );
    assert_eq!(
        normal.hash,
        "42ee0134bc91cfc8a61c10ac7c5ed3ffb7051a4299c594f988b4dd4b689e519c"
    );
    // Another way to write the same job has the same address.
    let same = good(
        r#"{"retry": {"maxRetries": 3.0}, "tasks": [{"env": {"T": {"secret": "S"}}, "replicas": 1, "retry": {"factor": 2},
        "command": ["x"], "externalId": "b"}], "labels": {}}"#,
    );
    assert_eq!(normalise(&same), normal);
}

#[test]
fn the_normal_form_of_every_good_document_is_a_fixed_point() {
    for text in GOOD {
        let job = good(text);
        let normal = normalise(&job);
        let again = NormalisedDocument::read(&normal.bytes).unwrap();
        assert_eq!(normalise(&again), normal, "{text}");
        assert_eq!(parse(&normal.bytes, Some("application/json")).unwrap(), again, "{text}");
        assert_eq!(to_spec(&again, &normal.hash), to_spec(&job, &normal.hash), "{text}");
    }
}

#[test]
fn the_spec_has_groups_with_replicas_and_each_policy_once() {
    let job = good(
        "timeouts: {run: 1m}\ntasks:\n- {externalId: a, executor: noop, replicas: 2}\n- {externalId: b, executor: noop, replicas: 0}\n\
         - {externalId: c, command: [x], timeouts: {run: null}}\n- {externalId: d, command: [x], timeouts: {run: 60s}}\n",
    );
    let spec = to_spec(&job, "cafe");
    let groups: Vec<_> = spec
        .groups
        .iter()
        .map(|g| (g.external_id.as_str(), g.replicas, g.executor, g.policy))
        .collect();
    use ExecutorKind::{Noop, Process};
    assert_eq!(groups, [("a", 2, Noop, 0), ("c", 1, Process, 1), ("d", 1, Process, 0)]);
    assert_eq!(
        (spec.task_count, spec.policies.len(), spec.document_hash.as_str()),
        (4, 2, "cafe")
    );
    assert_eq!(spec.policies[1].timeouts.run_ms, None);
    let index = GroupIndex::new(&spec);
    for number in 1..=4 {
        let place = index.place(&spec, number).unwrap();
        let (task, replica) = job.task(number).unwrap();
        assert_eq!(
            (&place.group.external_id, place.replica_index),
            (&task.external_id, replica)
        );
    }
}

#[test]
fn thousands_of_policies_are_kept_apart() {
    let tasks: Vec<Value> = (1..8_000)
        .map(|n| json!({"externalId": n.to_string(), "executor": "noop", "timeouts": {"run": format!("{n}s")}}))
        .collect();
    let job = good(&json!({"tasks": tasks}).to_string());
    assert_eq!(to_spec(&job, "").policies.len(), 7_999);
}

#[test]
fn the_committed_schema_is_not_stale() {
    generated::check("job.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_schema_names_every_field_that_the_reader_knows() {
    let schema = schema();
    let of = |pointer: &str| -> Vec<String> {
        let mut names: Vec<_> = schema.pointer(pointer).unwrap()["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    };
    let task = "/$defs/task";
    for (pointer, known) in [
        (String::new(), read::JOB_FIELDS),
        (task.to_owned(), read::TASK_FIELDS),
        ("/$defs/node".to_owned(), read::NODE_FIELDS),
        ("/properties/retry".to_owned(), read::RETRY_FIELDS),
        (format!("{task}/properties/retry"), read::RETRY_FIELDS),
        ("/properties/timeouts".to_owned(), read::TIMEOUT_FIELDS),
        (format!("{task}/properties/timeouts"), read::TIMEOUT_FIELDS),
        (format!("{task}/properties/limits"), read::LIMIT_FIELDS),
        (
            format!("{task}/properties/env/additionalProperties/oneOf/1"),
            read::SECRET_FIELDS,
        ),
    ] {
        let mut known = known.to_vec();
        known.sort_unstable();
        assert_eq!(of(&pointer), known, "{pointer}");
    }
}

/// Mistakes that a schema cannot see.
const BEYOND_THE_SCHEMA: [ErrorCode; 5] = [
    ErrorCode::Syntax,
    ErrorCode::DuplicateKey,
    ErrorCode::DuplicateName,
    ErrorCode::TooManyTasks,
    ErrorCode::InvalidDag,
];

fn tree(text: &str) -> Value {
    let errors = Errors::default();
    load(text.as_bytes(), Format::guess(None, text.as_bytes()), &errors)
        .unwrap()
        .to_json()
}

#[test]
fn the_schema_judges_like_the_reader() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for text in GOOD {
        let errors: Vec<_> = validator
            .iter_errors(&tree(text))
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{text}\n{errors:?}");
    }
    for (text, _) in BAD {
        let errors = parse(text.as_bytes(), None).unwrap_err();
        if errors.iter().all(|error| BEYOND_THE_SCHEMA.contains(&error.code)) {
            continue;
        }
        assert!(!validator.is_valid(&tree(text)), "the schema accepts\n{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |double| serde_json::Number::from_f64(double)
            .map(Value::Number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_read_as_serde_json_reads_it(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        prop_assert_eq!(json::load(&text).unwrap().to_json(), value);
    }

    #[test]
    fn what_serde_json_refuses_is_refused(
        text in r#"[\[\]\{\}:,"\\ntrueflas0-9.eE+ \n\t]{0,24}"#,
        value in any_json(), cut in any::<prop::sample::Index>(), with in r#"[\[\]\{\}:,"\\ntru0-9.eE+\x00-\x1f ]?"#,
    ) {
        let mut mangled = value.to_string();
        let at = (0..=cut.index(mangled.len() + 1)).rev().find(|at| mangled.is_char_boundary(*at)).unwrap();
        let end = (at + 1..=mangled.len()).find(|end| mangled.is_char_boundary(*end)).unwrap_or(mangled.len());
        mangled.replace_range(at..end, &with);
        for text in [text, mangled] {
            let ours = json::load(&text);
            let theirs = serde_json::from_str::<Value>(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {:?} {:?}", text, ours, theirs);
        }
    }

    #[test]
    fn json_written_by_programs_is_the_same_as_yaml(value in any_json()) {
        // YAML 1.2 contains JSON but for what its printable set leaves out.
        let text = json!({"a": value}).to_string();
        prop_assume!(text.chars().all(|c| matches!(c, ' '..='~')));
        if let Ok(node) = yaml::load(&text) {
            prop_assert_eq!(node.to_json(), json!({"a": value}));
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in any::<String>(), ascii in "[-\\[\\]{}:,&*!|>'\"#%@a0 \n\t?.~]{0,40}") {
        for text in [text, ascii] {
            let _ = parse(text.as_bytes(), Some("a.yaml"));
            let _ = parse(text.as_bytes(), Some("a.json"));
        }
    }

    #[test]
    fn any_job_survives_its_normal_form(job in any_job()) {
        let normal = normalise(&job);
        let again = NormalisedDocument::read(&normal.bytes).unwrap();
        prop_assert_eq!(&again, &job);
        prop_assert_eq!(normalise(&again), normal);
    }
}

fn any_job() -> impl Strategy<Value = JobDocument> {
    use crate::domain::{RetryPolicy, Timeouts};
    let retry = (
        0..=1_000_u16,
        0..=86_400_000_u64,
        1.0..=100.0_f64,
        0..=604_800_000_u64,
        any::<bool>(),
    )
        .prop_map(|(max_retries, base_ms, factor, max_delay_ms, jitter)| RetryPolicy {
            max_retries,
            base_ms,
            factor,
            max_delay_ms,
            jitter,
        });
    let ms = || prop::option::of(1..=365 * 86_400_000_u64);
    let timeouts = (ms(), ms()).prop_map(|(start_ms, run_ms)| Timeouts { start_ms, run_ms });
    let labels = || prop::collection::btree_map("[a-z]{1,3}", "[ -~é]{0,5}", 0..3);
    let env = prop::collection::btree_map(
        "[A-F_]{1,3}",
        prop_oneof![
            "[^\\x00]{0,8}".prop_map(EnvValue::Text),
            "[A-Z]{1,4}".prop_map(EnvValue::Secret)
        ],
        0..3,
    );
    let limits =
        (prop::option::of(1..=1_000_u64), prop::option::of(1..=1_024_u32)).prop_map(|(memory_mib, cpus)| Limits {
            memory_mib,
            cpus,
            cpu_seconds: None,
            open_files: None,
            processes: None,
        });
    let node = (any::<String>(), any_json()).prop_map(|(id, value)| DagNode {
        id,
        command_name: "x".into(),
        config: json!({"v": value}),
        outputs: vec!["y".into()],
    });
    let command = (prop::collection::vec("[^\\x00]{1,8}", 1..4), env, limits);
    let kind = prop_oneof![
        Just((TaskKind::Noop, Default::default(), Limits::default())),
        prop::collection::vec(node, 0..3).prop_map(|nodes| (
            TaskKind::Dag(nodes),
            Default::default(),
            Limits::default()
        )),
        command.prop_map(|(argv, env, limits)| (TaskKind::Command { argv }, env, limits)),
    ];
    let task = (1..=5_u32, labels(), retry.clone(), timeouts.clone(), kind);
    (
        prop::option::of("[a-z]{1,9}"),
        labels(),
        retry,
        timeouts,
        ms(),
        prop::option::of(1..=1_000_000_u32),
        prop::collection::vec(task, 0..4),
    )
        .prop_map(
            |(external_id, labels, retry, timeouts, deadline_ms, max_parallel, tasks)| JobDocument {
                external_id,
                labels,
                retry,
                timeouts,
                deadline_ms,
                max_parallel,
                tasks: tasks
                    .into_iter()
                    .enumerate()
                    .map(|(index, (replicas, requires, retry, timeouts, (kind, env, limits)))| {
                        TaskSpec {
                            external_id: format!("t{index}"),
                            replicas,
                            requires,
                            retry,
                            timeouts,
                            env,
                            limits,
                            kind,
                        }
                        .into()
                    })
                    .collect(),
            },
        )
}
