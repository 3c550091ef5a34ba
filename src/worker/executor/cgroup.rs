//! Limits of a whole task by a cgroup (version 2), where this process may make some:
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>.
//!
//! A cgroup that hands its controllers on may hold no processes itself, so the worker's own moves its processes into a
//! group below it (`grid-worker`) first. It does so only when all of them are this process and what it started.
//!
//! Must stay true: a process is in its group before its program begins; a group is gone with its attempt, and all that it
//! holds with it; where groups cannot be used, the reason is told once, and tasks run with the limits of single processes.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::document::Limits;

const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
const OWN_GROUP: &str = "grid-worker";
/// Behind it: the worker's process, what tells it from an earlier one with the same id, and a number.
const TASK_GROUP: &str = "grid-task-";
/// Of `cpu.max`, in microseconds.
const PERIOD_US: u64 = 100_000;
/// How often it is tried to remove a group whose last process has just been killed.
const REMOVALS: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// A cgroup under which those of tasks are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    folder: PathBuf,
    /// That it hands on: some of [`CONTROLLERS`].
    controllers: Vec<&'static str>,
}

impl Cgroups {
    /// The one of this process, found once and told in the log. `None`: there is none that may be used.
    pub fn of_process(configured: Option<&Path>) -> Option<&'static Self> {
        static FOUND: OnceLock<Option<Cgroups>> = OnceLock::new();
        let find = || match Self::find(configured) {
            Ok(found) => {
                let (folder, controllers) = (found.folder.display(), found.controllers.join(" "));
                tracing::info!(%folder, controllers, "worker.cgroup.used");
                Some(found)
            }
            Err(why) => {
                let instead = "limits of tasks are those of single processes (rlimits)";
                // Who names one wants it used.
                match configured {
                    Some(_) => tracing::warn!(why, instead, "worker.cgroup.none"),
                    None => tracing::info!(why, instead, "worker.cgroup.none"),
                }
                None
            }
        };
        FOUND.get_or_init(find).as_ref()
    }

    /// The configured one, else that in which this process is.
    ///
    /// # Errors
    /// Why none can be used.
    pub fn find(configured: Option<&Path>) -> Result<Self, String> {
        let folder = match configured {
            Some(folder) => folder.to_owned(),
            None => own_group()?,
        };
        let cannot = |what: &str| {
            let folder = folder.display().to_string();
            let what = what.to_owned();
            move |error: io::Error| format!("{folder}: {what}: {error}")
        };
        let offered = fs::read_to_string(folder.join("cgroup.controllers")).map_err(cannot("no cgroup"))?;
        let offered: Vec<&str> = offered.split_whitespace().collect();
        let controllers: Vec<&str> = CONTROLLERS.into_iter().filter(|name| offered.contains(name)).collect();
        if controllers.is_empty() {
            return Err(format!(
                "{} has none of the controllers memory, cpu, pids",
                folder.display()
            ));
        }
        if configured.is_none() {
            move_own(&folder).map_err(cannot("its processes cannot be moved below it"))?;
        }
        let enable: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        fs::write(folder.join("cgroup.subtree_control"), enable.join(" "))
            .map_err(cannot("its controllers cannot be handed on"))?;
        remove_left_over(&folder);
        let found = Self { folder, controllers };
        found.try_one().map_err(|error| {
            format!(
                "{}: no process can enter a group below it: {error}",
                found.folder.display()
            )
        })?;
        Ok(found)
    }

    /// Whether what this process starts may enter: who may not write to the group that is above both is refused.
    fn try_one(&self) -> io::Result<()> {
        let group = self.group(&[])?;
        let entrance = group.entrance()?;
        // There is none: the process enters and ends.
        let mut nothing = Command::new(self.folder.join(format!("{TASK_GROUP}no-program")));
        // SAFETY: between fork and exec only a system call is made: no memory is taken, no lock, nothing is dropped.
        unsafe {
            nothing.pre_exec(move || enter(&entrance));
        }
        match nothing.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(mut child) => child.wait().map(drop),
        }
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// A group with these limits; `None`: none of them is of a group.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make(&self, limits: &Limits) -> io::Result<Option<TaskGroup>> {
        let mut values = Vec::new();
        if let Some(mib) = limits.memory_mib.filter(|_| self.has("memory")) {
            values.push(("memory.max", mib.saturating_mul(1024 * 1024).to_string()));
            // Not one of its processes, which would leave half a task.
            values.push(("memory.oom.group", "1".to_owned()));
        }
        if let Some(cpus) = limits.cpus.filter(|_| self.has("cpu")) {
            values.push(("cpu.max", format!("{} {PERIOD_US}", u64::from(cpus) * PERIOD_US)));
        }
        if let Some(processes) = limits.processes.filter(|_| self.has("pids")) {
            values.push(("pids.max", processes.to_string()));
        }
        if values.is_empty() {
            return Ok(None);
        }
        let mut group = self.group(&values)?;
        let limits = |file| values.iter().any(|(name, _)| *name == file);
        (group.limits_memory, group.limits_processes) = (limits("memory.max"), limits("pids.max"));
        if group.limits_memory {
            // There may be none on this system.
            let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        }
        Ok(Some(group))
    }

    fn group(&self, values: &[(&str, String)]) -> io::Result<TaskGroup> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = self
            .folder
            .join(format!("{TASK_GROUP}{}-{}-{number}", std::process::id(), token()));
        fs::create_dir(&folder)?;
        let group = TaskGroup {
            folder,
            limits_memory: false,
            limits_processes: false,
        };
        for (file, value) in values {
            fs::write(group.folder.join(file), value)?;
        }
        Ok(group)
    }
}

