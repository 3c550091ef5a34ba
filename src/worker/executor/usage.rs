//! What the processes of an attempt have used, as /proc tells (proc(5)).

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Pid, SysconfVar, sysconf};

/// What a session has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all that is in the session, and of what ended in it and was waited for there.
    pub cpu_seconds: f64,
    /// Resident memory now.
    pub rss_bytes: f64,
}

/// How long what was read of /proc serves other sessions too.
const FRESH: Duration = Duration::from_secs(1);

type Sessions = HashMap<i32, Usage>;

/// What was read of /proc last.
static LAST: Mutex<Option<(Instant, Sessions)>> = Mutex::new(None);

/// Of the session of that leader, at most a second ago; `None`: it has no process. May read all of /proc, so it blocks
/// for a moment.
pub fn of_session(leader: Pid) -> Option<Usage> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, sessions)) = &*last
        && at.elapsed() < FRESH
        && let Some(used) = sessions.get(&leader.as_raw())
    {
        return Some(*used);
    }
    let sessions = all_sessions();
    let used = sessions.get(&leader.as_raw()).copied();
    *last = Some((Instant::now(), sessions));
    used
}

fn all_sessions() -> Sessions {
    let mut sessions = Sessions::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        // One that has ended meanwhile cannot be read.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((session, used)) = read(&stat) {
            let sum = sessions.entry(session).or_default();
            sum.cpu_seconds += used.cpu_seconds;
            sum.rss_bytes += used.rss_bytes;
        }
    }
    sessions
}

/// Of a process that has ended and is not reaped, and of all that it waited for.
pub fn of_ended(pid: Pid) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    read(&stat).map(|(_, used)| used)
}

/// Session and usage of one process. Field 2, the name, may hold anything; the last `)` ends it.
fn read(stat: &str) -> Option<(i32, Usage)> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let count = |number: usize| field(number)?.parse::<f64>().ok();
    let unit = |variable| sysconf(variable).ok().flatten().map_or(1.0, |value| value as f64);
    let used = Usage {
        cpu_seconds: (count(14)? + count(15)? + count(16)? + count(17)?) / unit(SysconfVar::CLK_TCK),
        rss_bytes: count(24)? * unit(SysconfVar::PAGE_SIZE),
    };
    Some((field(6)?.parse().ok()?, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_children_count_and_names_may_hold_anything() {
        let stat = "12 (a) S 1) S 7 12 11 0 -1 0 1 2 3 4 10 20 30 40 20 0 1 0 99 4096 25 18446744073709551615";
        let unit = |variable| sysconf(variable).unwrap().unwrap() as f64;
        let used = Usage {
            cpu_seconds: 100.0 / unit(SysconfVar::CLK_TCK),
            rss_bytes: 25.0 * unit(SysconfVar::PAGE_SIZE),
        };
        assert_eq!(read(stat), Some((11, used)));
        assert_eq!(read("12 (a) S 7"), None);
    }

    #[test]
    fn this_session_is_seen() {
        let leader = nix::unistd::getsid(None).unwrap();
        assert!(of_session(leader).unwrap().rss_bytes > 0.0);
        assert_eq!(of_session(Pid::from_raw(-7)), None);
    }

    #[test]
    fn what_has_ended_tells_until_it_is_reaped() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let flags = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), flags).unwrap();
        assert!(of_ended(pid).unwrap().cpu_seconds > 0.0);
        child.wait().unwrap();
        assert_eq!(of_ended(pid), None);
    }
}
