#!/usr/bin/env python3
"""Reads the log, the read models and what was published, and says what is wrong. Shares no code with grid.

usage: check.py --database CONNINFO --acknowledged FILE [--messages FILE] [--never REASON,...]

ACKNOWLEDGED has the id of an acknowledged job a line; MESSAGES is what tests/kafka/ReadTopic.java writes.

Checked: places gapless in every shard and each once; versions contiguous in every stream; event time never backwards
within a shard; only legal steps of a task; attempts rise by one; no task completed twice; every acknowledged job is
there, and has finished; every task in its final state; the chain of hashes, over the bytes of the events; counters and
states of the read models equal to the history; every message is an event of the log, in its place, byte for byte; who
reads the topic by the rule of schema/events.md gets every event once and in order; no task failed for a reason that is
not allowed here.
"""

import argparse
import collections
import datetime
import hashlib
import json
import struct
import subprocess
import sys
import uuid


def rows(conninfo, sql):
    command = ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", sql]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        yield line.rstrip("\n").split("\t")
    if process.wait():
        sys.exit("psql failed")


STEPS = {
    (None, "TaskReady"): "READY",
    (None, "TaskFailed"): "FAILED",
    ("READY", "TaskScheduled"): "SCHEDULED",
    ("READY", "TaskFailed"): "FAILED",
    ("READY", "AttemptEnded"): "READY",
    ("SCHEDULED", "TaskStarted"): "RUNNING",
    ("SCHEDULED", "TaskFailed"): "FAILED",
    ("RUNNING", "TaskCompleted"): "COMPLETED",
    ("RUNNING", "TaskFailed"): "FAILED",
    ("FAILED", "TaskReady"): "READY",
    ("FAILED", "RetryScheduled"): "FAILED",
    ("FAILED", "RetryCancelled"): "FAILED",
    ("FAILED", "AttemptEnded"): "FAILED",
}

# One event of the log, as it stands there.
Row = collections.namedtuple("Row", "shard seq job task version worker day payload")


