//! Sessions of processes. Each attempt's process leads a session of its own (and so a group): what it starts stays in the
//! session even when it makes groups of its own, as `timeout` and shells with job control do. Only a program that calls
//! setsid itself gets out.
//!
//! A session's id is its leader's process id. It is not given away again while the leader is unreaped or a member lives,
//! so a session that is still known names no stranger.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getsid};

/// Forks that race with the signals are found in the next round; no program outruns this many.
const MAX_ROUNDS: usize = 50;

struct Member {
    group: i32,
    /// Ended: only its exit status is left.
    is_dead: bool,
}

/// Sessions, and the groups in which something of each lives.
type Groups = HashMap<i32, HashSet<i32>>;

/// A look at /proc for all who want one before it begins.
#[derive(Default)]
struct Look {
    /// What is looked for; taken when it begins.
    wanted: Mutex<HashSet<i32>>,
    found: OnceLock<Groups>,
}

struct Looks {
    /// The look that has not begun.
    next: Arc<Look>,
    is_one_running: bool,
}

static LOOKS: LazyLock<(Mutex<Looks>, Condvar)> = LazyLock::new(|| {
    let looks = Looks {
        next: Arc::default(),
        is_one_running: false,
    };
    (Mutex::new(looks), Condvar::new())
});

/// The living processes of these sessions, as their groups. Lists all of /proc, once for all who ask at a time: many
/// short programs would otherwise read it over and over.
fn living_groups(sessions: &HashSet<i32>) -> HashSet<i32> {
    let (looks, ended) = &*LOOKS;
    let mut state = looks.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = Arc::clone(&state.next);
    mine.wanted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(sessions);
    while mine.found.get().is_none() {
        if state.is_one_running {
            state = ended.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state.is_one_running = true;
        // Nobody is added from here on: what is seen is newer than every question.
        let look = std::mem::take(&mut state.next);
        drop(state);
        let wanted = std::mem::take(&mut *look.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = look.found.set(look_at_all(&wanted));
        state = looks.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_one_running = false;
        ended.notify_all();
    }
    drop(state);
    let found = mine.found.get().into_iter();
    let of_mine = found.flatten().filter(|(session, _)| sessions.contains(session));
    of_mine.flat_map(|(_, groups)| groups).copied().collect()
}

fn look_at_all(sessions: &HashSet<i32>) -> Groups {
    let Ok(entries) = fs::read_dir("/proc") else {
        // Without it, the leaders' own groups are all that is known.
        return Groups::new();
    };
    let mut text = String::new();
    let mut groups = Groups::new();
    for entry in entries.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The kernel is asked first: to read /proc/ID/stat of everybody takes ten times as long.
        let session = getsid(Some(Pid::from_raw(id))).map_or(0, Pid::as_raw);
        if !sessions.contains(&session) {
            continue;
        }
        text.clear();
        // One that has ended meanwhile cannot be read.
        let read = fs::File::open(entry.path().join("stat")).and_then(|mut stat| stat.read_to_string(&mut text));
        if let Some(member) = read.ok().and_then(|_| member(&text))
            && !member.is_dead
        {
            groups.entry(session).or_default().insert(member.group);
        }
    }
    groups
}

/// Reads `pid (name) state ppid pgrp …` (proc(5)); the name may hold anything, so the last `)` ends it.
fn member(stat: &str) -> Option<Member> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    Some(Member { group, is_dead })
}

/// Sends the signal to the leader's own group.
pub fn signal_group(leader: Pid, signal: Signal) {
    // Fails only when no process of the group is left.
    let _ = killpg(leader, signal);
}

/// Kills every process of the sessions. Blocks for a scan or two of /proc; what it killed may take a moment to end.
/// `true`: none was left, so there is no end to wait for.
pub fn kill_sessions(leaders: &HashSet<i32>) -> bool {
    for leader in leaders {
        signal_group(Pid::from_raw(*leader), Signal::SIGKILL);
    }
    let mut killed: HashSet<i32> = leaders.clone();
    for _ in 0..MAX_ROUNDS {
        let groups = living_groups(leaders);
        if groups.is_empty() {
            return true;
        }
        // A group that got its signal has no member that can go on; seen again, it is only slow to end.
        let fresh: Vec<i32> = groups.into_iter().filter(|group| killed.insert(*group)).collect();
        if fresh.is_empty() {
            return false;
        }
        for group in fresh {
            signal_group(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    false
}

/// Whether any process of the session still runs. Lists all of /proc.
pub fn is_alive(leader: Pid) -> bool {
    !living_groups(&HashSet::from([leader.as_raw()])).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finds_its_own_when_many_look_at_a_time() {
        let looker = |_| {
            std::thread::spawn(|| {
                let mut leader = std::process::Command::new("setsid");
                let mut leader = leader.args(["--wait", "sh", "-c", "read line; exit 0"]);
                leader = leader
                    .stdin(std::process::Stdio::piped())
                    .stdout(std::process::Stdio::null());
                // It forks only where it leads a group already, so the session is its own.
                let mut child = leader.spawn().unwrap();
                let session = i32::try_from(child.id()).unwrap();
                let own = HashSet::from([session]);
                while getsid(Some(Pid::from_raw(session))).unwrap().as_raw() != session {
                    std::thread::yield_now();
                }
                assert_eq!(living_groups(&own), own);
                drop(child.stdin.take());
                child.wait().unwrap();
                assert_eq!(living_groups(&own), HashSet::new());
            })
        };
        let lookers: Vec<_> = (0..16).map(looker).collect();
        for looker in lookers {
            looker.join().unwrap();
        }
    }

    #[test]
    fn a_name_may_hold_anything() {
        let found = member("12 (a) Z 1 2 3) S 7 12 11 0 -1").unwrap();
        assert_eq!((found.group, found.is_dead), (12, false));
        assert!(member("12 (a) Z 7 12 11").unwrap().is_dead);
        assert!(member("").is_none());
        assert!(member("12 (a)").is_none());
    }
}
