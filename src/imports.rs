//! Imports point one way. This test reads the source and holds every `crate::…` (and every `super::…` that leaves its
//! module) against one table.

use std::path::Path;

use crate::sources;

/// Macros stand at the crate's root, wherever they are written.
const MACROS: [(&str, &str); 1] = [("options", "config")];

/// Tests that stand beside what they test but measure it through a higher module.
const EXCEPTIONS: [(&str, &str); 1] = [("worker::pipeline::tests", "bench")];

/// A module and the modules it may know, which all stand above it: so there is no way round.
struct Layer {
    module: &'static str,
    knows: &'static [&'static str],
}

const fn layer(module: &'static str, knows: &'static [&'static str]) -> Layer {
    Layer { module, knows }
}

/// What any shell may use, but never the domain or the events.
const UTILITIES: [&str; 8] = [
    "causes",
    "clock",
    "failpoint",
    "process_end",
    "task",
    "config",
    "telemetry",
    "generated",
];

/// Of `config` the part that knows everything.
const WHOLE: &str = "config::whole";

/// They know everything.
const TOP: [&str; 7] = ["api", "ui", "cli", "node", "bench", "sim", "main"];

const LAYERS: &[Layer] = &[
    layer("domain", &[]),
    layer("event", &["domain"]),
    layer("clock", &["domain"]),
    layer("causes", &[]),
    layer("checkpoint", &["domain"]),
    layer("task", &[]),
    layer("spill", &[]),
    layer("failpoint", &[]),
    layer("process_end", &[]),
    layer("generated", &[]),
    layer("config", &["domain"]),
    layer("sources", &[]),
    layer("telemetry", &["domain", "clock", "task", "config", "sources"]),
    layer("embedded", &["domain"]),
    layer("log", &["domain", "event"]),
    layer("bus", &["domain", "event"]),
    layer("metrics", &["domain", "spill"]),
    layer("letters", &["domain"]),
    layer("worker::pipeline", &["domain", "letters"]),
    layer("document", &["domain", "worker::pipeline"]),
    layer("logs", &["domain"]),
    layer("shard", &["domain", "event", "log", "bus"]),
    layer("publish", &["domain", "event", "log", "bus"]),
    layer("projection", &["domain", "event", "log", "bus"]),
    layer("archive", &["domain", "log", "projection"]),
    layer(
        "worker",
        &[
            "domain",
            "event",
            "log",
            "bus",
            "checkpoint",
            "document",
            "metrics",
            "logs",
            "letters",
            "spill",
            "worker::pipeline",
        ],
    ),
    // One section of the configuration for each component: it knows all of them, and only the top knows it.
    layer(WHOLE, &[]),
];

fn within(path: &[String], module: &str) -> bool {
    module
        .split("::")
        .zip(path.iter().map(Some).chain(std::iter::repeat(None)))
        .all(|(part, name)| name.is_some_and(|name| name == part))
}

/// The row of a path: the longest that fits.
fn row(path: &[String]) -> Option<usize> {
    (0..LAYERS.len())
        .filter(|row| within(path, LAYERS[*row].module))
        .max_by_key(|row| LAYERS[*row].module.len())
}

fn is_top(path: &[String]) -> bool {
    within(path, WHOLE)
        || path
            .first()
            .is_none_or(|first| TOP.contains(&first.as_str()) || first == "imports" || first == "lib")
}

/// Why module `from` may not name `to`.
fn forbidden(from: &[String], to: &[String]) -> Option<String> {
    if is_top(from)
        || EXCEPTIONS
            .iter()
            .any(|(test, module)| within(from, test) && within(to, module))
    {
        return None;
    }
    let Some(from_row) = row(from) else {
        return Some(format!("{} has no row in the table of src/imports.rs", from.join("::")));
    };
    let layer = &LAYERS[from_row];
    let at_home = MACROS
        .iter()
        .find(|(name, _)| *to == [*name])
        .map(|(_, home)| vec![(*home).to_owned()]);
    let to = at_home.as_deref().unwrap_or(to);
    let Some(to_row) = row(to) else {
        return Some(format!("{} may not know {}", layer.module, to.join("::")));
    };
    let target = LAYERS[to_row].module;
    let may_use_utilities = !["domain", "event", "clock", "task", "config", "telemetry"].contains(&layer.module);
    let fine =
        from_row == to_row || layer.knows.contains(&target) || (may_use_utilities && UTILITIES.contains(&target));
    (!fine).then(|| format!("{} may not know {target}", layer.module))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Path,
    Sign(char),
}

/// Words, `::` and signs of the text; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => until(rest, 2, &['\n']),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"', ..] | ['r', '#', '"' | '#', ..] => raw_string(rest),
            ['"', ..] => quoted(rest, '"'),
            // A lifetime has no closing quote right after its first character.
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
            [':', ':', ..] => {
                tokens.push(Token::Path);
                2
            }
            [first, ..] if first.is_alphanumeric() || *first == '_' => {
                let length = rest
                    .iter()
                    .take_while(|sign| sign.is_alphanumeric() || **sign == '_')
                    .count();
                tokens.push(Token::Word(rest[..length].iter().collect()));
                length
            }
            [sign, ..] => {
                if !sign.is_whitespace() {
                    tokens.push(Token::Sign(*sign));
                }
                1
            }
            [] => 1,
        };
    }
    tokens
}

