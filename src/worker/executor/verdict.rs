//! What the end of a process means for its task.

use nix::sys::signal::Signal;

use super::attempt::{Completion, ControlState, Outcome};
use super::limits;
use super::lines::Remembered;
use crate::document::Limits;
use crate::domain::{Failure, FailureReason};

/// "Configuration error" (sysexits.h): the task says that no other attempt can do better.
const EXIT_UNRECOVERABLE: i32 = 78;
const MARKER: &str = "GRID_FAIL:";

/// How the leader of a process group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(Signal),
    /// It did not, though it was killed: the kernel holds it.
    Stuck,
}

impl Exit {
    fn text(self) -> String {
        match self {
            Self::Code(code) => format!("exit code {code}"),
            Self::Signal(signal) => format!("ended by signal {} ({signal})", signal as i32),
            Self::Stuck => "killed, but the kernel does not let it end".to_owned(),
        }
    }
}

/// The outcome of an attempt whose process ended with `exit` after `asked` was asked of it.
///
/// `exceeded`: which limit it has met, beside them, when that is known.
pub fn verdict(
    exit: Exit,
    asked: ControlState,
    (limits, exceeded): (&Limits, Option<String>),
    output: Remembered,
) -> Outcome {
    let (reason, message) = match (asked, exit) {
        (ControlState::Run | ControlState::Stop, Exit::Code(0)) => {
            return Outcome::Completed(Completion {
                lines: output.lines,
                bytes: output.bytes,
                pipeline: None,
            });
        }
        (ControlState::Kill, exit) => (FailureReason::Killed, format!("killed: {}", exit.text())),
        (ControlState::Stop, exit) => (
            FailureReason::Killed,
            format!("stopped, and did not end well: {}", exit.text()),
        ),
        (ControlState::Run, exit) => failure(exit, limits, exceeded, &output),
    };
    let mut failure = Failure::new(reason, message);
    failure.exit_code = match exit {
        Exit::Code(code) => Some(code),
        Exit::Signal(_) | Exit::Stuck => None,
    };
    failure.last_log_lines = output.last_lines.into();
    Outcome::Failed(failure.capped())
}

fn failure(exit: Exit, limits: &Limits, exceeded: Option<String>, output: &Remembered) -> (FailureReason, String) {
    if let Some(marked) = marker(&output.last_stderr_line) {
        return marked;
    }
    let (signal, reason) = match exit {
        Exit::Code(EXIT_UNRECOVERABLE) => (None, FailureReason::Unrecoverable),
        Exit::Code(_) | Exit::Stuck => (None, FailureReason::Error),
        Exit::Signal(signal) => (Some(signal), FailureReason::Error),
    };
    let mut message = exit.text();
    if reason == FailureReason::Unrecoverable {
        message.push_str(": the task asks for no retry");
    }
    let lines = output.last_lines.iter().map(String::as_str);
    if let Some(limit) = exceeded.or_else(|| limits::exceeded(limits, signal, lines)) {
        message = format!("{limit} ({message})");
    } else if signal == Some(Signal::SIGKILL) {
        message.push_str("; the worker did not send it, so the system may be short of memory");
    }
    (reason, message)
}

