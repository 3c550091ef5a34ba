//! Documents for the tests: good ones, and bad ones with every mistake that must be told, as `line:column code pointer`
//! and the message.

/// The document of the documentation, in YAML.
pub const YAML: &str = r#"externalId: strong-earthquakes # the client's name, need not be unique
labels: { team: seismology }
retry: { maxRetries: 3, baseSeconds: 1, factor: 2, maxDelaySeconds: 3600, jitter: false }
timeouts: { start: 5m, run: 60s }
deadline: 2h
maxParallel: 100
tasks:
  - externalId: filter
    replicas: 4
    requires: { zone: a }
    dag:
      - { id: in, commandName: filesource, config: { path: earthquakes.ndjson, encoding: ndjson }, outputs: [strong] }
      - { id: strong, commandName: filter, config: { condition: "to_float!(.properties.mag) >= 4" }, outputs: [shape] }
      - {
          id: shape,
          commandName: eval,
          config: { source: '. = {"id": .id, "mag": .properties.mag, "place": .properties.place}' },
          outputs: [out],
        }
      - {
          id: out,
          commandName: filesink,
          config: { path: "strong-${REPLICA_INDEX}.ndjson", encoding: ndjson },
          outputs: [],
        }
  - externalId: host-facts
    command: ["sh", "-c", "date; uname -a"]
    env: { LANG: C, TOKEN: { secret: MY_TOKEN } }
    retry: { maxRetries: 0 }
    timeouts: { run: null }
    limits: { memoryMiB: 256, cpus: 1 }
"#;

/// Good documents, which the schema accepts as well.
pub const GOOD: &[&str] = &[
    YAML,
    r#"{"tasks": []}"#,
    r#"{"externalId": "é x", "tasks": [{"externalId": "a", "executor": "noop", "replicas": 0}]}"#,
    r#"{"tasks": [{"externalId": "a", "executor": "noop", "replicas": 1000000}]}"#,
    r#"{"tasks": [{"externalId": "x", "executor": "noop", "replicas": 2}, {"externalId": "x-2", "executor": "noop"},
        {"externalId": "x-01", "executor": "noop"}, {"externalId": "x-0", "executor": "noop", "replicas": 3}]}"#,
    "tasks:\n  - externalId: a\n    command: [\"true\", \"a b\", \"\"]\n    limits: {openFiles: 64, cpuSeconds: 10, cpus: 2, processes: 9}\n",
    "timeouts: {start: 1h 30m}\nretry: {baseSeconds: 0.25, factor: 1.5, jitter: true}\ntasks: []\n",
    "tasks:\n  - externalId: a\n    command: &argv [env]\n    env: &env {A: '1', B: \"\\n\"}\n  - externalId: b\n    command: *argv\n    env: *env\n",
];