fn until(rest: &[char], skip: usize, end: &[char]) -> usize {
    let found = rest[skip..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |found| skip + found + end.len())
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|sign| **sign == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 1 + hashes; // a raw identifier
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    until(rest, 2 + hashes, &end)
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// All paths from the crate's root that the text of `module` names, as far as they can be told from the text.
fn named_paths(module: &[String], text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut paths = Vec::new();
    // Inline modules: the depth of braces at which each began.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        match &tokens[at..] {
            [Token::Word(keyword), Token::Word(name), Token::Sign('{'), ..] if keyword == "mod" => {
                inline.push((name.clone(), depth + 1));
            }
            [Token::Sign('{'), ..] => depth += 1,
            [Token::Sign('}'), ..] => {
                if inline.last().is_some_and(|(_, began)| *began == depth) {
                    inline.pop();
                }
                depth = depth.saturating_sub(1);
            }
            [Token::Word(word), Token::Path, ..] if at == 0 || tokens[at - 1] != Token::Path => {
                let here: Vec<String> = module
                    .iter()
                    .cloned()
                    .chain(inline.iter().map(|(name, _)| name.clone()))
                    .collect();
                match word.as_str() {
                    "crate" => {
                        collect(&tokens[at + 2..], Vec::new(), &mut paths);
                    }
                    "super" => climb(&tokens[at..], here, &mut paths),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    paths
}

fn climb(mut rest: &[Token], mut here: Vec<String>, paths: &mut Vec<Vec<String>>) {
    while let [Token::Word(word), Token::Path, ..] = rest
        && word == "super"
    {
        here.pop();
        rest = &rest[2..];
    }
    collect(rest, here, paths);
}

/// Reads what follows a prefix: `a::b`, or `{a::b, c::{d, e}}`. Gives how many tokens it took.
fn collect(rest: &[Token], prefix: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix;
    let mut at = 0;
    loop {
        match &rest[at..] {
            [Token::Word(word), Token::Path, ..] => {
                path.push(word.clone());
                at += 2;
            }
            [Token::Word(_), Token::Sign('!'), ..] if path.is_empty() => return at + 2, // a macro of the crate
            [Token::Word(word), ..] => {
                path.push(word.clone());
                paths.push(path);
                return at + 1;
            }
            [Token::Sign('{'), ..] => {
                at += 1;
                while at < rest.len() && rest[at] != Token::Sign('}') {
                    at += match rest[at] {
                        Token::Word(_) | Token::Sign('{' | '*') => collect(&rest[at..], path.clone(), paths),
                        Token::Path | Token::Sign(_) => 1,
                    };
                    // `as name`
                    if matches!(&rest[at.min(rest.len())..], [Token::Word(word), ..] if word == "as") {
                        at += 2;
                    }
                }
                return at + 1;
            }
            _ => {
                paths.push(path);
                return at + 1;
            }
        }
    }
}

fn violations(module: &[String], text: &str) -> Vec<String> {
    named_paths(module, text)
        .iter()
        .filter_map(|path| forbidden(module, path))
        .collect()
}

fn module_of(source: &Path, file: &Path) -> Vec<String> {
    let bare = file.strip_prefix(source).unwrap().with_extension("");
    let mut module: Vec<String> = bare.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

#[test]
fn imports_point_one_way() {
    let source = sources::folder();
    let mut wrong = Vec::new();
    for (file, text) in sources::files() {
        let found = violations(&module_of(&source, &file), &text);
        wrong.extend(found.into_iter().map(|why| format!("{}: {why}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_way_round() {
    for (index, layer) in LAYERS.iter().enumerate() {
        for known in layer.knows {
            let place = LAYERS.iter().position(|other| other.module == *known);
            assert!(
                place.is_some_and(|place| place < index),
                "{} stands above {known}",
                layer.module
            );
        }
    }
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    let of = |module: &str, text: &str| violations(&module.split("::").map(str::to_owned).collect::<Vec<_>>(), text);
    for text in [
        "use crate::event::Meta;",
        "use crate::{\n    log::Journal,\n    domain::Job,\n};",
        "use crate::{domain::{Job, event::Event}, bus};",
        "fn f() -> crate::clock::Now { todo }",
        "fn f() { let at = crate::clock::now(); }",
        "use super::super::event::Meta;",
        "mod tests { use super::super::super::event::Meta; }",
        "/// fine\nuse crate::/* why */shard::Shard;",
        "const A: &str = \"//\"; use crate::log::B;",
        "const A: char = '\"'; use crate::log::B; const C: char = '\"';",
    ] {
        assert_eq!(of("domain::job", text).len(), 1, "{text}");
    }
    for text in [
        "//! see crate::event\nuse super::event::Event;",
        "use crate::domain::event::Event;",
        "const A: &str = \"crate::log::B\"; const B: &str = r#\"\"crate::log\"#;",
        "mod tests { use super::super::Job; } use super::*;",
        "fn f<'a>(a: &'a str) {} // use crate::log::B",
        "crate::event! { pub struct Options { a: u32 } }",
    ] {
        assert_eq!(of("domain::job", text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(of("shard::turn", "use crate::publish::Publisher;").len(), 1);
    assert_eq!(of("shard::turn", "use crate::{clock, log::Journal};").len(), 0);
    assert_eq!(of("document", "use crate::worker::{Worker, pipeline::Dag};").len(), 1);
    assert_eq!(of("document", "use crate::worker::pipeline::Dag;").len(), 0);
    assert_eq!(of("worker::pipeline::node", "use crate::worker::TaskActor;").len(), 1);
    assert_eq!(of("domain", "use crate::options;"), ["domain may not know config"]);
    assert_eq!(of("bus", "use crate::options;").len(), 0);
    assert_eq!(of("nowhere", "use crate::domain::Job;").len(), 1);
}
