//! Completion, by the shells themselves.

use std::path::Path;
use std::process::Command;

use super::{run, told};

/// What the shell says that `grid WORDS` is completed to; none where the machine has no such shell.
fn complete(folder: &Path, shell: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(shell);
    command
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("TERM", "dumb");
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no {shell} on PATH; make setup installs it");
            return None;
        }
        output => output.unwrap(),
    };
    let (code, out, err) = told(output);
    assert_eq!((code, err.as_str()), (0, ""), "{shell} {arguments:?}: {out}");
    Some(out.trim_end().to_owned())
}

fn write_script(folder: &Path, shell: &str, file: &str) {
    let (_, script, _) = run(folder, &["completion", shell]);
    std::fs::write(folder.join(file), script).unwrap();
}

#[test]
fn bash_completes_what_the_script_teaches_it() {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), "bash", "grid.bash");
    let complete = |words: &str| {
        let line = format!(
            "source ./grid.bash && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _grid grid \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\" && echo \"${{COMPREPLY[@]}}\""
        );
        complete(folder.path(), "bash", &["--norc", "-c", &line]).unwrap()
    };
    assert_eq!(complete("grid expl"), "explain");
    assert_eq!(complete("grid workers unc"), "uncordon");
    assert_eq!(complete("grid jobs --external"), "--external-id");
    assert!(complete("grid export --format ''").contains("ndjson"));
}

#[test]
fn fish_completes_what_the_script_teaches_it() {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), "fish", "grid.fish");
    let complete = |words: &str| {
        let line = format!("source ./grid.fish; complete --do-complete '{words}'");
        let out = complete(folder.path(), "fish", &["--no-config", "-c", &line])?;
        // Each with what it is for behind it.
        let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        Some(out.lines().map(word).collect::<Vec<_>>())
    };
    for (words, expected) in [
        ("grid expl", "explain"),
        ("grid workers unc", "uncordon"),
        ("grid jobs --external", "--external-id"),
        ("grid export --format nd", "ndjson"),
    ] {
        let Some(found) = complete(words) else { return };
        assert_eq!(found, [expected], "{words}");
    }
}

/// In the inner shell `grid` prints what it was called with: the line as it stands after the tabulator.
const ZSH_INNER: &str = "fpath=($PWD $fpath)
autoload -U compinit && compinit -u -D
# The end of the line may come before the tabulator is looked at.
zstyle ':completion:*' insert-tab false
unsetopt prompt_cr prompt_sp
grid() { print -r -- \"<<$*>>\" }
print READY
";

/// Completion is part of the editor of lines, which wants a terminal.
const ZSH_OUTER: &str = "zmodload zsh/zpty
zpty inner zsh -f
zpty -w inner '. ./inner.zsh'
zpty -r inner seen '*READY*'
zpty -w inner $1$'\\t'
zpty -r inner seen '*<<*>>*'
print -r -- ${${seen##*<<}%%>>*}
zpty -d inner
";

#[test]
fn zsh_completes_what_the_script_teaches_it() {
    let folder = tempfile::tempdir().unwrap();
    write_script(folder.path(), "zsh", "_grid");
    std::fs::write(folder.path().join("inner.zsh"), ZSH_INNER).unwrap();
    std::fs::write(folder.path().join("outer.zsh"), ZSH_OUTER).unwrap();
    for (words, expected) in [
        ("grid expl", "explain"),
        ("grid workers unc", "workers uncordon"),
        ("grid jobs --external", "jobs --external-id"),
        ("grid export --format nd", "export --format ndjson"),
    ] {
        let Some(found) = complete(folder.path(), "zsh", &["-f", "./outer.zsh", words]) else {
            return;
        };
        assert_eq!(found.trim_end(), expected, "{words}");
    }
}

#[test]
fn shells_learn_all_commands() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (code, out, err) = run(folder.path(), &["completion", shell]);
        assert!(code == 0 && err.is_empty(), "{shell}: {err}");
        for word in ["uncordon", "retries", "external-id", "context"] {
            assert!(out.contains(word), "{shell} does not know {word}");
        }
    }
    assert_eq!(run(folder.path(), &["completion", "dos"]).0, 2);
}