/// Reads `GRID_FAIL: UNRECOVERABLE <message>` or `GRID_FAIL: AUTHENTICATION <message>`.
fn marker(line: &str) -> Option<(FailureReason, String)> {
    let rest = line.trim().strip_prefix(MARKER)?.trim_start();
    let (word, message) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let reason = match word {
        "UNRECOVERABLE" => FailureReason::Unrecoverable,
        "AUTHENTICATION" => FailureReason::Authentication,
        _ => return None,
    };
    let message = match message.trim() {
        "" => "the task gave no message".to_owned(),
        message => message.to_owned(),
    };
    Some((reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stderr: &str) -> Remembered {
        Remembered {
            last_stderr_line: stderr.into(),
            last_lines: [stderr.to_owned()].into(),
            lines: 1,
            bytes: 9,
        }
    }

    fn failed(exit: Exit, asked: ControlState, stderr: &str, limits: &Limits) -> (FailureReason, String, Option<i32>) {
        match verdict(exit, asked, (limits, None), said(stderr)) {
            Outcome::Failed(failure) => (failure.reason, failure.message, failure.exit_code),
            Outcome::Completed(completion) => panic!("{completion:?}"),
        }
    }

    #[test]
    fn exit_codes_markers_and_signals() {
        use ControlState::{Kill, Run, Stop};
        use FailureReason::{Authentication, Error, Killed, Unrecoverable};
        let none = Limits::default();
        for asked in [Run, Stop] {
            let outcome = verdict(Exit::Code(0), asked, (&none, None), said("GRID_FAIL: UNRECOVERABLE x"));
            assert_eq!(
                outcome,
                Outcome::Completed(Completion {
                    lines: 1,
                    bytes: 9,
                    pipeline: None
                })
            );
        }
        let told = |exit, asked, stderr| failed(exit, asked, stderr, &none);
        assert_eq!(told(Exit::Code(3), Run, "x"), (Error, "exit code 3".into(), Some(3)));
        assert_eq!(
            told(Exit::Code(78), Run, "x"),
            (
                Unrecoverable,
                "exit code 78: the task asks for no retry".into(),
                Some(78)
            )
        );
        assert_eq!(
            told(Exit::Code(1), Run, " GRID_FAIL: UNRECOVERABLE no  such day "),
            (Unrecoverable, "no  such day".into(), Some(1))
        );
        assert_eq!(
            told(Exit::Code(78), Run, "GRID_FAIL: AUTHENTICATION who?"),
            (Authentication, "who?".into(), Some(78))
        );
        assert_eq!(
            told(Exit::Code(1), Run, "GRID_FAIL: AUTHENTICATION").1,
            "the task gave no message"
        );
        assert_eq!(told(Exit::Code(1), Run, "GRID_FAIL: MAYBE x").0, Error);
        assert_eq!(told(Exit::Code(1), Run, "said GRID_FAIL: UNRECOVERABLE x").0, Error);
        assert_eq!(
            told(Exit::Signal(Signal::SIGSEGV), Run, ""),
            (Error, "ended by signal 11 (SIGSEGV)".into(), None)
        );
        assert_eq!(told(Exit::Code(0), Kill, "").0, Killed);
        assert_eq!(told(Exit::Signal(Signal::SIGTERM), Stop, "").0, Killed);
        assert_eq!(told(Exit::Code(78), Stop, "").0, Killed);
        assert_eq!(told(Exit::Stuck, Kill, "").0, Killed);
    }

    #[test]
    fn what_the_kernel_tells_counts_more_than_what_seems() {
        let limits = Limits {
            memory_mib: Some(64),
            ..Limits::default()
        };
        let told = Some("the limit memoryMiB = 64 was exceeded".to_owned());
        let outcome = verdict(Exit::Code(137), ControlState::Run, (&limits, told), said("Killed"));
        let Outcome::Failed(failure) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(failure.message, "the limit memoryMiB = 64 was exceeded (exit code 137)");
    }

    #[test]
    fn an_exceeded_limit_names_itself() {
        let memory = Limits {
            memory_mib: Some(64),
            ..Limits::default()
        };
        let told = |exit, stderr, limits: &Limits| failed(exit, ControlState::Run, stderr, limits).1;
        let expected = "the limit memoryMiB = 64 was probably exceeded (exit code 1)";
        assert_eq!(
            told(Exit::Code(1), "sort: fatal: Cannot allocate memory", &memory),
            expected
        );
        assert!(told(Exit::Signal(Signal::SIGABRT), "", &memory).starts_with("the limit memoryMiB = 64"));
        assert_eq!(told(Exit::Code(1), "other", &memory), "exit code 1");
        assert_eq!(told(Exit::Code(1), "Out of memory", &Limits::default()), "exit code 1");
        let cpu = Limits {
            cpu_seconds: Some(2),
            ..Limits::default()
        };
        assert!(told(Exit::Signal(Signal::SIGXCPU), "", &cpu).starts_with("the limit cpuSeconds = 2"));
        let files = Limits {
            open_files: Some(9),
            ..Limits::default()
        };
        assert!(told(Exit::Code(2), "x: Too many open files", &files).starts_with("the limit openFiles = 9"));
        let (_, message, _) = failed(Exit::Signal(Signal::SIGKILL), ControlState::Run, "", &Limits::default());
        assert!(message.contains("short of memory"), "{message}");
    }
}
