//! Loading: always the fold of the log, whatever snapshots say.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use grid::domain::event::{Event, WorkerCordoned, WorkerEnd, WorkerLeft, WorkerRegistered};
use grid::domain::{Incarnation, Job, JobId, Seq, ShardId, StreamId, WorkerName};
use grid::event::EventRecord;
use grid::log::{Claimed, DifferenceKind, Error, QuarantineSource, SnapshotRow};
use uuid::Uuid;

use super::histories::Histories;
use super::{Fixture, SHARDS, batch, committed, meta, run};

/// A shard that lives, as its owner would let it.
pub struct Living {
    pub histories: Histories,
    pub claimed: Claimed,
    pub next: u64,
    pub dirty: HashSet<JobId>,
}

impl Living {
    pub async fn new(fixture: &Fixture, shard: u16, seed: u64) -> Self {
        let claimed = fixture.claim(shard).await;
        Self {
            histories: Histories::new(shard, SHARDS, seed),
            next: claimed.next_seq.0,
            claimed,
            dirty: HashSet::new(),
        }
    }

    pub async fn commit(&mut self, fixture: &Fixture, events: Vec<EventRecord>) {
        self.dirty.extend(events.iter().filter_map(|event| match event.stream {
            StreamId::Job(job) => Some(job),
            StreamId::Task(task) => Some(task.job),
            StreamId::Worker(_) => None,
        }));
        let done = committed(
            fixture
                .journal
                .commit(batch(&self.claimed, Seq(self.next), events))
                .await,
        );
        self.next = done.last_seq.0 + 1;
    }

    pub async fn steps(&mut self, fixture: &Fixture, steps: usize) {
        for _ in 0..steps {
            let events = self.histories.step();
            if !events.is_empty() {
                self.commit(fixture, events).await;
            }
        }
    }

    pub async fn snapshot(&mut self, fixture: &Fixture) {
        let upto = Seq(self.next - 1);
        let rows = self.dirty.drain().map(|id| {
            let job = &self.histories.jobs[&id];
            SnapshotRow {
                job: id,
                seq: upto,
                at_rest: job.is_at_rest(),
                bytes: job.to_snapshot(),
            }
        });
        let rows = rows.collect();
        fixture
            .log
            .write_snapshots(self.claimed.shard, self.claimed.epoch, upto, rows)
            .await
            .unwrap();
    }

    /// The shard, loaded anew, is the same; so is every single job.
    pub async fn assert_loads_the_same(&mut self, fixture: &Fixture) -> usize {
        self.claimed = fixture.claim(self.claimed.shard.0).await;
        assert_eq!(self.claimed.next_seq.0, self.next);
        let loaded = fixture.log.load(&self.claimed, self.histories.now).await.unwrap();
        assert_eq!(loaded.unreadable, []);
        let bytes = |jobs: Vec<&Job>| {
            jobs.iter()
                .map(|job| (job.id(), job.to_snapshot()))
                .collect::<BTreeMap<_, _>>()
        };
        let all = &self.histories.jobs;
        let changed: HashSet<JobId> = loaded.changed.into_iter().collect();
        assert_eq!(changed, self.dirty);
        let expected = bytes(
            all.values()
                .filter(|job| !job.is_at_rest() || changed.contains(&job.id()))
                .collect(),
        );
        assert_eq!(bytes(loaded.jobs.iter().collect()), expected);
        let finished: BTreeSet<JobId> = loaded.finished.into_iter().collect();
        assert_eq!(
            finished,
            all.values().filter(|job| job.is_at_rest()).map(Job::id).collect()
        );
        for (id, job) in all {
            let found = fixture.log.load_job(self.claimed.shard, *id).await.unwrap().unwrap();
            assert_eq!(found.to_snapshot(), job.to_snapshot(), "{id}");
        }
        loaded.tail_events
    }
}

#[test]
fn a_load_is_the_fold_of_the_log() {
    run(async {
        let fixture = Fixture::new().await;
        for seed in 0..6 {
            let mut living = Living::new(&fixture, seed as u16, seed).await;
            for _ in 0..4 {
                living.steps(&fixture, 60).await;
                let tail = living.assert_loads_the_same(&fixture).await;
                assert_eq!(tail as u64, living.next - 1 - living.claimed.snapshot_seq.0);
                living.snapshot(&fixture).await;
                assert_eq!(living.assert_loads_the_same(&fixture).await, 0);
            }
            assert!(
                living.histories.jobs.values().any(Job::is_at_rest),
                "nothing finished with seed {seed}"
            );
        }
        let report = fixture.log.verify(Default::default(), None).await.unwrap();
        assert_eq!(report.differences, []);
        // Snapshots of another version, and damaged ones, are ignored.
        fixture.psql("UPDATE snapshots SET schema = 99 WHERE get_byte(uuid_send(job), 15) % 2 = 0");
        fixture.psql("UPDATE snapshots SET bytes = '\\x0102' WHERE schema <> 99");
        let mut living = Living::new(&fixture, 7, 77).await;
        living.steps(&fixture, 30).await;
        living.snapshot(&fixture).await;
        fixture.psql("UPDATE snapshots SET schema = 99 WHERE shard = 7");
        living.steps(&fixture, 60).await;
        living.assert_loads_the_same(&fixture).await;
    });
}

