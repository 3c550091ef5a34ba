//! Sessions of processes. Each attempt's process leads a session of its own (and so a group): what it starts stays in the
//! session even when it makes groups of its own, as `timeout` and shells with job control do. Only a program that calls
//! setsid itself gets out.
//!
//! A session's id is its leader's process id. It is not given away again while the leader is unreaped or a member lives,
//! so a session that is still known names no stranger.

use std::collections::HashSet;
use std::fs;
use std::io::Read;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Forks that race with the signals are found in the next round; no program outruns this many.
const MAX_ROUNDS: usize = 50;

struct Member {
    group: i32,
    session: i32,
    /// Ended: only its exit status is left.
    is_dead: bool,
}

/// The living processes of these sessions, as their groups. Reads all of /proc.
fn living_groups(sessions: &HashSet<i32>) -> HashSet<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        // Without it, the leaders' own groups are all that is known.
        return HashSet::new();
    };
    let mut text = String::new();
    let mut groups = HashSet::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        text.clear();
        // One that has ended meanwhile cannot be read.
        let read = fs::File::open(entry.path().join("stat")).and_then(|mut stat| stat.read_to_string(&mut text));
        let Some(member) = read.ok().and_then(|_| member(&text)) else {
            continue;
        };
        if !member.is_dead && sessions.contains(&member.session) {
            groups.insert(member.group);
        }
    }
    groups
}

/// Reads `pid (name) state ppid pgrp session …` (proc(5)); the name may hold anything, so the last `)` ends it.
fn member(stat: &str) -> Option<Member> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    Some(Member {
        group,
        session,
        is_dead,
    })
}

/// Sends the signal to the leader's own group.
pub fn signal_group(leader: Pid, signal: Signal) {
    // Fails only when no process of the group is left.
    let _ = killpg(leader, signal);
}

/// Kills every process of the sessions. Blocks for a scan or two of /proc; what it killed may take a moment to end.
pub fn kill_sessions(leaders: &HashSet<i32>) {
    for leader in leaders {
        signal_group(Pid::from_raw(*leader), Signal::SIGKILL);
    }
    let mut killed: HashSet<i32> = leaders.clone();
    for _ in 0..MAX_ROUNDS {
        let groups = living_groups(leaders);
        // A group that got its signal has no member that can go on; seen again, it is only slow to end.
        let fresh: Vec<i32> = groups.into_iter().filter(|group| killed.insert(*group)).collect();
        if fresh.is_empty() {
            return;
        }
        for group in fresh {
            signal_group(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// Whether any process of the session still runs. Reads all of /proc.
pub fn is_alive(leader: Pid) -> bool {
    !living_groups(&HashSet::from([leader.as_raw()])).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let found = member("12 (a) Z 1 2 3) S 7 12 11 0 -1").unwrap();
        assert_eq!((found.group, found.session, found.is_dead), (12, 11, false));
        assert!(member("12 (a) Z 7 12 11").unwrap().is_dead);
        assert!(member("").is_none());
        assert!(member("12 (a)").is_none());
    }
}
