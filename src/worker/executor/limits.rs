//! Limits of a process, set between fork and exec, and how an exceeded one is recognised.

use std::io;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

use super::processors::ProcessorSet;
use crate::document::Limits;

/// What a program says when it gets no memory: libc, the loader, C++, Python, Java, Go, Rust.
const OUT_OF_MEMORY: [&str; 8] = [
    "cannot allocate memory",
    "out of memory",
    "memoryerror",
    "bad_alloc",
    "outofmemoryerror",
    "memory allocation of",
    "failed to map segment",
    "memory exhausted",
];
const OUT_OF_FILES: &str = "too many open files";

/// The limits as the kernel counts them.
#[derive(Clone, Copy, Debug)]
pub struct ProcessLimits {
    address_space_bytes: Option<u64>,
    cpu_seconds: Option<u64>,
    open_files: Option<u64>,
    processors: Option<ProcessorSet>,
}

impl ProcessLimits {
    pub fn of(limits: &Limits, processors: Option<ProcessorSet>) -> Self {
        Self {
            processors,
            address_space_bytes: limits.memory_mib.map(|mib| mib.saturating_mul(1024 * 1024)),
            cpu_seconds: limits.cpu_seconds,
            open_files: limits.open_files,
        }
    }

    /// Where memory is that of the whole task.
    pub fn without_memory(self) -> Self {
        Self {
            address_space_bytes: None,
            ..self
        }
    }

    /// Sets them for the calling process. Called between fork and exec: only system calls, no memory, no locks.
    pub fn apply(self) -> io::Result<()> {
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some(bytes) = self.address_space_bytes {
            setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
        }
        if let Some(seconds) = self.cpu_seconds {
            // SIGXCPU at the first, SIGKILL at the second, for a program that does not mind the signal.
            setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1)?;
        }
        if let Some(files) = self.open_files {
            setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
        }
        if let Some(processors) = self.processors {
            processors.apply()?;
        }
        Ok(())
    }
}

/// Which limit a failed process seems to have exceeded, for its message.
pub fn exceeded<'a>(
    limits: &Limits,
    signal: Option<Signal>,
    mut lines: impl Iterator<Item = &'a str>,
) -> Option<String> {
    if let Some(seconds) = limits.cpu_seconds
        && matches!(signal, Some(Signal::SIGXCPU | Signal::SIGKILL))
    {
        return Some(format!("the limit cpuSeconds = {seconds} was exceeded"));
    }
    let mut says = |words: &[&str]| {
        lines.by_ref().any(|line| {
            let line = line.to_lowercase();
            words.iter().any(|word| line.contains(word))
        })
    };
    if let Some(mib) = limits.memory_mib {
        let broke = matches!(
            signal,
            Some(Signal::SIGSEGV | Signal::SIGABRT | Signal::SIGBUS | Signal::SIGKILL)
        );
        if broke || says(&OUT_OF_MEMORY) {
            return Some(format!("the limit memoryMiB = {mib} was probably exceeded"));
        }
    }
    if let Some(files) = limits.open_files
        && says(&[OUT_OF_FILES])
    {
        return Some(format!("the limit openFiles = {files} was exceeded"));
    }
    None
}