#[test]
fn snapshots_move_only_for_the_owner_and_only_forwards() {
    run(async {
        let fixture = Fixture::new().await;
        let mut living = Living::new(&fixture, 2, 1).await;
        living.steps(&fixture, 40).await;
        living.snapshot(&fixture).await;
        let at = fixture.psql("SELECT snapshot_seq FROM shards WHERE shard = 2");
        let stale = living.claimed.clone();
        living.claimed = fixture.claim(2).await;
        living.steps(&fixture, 10).await;
        let refused = fixture
            .log
            .write_snapshots(ShardId(2), stale.epoch, Seq(living.next - 1), Vec::new())
            .await;
        assert!(matches!(refused, Err(Error::Fenced(ShardId(2)))));
        assert_eq!(fixture.psql("SELECT snapshot_seq FROM shards WHERE shard = 2"), at);
        // An older state never replaces a newer one.
        living.snapshot(&fixture).await;
        let job = fixture.psql("SELECT job FROM snapshots WHERE seq > 10 LIMIT 1");
        let row = SnapshotRow {
            job: JobId(job.parse().unwrap()),
            seq: Seq(1),
            at_rest: false,
            bytes: vec![1],
        };
        fixture
            .log
            .write_snapshots(ShardId(2), living.claimed.epoch, Seq(1), vec![row])
            .await
            .unwrap();
        living.assert_loads_the_same(&fixture).await;
    });
}

#[test]
fn an_event_that_cannot_be_read_costs_only_its_job() {
    run(async {
        let fixture = Fixture::new().await;
        let mut living = Living::new(&fixture, 3, 5).await;
        living.steps(&fixture, 60).await;
        let (id, events) = living.histories.submit(3);
        living.commit(&fixture, events).await;
        living.steps(&fixture, 20).await;
        fixture.psql(&format!(
            "SET session_replication_role = replica;
             UPDATE events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '\"v\":1', '\"v\":9'), 'UTF8')
             WHERE job = '{}' AND task = 2 AND version = 1",
            id.0
        ));
        let claimed = fixture.claim(3).await;
        let loaded = fixture.log.load(&claimed, living.histories.now).await.unwrap();
        assert_eq!(loaded.unreadable.len(), 1);
        assert_eq!(loaded.unreadable[0].job, id);
        assert!(
            loaded.unreadable[0].why.contains("version 9"),
            "{}",
            loaded.unreadable[0].why
        );
        assert!(loaded.finished.contains(&id), "a command on it must look it up");
        assert_eq!(loaded.jobs.len(), living.histories.jobs.len() - 1);
        assert!(matches!(
            fixture.log.load_job(ShardId(3), id).await,
            Err(Error::UnreadableEvent { .. })
        ));
        let listed = fixture.log.quarantine(0, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].poison.source, QuarantineSource::Event);
        assert_eq!(listed[0].poison.place, loaded.unreadable[0].position.seq.0 as i64);
        // Snapshots pass it by, and still nobody takes it for what it was before.
        living.claimed = claimed;
        living.dirty.remove(&id);
        living.snapshot(&fixture).await;
        let claimed = fixture.claim(3).await;
        let again = fixture.log.load(&claimed, living.histories.now).await.unwrap();
        assert_eq!((again.unreadable, again.tail_events), (loaded.unreadable, 0));
        assert!(!again.jobs.iter().any(|job| job.id() == id) && again.finished.contains(&id));
        assert!(matches!(
            fixture.log.load_job(ShardId(3), id).await,
            Err(Error::UnreadableEvent { .. })
        ));
        let report = fixture.log.verify(Default::default(), None).await.unwrap();
        assert!(
            report
                .differences
                .iter()
                .any(|it| it.kind == DifferenceKind::Unreadable && it.job == Some(id))
        );
    });
}

