//! In folders that play cgroups; and in a real one, where this process may make some.

use super::*;

fn limits(memory_mib: Option<u64>, cpus: Option<u32>, processes: Option<u64>) -> Limits {
    Limits {
        memory_mib,
        cpus,
        processes,
        ..Limits::default()
    }
}

/// In a plain folder: what the kernel would be told.
#[test]
fn limits_are_written_as_the_kernel_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let with = |controllers: &[&'static str]| Cgroups {
        folder: folder.path().to_owned(),
        controllers: controllers.to_vec(),
    };
    let all = with(&CONTROLLERS);
    let group = all.make(&limits(Some(256), Some(2), Some(64))).unwrap().unwrap();
    let told = |file: &str| fs::read_to_string(group.folder.join(file)).ok();
    assert_eq!(told("memory.max").as_deref(), Some("268435456"));
    assert_eq!(told("memory.oom.group").as_deref(), Some("1"));
    assert_eq!(told("cpu.max").as_deref(), Some("200000 100000"));
    assert_eq!(told("pids.max").as_deref(), Some("64"));
    assert!(group.limits_memory);
    let few = with(&["pids"])
        .make(&limits(Some(256), Some(2), Some(64)))
        .unwrap()
        .unwrap();
    assert!(!few.limits_memory && !few.folder.join("memory.max").exists());
    assert!(
        with(&["pids"])
            .make(&limits(Some(256), Some(2), None))
            .unwrap()
            .is_none()
    );
    assert!(all.make(&Limits::default()).unwrap().is_none());

    let declared = limits(Some(256), None, Some(64));
    assert_eq!(group.exceeded(&declared), None);
    fs::write(group.folder.join("pids.events"), "max 3\n").unwrap();
    assert_eq!(
        group.exceeded(&declared).as_deref(),
        Some("the limit processes = 64 was exceeded")
    );
    fs::write(group.folder.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
    assert!(
        group
            .exceeded(&declared)
            .unwrap()
            .contains("memoryMiB = 256 was exceeded")
    );
}

/// A folder as the kernel would show a cgroup.
fn played(controllers: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cgroup.controllers"), controllers).unwrap();
    folder
}

#[test]
fn a_named_group_hands_its_controllers_on_and_loses_groups_of_the_dead() {
    let folder = played("cpuset cpu io memory hugetlb pids\n");
    let at = |name: &str| folder.path().join(name);
    // No process has such an id; an earlier one had that of this.
    let dead = [
        "grid-task-999999999-1-0".to_owned(),
        format!("grid-task-{}-x-0", std::process::id()),
    ];
    dead.iter().for_each(|name| fs::create_dir(at(name)).unwrap());
    let live = format!("grid-task-{}-{}-x", std::process::id(), token());
    let other = "grid-task-1-1-0";
    [&*live, other, "theirs"]
        .iter()
        .for_each(|name| fs::create_dir(at(name)).unwrap());
    let found = Cgroups::find(Some(folder.path())).unwrap();
    assert_eq!(found.controllers, CONTROLLERS);
    assert_eq!(
        fs::read_to_string(at("cgroup.subtree_control")).unwrap(),
        "+memory +cpu +pids"
    );
    for name in &dead {
        // It was told to kill what it holds; that file keeps a folder of a test there.
        assert!(at(name).join("cgroup.kill").exists(), "{name}");
    }
    for name in [&*live, other, "theirs"] {
        assert!(!at(name).join("cgroup.kill").exists(), "{name}");
    }
}

#[test]
fn where_there_is_no_use_of_a_group_the_reason_is_said() {
    let why = |folder: &Path| Cgroups::find(Some(folder)).unwrap_err();
    let none = tempfile::tempdir().unwrap();
    assert!(
        why(none.path()).contains("no cgroup: No such file"),
        "{}",
        why(none.path())
    );
    let others = played("hugetlb io\n");
    assert!(why(others.path()).ends_with("has none of the controllers memory, cpu, pids"));
    let shut = played("memory\n");
    fs::create_dir(shut.path().join("cgroup.subtree_control")).unwrap();
    assert!(
        why(shut.path()).contains("its controllers cannot be handed on"),
        "{}",
        why(shut.path())
    );
}

/// In a real group, where this process may make one: all that it holds ends with it, also what has left its session.
#[test]
fn what_is_in_a_group_ends_with_it() {
    let root = own_group().and_then(|own| {
        let root = own.join(format!("grid-test-{}", std::process::id()));
        fs::create_dir(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(root)
    });
    let root = match root {
        Ok(root) => root,
        Err(why) => return println!("NOT TESTED: this process may make no cgroups: {why}"),
    };
    let cgroups = Cgroups {
        folder: root.clone(),
        controllers: Vec::new(),
    };
    cgroups.try_one().unwrap();
    let group = cgroups.group(&[]).unwrap();
    let entrance = group.entrance().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "setsid sleep 600 & sleep 600"]);
    // SAFETY: only a system call.
    unsafe {
        command.pre_exec(move || enter(&entrance));
    }
    let mut leader = command.spawn().unwrap();
    let soon = std::time::Instant::now() + Duration::from_secs(20);
    let count = |least| loop {
        let text = fs::read_to_string(group.folder.join("cgroup.procs")).unwrap();
        if text.lines().count() >= least {
            break;
        }
        assert!(std::time::Instant::now() < soon, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    };
    count(3);
    let of_leader = fs::read_to_string(format!("/proc/{}/cgroup", leader.id())).unwrap();
    let name = group.folder.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        of_leader
            .lines()
            .any(|line| line.starts_with("0::") && line.ends_with(&name))
    );
    let folder = group.folder.clone();
    drop(group);
    assert!(!leader.wait().unwrap().success());
    while folder.exists() {
        assert!(std::time::Instant::now() < soon, "the group is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_dir(&root).unwrap();
}

#[test]
fn the_mount_is_found_among_others() {
    let line = "35 24 0:30 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    assert_eq!(mount_point(line), Some("/sys/fs/cgroup/unified"));
    assert_eq!(
        mount_point("36 24 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"),
        None
    );
    assert_eq!(event_count("max 3", "max"), 3);
    assert_eq!(event_count("oom 1\noom_kill 2\n", "oom_kill"), 2);
    assert_eq!(event_count("", "oom_kill"), 0);
}

#[test]
fn this_process_and_its_children_are_ours() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    assert!(is_ours(std::process::id()) && is_ours(child.id()) && !is_ours(1));
    child.kill().unwrap();
    child.wait().unwrap();
}
