//! A line, and the lines of a stack trace that go on with it: Java and JavaScript, Python, Rust, Go.

use crate::domain::Timestamp;

/// A joined trace has no more lines, and no more bytes: what is more is left out.
const MOST_LINES: usize = 1_000;
const MOST_BYTES: usize = 64 * 1024;
const CUT_MARK: &str = "… [cut]";
const PYTHON: &str = "Traceback (most recent call last):";

/// What kind of trace a line may have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Frames may follow: Java, JavaScript.
    Plain,
    /// Frames are indented; the first line that is not is the exception.
    Python {
        over: bool,
    },
    /// The message comes next, then notes and frames.
    Rust {
        lines: usize,
    },
    Go,
}

#[derive(Debug)]
pub struct Trace {
    at: Timestamp,
    first: String,
    /// All of it, once it has more than one line.
    whole: String,
    last: String,
    lines: usize,
    kind: Kind,
    is_cut: bool,
}

impl Trace {
    pub fn begin(at: Timestamp, first: String) -> Self {
        let kind = if first.trim_end().ends_with(PYTHON) {
            Kind::Python { over: false }
        } else if first.starts_with("thread '") && first.contains("panicked at") {
            Kind::Rust { lines: 1 }
        } else if first.starts_with("panic: ") || first.starts_with("fatal error: ") || is_goroutine(&first) {
            Kind::Go
        } else {
            Kind::Plain
        };
        Self {
            at,
            first,
            whole: String::new(),
            last: String::new(),
            lines: 1,
            kind,
            is_cut: false,
        }
    }

    pub fn at(&self) -> Timestamp {
        self.at
    }

    pub fn size_bytes(&self) -> usize {
        self.first.len() + self.whole.len()
    }

    /// Whether this line belongs to the trace.
    pub fn goes_on_with(&self, line: &str) -> bool {
        let indented = line.starts_with([' ', '\t']);
        match self.kind {
            Kind::Plain => is_frame(line) || is_cause(line),
            Kind::Python { over } => !over && (indented || !line.is_empty()),
            Kind::Rust { lines } => {
                lines == 1
                    || is_frame(line)
                    || line.starts_with("stack backtrace:")
                    || line.starts_with("note: ")
                    || is_numbered(line)
            }
            Kind::Go => {
                line.is_empty()
                    || is_goroutine(line)
                    || line.starts_with('\t')
                    || line.starts_with("created by ")
                    || line.starts_with("exit status ")
                    || line.starts_with("[signal ")
                    || (line.ends_with(')') && line.contains('('))
            }
        }
    }

    pub fn push(&mut self, line: &str) {
        match &mut self.kind {
            Kind::Python { over } => *over = !line.starts_with([' ', '\t']),
            Kind::Rust { lines } => *lines += 1,
            Kind::Plain | Kind::Go => {}
        }
        if self.whole.is_empty() {
            self.whole.clone_from(&self.first);
        }
        self.lines += 1;
        line.clone_into(&mut self.last);
        if self.lines > MOST_LINES || self.whole.len() + line.len() > MOST_BYTES {
            if !self.is_cut {
                self.whole.push('\n');
                self.whole.push_str(CUT_MARK);
                self.is_cut = true;
            }
            return;
        }
        self.whole.push('\n');
        self.whole.push_str(line);
    }

    /// The message, and the whole trace when it is one. The message of Python's traces is their last line.
    pub fn parts(self) -> (String, Option<String>) {
        if self.whole.is_empty() {
            return (self.first, None);
        }
        let message = match self.kind {
            Kind::Python { over: true } => self.last,
            _ => self.first,
        };
        (message, Some(self.whole))
    }
}

/// `    at com.example.Sink.write(Sink.java:42)`, `    ... 12 more`
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    text.len() < line.len() && (text.starts_with("at ") || text.starts_with("... "))
}

fn is_cause(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("Caused by: ") || text.starts_with("Suppressed: ")
}

/// `   3: core::panicking::panic`
fn is_numbered(line: &str) -> bool {
    let text = line.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.len() < line.len() && digits > 0 && text[digits..].starts_with(':')
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.ends_with(':')
}
