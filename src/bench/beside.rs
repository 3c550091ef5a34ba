//! Tasks that run beside a measurement, at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fill;
use super::server::Server;

/// No-op tasks that run at a steady rate.
pub struct Beside {
    stop: Arc<AtomicBool>,
    tasks: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    begun: Instant,
}

impl Beside {
    /// A job each tenth of a second.
    pub fn start(server: Arc<Server>, tasks_per_second: u32) -> Self {
        let (stop, tasks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let each = tasks_per_second / 10;
        let (stopped, submitted) = (Arc::clone(&stop), Arc::clone(&tasks));
        let task = crate::task::spawn("bench.beside", async move {
            let mut tenths = tokio::time::interval(Duration::from_millis(100));
            let document: Value = json!({"externalId": "beside", "tasks": [fill::finishing(each)]});
            let mut last = None;
            while !stopped.load(Ordering::Relaxed) {
                tenths.tick().await;
                if each > 0 {
                    last = Some(server.submit(&document).await?);
                    submitted.fetch_add(u64::from(each), Ordering::Relaxed);
                }
            }
            match last {
                Some(job) => server.until(&job, "COMPLETED").await,
                None => Ok(()),
            }
        });
        let begun = Instant::now();
        Self {
            stop,
            tasks,
            task,
            begun,
        }
    }

    /// Tells how many a second there were, when the last one has completed.
    ///
    /// # Errors
    /// When the server failed meanwhile.
    pub async fn stop(self) -> anyhow::Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        Ok(self.tasks.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64())
    }
}
