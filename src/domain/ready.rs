//! The READY tasks of a job, by policy: those never scheduled as ranges, those that came back as a list.
//!
//! Tasks with different requirements do not stand in each other's way. Entries of the lists may be stale: a task is
//! given out only if its record says that it can be placed.

use std::collections::VecDeque;

use super::{JobSpec, TaskRecord, TaskState};

#[derive(Clone, Debug)]
struct PolicyQueue {
    /// First and last task number of each group with this policy, in order.
    ranges: Vec<(u32, u32)>,
    /// Index of the range that `fresh` stands in.
    range: usize,
    /// The next task that was never given out.
    fresh: u32,
    returned: VecDeque<u32>,
}

/// What a job has to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextReady {
    /// This task can be placed; index of its policy.
    Task { number: u32, policy: u32 },
    /// There are READY tasks, all of policies that were passed over.
    PassedOver,
    /// None, or none that may be placed now.
    Nothing,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ReadyQueues(Vec<PolicyQueue>);

impl ReadyQueues {
    pub fn new(spec: &JobSpec) -> Self {
        let mut queues = vec![
            PolicyQueue {
                ranges: Vec::new(),
                range: 0,
                fresh: 0,
                returned: VecDeque::new()
            };
            spec.policies.len()
        ];
        let mut next = 1_u32;
        for group in &spec.groups {
            let last = next.saturating_add(group.replicas).saturating_sub(1);
            if let Some(queue) = queues.get_mut(group.policy as usize)
                && group.replicas > 0
            {
                queue.ranges.push((next, last));
            }
            next = last.saturating_add(1);
        }
        for queue in &mut queues {
            queue.fresh = queue.ranges.first().map_or(0, |(first, _)| *first);
        }
        Self(queues)
    }

    pub fn push_returned(&mut self, policy: u32, number: u32) {
        if let Some(queue) = self.0.get_mut(policy as usize) {
            queue.returned.push_back(number);
        }
    }

    /// The next task to be placed, without taking it, of a policy that `pass_over` does not name.
    pub fn next(&mut self, tasks: &[TaskRecord], pass_over: &dyn Fn(u32) -> bool) -> NextReady {
        let mut answer = NextReady::Nothing;
        for (policy, queue) in (0_u32..).zip(&mut self.0) {
            let Some(number) = queue.next(tasks) else { continue };
            if !pass_over(policy) {
                return NextReady::Task { number, policy };
            }
            answer = NextReady::PassedOver;
        }
        answer
    }
}

fn placeable(tasks: &[TaskRecord], number: u32) -> bool {
    (number as usize)
        .checked_sub(1)
        .and_then(|index| tasks.get(index))
        .is_some_and(|record| record.state() == TaskState::Ready && !record.attempt_open())
}

impl PolicyQueue {
    fn next(&mut self, tasks: &[TaskRecord]) -> Option<u32> {
        while let Some(&number) = self.returned.front() {
            if placeable(tasks, number) {
                return Some(number);
            }
            self.returned.pop_front();
        }
        while let Some(&(_, last)) = self.ranges.get(self.range) {
            while self.fresh <= last {
                if self.fresh as usize > tasks.len() {
                    return None; // not written out yet
                }
                if placeable(tasks, self.fresh) {
                    return Some(self.fresh);
                }
                self.fresh += 1;
            }
            self.range += 1;
            self.fresh = self.ranges.get(self.range).map_or(0, |(first, _)| *first);
        }
        None
    }
}