class History:
    """What the log tells, event by event."""

    def __init__(self):
        self.wrong = []
        self.rows = {}
        self.seqs = collections.defaultdict(list)
        self.versions = collections.defaultdict(list)
        self.last_at = {}
        self.tasks = {}
        self.jobs = {}
        self.finished = {}
        self.completed = collections.Counter()
        self.failures = collections.Counter()

    def read(self, conninfo):
        sql = (
            "SELECT shard, seq, job, task, version, worker, day, encode(payload, 'hex') FROM events ORDER BY shard, seq"
        )
        for shard, seq, job, task, version, worker, day, payload in rows(conninfo, sql):
            row = Row(
                int(shard), int(seq), job, int(task), int(version), worker == "t", int(day), bytes.fromhex(payload)
            )
            self.rows[row.shard, row.seq] = row
            self.take(row)
        for shard, numbers in self.seqs.items():
            if numbers != list(range(1, len(numbers) + 1)):
                self.wrong.append(f"shard {shard} has gaps or repeats")
        for stream, numbers in self.versions.items():
            if sorted(numbers) != list(range(1, len(numbers) + 1)):
                self.wrong.append(f"versions of {stream} are {sorted(numbers)[:20]}")
        for key, times in self.completed.items():
            if times > 1:
                self.wrong.append(f"task {key} completed {times} times")

    def take(self, row):
        event = json.loads(row.payload)
        place = f"{row.shard}/{row.seq}"
        self.seqs[row.shard].append(row.seq)
        self.versions[row.job, row.task, row.worker].append(row.version)
        if event["at"] < self.last_at.get(row.shard, ""):
            self.wrong.append(f"time runs backwards at {place}")
        self.last_at[row.shard] = event["at"]
        if row.worker:
            return
        if row.task == 0:
            self.take_job(row.job, event["type"], event["data"])
        else:
            self.take_task((row.job, row.task), event["type"], event["data"], place)

    def take_job(self, job, kind, data):
        if kind == "JobSubmitted":
            self.jobs[job] = data["spec"]["taskCount"]
        elif kind == "JobFinished":
            self.finished[job] = data["status"]
        elif kind == "JobRetryRequested":
            self.finished.pop(job, None)

    def take_task(self, key, kind, data, place):
        self.completed[key] += kind == "TaskCompleted"
        state, attempt, final = self.tasks.get(key, (None, 0, False))
        after = STEPS.get((state, kind))
        if after is None:
            self.wrong.append(f"{kind} in state {state} of task {key} at {place}")
            return
        if kind == "TaskScheduled":
            if data["attempt"] != attempt + 1:
                self.wrong.append(f"attempt {data['attempt']} after {attempt} of task {key}")
            attempt = data["attempt"]
        if kind == "TaskFailed":
            final = data["final"]
            self.failures[data["failure"]["reason"]] += 1
        elif kind == "RetryCancelled":
            final = True
        elif kind == "TaskReady":
            final = False
        self.tasks[key] = (after, attempt, final)

    def check_ends(self, promised):
        for job in promised - self.jobs.keys():
            self.wrong.append(f"job {job} was acknowledged and is not in the log")
        for job, task_count in self.jobs.items():
            if job not in self.finished:
                self.wrong.append(f"job {job} has not finished")
            for number in range(1, task_count + 1):
                state, _, final = self.tasks.get((job, number), (None, 0, False))
                if not (state == "COMPLETED" or (state == "FAILED" and final)):
                    self.wrong.append(f"task {number} of job {job} ended as {state}")

    def check_reasons(self, never):
        for reason in never & self.failures.keys():
            self.wrong.append(f"{self.failures[reason]} attempts failed as {reason}")

    def check_chain(self, conninfo):
        """The hash of a batch covers the one before and its parts, and those the bytes of the events."""
        previous = {}
        sql = (
            "SELECT shard, first_seq, last_seq, encode(prev_hash, 'hex'), encode(hash, 'hex'), encode(parts, 'hex') "
            "FROM batches ORDER BY shard, last_seq"
        )
        for shard, first, last, prev_hash, hash_, parts in rows(conninfo, sql):
            shard, first, last, parts = int(shard), int(first), int(last), bytes.fromhex(parts)
            before = previous.get(shard, (0, "0" * 64))
            if first != before[0] + 1 or prev_hash != before[1]:
                self.wrong.append(f"the chain of shard {shard} is broken at {first}")
            if hashlib.sha256(bytes.fromhex(prev_hash) + parts).hexdigest() != hash_:
                self.wrong.append(f"the hash of batch {shard}/{first} is not that of its parts")
            if not self.parts_hold(shard, first, last, json.loads(parts)):
                self.wrong.append(f"the parts of batch {shard}/{first} are not those of its events")
            previous[shard] = (last, hash_)
        for shard, numbers in self.seqs.items():
            if previous.get(shard, (0,))[0] != numbers[-1]:
                self.wrong.append(f"the chain of shard {shard} ends before its events")

    def parts_hold(self, shard, first, last, parts):
        covered = []
        for part in parts:
            sha = hashlib.sha256()
            for seq in (seq for begin, end in part["ranges"] for seq in range(begin, end + 1)):
                row = self.rows.get((shard, seq))
                if row is None or row.day != part["day"]:
                    return False
                length = len(row.payload)
                sha.update(struct.pack(">HQ", shard, seq) + uuid.UUID(row.job).bytes)
                sha.update(struct.pack(">II?I", row.task, row.version, row.worker, length) + row.payload)
                covered.append(seq)
            if sha.hexdigest() != part["sha256"]:
                return False
        return sorted(covered) == list(range(first, last + 1))

    def check_read_models(self, conninfo):
        seen = set()
        sql = "SELECT id, status, ready, scheduled, running, completed, failed FROM grid_read.jobs"
        for job, status, *counters in rows(conninfo, sql):
            seen.add(job)
            numbers = range(1, self.jobs.get(job, 0) + 1)
            counted = collections.Counter(self.tasks.get((job, number), ("READY",))[0] for number in numbers)
            history = [counted[state] for state in ("READY", "SCHEDULED", "RUNNING", "COMPLETED", "FAILED")]
            ended = self.finished.get(job, "RUNNING")
            if [int(counter) for counter in counters] != history or status != ended:
                self.wrong.append(f"read model of job {job}: {status} {counters}, history: {ended} {history}")
        for job in self.jobs.keys() - seen:
            self.wrong.append(f"job {job} is not in the read model")
        sql = "SELECT job, number, state, attempt FROM grid_read.tasks"
        for job, number, state, attempt in rows(conninfo, sql):
            history = self.tasks.get((job, int(number)), (None, 0, False))
            if (state, int(attempt)) != history[:2]:
                self.wrong.append(f"read model of task {number} of {job}: {state} {attempt}, history: {history}")

    def check_messages(self, path):
        """Every message is an event of the log; a reader who follows the rule gets them all, once, in order."""
        readers = {}
        count = 0
        with open(path, encoding="utf-8", newline="\n") as file:
            for line in file:
                partition, _, key, *headers, value = line.rstrip("\n").split("\t")
                headers = dict(header.split("=", 1) for header in headers)
                shard, position = int(partition), int(headers["ce_position"])
                count += 1
                row = self.rows.get((shard, position))
                if row is None:
                    self.wrong.append(f"message {shard}/{position} is no event of the log")
                    continue
                if is_other(row, key, headers, value):
                    self.wrong.append(f"message {shard}/{position} is not the event that the log has there")
                readers.setdefault(shard, Reader()).see(headers)
        for shard, reader in readers.items():
            if reader.applied != list(range(1, len(reader.applied) + 1)):
                self.wrong.append(f"a reader of partition {shard} gets gaps, or events twice")
        for shard, numbers in self.seqs.items():
            missing = len(numbers) - len(readers.get(shard, Reader()).applied)
            # A worker may have come or gone since the topic was read.
            if any(not self.rows[shard, seq].worker for seq in numbers[len(numbers) - missing :]):
                self.wrong.append(f"a reader of partition {shard} lacks {missing} events")
        return count


