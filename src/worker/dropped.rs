//! Lines that found no room on their way, to be told of by a line of the same task.
//!
//! Must stay true: each is counted once; what is held is bounded, however many tasks there are.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::logs::Line;
use crate::logs::capture::SOURCE_WORKER;

/// Tasks that are told of apart; lines of others are counted with those of one of them.
const MOST_TASKS: usize = 1_000;

/// By task: the first line that was dropped, as the one that tells of it, and how many were.
#[derive(Debug, Default)]
pub(super) struct Dropped(Mutex<BTreeMap<String, (Line, u64)>>);

impl Dropped {
    pub(super) fn add(&self, line: &Line) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = tasks.get_mut(&line.task_id) {
            *count += 1;
            return;
        }
        if tasks.len() < MOST_TASKS {
            tasks.insert(line.task_id.clone(), (blank(line), 1));
        } else if let Some(mut last) = tasks.last_entry() {
            last.get_mut().1 += 1;
        }
    }

    /// How many have to be told of.
    #[cfg(test)]
    pub(super) fn count(&self) -> u64 {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.values().map(|(_, count)| count).sum()
    }

    /// What has to be told, once.
    pub(super) fn take(&self) -> impl Iterator<Item = Line> {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.into_values().map(|(mut told, count)| {
            told.message = format!("… [{count} lines dropped: their store did not take them in time]");
            told.fields.insert("dropped_lines".to_owned(), count.to_string());
            told
        })
    }
}

/// Of the same origin and time, and without anything else of it.
fn blank(line: &Line) -> Line {
    Line {
        message: String::new(),
        level: "WARN".to_owned(),
        source: SOURCE_WORKER.to_owned(),
        fields: BTreeMap::new(),
        ..line.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(task: usize) -> Line {
        serde_json::from_value(serde_json::json!({
            "@timestamp": "2026-01-31T10:00:00.000Z", "message": "long", "level": "ERROR", "logger_name": "x", "job_id": "j",
            "task_id": format!("t{task}"), "worker_id": "w", "attempt": 2, "source": "task", "service": "grid", "other": "1",
        }))
        .unwrap()
    }

    #[test]
    fn each_task_is_told_of_its_own_lines_once() {
        let dropped = Dropped::default();
        for task in [1, 2, 1, 1] {
            dropped.add(&line(task));
        }
        let told: Vec<Line> = dropped.take().collect();
        assert_eq!(told.len(), 2);
        assert_eq!(
            (told[0].task_id.as_str(), told[0].fields["dropped_lines"].as_str()),
            ("t1", "3")
        );
        assert!(told[0].message.contains("3 lines") && !told[0].fields.contains_key("other"));
        assert_eq!((told[0].source.as_str(), told[0].level.as_str()), ("worker", "WARN"));
        assert_eq!(dropped.take().count(), 0);
    }

    #[test]
    fn what_is_held_is_bounded_and_nothing_is_left_uncounted() {
        let dropped = Dropped::default();
        (0..3 * MOST_TASKS).for_each(|task| dropped.add(&line(task)));
        let told: Vec<Line> = dropped.take().collect();
        let count: usize = told
            .iter()
            .map(|line| line.fields["dropped_lines"].parse::<usize>().unwrap())
            .sum();
        assert_eq!((told.len(), count), (MOST_TASKS, 3 * MOST_TASKS));
    }
}
