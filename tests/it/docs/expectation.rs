//! Whether a command printed what a page says.
//!
//! Both are compared word by word. `…` stands for any words of a line, inside a word for any characters, alone in a line
//! for any lines. A time stands for any time. A placeholder stands for its value; one that has none yet is given the id
//! that stands in its place.

use std::collections::BTreeMap;

/// Placeholders of pages, and how the ids begin that they stand for.
pub const PLACEHOLDERS: [(&str, &str); 3] = [("JOB", "job-"), ("TASK", "task-"), ("WORKER", "worker-")];

/// Placeholder to value.
pub type Values = BTreeMap<&'static str, String>;

/// The values of placeholders, with those that were found; `None`: it is not what was printed.
pub fn printed(expected: &[String], got: &str, values: &Values) -> Option<Values> {
    let got: Vec<&str> = got.lines().collect();
    lines(expected, &got, values.clone())
}

fn lines(expected: &[String], got: &[&str], values: Values) -> Option<Values> {
    let Some((first, rest)) = expected.split_first() else {
        return got.is_empty().then_some(values);
    };
    if first.trim() == "…" {
        return (0..=got.len()).find_map(|skipped| lines(rest, &got[skipped..], values.clone()));
    }
    let (line, more) = got.split_first()?;
    let words_of = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let values = words(&words_of(first), &words_of(line), values)?;
    lines(rest, more, values)
}

fn words(expected: &[String], got: &[String], values: Values) -> Option<Values> {
    let Some((first, rest)) = expected.split_first() else {
        return got.is_empty().then_some(values);
    };
    if first == "…" {
        return (0..=got.len()).find_map(|skipped| words(rest, &got[skipped..], values.clone()));
    }
    // What stands for characters may stand for spaces among them.
    let most = if first.contains('…') {
        got.len()
    } else {
        1.min(got.len())
    };
    (1..=most).find_map(|count| {
        words(
            rest,
            &got[count..],
            same(first, &got[..count].join(" "), values.clone())?,
        )
    })
}

fn same(expected: &str, got: &str, mut values: Values) -> Option<Values> {
    // Heads of columns are called as placeholders are.
    if expected == got {
        return Some(values);
    }
    let unknown = PLACEHOLDERS
        .iter()
        .find(|(name, _)| *name == expected && !values.contains_key(name));
    if let Some((name, begins)) = unknown {
        let is_id = got.starts_with(begins);
        return is_id.then(|| {
            values.insert(name, got.to_owned());
            values
        });
    }
    let expected = with_values(expected, &values);
    let fits = glob(&expected, got) || (is_time(&expected) && is_time(got));
    fits.then_some(values)
}

/// `…` stands for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('…') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(begin) else {
        return false;
    };
    let ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
    ends.into_iter().any(|end| glob(rest, &text[end..]))
}

fn is_time(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ':', ';']);
    word.contains('T') && word.parse::<grid::domain::Timestamp>().is_ok()
}

/// A text with the values of its placeholders, where they stand as words of their own.
pub fn with_values(text: &str, values: &Values) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|char: char| char.is_ascii_alphabetic()) {
        made += &rest[..at];
        rest = &rest[at..];
        let end = rest
            .find(|char: char| !char.is_ascii_alphanumeric() && char != '_')
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        made += values.get(word).map_or(word, String::as_str);
        rest = after;
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(expected: &str, got: &str) -> Option<Values> {
        let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        printed(&expected, got, &Values::from([("TASK", "task-1-2".to_owned())]))
    }

    #[test]
    fn what_is_printed_is_told_from_what_is_not() {
        assert!(fits("a  b", "a b\n").is_some());
        assert!(fits("a b", "a b\nc\n").is_none(), "a line too many");
        assert!(fits("a b\nc", "a b\n").is_none(), "a line too few");
        assert!(fits("a b", "a c\n").is_none());
        assert!(fits("a … d", "a b c d").is_some() && fits("a … d", "a b c").is_none());
        assert!(fits("{a…z} e", "{a b c z} e").is_some() && fits("{a…z} e", "{a b c} e").is_none());
        assert!(fits("a\n…\nd", "a\nb\nc\nd").is_some() && fits("a\n…\nd", "a\nb\nc").is_none());
        assert!(fits("x=…s, y", "x=12s, y").is_some() && fits("x=…s", "x=12m").is_none());
        assert!(fits("at 2026-01-31T10:00:00Z.", "at 2027-02-01T11:12:13.456Z.").is_some());
        assert!(fits("at 2026-01-31T10:00:00Z", "at noon").is_none());
    }

    #[test]
    fn placeholders_are_given_values_and_keep_them() {
        let found = fits("JOB TASK", "job-7 task-1-2").unwrap();
        assert_eq!(found["JOB"], "job-7");
        assert!(fits("JOB\nJOB", "job-7\njob-8").is_none());
        assert!(fits("JOB", "task-1-2").is_none() && fits("TASK", "task-1-3").is_none());
        assert_eq!(with_values("--task=TASK, TASKS", &found), "--task=task-1-2, TASKS");
    }
}
