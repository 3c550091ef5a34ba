//! Following a job to its end: a progress bar on a terminal, silence elsewhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::client::{Client, Error};
use super::output::{count, duration, printable, understand};
use super::view::{Job, Page, Task};

/// How often the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long a server may be away (restarting, recovering) before following it ends.
const PATIENCE: Duration = Duration::from_secs(300);
/// The rate shown is that of the last seconds.
const RATE_OVER: Duration = Duration::from_secs(5);
/// More failed tasks than this are only counted.
const FAILURES_SHOWN: usize = 5;
const LOG_LINES_SHOWN: usize = 5;

/// Asks for the job until it is finished; gives the server's last answer.
pub async fn until_finished(client: &Client, job: &Job, bar: bool) -> anyhow::Result<Value> {
    let progress = Progress::new(bar, job.task_counters.total());
    let path = format!("/api/v1/jobs/{}", job.job_id);
    let mut rate = Rate::default();
    let mut heard = Instant::now();
    loop {
        match client.get(&path, &[]).await {
            Ok(answer) => {
                heard = Instant::now();
                let job: Job = understand(&answer)?;
                progress.show(&job, rate.next(heard, job.done()));
                if job.is_finished() {
                    progress.end();
                    return Ok(answer);
                }
            }
            // An accepted job outlives its server; so does the wish to see its end.
            Err(error) if error.may_pass() && heard.elapsed() < PATIENCE => progress.away(&error),
            Err(error) => {
                progress.end();
                return Err(error.into());
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

struct Progress(ProgressBar);

impl Progress {
    /// Hidden when not wanted, or when stderr is not a terminal (indicatif sees to that).
    fn new(wanted: bool, total: u64) -> Self {
        let target = if wanted {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {pos}/{len}  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn show(&self, job: &Job, per_second: f64) {
        self.0.set_length(job.task_counters.total());
        self.0.set_position(job.done());
        self.0.set_message(line(job, per_second));
    }

    fn away(&self, error: &Error) {
        let first = error.to_string();
        self.0.set_message(format!(
            "the server is away: {}",
            first.lines().next().unwrap_or_default()
        ));
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn line(job: &Job, per_second: f64) -> String {
    let counters = job.task_counters;
    let mut parts = vec![
        format!("{} completed", counters.completed),
        format!("{} failed", job.failed_for_good()),
        format!("{} running", counters.running),
    ];
    if job.retries_pending > 0 {
        parts.push(format!("{} waiting for a retry", job.retries_pending));
    }
    parts.push(format!("{per_second:.0}/s"));
    parts.join(" · ")
}

/// Tasks a second over the last seconds.
#[derive(Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn next(&mut self, now: Instant, done: u64) -> f64 {
        self.0.push_back((now, done));
        while self.0.len() > 2
            && self
                .0
                .front()
                .is_some_and(|(at, _)| now.duration_since(*at) > RATE_OVER)
        {
            self.0.pop_front();
        }
        let Some((since, before)) = self.0.front() else {
            return 0.0;
        };
        let seconds = now.duration_since(*since).as_secs_f64();
        if seconds > 0.0 {
            done.saturating_sub(*before) as f64 / seconds
        } else {
            0.0
        }
    }
}

/// How the job ended: one line, and the first failed tasks with what they said last.
pub async fn summary(client: &Client, job: &Job) -> String {
    let counters = job.task_counters;
    let took = job
        .finished_at
        .map(|finished| finished.since(job.created_at))
        .unwrap_or_default();
    let mut text = format!(
        "{} {} in {}: {}, {} completed, {} failed\n",
        job.job_id,
        job.status,
        duration(took),
        count(counters.total(), "task"),
        counters.completed,
        counters.failed
    );
    if counters.failed > 0 {
        // Of these alone: among a million tasks the failed ones may be anywhere.
        let query = [("state", "FAILED".to_owned()), ("size", FAILURES_SHOWN.to_string())];
        let answer = client.get(&format!("/api/v1/jobs/{}/tasks", job.job_id), &query).await;
        // The summary stands without its details; `grid tasks` says why they cannot be had.
        let page = answer.ok().and_then(|answer| understand::<Page<Task>>(&answer).ok());
        let failed = page
            .into_iter()
            .flat_map(|page| page.items)
            .filter(|task| task.failure.is_some());
        text.extend(failed.take(FAILURES_SHOWN).map(|task| failure(&task)));
        if counters.failed > FAILURES_SHOWN as u64 {
            text += &format!("  all of them: grid tasks {} --state FAILED\n", job.job_id);
        }
    }
    text
}

fn failure(task: &Task) -> String {
    let Some(failure) = &task.failure else {
        return String::new();
    };
    let name = task.external_id.as_deref().unwrap_or(&task.task_id);
    let code = failure
        .exit_code
        .map(|code| format!(" (exit code {code})"))
        .unwrap_or_default();
    let mut text = format!(
        "  {name}: {} after {}{code}: {}\n",
        failure.reason,
        count(u64::from(task.attempt), "attempt"),
        printable(&failure.message)
    );
    for cause in &failure.causes {
        text += &format!("    because: {}\n", printable(cause));
    }
    let skipped = failure.last_log_lines.len().saturating_sub(LOG_LINES_SHOWN);
    for line in &failure.last_log_lines[skipped..] {
        text += &format!("    | {}\n", printable(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::{Answer, Server};

    const ID: &str = "job-0198c2a0-7c00-7000-8000-000000000001";

    fn job(status: &str, completed: u64, failed: u64, retrying: u64) -> String {
        let finished = if status == "RUNNING" {
            "null"
        } else {
            "\"2026-01-31T10:00:03.250Z\""
        };
        format!(
            r#"{{"jobId": "{ID}", "externalId": null, "labels": {{}}, "createdAt": "2026-01-31T10:00:00.000Z",
            "finishedAt": {finished}, "taskCounters": {{"ready": 0, "scheduled": 0, "running": {running},
            "completed": {completed}, "failed": {failed}}}, "status": "{status}", "retriesPending": {retrying},
            "failureSummary": {{}}}}"#,
            running = 4 - completed - failed
        )
    }

    #[tokio::test]
    async fn a_job_is_followed_over_an_absence_of_the_server_and_summed_up() {
        let tasks = r#"{"items": [
            {"taskId": "t-2", "externalId": "bad", "state": "FAILED", "attempt": 4, "retryCount": 3, "maxRetries": 3,
             "failure": {"reason": "ERROR", "message": "exit\u0007 1", "exitCode": 1, "causes": ["disk full"],
                         "lastLogLines": ["1", "2", "3", "4", "5", "6"]}}], "page": 0, "size": 5, "total": 1}"#;
        let server = Server::start(vec![
            Answer::json(200, &job("RUNNING", 1, 1, 1)),
            Answer::text(502, "away"),
            Answer::json(200, &job("FAILED", 3, 1, 0)),
            Answer::json(200, tasks),
        ]);
        let client = Client::new(server.url(), None, None).unwrap();
        let submitted: Job = serde_json::from_str(&job("RUNNING", 0, 0, 0)).unwrap();
        let last = until_finished(&client, &submitted, false).await.unwrap();
        let finished: Job = understand(&last).unwrap();
        assert_eq!((finished.status.as_str(), finished.done()), ("FAILED", 4));
        let text = summary(&client, &finished).await;
        let asked = server.requests().pop().unwrap();
        assert!(asked.contains("/tasks?state=FAILED&size=5 "), "{asked}");
        assert_eq!(
            text,
            format!(
                "{ID} FAILED in 3s 250ms: 4 tasks, 3 completed, 1 failed\n  \
                 bad: ERROR after 4 attempts (exit code 1): exit\u{fffd} 1\n    because: disk full\n    \
                 | 2\n    | 3\n    | 4\n    | 5\n    | 6\n"
            )
        );
    }

    #[test]
    fn the_line_counts_a_waiting_retry_apart_from_failures() {
        let job: Job = serde_json::from_str(&job("RUNNING", 1, 2, 1)).unwrap();
        assert_eq!(
            line(&job, 2.4),
            "1 completed · 1 failed · 1 running · 1 waiting for a retry · 2/s"
        );
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        let begun = Instant::now();
        assert_eq!(rate.next(begun, 0), 0.0);
        assert_eq!(rate.next(begun + Duration::from_secs(2), 100), 50.0);
        let late = rate.next(begun + Duration::from_secs(9), 100);
        assert!(late < 1.0, "{late}");
    }
}
