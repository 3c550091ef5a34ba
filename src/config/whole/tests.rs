use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::*;
use crate::config::{Flag, Sources};

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grid.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn flag(flag: &str, key: &str, value: &str) -> Flag {
    Flag {
        flag: flag.to_owned(),
        key: key.to_owned(),
        value: Value::from(value),
    }
}

fn refused(sources: &Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

#[test]
fn each_layer_overrides_the_one_below_and_is_named() {
    let (_dir, path) = file("[worker]\nslots = 2\ngrace = '3s'\nname = 'a'\n[server]\nlisten = '127.0.0.1:1'\n");
    let loaded = Config::load(&Sources {
        file: Some(path.clone()),
        env: env(&[
            ("GRID__WORKER__GRACE", "5s"),
            ("GRID__WORKER__NAME", "b"),
            ("GRID_WORKER_NAME", "no"),
            ("HOME", "/"),
        ]),
        flags: vec![flag("--name", "worker.name", "c")],
    })
    .unwrap();
    let worker = &loaded.config.worker;
    assert_eq!(
        (worker.slots, worker.grace, worker.name.as_deref()),
        (2, Duration::from_secs(5), Some("c"))
    );
    assert_eq!(worker.lost_after, Duration::from_secs(45));
    assert_eq!(loaded.origin("worker.slots"), Origin::File(path.clone()));
    assert_eq!(
        loaded.origin("worker.grace"),
        Origin::Env("GRID__WORKER__GRACE".to_owned())
    );
    assert_eq!(loaded.origin("worker.name"), Origin::Flag("--name".to_owned()));
    assert_eq!(loaded.origin("worker.lost_after"), Origin::Default);
    let shown = loaded.effective().to_string();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(
        line("slots = 2").ends_with(&format!("# file {}", path.display())),
        "{shown}"
    );
    assert!(
        line("grace = \"5s\"").ends_with("# environment GRID__WORKER__GRACE"),
        "{shown}"
    );
    assert!(line("name = \"c\"").ends_with("# flag --name"), "{shown}");
}

#[test]
fn every_problem_is_named_with_its_place() {
    let (_dir, path) = file("[server]\nlistne = 'x'\n[worker]\nslots = 'many'\n[sever]\na = 1\n");
    let place = path.display().to_string();
    let refused = refused(&Sources {
        file: Some(path),
        env: env(&[
            ("GRID__WORKER__GRACE", "soon"),
            ("GRID__SLOTS", "1"),
            ("GRID__SERVER__SLOTS", "1"),
            ("GRID__", ""),
        ]),
        flags: vec![flag("--listen", "server.listen", "here")],
    });
    for part in [
        &format!("server.listne (file {place}): unknown key; did you mean server.listen?") as &str,
        &format!("sever (file {place}): unknown key; did you mean server?"),
        &format!("worker.slots (file {place}): found \"many\", expected a whole number from 0"),
        "worker.grace (environment GRID__WORKER__GRACE): found \"soon\", expected a duration such as 500ms",
        "slots (environment GRID__SLOTS): unknown key",
        "server.slots (environment GRID__SERVER__SLOTS): unknown key; did you mean worker.slots?",
        " (environment GRID__): unknown key",
        "server.listen (flag --listen): found \"here\", expected an address and port such as 127.0.0.1:8080",
    ] {
        assert!(refused.contains(part), "{part}\nnot in\n{refused}");
    }
    assert_eq!(refused.lines().count(), 9, "{refused}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = refused(&Sources {
        file: Some("/no/such/grid.toml".into()),
        ..Sources::default()
    });
    assert!(missing.contains("/no/such/grid.toml"), "{missing}");
    let (_dir, path) = file("[server\nlisten = 1");
    let broken = refused(&Sources {
        file: Some(path.clone()),
        ..Sources::default()
    });
    assert!(
        broken.contains(&path.display().to_string()) && broken.contains("line 1"),
        "{broken}"
    );
    let (_dir, path) = file("server = 1");
    let flat = refused(&Sources {
        file: Some(path),
        ..Sources::default()
    });
    assert!(flat.contains("expected a section: [server]"), "{flat}");
}

