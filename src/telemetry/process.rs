//! Metrics of the process, by the names that Prometheus's client libraries use
//! (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics), read from /proc at scrape time.

use std::fmt::Write;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::page::{self, Kind};

/// What /proc tells of this process; what cannot be read is left out.
#[derive(Debug, Default)]
struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    threads: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Process {
    fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let unit = |variable| sysconf(variable).ok().flatten().map(|value| value as f64);
        let (ticks, page) = (unit(SysconfVar::CLK_TCK), unit(SysconfVar::PAGE_SIZE));
        // proc(5): the name in field 2 may hold spaces and brackets; what follows the last bracket begins at field 3.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .zip(ticks)
                .map(|((user, system), ticks)| (user + system) / ticks),
            resident_bytes: field(24).zip(page).map(|(pages, page)| pages * page),
            virtual_bytes: field(23),
            threads: field(20),
            open_fds: std::fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| entries.count() as f64),
            max_fds: nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                .ok()
                .map(|(soft, _hard)| soft as f64),
        }
    }
}

/// What this process uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time since its start.
    pub cpu_seconds: f64,
    pub resident_bytes: f64,
}

impl Usage {
    /// As the kernel tells now; 0 where it does not.
    pub fn now() -> Self {
        let process = Process::read();
        Self {
            cpu_seconds: process.cpu_seconds.unwrap_or_default(),
            resident_bytes: process.resident_bytes.unwrap_or_default(),
        }
    }
}

/// What it tells of itself.
pub(super) const NAMES: [(&str, Kind); 8] = [
    ("process_cpu_seconds_total", Kind::Counter),
    ("process_resident_memory_bytes", Kind::Gauge),
    ("process_virtual_memory_bytes", Kind::Gauge),
    ("process_threads", Kind::Gauge),
    ("process_open_fds", Kind::Gauge),
    ("process_max_fds", Kind::Gauge),
    ("process_start_time_seconds", Kind::Gauge),
    ("grid_uptime_seconds", Kind::Gauge),
];

/// Appends the metrics of this process, which has been up for `uptime`.
pub fn render(text: &mut String, uptime: Duration) {
    let process = Process::read();
    let uptime = uptime.as_secs_f64();
    let started = crate::clock::now().as_ms() as f64 / 1_000.0 - uptime;
    let values = [
        process.cpu_seconds,
        process.resident_bytes,
        process.virtual_bytes,
        process.threads,
        process.open_fds,
        process.max_fds,
        Some(started),
        Some(uptime),
    ];
    for ((name, kind), value) in NAMES.into_iter().zip(values) {
        let help = page::rows().iter().find(|row| row.name == name).map(|row| row.help);
        if let Some((value, help)) = value.zip(help) {
            let kind = kind.name();
            // Writing to a String cannot fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_measured_as_the_kernel_sees_it() {
        let ballast = std::hint::black_box(vec![1_u8; 64 << 20]);
        let process = Process::read();
        let resident = process.resident_bytes.unwrap();
        assert!(resident >= ballast.len() as f64, "{resident}");
        assert!(process.virtual_bytes.unwrap() >= resident);
        assert!(process.threads.unwrap() >= 1.0);
        let before = process.open_fds.unwrap();
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(Process::read().open_fds.unwrap() >= before + 25.0);
        assert!(process.max_fds.unwrap() >= files.len() as f64);
        drop(std::hint::black_box(ballast));
        assert!(process.cpu_seconds.is_some());
    }
}
