//! Runs of the simulation: that nothing is wrong on many seeds, that a seed replays exactly, and that each bug put in
//! on purpose is found.

use super::mutant::{self, Mutant};
use super::world::World;
use crate::domain::Job;
use crate::event::Command;

/// How long, after the last fault, everything may take to come to its end.
const PATIENCE_MS: i64 = 2 * 3_600_000;

#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    steps: u64,
    events: u64,
    jobs: u64,
    completed: u64,
    claims: u64,
}

fn run(seed: u64) -> Result<Figures, String> {
    let mut world = World::new(seed);
    // A bug that was put in shows early, or what it has lost never comes.
    let patience = if mutant::is_any() {
        PATIENCE_MS / 12
    } else {
        PATIENCE_MS
    };
    let limit = world.calm_after_ms + patience;
    loop {
        if !world.step() {
            return Err("nothing can happen any more".into());
        }
        if let Some(wrong) = world.check.wrong.first() {
            return Err(format!("at {} ms, step {}: {wrong}", world.time_ms, world.steps));
        }
        if world.steps.is_multiple_of(256) {
            memory_is_the_log(&world)?;
            if !world.is_stormy() && world.time_ms > world.calm_after_ms + 60_000 && world.check.is_quiet() {
                break;
            }
        }
        if world.time_ms > limit {
            return Err(format!("not at rest: {:#?}", world.check.unfinished_jobs()));
        }
    }
    nothing_is_lost(&world)?;
    Ok(Figures {
        steps: world.steps,
        events: world.log.values().map(|log| log.events.len() as u64).sum(),
        jobs: world.client.submitted.len() as u64,
        completed: world.check.completed_tasks,
        claims: world.log.values().map(|log| log.epoch.0).sum(),
    })
}

/// What shards have in memory is the fold of what is in the log.
fn memory_is_the_log(world: &World) -> Result<(), String> {
    for jobmaster in &world.jobmasters {
        let Some(process) = &jobmaster.process else { continue };
        for (shard, owned) in &process.shards {
            let log = &world.log[shard];
            if owned.machine.epoch() != log.epoch || !owned.machine.is_settled() {
                continue;
            }
            for job in owned.machine.jobs() {
                let folded = log.job(job.id())?;
                if folded.as_ref().map(Job::to_snapshot) != Some(job.to_snapshot()) {
                    return Err(format!(
                        "{} in memory is not what the log says: {job:?} {folded:?}",
                        job.id()
                    ));
                }
            }
        }
    }
    Ok(())
}

fn nothing_is_lost(world: &World) -> Result<(), String> {
    for job in world.client.acknowledged() {
        if !world.check.has_job(job) {
            return Err(format!("{job} was acknowledged and is not in the log"));
        }
    }
    for message in world.commands.values().flatten() {
        if let Command::SubmitJob { job, .. } = &message.command
            && !world.check.has_job(*job)
        {
            return Err(format!("{job} was sent, never refused, and is not in the log"));
        }
    }
    Ok(())
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text: String| text.parse::<u64>().ok())
    };
    if let Some(seed) = number("GRID_SIM_SEED") {
        return seed..seed + 1;
    }
    0..number("GRID_SIM_SEEDS").unwrap_or(1_000)
}

/// Runs all seeds on all cores; the failures, lowest seed first.
fn run_all(seeds: std::ops::Range<u64>) -> (Figures, Vec<(u64, String)>) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let part = |first: u64| {
        let seeds = seeds.clone();
        move || {
            let (mut sum, mut failures) = (Figures::default(), Vec::new());
            for seed in seeds.skip(first as usize).step_by(threads as usize) {
                match run(seed) {
                    Ok(figures) => {
                        sum.steps += figures.steps;
                        sum.events += figures.events;
                        sum.jobs += figures.jobs;
                        sum.completed += figures.completed;
                        sum.claims += figures.claims;
                    }
                    Err(why) => failures.push((seed, why)),
                }
            }
            (sum, failures)
        }
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().expect("a run panicked"))
            .collect()
    });
    let (mut sum, mut failures) = (Figures::default(), Vec::new());
    for (figures, failed) in parts {
        sum.steps += figures.steps;
        sum.events += figures.events;
        sum.jobs += figures.jobs;
        sum.completed += figures.completed;
        sum.claims += figures.claims;
        failures.extend(failed);
    }
    failures.sort();
    (sum, failures)
}

#[test]
fn nothing_is_wrong_whatever_happens() {
    let seeds = seeds();
    let (figures, failures) = run_all(seeds.clone());
    eprintln!("simulation: {} seeds, {figures:?}", seeds.end - seeds.start);
    let count = failures.len();
    if let Some((seed, why)) = failures.into_iter().next() {
        panic!(
            "{count} seeds failed; replay the first with GRID_SIM_SEED={seed}: {}",
            &why[..why.len().min(6_000)]
        );
    }
    // A simulation in which little happens proves little.
    let runs = seeds.end - seeds.start;
    assert!(
        figures.jobs >= 5 * runs && figures.completed >= 20 * runs && figures.claims >= 5 * runs,
        "{figures:?}"
    );
}

/// Known and open: a task that runs twice on one worker process. `cargo test --release --lib sim:: -- --ignored`.
#[test]
#[ignore = "an open defect; remove the mark when it is mended"]
fn seeds_that_found_what_is_not_mended_yet() {
    assert_eq!(run(1_159).err(), None);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 17, 99] {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn every_bug_put_in_on_purpose_is_found() {
    let missed: Vec<_> = Mutant::ALL
        .into_iter()
        .filter(|bug| {
            let found = (0..400).find_map(|seed| mutant::with(Some(*bug), || run(seed).err()).map(|why| (seed, why)));
            if let Some((seed, why)) = &found {
                eprintln!("{bug:?}: seed {seed}: {}", why.chars().take(160).collect::<String>());
            }
            found.is_none()
        })
        .collect();
    assert!(missed.is_empty(), "not found within 400 seeds: {missed:?}");
}
