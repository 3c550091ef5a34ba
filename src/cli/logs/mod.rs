//! `grid logs`: what tasks wrote, as a search, followed, or as a file.
//!
//! Must stay true: lines are printed the oldest first; what tasks wrote gets no control characters into a terminal; who
//! follows across an absence of the server misses nothing and gets nothing twice.

mod events;
mod line;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::client::{Client, Error};
use super::context::ServerArgs;
use super::export;
use super::output::{Output, tell};
use super::problem::Problem;
use events::{Event, Events};
use line::Shown;

const EXAMPLES: &str = "Examples:
  grid logs --job JOB
  grid logs -f --task TASK --level error
  grid logs --grep 'timeout|refused' --since -2h --lines 1000
  grid logs --job JOB --query 'user.id:7' --output json
  grid logs --job JOB --export job.ndjson";
/// How long a server may be away before following it ends.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(1);
/// Before a stream says how far it is, it begins with up to so many lines.
const MOST_EARLIER: u32 = 1_000;

/// `grid logs`
#[derive(Args, Debug, Default)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// Only lines of this job; may be repeated
    #[arg(long, value_name = "JOB")]
    job: Vec<String>,
    /// Only lines of this task; may be repeated
    #[arg(long, value_name = "TASK")]
    task: Vec<String>,
    /// Only lines of tasks on this worker; may be repeated
    #[arg(long, value_name = "WORKER")]
    worker: Vec<String>,
    /// Only lines of this level: trace, debug, info, warn, error, fatal; may be repeated
    #[arg(long, value_name = "LEVEL", value_delimiter = ',')]
    level: Vec<String>,
    /// Only lines whose message matches this regular expression (RE2)
    #[arg(long, value_name = "REGEX")]
    grep: Option<String>,
    /// A filter in LogsQL, without pipes
    #[arg(long, value_name = "LOGSQL")]
    query: Option<String>,
    /// Lines of then or later: a time, a day, or relative to now [default: -24h]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Lines up to then [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, conflicts_with = "follow")]
    until: Option<String>,
    /// How many of the last lines, up to 10,000; when following, how many to begin with, up to 1,000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    lines: u32,
    /// Print lines as they come, until interrupted
    #[arg(short, long, conflicts_with_all = ["since", "export"])]
    follow: bool,
    /// Write all lines as lines of JSON into a file; - is stdout
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

impl LogsArgs {
    /// What all calls for lines take.
    fn filter(&self) -> Vec<(&'static str, String)> {
        let lists = [
            ("job_id", &self.job),
            ("task_id", &self.task),
            ("worker_id", &self.worker),
            ("level", &self.level),
        ];
        let values = lists
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone())));
        values.chain(self.logsql().map(|query| ("query", query))).collect()
    }

    fn logsql(&self) -> Option<String> {
        // JSON escapes a text as LogsQL reads it.
        let grep = self
            .grep
            .as_ref()
            .map(|regex| format!("~{}", Value::from(regex.as_str())));
        match (&self.query, grep) {
            (Some(query), Some(grep)) => Some(format!("({query}) {grep}")),
            (query, grep) => query.clone().or(grep),
        }
    }

    fn period(&self) -> impl Iterator<Item = (&'static str, String)> {
        let ends = [("from", &self.since), ("to", &self.until)];
        ends.into_iter().filter_map(|(name, time)| Some((name, time.clone()?)))
    }
}

pub async fn logs(args: &LogsArgs, output: Output) -> anyhow::Result<()> {
    let client = args.server.client()?;
    let mut query = args.filter();
    if args.follow {
        return follow(&client, &query, args, output).await;
    }
    query.extend(args.period());
    if let Some(file) = &args.export {
        let transfer = client.download("/api/v1/logs/download", &query).await?;
        return export::save(transfer, file, "ndjson", output).await;
    }
    if args.lines == 0 {
        return Ok(());
    }
    query.push(("limit", args.lines.to_string()));
    let answer = client.get("/api/v1/logs/search", &query).await?;
    if output == Output::Json {
        return super::output::print_json(&answer);
    }
    let empty = Vec::new();
    let lines = answer["lines"].as_array().unwrap_or(&empty);
    if answer["truncated"] == true {
        tell(&format!(
            "the last {}; there are earlier ones",
            super::output::count(lines.len() as u64, "line")
        ));
    }
    if lines.is_empty() {
        tell(match args.since {
            None => "no line of the last 24 hours fits; --since -7d looks further back",
            Some(_) => "no line fits",
        });
    }
    let shown = Shown::of(args.task.len() == 1);
    let text: String = lines.iter().rev().map(|line| shown.line(line)).collect();
    super::output::print(&text)
}

