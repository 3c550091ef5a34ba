//! How much CPU and memory the process uses, for its heartbeats.

use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Between two looks; heartbeats that only tell of credits come faster.
const EVERY: Duration = Duration::from_secs(1);

pub(super) struct Load {
    /// `None` where the system tells nothing.
    system: Option<System>,
    pid: Pid,
    looked_at: Option<Instant>,
    cpu_ms: u64,
    cpu_cores: f64,
    memory_bytes: u64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            system: System::new().ok(),
            pid: Pid::from_u32(std::process::id()),
            looked_at: None,
            cpu_ms: 0,
            cpu_cores: 0.0,
            memory_bytes: 0,
        }
    }

    /// Cores in use since the look before, and resident bytes.
    pub(super) fn look(&mut self) -> (f64, u64) {
        let now = Instant::now();
        let since = self.looked_at.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since < EVERY) {
            return (self.cpu_cores, self.memory_bytes);
        }
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        let Some(system) = &mut self.system else {
            return (0.0, 0);
        };
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, what);
        if let Some(process) = system.process(self.pid) {
            let cpu_ms = process.accumulated_cpu_time();
            if let Some(since) = since {
                self.cpu_cores = cpu_ms.saturating_sub(self.cpu_ms) as f64 / since.as_millis().max(1) as f64;
            }
            self.cpu_ms = cpu_ms;
            self.memory_bytes = process.memory();
        }
        self.looked_at = Some(now);
        (self.cpu_cores, self.memory_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself() {
        let mut load = Load::new();
        let (_, memory_bytes) = load.look();
        assert!(memory_bytes > 100_000, "{memory_bytes}");
    }
}
