//! The environment of a process: little of the worker's, what the document says, and who the attempt is.

use super::attempt::AttemptContext;
use super::secrets::{Secret, SecretError};
use crate::document::EnvValue;
use crate::worker::{CheckpointUrl, Reporting};

/// What a process gets of the worker's own environment.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A whole environment.
pub struct Environment {
    pub variables: Vec<(String, String)>,
    /// The secrets among the values, to be masked in what the process writes.
    pub secrets: Vec<Secret>,
}

impl Environment {
    /// Later entries win over earlier ones. Blocks on the files of secrets.
    pub fn of(
        attempt: &AttemptContext,
        checkpoints: Option<CheckpointUrl>,
        reporting: Option<&Reporting>,
    ) -> Result<Self, SecretError> {
        let mut variables = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        variables.extend(inherited);
        let mut secrets = Vec::new();
        for (name, value) in &attempt.task.env {
            let value = match value {
                EnvValue::Text(text) => text.clone(),
                EnvValue::Secret(secret) => {
                    let secret = attempt.secrets.read(secret)?;
                    let value = secret.expose().to_owned();
                    secrets.push(secret);
                    value
                }
            };
            variables.push((name.clone(), value));
        }
        variables.extend([
            ("GRID_JOB_ID".to_owned(), attempt.job.to_string()),
            ("GRID_TASK_ID".to_owned(), attempt.task_id.to_string()),
            ("GRID_WORKER_ID".to_owned(), attempt.worker.to_string()),
            ("GRID_ATTEMPT".to_owned(), attempt.attempt.to_string()),
            ("REPLICA_INDEX".to_owned(), attempt.replica_index.to_string()),
            ("REPLICA_COUNT".to_owned(), attempt.replica_count.to_string()),
        ]);
        if let Some(CheckpointUrl { url, secret }) = checkpoints {
            variables.push(("CHECKPOINT_URL".to_owned(), url));
            secrets.push(Secret::new(secret));
        }
        if let Some(traceparent) = &attempt.traceparent {
            // As OpenTelemetry passes it on between programs.
            variables.push(("TRACEPARENT".to_owned(), traceparent.to_string()));
        }
        if let Some(Reporting { url, secret, .. }) = reporting {
            variables.push(("GRID_METRICS_URL".to_owned(), url.clone()));
            secrets.push(Secret::new(secret.clone()));
        }
        Ok(Self { variables, secrets })
    }
}
