//! The parts of the statement that keep what lists and search are found by: totals, names, blocks of tasks.

use super::super::change::{Changes, add};
use super::super::columns::{BlockColumns, NameColumns};
use super::super::machine::Move;
use super::{Statement, Writer};

/// What a write adds to the totals of a shard.
#[derive(Default)]
struct Totals {
    jobs: Vec<i64>,
    states: [Vec<i64>; 5],
}

impl Totals {
    /// In the order of the moves.
    fn new(moves: &[Move], changes: &Changes) -> Self {
        let mut totals = Self::default();
        for step in moves {
            let (mut jobs, mut states) = (0, [0; 5]);
            for change in changes.jobs.values().filter(|change| change.shard == step.shard) {
                jobs += i64::from(change.new.is_some());
                add(&mut states, &change.counters.states);
            }
            totals.jobs.push(jobs);
            for (column, sum) in totals.states.iter_mut().zip(states) {
                column.push(i64::from(sum));
            }
        }
        totals
    }
}

impl Writer {
    pub(super) fn add_cursors(&self, statement: &mut Statement, moves: &[Move], changes: &Changes) {
        let totals = Totals::new(moves, changes);
        statement
            .sql(
                self.schema,
                "WITH ok AS (
                    UPDATE {schema}.projection_cursors c SET seq = u.seq_to, jobs = c.jobs + u.jobs,
                        ready = c.ready + c0, scheduled = c.scheduled + c1, running = c.running + c2,
                        completed = c.completed + c3, failed = c.failed + c4
                    FROM unnest(?::int[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[],
                        ?::bigint[], ?::bigint[]) u(shard, seq_from, seq_to, jobs, c0, c1, c2, c3, c4)
                    WHERE c.shard = u.shard AND c.seq = u.seq_from
                    RETURNING c.shard)",
            )
            .bind(moves.iter().map(|step| i32::from(step.shard.0)).collect::<Vec<_>>())
            .bind(moves.iter().map(|step| step.from.0 as i64).collect::<Vec<_>>())
            .bind(moves.iter().map(|step| step.to.0 as i64).collect::<Vec<_>>())
            .bind(totals.jobs);
        for column in totals.states {
            statement.bind(column);
        }
    }

    pub(super) fn add_names(&self, statement: &mut Statement, changes: &Changes) {
        let names = NameColumns::of(changes);
        if !names.label_job.is_empty() {
            statement
                .sql(
                    self.schema,
                    ", labels AS (
                        INSERT INTO {schema}.job_labels (job, name, value, created_at, task_count)
                        SELECT u.job, u.name, u.value, u.created_at, u.task_count
                        FROM unnest(?::int[], ?::uuid[], ?::text[], ?::text[], ?::timestamptz[], ?::int[])
                            u(shard, job, name, value, created_at, task_count)
                        WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
                )
                .bind(names.label_shard)
                .bind(names.label_job)
                .bind(names.label_name)
                .bind(names.label_value)
                .bind(names.label_created_at)
                .bind(names.label_task_count);
        }
        if !names.task_job.is_empty() {
            statement
                .sql(
                    self.schema,
                    ", task_names AS (
                        INSERT INTO {schema}.task_names (job, first_number, replicas, name, created_at)
                        SELECT u.job, u.first_number, u.replicas, u.name, u.created_at
                        FROM unnest(?::int[], ?::uuid[], ?::int[], ?::int[], ?::text[], ?::timestamptz[])
                            u(shard, job, first_number, replicas, name, created_at)
                        WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
                )
                .bind(names.task_shard)
                .bind(names.task_job)
                .bind(names.task_first_number)
                .bind(names.task_replicas)
                .bind(names.task_name)
                .bind(names.task_created_at);
        }
    }

    pub(super) fn add_blocks(&self, statement: &mut Statement, changes: &Changes) {
        let (new, moved) = BlockColumns::split(changes);
        if !new.job.is_empty() {
            statement.sql(
                self.schema,
                ", new_blocks AS (
                    INSERT INTO {schema}.task_blocks (job, block, ready, scheduled, running, completed, failed)
                    SELECT u.job, u.block, c0, c1, c2, c3, c4
                    FROM unnest(?::int[], ?::uuid[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[])
                        u(shard, job, block, c0, c1, c2, c3, c4)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)))",
            );
            bind_blocks(statement, new);
        }
        if !moved.job.is_empty() {
            // Jobs that have few tasks have no blocks, and nothing is found.
            statement.sql(
                self.schema,
                ", moved_blocks AS (
                    UPDATE {schema}.task_blocks b SET ready = b.ready + c0, scheduled = b.scheduled + c1,
                        running = b.running + c2, completed = b.completed + c3, failed = b.failed + c4
                    FROM unnest(?::int[], ?::uuid[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[], ?::int[])
                        u(shard, job, block, c0, c1, c2, c3, c4)
                    WHERE u.shard = ANY(ARRAY(SELECT shard FROM ok)) AND b.job = u.job AND b.block = u.block)",
            );
            bind_blocks(statement, moved);
        }
    }
}

fn bind_blocks(statement: &mut Statement, blocks: BlockColumns) {
    statement.bind(blocks.shard).bind(blocks.job).bind(blocks.block);
    for column in blocks.states {
        statement.bind(column);
    }
}