def is_other(row, key, headers, value):
    event = json.loads(row.payload)
    task = f"task-{row.job}-{row.task}" if row.task else f"job-{row.job}"
    name = f"worker-{event['data']['worker'].removeprefix('worker-')}" if row.worker else None
    expected = {
        "ce_type": f"grid.{event['type']}.v{event['v']}",
        "ce_subject": name or task,
        "ce_streamversion": str(row.version),
        "ce_principal": event["principal"],
        "ce_id": f"{row.shard}-{row.seq}",
    }
    same_time = moment(headers["ce_time"]) == moment(event["at"])
    same = all(headers.get(name) == wanted for name, wanted in expected.items())
    return not (same and same_time and key == (name or f"job-{row.job}") and value.encode() in row.payload)


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Reader:
    """The rule of schema/events.md, as a stranger would write it."""

    def __init__(self):
        self.source = None
        self.epoch = 0
        self.have = 0
        self.applied = []

    def see(self, headers):
        source, epoch = headers["ce_source"], int(headers["ce_epoch"])
        position, before = int(headers["ce_position"]), int(headers["ce_prevposition"])
        if self.source is None:
            self.source, self.epoch = source, epoch
        elif epoch < self.epoch:
            return
        elif source != self.source:
            self.source, self.epoch, self.applied = source, epoch, []
        elif position <= self.have:
            self.epoch = epoch
            return
        elif before > self.have and epoch == self.epoch:
            return
        self.epoch, self.have = epoch, position
        self.applied.append(position)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--acknowledged", required=True)
    parser.add_argument("--messages")
    parser.add_argument("--never", default="")
    given = parser.parse_args()
    with open(given.acknowledged, encoding="utf-8") as file:
        promised = {line.strip().removeprefix("job-") for line in file if line.strip()}
    history = History()
    history.read(given.database)
    history.check_ends(promised)
    history.check_reasons({reason for reason in given.never.split(",") if reason})
    history.check_chain(given.database)
    history.check_read_models(given.database)
    figures = {"events": len(history.rows), "jobs": len(history.jobs), "acknowledged": len(promised)}
    figures["attempts"] = sum(attempt for _, attempt, _ in history.tasks.values())
    figures["failures"] = dict(history.failures)
    if given.messages:
        figures["messages"] = history.check_messages(given.messages)
    figures["wrong"] = len(history.wrong)
    print(json.dumps(figures))
    for what in history.wrong[:50]:
        print(what, file=sys.stderr)
    return 1 if history.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
