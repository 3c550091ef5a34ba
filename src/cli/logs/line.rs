//! A line as people see it.

use serde_json::Value;

use crate::cli::output::printable;

/// How lines are shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// All are of one task, which need not be said with each.
    one_task: bool,
}

impl Shown {
    pub fn of(one_task: bool) -> Self {
        Self { one_task }
    }

    /// With its end. Traces take several lines, indented from the second on.
    pub fn line(self, line: &Value) -> String {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let task = if self.one_task {
            String::new()
        } else {
            format!("{}  ", printable(text("task_id")))
        };
        let whole = match text("stack_trace") {
            "" => text("message"),
            trace => trace,
        };
        let whole = printable(&whole.replace('\t', "    ")).replace('\n', "\n    ");
        format!(
            "{}  {:<5}  {task}{whole}\n",
            text("@timestamp"),
            printable(text("level"))
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_one_line_but_for_its_trace() {
        let at = "2026-01-31T10:00:00.123Z";
        let line = json!({"@timestamp": at, "level": "WARN", "task_id": "task-1", "message": "a\u{1b}[31m\tb"});
        let all = Shown::of(false);
        assert_eq!(all.line(&line), format!("{at}  WARN   task-1  a\u{fffd}[31m    b\n"));
        let trace = json!({"@timestamp": at, "level": "ERROR", "message": "boom", "stack_trace": "boom\n\tat x"});
        assert_eq!(
            Shown::of(true).line(&trace),
            format!("{at}  ERROR  boom\n        at x\n")
        );
    }
}
