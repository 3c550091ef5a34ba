//! A shell in a folder, with `grid` on its path, that does what a page says.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::expectation::{PLACEHOLDERS, Values, printed, with_values};
use super::markdown::{Command, Page};
use crate::cli::server::Standalone;
use crate::cli::{grid, told};
use crate::support::wait_for;

const DEADLINE: Duration = Duration::from_secs(30);

pub struct Session {
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    pub values: Values,
}

impl Session {
    /// In the folder of that server.
    pub fn new(server: &Standalone) -> Self {
        Self::at(server.path(), vec![("GRID_SERVER", server.url.clone())])
    }

    pub fn at(folder: &Path, environment: Vec<(&'static str, String)>) -> Self {
        Self {
            folder: folder.to_owned(),
            environment,
            values: Values::new(),
        }
    }

    /// From now on.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Writes the files that a page gives, into the folder in which its commands run.
    pub fn write_files(&self, page: &Page, change: impl Fn(&str) -> String) {
        for (name, text) in page.files() {
            std::fs::write(self.folder.join(name), change(&text)).unwrap();
        }
    }

    /// Runs a command, and holds what it prints against what the page says. What only looks is asked again until its
    /// answer fits: points and lines take a moment. One that the page ends with `error: …` must be refused so; what a process
    /// logged before is left out.
    pub fn run(&mut self, command: &Command) -> String {
        for (name, _) in PLACEHOLDERS {
            let named = command
                .text
                .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
                .any(|word| word == name);
            assert!(
                !named || self.values.contains_key(name),
                "{name} is not known: {}",
                command.text
            );
        }
        let text = with_values(&command.text, &self.values);
        let nothing = Vec::new();
        let expected = command.prints.as_ref().unwrap_or(&nothing);
        if text.split(' ').any(|word| word == "-f" || word == "--follow") {
            return self.follow(&text, expected);
        }
        let is_refused = expected.first().is_some_and(|line| line.starts_with(REFUSAL));
        let begun = Instant::now();
        loop {
            let mut process = if is_refused {
                self.bounded(&text)
            } else {
                self.shell(&text)
            };
            let (code, mut out, err) = told(process.output().unwrap());
            if is_refused {
                refusal(&err).clone_into(&mut out);
            }
            let found = match &command.prints {
                Some(expected) => printed(expected, &out, &self.values),
                None => Some(self.values.clone()),
            };
            if let (true, Some(values)) = ((code == 0) != is_refused, found) {
                self.values = values;
                return out;
            }
            assert!(
                only_looks(&text) && begun.elapsed() < DEADLINE,
                "{text}\nexit code {code}, where the page says:\n{}\nit printed:\n{out}{err}",
                expected.join("\n")
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a command that succeeds: what it printed.
    pub fn tell(&self, text: &str) -> String {
        let text = with_values(text, &self.values);
        let (code, out, err) = told(self.shell(&text).output().unwrap());
        assert_eq!(code, 0, "{text}: {out}{err}");
        out
    }

    /// What a command prints; `None` when it fails.
    pub fn ask(&self, text: &str) -> Option<String> {
        let (code, out, _) = told(self.shell(text).output().unwrap());
        (code == 0).then_some(out)
    }

    /// One that does not end by itself: until what it printed last is what the page says. Earlier lines come before that when
    /// it began before what it waits for.
    fn follow(&mut self, text: &str, expected: &[String]) -> String {
        let mut child = self
            .shell(&format!("exec {text}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(&mut child);
        let mut out = String::new();
        let values = wait_for(&format!("{text} to print {expected:?}"), DEADLINE, || {
            out.extend(lines.try_iter());
            let earlier = out.lines().count().saturating_sub(expected.len());
            let last: Vec<&str> = out.lines().skip(earlier).collect();
            printed(expected, &last.join("\n"), &self.values)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        self.values = values;
        out
    }

    /// One that goes on beside the others, ended on drop; what it says goes into the file `NAME.log`.
    pub fn spawn(&self, text: &str, name: &str) -> Background {
        let log = std::fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        // In the place of the shell, so that it is what is ended; after the variables that are set for it alone.
        let at = text.find("grid ").expect("a command of grid");
        let text = format!("{} exec {}", &text[..at], &text[at..]);
        let child = self.shell(&text).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Background(child)
    }

    fn shell(&self, text: &str) -> Process {
        self.prepared(Process::new("sh"), text)
    }

    /// A process that should refuse to run, and runs, is ended after a while.
    fn bounded(&self, text: &str) -> Process {
        let mut timeout = Process::new("timeout");
        timeout.args(["60", "sh"]);
        self.prepared(timeout, text)
    }

    fn prepared(&self, mut shell: Process, text: &str) -> Process {
        // As `grid` is made, so that nothing of the one who runs the tests gets in.
        let program = grid(&self.folder, &[]);
        shell.args(["-c", text]).current_dir(&self.folder).stdin(Stdio::null());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let folder = Path::new(program.get_program()).parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(folder).chain(std::env::split_paths(&path));
        shell.env("PATH", std::env::join_paths(path).unwrap());
        shell
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stderr(Stdio::piped());
        shell
    }
}

const REFUSAL: &str = "error: ";

/// What a command said at its end.
pub fn refusal(err: &str) -> &str {
    let at = if err.starts_with(REFUSAL) {
        Some(0)
    } else {
        err.rfind("\nerror: ").map(|at| at + 1)
    };
    at.map_or(err, |at| &err[at..])
}

pub struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1_000);
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line + "\n").is_err() {
                break;
            }
        }
    });
    receiver
}

/// It can be done twice.
fn only_looks(text: &str) -> bool {
    const STEERS: [&str; 10] = [
        "grid archive",
        "grid submit",
        "grid retry",
        "grid kill",
        "grid stop",
        "grid retries ",
        "grid workers ",
        "grid init",
        "touch",
        "curl -X",
    ];
    !STEERS.iter().any(|start| text.starts_with(start)) && !text.contains(" --replay")
}

/// Holds a command as prose has it, with words for values and brackets around what may be left out, against the help of
/// the command line: is there such a command, and does it take those flags?
pub fn exists(span: &str) {
    let words: Vec<&str> = span
        .split([' ', '[', ']', '|'])
        .filter(|word| !word.is_empty())
        .collect();
    let names = words
        .iter()
        .skip(1)
        .take_while(|word| word.chars().all(|char| char.is_ascii_lowercase() || char == '-') && !word.starts_with('-'));
    let mut arguments: Vec<&str> = names.copied().collect();
    assert!(!arguments.is_empty() || span == "grid", "{span}: which command?");
    arguments.push("--help");
    let folder = tempfile::tempdir().unwrap();
    let (code, help, err) = crate::cli::run(folder.path(), &arguments);
    assert_eq!(code, 0, "{span}: {err}");
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        let flag = flag.split('=').next().unwrap_or(flag);
        let named = |word: &str| word.trim_end_matches(',') == flag;
        assert!(help.split_whitespace().any(named), "{span}: no {flag} in\n{help}");
    }
}