#[test]
fn secrets_are_never_shown() {
    let (_dir, path) = file("[kafka.properties]\nsecurity.protocol = 'sasl_ssl'\n'sasl.password' = 'hush1'\n");
    let loaded = Config::load(&Sources {
        file: Some(path),
        env: env(&[
            ("GRID__POSTGRES__URL", "postgres://grid:hush2@host/grid"),
            ("GRID__WORKER__API_TOKEN", "hush3"),
            ("GRID__KAFKA__PROPERTIES__SSL_KEY_PASSWORD", "hush4"),
            ("GRID__KAFKA__PROPERTIES__SASL_USERNAME", "alice"),
        ]),
        flags: Vec::new(),
    })
    .unwrap();
    let properties = &loaded.config.kafka.properties;
    assert_eq!(properties.get("sasl.password"), Some("hush1"));
    assert_eq!(properties.get("ssl.key.password"), Some("hush4"));
    assert_eq!(properties.get("security.protocol"), Some("sasl_ssl"));
    assert_eq!(
        loaded.config.postgres.url.as_ref().unwrap().reveal(),
        "postgres://grid:hush2@host/grid"
    );
    let seen = format!("{} {} {loaded:?}", loaded.effective(), loaded.effective().to_json());
    assert!(!seen.contains("hush"), "{seen}");
    assert!(seen.contains("***") && seen.contains("alice"));
    let list = refused(&Sources {
        env: env(&[("GRID__KAFKA__PROPERTIES", "sasl.password hush")]),
        ..Sources::default()
    });
    assert!(list.contains("kafka.properties") && !list.contains("hush"), "{list}");
}

#[test]
fn lists_and_tables_are_written_in_one_variable_or_one_each() {
    let (_dir, path) = file("[worker]\nallow_paths = ['/a', '/b']\nlabels = { zone = 'a', disk_type = 'ssd' }\n");
    let file = Sources {
        file: Some(path),
        ..Sources::default()
    };
    let worker = Config::load(&file).unwrap().config.worker;
    assert_eq!(worker.allow_paths, [PathBuf::from("/a"), PathBuf::from("/b")]);
    let env = env(&[
        ("GRID__WORKER__ALLOW_PATHS", "/c, /d"),
        ("GRID__WORKER__LABELS__DISK_TYPE", "hdd"),
    ]);
    let loaded = Config::load(&Sources { env, ..file }).unwrap();
    let worker = &loaded.config.worker;
    assert_eq!(worker.allow_paths, [PathBuf::from("/c"), PathBuf::from("/d")]);
    let labels: Vec<_> = worker
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(labels, [("disk_type", "hdd"), ("zone", "a")]);
    assert_eq!(
        loaded.origin("worker.labels.disk_type"),
        Origin::Env("GRID__WORKER__LABELS__DISK_TYPE".to_owned())
    );
    let flat = Sources {
        env: vec![("GRID__WORKER__LABELS".into(), "zone=b,rack=7".into())],
        ..Sources::default()
    };
    assert_eq!(Config::load(&flat).unwrap().config.worker.labels.len(), 2);
    let both = Sources {
        env: vec![
            ("GRID__KAFKA__PROPERTIES".into(), "client.rack=a, linger.ms=5".into()),
            ("GRID__KAFKA__PROPERTIES__LINGER_MS".into(), "7".into()),
        ],
        ..Sources::default()
    };
    let properties = Config::load(&both).unwrap().config.kafka.properties;
    assert_eq!(
        (properties.get("client.rack"), properties.get("linger.ms")),
        (Some("a"), Some("7"))
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let late = refused(&Sources {
        env: env(&[("GRID__WORKER__DEAD_AFTER", "50s")]),
        ..Sources::default()
    });
    assert!(late.contains(
        "worker.dead_after (environment GRID__WORKER__DEAD_AFTER): expected less than worker.lost_after (45s)"
    ));
    let early = refused(&Sources {
        env: env(&[("GRID__JOBMASTER__WORKER_LOST_AFTER", "30s")]),
        ..Sources::default()
    });
    assert!(
        early.contains("jobmaster.worker_lost_after") && early.contains("worker.dead_after (40s)"),
        "{early}"
    );
    let none = refused(&Sources {
        env: env(&[("GRID__SHARDS__COUNT", "0")]),
        ..Sources::default()
    });
    assert!(
        none.contains("shards.count") && none.contains("expected 1 to 1024"),
        "{none}"
    );
}

#[test]
fn the_reference_covers_every_key_and_is_itself_a_configuration() {
    let reference = Reference.to_string();
    for (section, key) in Config::keys() {
        assert!(!key.doc.trim().is_empty(), "{section}.{}", key.name);
        let env = format!("GRID__{}__{}", section.to_uppercase(), key.name.to_uppercase());
        assert!(reference.contains(&env), "{env}");
    }
    // With every default uncommented it loads, and gives the defaults.
    let keys: Vec<&str> = Config::keys().iter().map(|(_, key)| key.name).collect();
    let uncomment = |line: &str| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let set = bare.split_once(" = ").is_some_and(|(key, _)| keys.contains(&key));
        if set { bare.to_owned() } else { line.to_owned() }
    };
    let text: Vec<String> = reference.lines().map(uncomment).collect();
    let (_dir, path) = file(&text.join("\n"));
    let loaded = Config::load(&Sources {
        file: Some(path.clone()),
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("worker.slots"), Origin::File(path));
    assert_eq!(Reference::to_json().as_array().unwrap().len(), keys.len());
}