/// (text, mistakes)
pub const BAD: &[(&str, &[&str])] = &[
    // Not JSON.
    (
        "{\"tasks\": [],}",
        &["1:13 syntax : this is not JSON: a comma before the closing `}`"],
    ),
    (
        "{\"tasks\": [1,]}",
        &["1:13 syntax : this is not JSON: a comma before the closing `]`"],
    ),
    (
        "{\"tasks\": []} x",
        &["1:15 syntax : this is not JSON: expected the end of the document, found 'x'"],
    ),
    (
        "{\"tasks\": [\n  'a']}",
        &["2:3 syntax : this is not JSON: expected a value, found '\\''"],
    ),
    (
        "{tasks: []}",
        &["1:2 syntax : this is not JSON: expected a field's name in double quotes, found 't'"],
    ),
    (
        "{\"ü\\x\": []}",
        &["1:4 syntax : this is not JSON: unknown escape `\\x`"],
    ),
    (
        "{\"a\\ud800\": 1}",
        &["1:4 syntax : this is not JSON: half of a surrogate pair"],
    ),
    (
        "{\"a\": \"b\nc\"}",
        &["1:9 syntax : this is not JSON: a raw control character (U+000A) in text; escape it"],
    ),
    (
        "{\"a\": 01}",
        &["1:7 syntax : this is not JSON: a number with a leading zero"],
    ),
    ("{\"a\": 1e999}", &["1:7 syntax : the number 1e999 is too large"]),
    (
        "{\"a\": [1 2]}",
        &["1:10 syntax : this is not JSON: expected `,` or `]`, found '2'"],
    ),
    (
        "{\"a\": tru",
        &["1:10 syntax : this is not JSON: expected `true`, found the end of the document"],
    ),
    (
        "{\"a\": \"",
        &["1:7 syntax : this is not JSON: this text has no closing quote"],
    ),
    // Not YAML.
    ("", &["1:1 syntax : the document is empty"]),
    (
        "tasks: [\n",
        &["2:1 syntax : this is not YAML: while parsing a node, did not find expected node content"],
    ),
    (
        "tasks: []\n---\ntasks: []\n",
        &["2:1 syntax : a second YAML document; send one job at a time"],
    ),
    (
        "tasks: !!python/object []\n",
        &["1:8 syntax : the tag `tag:yaml.org,2002:!python/object` has no meaning here"],
    ),
    (
        "? [a]\n: b\n",
        &["1:3 syntax : a field's name is text, not a list or an object"],
    ),
    (
        "tasks: &a [*a]\n",
        &["1:12 syntax : this alias stands inside the node that it names"],
    ),
    (
        "maxParallel: .inf\ntasks: []\n",
        &["1:14 syntax : .inf is not a number of JSON"],
    ),
    // The shape of the whole.
    ("[]", &["1:1 wrong_type : expected an object, found a list"]),
    ("{}", &["1:1 missing_field : the field \"tasks\" is missing"]),
    (
        "{\"tasks\": null}",
        &["1:11 wrong_type /tasks: expected a list, found null"],
    ),
    (
        "{\"tasks\": [],\n \"tasks\": []}",
        &["2:2 duplicate_key /tasks: \"tasks\" is already set in line 1"],
    ),
    (
        "tasks: []\nlabels:\n  a: x\n  a: y\n",
        &["4:3 duplicate_key /labels/a: \"a\" is already set in line 3"],
    ),
    (
        "taks: []\nname/of~it: 1\n",
        &[
            "1:1 unknown_field /taks: unknown field \"taks\"; did you mean \"tasks\"?",
            "1:1 missing_field : the field \"tasks\" is missing",
            "2:1 unknown_field /name~1of~0it: unknown field \"name/of~it\"; expected one of externalId, labels, retry, \
             timeouts, deadline, maxParallel, tasks",
        ],
    ),
    (
        "<<: {tasks: []}\ntasks: []\n",
        &["1:1 unknown_field /<<: unknown field \"<<\": YAML 1.2 has no merge keys"],
    ),
    // Values.
    (
        "externalId: 7\ndeadline: soon\nmaxParallel: 0\ntimeouts: {run: 60, start: 0s}\n\
         retry: {maxRetries: -1, factor: 0.5, jitter: 'no', maxretries: 1}\ntasks: []\n",
        &[
            "1:13 wrong_type /externalId: expected text, found a number; put it in quotes",
            "2:11 bad_duration /deadline: expected a duration such as \"90s\" or \"1h 30m\", found \"soon\": expected number at 0",
            "3:14 out_of_range /maxParallel: expected a whole number from 1 to 1000000, found 0",
            "4:17 wrong_type /timeouts/run: expected a duration such as \"90s\" or \"1h 30m\", found a number",
            "4:28 out_of_range /timeouts/start: expected a duration from 1ms to 365days, found \"0s\"",
            "5:21 out_of_range /retry/maxRetries: expected a whole number from 0 to 1000, found -1",
            "5:33 out_of_range /retry/factor: expected a number from 1 to 100, found 0.5",
            "5:46 wrong_type /retry/jitter: expected true or false, found text",
            "5:52 unknown_field /retry/maxretries: unknown field \"maxretries\"; did you mean \"maxRetries\"?",
        ],
    ),
    (
        "labels: {-a: b, n: 1, x: \"a\\u0007\"}\ntasks: []\n",
        &[
            "1:14 bad_value /labels/-a: a label's name has 1 to 63 of letters, digits, '.', '_', '/', '-', and starts and \
             ends with a letter or digit; found \"-a\"",
            "1:20 wrong_type /labels/n: expected text, found a number; put it in quotes",
            "1:26 bad_value /labels/x: a label's value has at most 255 characters, none of them a control character; \
             found \"a\\u{7}\"",
        ],
    ),
    // Tasks.
    (
        "tasks:\n  - externalId: a\n  - {externalId: b, command: [x], executor: noop}\n  - {executor: noop}\n  - x\n",
        &[
            "2:5 missing_field /tasks/0: a task needs one of \"dag\", \"command\" or \"executor\"",
            "3:5 conflict /tasks/1: a task has only one of \"command\" and \"executor\"",
            "4:5 missing_field /tasks/2: the field \"externalId\" is missing",
            "5:5 wrong_type /tasks/3: expected an object, found text",
        ],
    ),
    (
        "tasks:\n- {externalId: a, executor: process, replicas: 1.5}\n- {externalId: b, executor: noop, env: {}, limits: {}}\n",
        &[
            "2:29 bad_value /tasks/0/executor: expected \"noop\", found \"process\"; others follow from \"dag\" or \"command\"",
            "2:48 out_of_range /tasks/0/replicas: expected a whole number from 0 to 1000000, found 1.5",
            "3:40 conflict /tasks/1/env: \"env\" applies to a task with a \"command\" alone",
            "3:52 conflict /tasks/1/limits: \"limits\" applies to a task with a \"command\" alone",
        ],
    ),
    (
        "tasks:\n- {externalId: x, executor: noop, replicas: 3}\n- {externalId: x-2, executor: noop}\n\
         - {externalId: x, executor: noop}\n",
        &[
            "3:16 duplicate_name /tasks/1/externalId: replica 2 of \"x\" in line 2 is called \"x-2\" as well",
            "4:16 duplicate_name /tasks/2/externalId: another task is called \"x\" as well, in line 2",
        ],
    ),
    (
        "{\"tasks\": [{\"externalId\": \"a\", \"executor\": \"noop\", \"replicas\": 999999},\n\
         {\"externalId\": \"b\", \"executor\": \"noop\", \"replicas\": 2}]}",
        &["1:11 too_many_tasks /tasks: the replicas sum to 1000001 tasks; a job has at most 1000000"],
    ),
    (
        "tasks:\n- {externalId: a, command: []}\n- {externalId: b, command: [1]}\n- {externalId: c, command: \"ls\"}\n\
         - {externalId: ' d', command: [\"a\\0b\"]}\n- {externalId: e, command: ['']}\n",
        &[
            "2:28 bad_value /tasks/0/command: a command names at least its program",
            "3:28 bad_value /tasks/1/command: a command names at least its program",
            "3:29 wrong_type /tasks/1/command/0: expected text, found a number; put it in quotes",
            "4:28 wrong_type /tasks/2/command: expected a list, found text",
            "5:16 bad_value /tasks/3/externalId: a name has 1 to 200 characters, none of them a control character, and no \
             blank at its start or end; found \" d\"",
            "5:31 bad_value /tasks/3/command: a command names at least its program",
            "5:32 bad_value /tasks/3/command/0: a NUL character cannot be handed to a program",
            "6:28 bad_value /tasks/4/command: a command's program has no name",
        ],
    ),
    (
        "tasks:\n- externalId: a\n  command: [x]\n  env:\n    1A: x\n    GRID_JOB_ID: x\n    T: {secret: ../x}\n    U: {secrets: x}\n    \
         V: [x]\n  limits: {memoryMib: 1, cpus: 0, openFiles: many}\n",
        &[
            "5:9 bad_value /tasks/0/env/1A: a variable's name has 1 to 256 of letters, digits and '_', and starts with no \
             digit; found \"1A\"",
            "6:18 bad_value /tasks/0/env/GRID_JOB_ID: the worker itself sets GRID_JOB_ID",
            "7:17 bad_value /tasks/0/env/T/secret: a secret's name has 1 to 128 of letters, digits, '.', '_', '-', and \
             starts with a letter, digit or '_'; found \"../x\"",
            "8:8 missing_field /tasks/0/env/U: the field \"secret\" is missing",
            "8:9 unknown_field /tasks/0/env/U/secrets: unknown field \"secrets\"; did you mean \"secret\"?",
            "9:8 wrong_type /tasks/0/env/V: expected text, found a list",
            "10:12 unknown_field /tasks/0/limits/memoryMib: unknown field \"memoryMib\"; did you mean \"memoryMiB\"?",
            "10:32 out_of_range /tasks/0/limits/cpus: expected a whole number from 1 to 1024, found 0",
            "10:46 wrong_type /tasks/0/limits/openFiles: expected a whole number, found text",
        ],
    ),
    (
        "tasks:\n- externalId: a\n  dag:\n  - {id: a, commandname: filter, config: [], outputs: [1]}\n",
        &[
            "4:5 missing_field /tasks/0/dag/0: the field \"commandName\" is missing",
            "4:13 unknown_field /tasks/0/dag/0/commandname: unknown field \"commandname\"; did you mean \"commandName\"?",
            "4:42 wrong_type /tasks/0/dag/0/config: expected an object, found a list",
            "4:56 wrong_type /tasks/0/dag/0/outputs/0: expected text, found a number; put it in quotes",
        ],
    ),
    // What the pipelines mean.
    (
        "tasks:\n- externalId: a\n  dag: []\n- externalId: b\n  replicas: 2\n  dag:\n  - id: in\n    commandName: generatesource\n    \
         config: {count: 1}\n    outputs: [f, nowhere]\n  - id: f\n    commandName: filter\n    config:\n      condition: |\n        \
         .a >=\n    outputs: []\n",
        &[
            "3:8 invalid_dag /tasks/0/dag: the dag is empty; a pipeline needs at least a source and a sink",
            "10:18 invalid_dag /tasks/1/dag/0/outputs/1: node `in`: there is no node with id `nowhere`",
            "16:9 invalid_dag /tasks/1/dag/1/config/condition: node `f`: VRL error E204: syntax error; unexpected end of \
             program; expected one of: \"identifier\", \"string literal\", \"raw string literal\", \"integer literal\", \
             \"float literal\", \"regex literal\", \"timestamp literal\", \"function call\", \"path literal\", \"null\", \
             \"true\", \"false\", \"\\n\", \"!\", \"[\", \"{\", \"(\" (line 2, column 1)",
        ],
    ),
    (
        "tasks:\n- externalId: a\n  dag:\n  - {id: in, commandName: generatesource, config: {count: 1}, outputs: [f]}\n  - id: f\n    \
         commandName: filter\n    config:\n      condition: |\n        # at least 4\n        true && .mag >= 4\n    outputs: [out]\n  - {id: out, commandName: stdout}\n",
        &[
            "10:17 invalid_dag /tasks/0/dag/1/config/condition: node `f`: VRL error E100: unhandled error; expression can \
             result in runtime error; handle the error case to ensure runtime success; see documentation about error \
             handling at https://errors.vrl.dev/#handling (line 2, column 9)",
        ],
    ),
    (
        "{\"tasks\": [{\"externalId\": \"a\", \"replicas\": 2, \"dag\": [\n\
         {\"id\": \"in\", \"commandName\": \"generatesource\", \"config\": {\"count\": 1}, \"outputs\": [\"out\"]},\n\
         {\"id\": \"out\", \"commandName\": \"filesink\", \"config\": {\"path\": \"same.ndjson\"}}]}]}",
        &[
            "3:61 invalid_dag /tasks/0/dag/1/config/path: node `out`: 2 replicas would write the same file `same.ndjson`; put \
             ${REPLICA_INDEX} into the path",
        ],
    ),
    (
        "tasks:\n- externalId: a\n  dag:\n  - {id: in, commandName: nosuch, outputs: [out]}\n  - {id: out, commandName: filesink, config: {pth: x}}\n",
        &[
            "4:27 invalid_dag /tasks/0/dag/0/commandName: node `in`: `nosuch` is not known; one of: filesource, \
             generatesource, kafkasource, httpsource, deadlettersource, filter, eval, assertion, parser, stdout, filesink, kafkasink, \
             httpsink",
            "5:46 invalid_dag /tasks/0/dag/1/config/path: node `out`: is missing",
            "5:52 invalid_dag /tasks/0/dag/1/config/pth: node `out`: unknown field `pth`; known here: path, encoding, \
             failOnError, deadletter",
        ],
    ),
];