#[test]
fn workers_are_loaded_with_their_present_process() {
    run(async {
        let fixture = Fixture::new().await;
        let name: WorkerName = "alpha".parse().unwrap();
        let shard = name.slot(SHARDS);
        let mut living = Living::new(&fixture, shard, 0).await;
        let (first, second) = (Incarnation(Uuid::now_v7()), Incarnation(Uuid::now_v7()));
        let record = |incarnation, version, event| EventRecord {
            stream: StreamId::Worker(incarnation),
            version,
            meta: meta(grid::clock::now()),
            event,
        };
        let registered = |incarnation| {
            let registered = WorkerRegistered {
                worker: name.clone(),
                incarnation,
                endpoint_url: String::new(),
                max_capacity: 1,
                labels: Default::default(),
            };
            record(incarnation, 1, Event::WorkerRegistered(Box::new(registered)))
        };
        let left = |incarnation, cause| {
            record(
                incarnation,
                2,
                Event::WorkerLeft(WorkerLeft {
                    worker: name.clone(),
                    incarnation,
                    cause,
                }),
            )
        };
        let now = grid::clock::now();
        // A command that was carried out is known from the log and from a snapshot.
        let cordon = Uuid::now_v7();
        let cordoned = || {
            let cordoned = WorkerCordoned {
                worker: name.clone(),
                incarnation: second,
                inherited: false,
            };
            let mut cordoned = record(second, 2, Event::WorkerCordoned(cordoned));
            cordoned.meta.command = Some(cordon);
            cordoned
        };
        let left_last = || EventRecord {
            version: 3,
            ..left(second, WorkerEnd::Drained)
        };
        let assert_is = async |claimed: &Claimed, incarnation, left, version| {
            let loaded = fixture.log.load(claimed, now).await.unwrap();
            assert_eq!(loaded.workers.len(), 1);
            let (found, history, at) = &loaded.workers[0];
            assert_eq!(
                (found, history.incarnation, history.left, *at),
                (&name, Some(incarnation), left, version)
            );
            assert_eq!(history.remembers(cordon), version > 1 && incarnation == second);
        };
        living.commit(&fixture, vec![registered(first)]).await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, first, false, 1).await;
        living.snapshot(&fixture).await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, first, false, 1).await;
        living
            .commit(&fixture, vec![left(first, WorkerEnd::Superseded), registered(second)])
            .await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, second, false, 1).await;
        living.snapshot(&fixture).await;
        living.commit(&fixture, vec![cordoned()]).await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, second, false, 2).await;
        living.snapshot(&fixture).await;
        living.commit(&fixture, vec![left_last()]).await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, second, true, 3).await;
        living.snapshot(&fixture).await;
        living.claimed = fixture.claim(shard).await;
        assert_is(&living.claimed, second, true, 3).await;
        let stream = fixture.log.stream(StreamId::Worker(first), 0, 10).await.unwrap();
        assert_eq!(stream.events.len(), 2);
        assert!(fixture.log.verify(Default::default(), None).await.unwrap().is_clean());
    });
}

#[test]
fn the_third_failure_puts_a_message_into_quarantine() {
    run(async {
        let fixture = Fixture::new().await;
        let poison = || grid::log::Poison {
            shard: ShardId(1),
            source: QuarantineSource::Command,
            bus: "test-bus".into(),
            place: 41,
            reason: "a decision panicked".into(),
            payload: b"{}".to_vec(),
            principal: "somebody".into(),
        };
        let places = async |commands| {
            let of = fixture
                .log
                .quarantined_places(ShardId(1), &super::cursor(commands))
                .await;
            of.unwrap()
        };
        assert_eq!(fixture.log.note_failure(poison(), 3).await.unwrap(), 1);
        assert_eq!(fixture.log.note_failure(poison(), 3).await.unwrap(), 2);
        assert_eq!(places(40).await, []);
        assert_eq!(fixture.log.quarantine(0, 10).await.unwrap().len(), 0);
        assert_eq!(fixture.log.note_failure(poison(), 3).await.unwrap(), 3);
        assert_eq!(places(41).await, [(QuarantineSource::Command, 41)]);
        assert_eq!(places(42).await, []);
        let listed = fixture.log.quarantine(0, 10).await.unwrap();
        assert_eq!(
            (listed[0].attempts, listed[0].poison.principal.as_str()),
            (3, "somebody")
        );
    });
}

#[test]
fn streams_and_jobs_are_read_in_pages() {
    run(async {
        let fixture = Fixture::new().await;
        let mut living = Living::new(&fixture, 0, 3).await;
        let (id, mut events) = living.histories.submit(20);
        events.extend(living.histories.complete(id));
        let count = events.len();
        living.commit(&fixture, events).await;
        living.steps(&fixture, 20).await;
        let mut seqs = Vec::new();
        let mut after = Seq(0);
        loop {
            let page = fixture.log.job_events(id, after, 7).await.unwrap();
            seqs.extend(
                page.events
                    .iter()
                    .filter(|it| it.position.seq.0 <= count as u64)
                    .map(|it| it.position.seq.0),
            );
            after = page.events.last().map_or(after, |event| event.position.seq);
            if !page.more {
                break;
            }
        }
        assert_eq!(seqs, (1..=count as u64).collect::<Vec<_>>());
        let task = StreamId::Task(grid::domain::TaskId { job: id, number: 5 });
        let page = fixture.log.stream(task, 1, 2).await.unwrap();
        assert_eq!(
            page.events.iter().map(|event| event.version).collect::<Vec<_>>(),
            [2, 3]
        );
        assert!(page.more);
        let first = page.events[0].clone();
        assert_eq!(fixture.log.event_at(first.position).await.unwrap(), Some(first));
        let heads = fixture.log.heads().await.unwrap();
        assert_eq!((heads.len(), heads[0].next_seq.0), (8, living.next));
    });
}
