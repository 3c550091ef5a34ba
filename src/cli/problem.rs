//! Problem details (RFC 9457) as the server sends them, and how people see them.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// Longer lines of a document are shown around the place only.
const SHOWN_COLUMNS: usize = 100;

/// What the server says is wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub status: u16,
    pub title: String,
    pub detail: Option<String>,
    /// Stable, for programs.
    pub code: Option<String>,
    pub errors: Vec<Mistake>,
    /// Who says so.
    #[serde(skip)]
    pub server: String,
}

/// One mistake in what was sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Mistake {
    /// RFC 6901; empty: the whole document.
    pub pointer: String,
    /// From 1; 0: not known.
    pub line: usize,
    /// From 1, in characters; 0: not known.
    pub column: usize,
    pub message: String,
}

impl Problem {
    /// Reads the body of a refusal; one that is no problem document still gives its status.
    pub fn read(status: u16, body: &Value) -> Self {
        let mut problem = Self::deserialize(body).unwrap_or_default();
        problem.status = status;
        if problem.title.is_empty() {
            problem.title = "the server refused".to_owned();
        }
        problem
    }

    /// The mistakes with the lines of the document that they are in.
    pub fn with_source(&self, name: &str, source: &str) -> String {
        let head = self.headline();
        let shown: Vec<String> = self
            .errors
            .iter()
            .map(|mistake| mistake.in_source(name, source))
            .collect();
        format!("{head}\n{}", shown.join("\n")).trim_end().to_owned()
    }

    /// The detail says what the title says, and more.
    fn headline(&self) -> String {
        let code = self.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
        let what = self
            .detail
            .as_ref()
            .filter(|detail| !detail.is_empty())
            .unwrap_or(&self.title);
        format!("{what} ({}{code})", self.status)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        for Mistake {
            pointer,
            line,
            column,
            message,
        } in &self.errors
        {
            write!(f, "\n  ")?;
            if *line > 0 {
                write!(f, "{line}:{column}: ")?;
            }
            write!(f, "{message}")?;
            if !pointer.is_empty() {
                write!(f, " (at {pointer})")?;
            }
        }
        let server = if self.server.is_empty() {
            "the server"
        } else {
            &self.server
        };
        match self.status {
            401 => write!(
                f,
                "\n  Show {server} a good token: --token, GRID_TOKEN, or that of a context (grid context add)"
            ),
            403 => write!(
                f,
                "\n  Ask whoever runs {server} for a token of that role (grid token create), and show it: --token, \
                 GRID_TOKEN, or that of a context"
            ),
            404 => write!(
                f,
                "\n  Looked for at {server}; what it has: grid jobs, grid workers, grid search TEXT"
            ),
            _ => Ok(()),
        }
    }
}

impl Mistake {
    /// ```text
    /// job.yaml:3:12: expected a number (at /tasks/0/replicas)
    ///   3 |     replicas: many
    ///     |               ^
    /// ```
    pub fn in_source(&self, name: &str, source: &str) -> String {
        let at = if self.pointer.is_empty() {
            String::new()
        } else {
            format!(" (at {})", self.pointer)
        };
        let Some(text) = self.line.checked_sub(1).and_then(|line| source.lines().nth(line)) else {
            let place = if self.line > 0 {
                format!(":{}:{}", self.line, self.column)
            } else {
                String::new()
            };
            return format!("{name}{place}: {}{at}", self.message);
        };
        let (shown, before) = excerpt(text, self.column.saturating_sub(1));
        let number = self.line.to_string();
        let (gap, indent) = (" ".repeat(number.len()), " ".repeat(before));
        format!(
            "{name}:{number}:{}: {}{at}\n  {number} | {shown}\n  {gap} | {indent}^",
            self.column, self.message
        )
    }
}

/// The part of a line around the character at `place`, and how many columns stand before that character in it.
fn excerpt(line: &str, place: usize) -> (String, usize) {
    // A tab is as wide as what it is replaced with; other control characters must not reach the terminal.
    let clean = |char: char| if char.is_control() { ' ' } else { char };
    let chars: Vec<char> = line.chars().map(clean).collect();
    if chars.len() <= SHOWN_COLUMNS {
        return (chars.into_iter().collect(), place);
    }
    let from = place.saturating_sub(SHOWN_COLUMNS / 2).min(chars.len() - SHOWN_COLUMNS);
    let cut = if from > 0 { "…" } else { "" };
    let more = if from + SHOWN_COLUMNS < chars.len() { "…" } else { "" };
    let shown: String = chars[from..from + SHOWN_COLUMNS].iter().collect();
    (
        format!("{cut}{shown}{more}"),
        place.saturating_sub(from) + cut.chars().count(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem() -> Problem {
        Problem::read(
            422,
            &json!({
                "type": "about:blank", "title": "The document is not a job", "status": 422, "code": "INVALID_DOCUMENT",
                "errors": [
                    {"pointer": "/tasks/0/replicas", "line": 3, "column": 13, "message": "expected a number"},
                    {"pointer": "", "line": 9, "column": 1, "message": "too short", "code": "extra"},
                ],
            }),
        )
    }

    #[test]
    fn a_mistake_is_shown_in_its_line() {
        let source = "tasks:\n\t- externalId: a\n\treplicas:\tmany\n";
        let shown = problem().with_source("job.yaml", source);
        assert_eq!(
            shown,
            "The document is not a job (422 INVALID_DOCUMENT)\n\
             job.yaml:3:13: expected a number (at /tasks/0/replicas)\n  3 |  replicas: many\n    |             ^\n\
             job.yaml:9:1: too short"
        );
        let caret = shown.lines().nth(3).unwrap().find('^').unwrap();
        let word = shown.lines().nth(2).unwrap().find("any").unwrap();
        assert_eq!(caret, word);
    }

    #[test]
    fn without_the_source_the_place_is_said() {
        let shown = problem().to_string();
        assert!(
            shown.contains("3:13: expected a number (at /tasks/0/replicas)"),
            "{shown}"
        );
        let bare = Problem::read(502, &json!("bad gateway")).to_string();
        assert_eq!(bare, "the server refused (502)");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let (shown, before) = excerpt(&line, 300);
        assert!(shown.chars().count() <= SHOWN_COLUMNS + 2);
        assert_eq!(shown.chars().nth(before), Some('X'));
    }
}