/// Called between fork and exec: only a system call, no memory, no locks.
pub fn enter(entrance: &File) -> io::Result<()> {
    // 0 is who writes it.
    nix::unistd::write(entrance, b"0")?;
    Ok(())
}

/// The group of one attempt. Dropping it kills what it holds, and removes it.
#[derive(Debug)]
pub struct TaskGroup {
    folder: PathBuf,
    pub limits_memory: bool,
    pub limits_processes: bool,
}

impl TaskGroup {
    /// What a process enters by, see [`enter`].
    ///
    /// # Errors
    /// When it is not there any more, or must not be written to.
    pub fn entrance(&self) -> io::Result<File> {
        // The kernel makes it with the folder; a folder of a test has none yet.
        let mut options = File::options();
        options.append(true).create(cfg!(test));
        options.open(self.folder.join("cgroup.procs"))
    }

    /// Which limit of the group was met, as the kernel tells.
    pub fn exceeded(&self, limits: &Limits) -> Option<String> {
        let count = |file: &str, event: &str| {
            let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
            event_count(&text, event)
        };
        if let Some(mib) = limits.memory_mib
            && count("memory.events", "oom_kill") > 0
        {
            return Some(format!(
                "the limit memoryMiB = {mib} was exceeded, and the system killed the task (out of memory)"
            ));
        }
        let processes = limits.processes.filter(|_| count("pids.events", "max") > 0)?;
        Some(format!("the limit processes = {processes} was exceeded"))
    }
}

impl Drop for TaskGroup {
    fn drop(&mut self) {
        // What has left its session is still in its group.
        let _ = fs::write(self.folder.join("cgroup.kill"), "1");
        let folder = std::mem::take(&mut self.folder);
        if fs::remove_dir(&folder).is_ok() {
            return;
        }
        // A drop may happen on a thread that must not block.
        let remove = move || {
            for _ in 0..REMOVALS {
                if fs::remove_dir(&folder).is_ok() {
                    return;
                }
                std::thread::sleep(REMOVAL_PAUSE);
            }
            tracing::warn!(folder = %folder.display(), "worker.cgroup.not_removed");
        };
        let _ = std::thread::Builder::new().name("grid-cgroup".to_owned()).spawn(remove);
    }
}

/// Of a file of events: a name and a count a line.
fn event_count(text: &str, event: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.split_once(' '));
    let count = counts
        .filter(|(name, _)| *name == event)
        .map(|(_, count)| count.trim().parse());
    count.flatten().next().unwrap_or(0)
}

/// The folder of the group in which this process is.
fn own_group() -> Result<PathBuf, String> {
    let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let within = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let within = within.ok_or("this process is in no cgroup of version 2")?;
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(|error| format!("/proc/self/mountinfo: {error}"))?;
    let mount = mounts
        .lines()
        .find_map(mount_point)
        .ok_or("no cgroups of version 2 are mounted")?;
    Ok(Path::new(mount).join(within.trim_start_matches('/')))
}

/// Of a line of mountinfo (proc_pid_mountinfo(5)), if it is of cgroups.
fn mount_point(line: &str) -> Option<&str> {
    let (mount, kind) = line.split_once(" - ")?;
    kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4)).flatten()
}

/// Moves all processes of the group into one below it.
fn move_own(folder: &Path) -> io::Result<()> {
    let processes = fs::read_to_string(folder.join("cgroup.procs"))?;
    let processes: Vec<u32> = processes.lines().filter_map(|line| line.parse().ok()).collect();
    if let Some(stranger) = processes.iter().find(|process| !is_ours(**process)) {
        return Err(io::Error::other(format!(
            "it holds others as well, such as process {stranger}"
        )));
    }
    let own = folder.join(OWN_GROUP);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    processes
        .iter()
        .try_for_each(|process| fs::write(own.join("cgroup.procs"), process.to_string()))
}

/// Whether it is this process, or one that it started, or so on.
fn is_ours(process: u32) -> bool {
    let own = std::process::id();
    let mut at = process;
    while at != own {
        // The fields behind the name, which may hold anything: state, parent (proc_pid_stat(5)).
        let stat = fs::read_to_string(format!("/proc/{at}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        match parent {
            Some(parent) if parent > 1 => at = parent,
            Some(_) | None => return false,
        }
    }
    true
}

/// Tells this process from an earlier one that had the same id.
fn token() -> u32 {
    static TOKEN: OnceLock<u32> = OnceLock::new();
    *TOKEN.get_or_init(rand::random)
}

/// Ends groups of workers that died, with all that is in them.
fn remove_left_over(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some((process, rest)) = name.strip_prefix(TASK_GROUP).and_then(|name| name.split_once('-')) else {
            continue;
        };
        let is_of_this_id = process == std::process::id().to_string();
        let is_alive = if is_of_this_id {
            rest.split('-').next() == Some(&*token().to_string())
        } else {
            Path::new("/proc").join(process).exists()
        };
        if !is_alive {
            drop(TaskGroup {
                folder: entry.path(),
                limits_memory: false,
                limits_processes: false,
            });
        }
    }
}

#[cfg(test)]
mod tests;