/// Prints lines as they come, until interrupted.
async fn follow(client: &Client, filter: &[(&str, String)], args: &LogsArgs, output: Output) -> anyhow::Result<()> {
    let shown = Shown::of(args.task.len() == 1);
    let show = |line: &Value| match output {
        Output::Json => format!("{line}\n"),
        Output::Human => shown.line(line),
    };
    let mut after: Option<String> = None;
    let mut heard = Instant::now();
    let mut away = false;
    loop {
        let mut query = filter.to_vec();
        match &after {
            Some(after) => query.push(("after", after.clone())),
            None => query.push(("lines", args.lines.min(MOST_EARLIER).to_string())),
        }
        let error = match client.download("/api/v1/logs/tail", &query).await {
            Ok(transfer) => {
                let mut events = Events::new(transfer);
                loop {
                    match events.next().await {
                        Ok(Some(event)) => {
                            (heard, away) = (Instant::now(), false);
                            take(event, &mut after, show)?;
                        }
                        // The server ends, or has us cut off: it is asked again.
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                }
            }
            Err(error) => Some(error),
        };
        match error {
            Some(error) if !passes(&error) || heard.elapsed() > PATIENCE => return Err(error.into()),
            Some(error) if !away => {
                tell(&format!(
                    "the server is away, following goes on when it is back: {error}"
                ));
                away = true;
            }
            Some(_) | None => {}
        }
        // What brings the server back is no event here.
        tokio::time::sleep(PAUSE).await;
    }
}

fn passes(error: &Error) -> bool {
    error.may_pass() || matches!(error, Error::BrokenOff { .. })
}

/// Prints what the event brings, and goes on behind it.
fn take(event: Event, after: &mut Option<String>, show: impl Fn(&Value) -> String) -> anyhow::Result<()> {
    if event.kind.as_deref() == Some("problem") {
        let problem: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let problem = Problem::read(status.unwrap_or(500), &problem);
        let error = Error::Problem(Box::new(problem));
        // The stream is at its end and is begun anew.
        return if passes(&error) { Ok(()) } else { Err(error.into()) };
    }
    if event.kind.as_deref() == Some("notice") {
        let notice: Value = serde_json::from_str(&event.data).unwrap_or_default();
        eprintln!("{}", notice["message"].as_str().unwrap_or_default());
        return Ok(());
    }
    if !event.data.is_empty() {
        let line: Value = serde_json::from_str(&event.data)?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(show(&line).as_bytes())?;
        stdout.flush()?;
    }
    if event.id.is_some() {
        *after = event.id;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::logs::logsql;

    #[test]
    fn flags_become_parameters_and_a_filter_that_the_server_reads() {
        let args = LogsArgs {
            job: vec!["job-1".to_owned()],
            level: vec!["warn".to_owned(), "error".to_owned()],
            grep: Some(r#"a "quoted\.word"	tab"#.to_owned()),
            query: Some("x or y".to_owned()),
            ..LogsArgs::default()
        };
        let filter = args.filter();
        let names: Vec<&str> = filter.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["job_id", "level", "level", "query"]);
        let query = &filter[3].1;
        assert_eq!(query, r#"(x or y) ~"a \"quoted\\.word\"\ttab""#);
        let read = logsql::parse(query, Timestamp::from_ms(0));
        let same = logsql::parse("(x or y) ~`a \"quoted\\.word\"\ttab`", Timestamp::from_ms(0));
        assert_eq!(read.unwrap(), same.unwrap());
        assert_eq!(LogsArgs::default().filter(), []);
    }

    #[tokio::test]
    async fn following_goes_on_where_it_was_when_the_stream_ends() {
        use crate::cli::fixture::{Answer, Server};
        let events = "retry: 1000\n\ndata: {\"message\": \"a\"}\n\nid: t1\ndata: {\"message\": \"b\"}\n\nid: t2\n\n";
        let problem = "event: problem\ndata: {\"status\": 422, \"code\": \"SEARCH_TOO_LONG\", \"title\": \"x\"}\n\n";
        let server = Server::start(vec![
            Answer::text(200, events),
            Answer::json(503, "{}").header("Retry-After", "0"),
            Answer::text(200, problem),
        ]);
        let client = Client::new(server.url(), None, None).unwrap();
        let args = LogsArgs {
            lines: 7,
            ..LogsArgs::default()
        };
        let error = follow(&client, &[], &args, Output::Json).await.unwrap_err();
        assert!(error.to_string().contains("SEARCH_TOO_LONG"), "{error}");
        assert_eq!(
            server.requests(),
            [
                "GET /api/v1/logs/tail?lines=7 HTTP/1.1",
                "GET /api/v1/logs/tail?after=t2 HTTP/1.1",
                "GET /api/v1/logs/tail?after=t2 HTTP/1.1"
            ]
        );
    }
}
