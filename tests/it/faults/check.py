#!/usr/bin/env python3
"""Reads the log and the read models with psql, and says what is wrong. Shares no code with grid.

usage: check.py CONNINFO ACKNOWLEDGED     (a file with the id of an acknowledged job a line)

Checked: places gapless in every shard and each once; versions contiguous in every stream; event time never backwards
within a shard; only legal steps of a task; attempts rise by one; no task completed twice; every acknowledged job is
there, and has finished; every task in its final state; counters and states of the read models equal to the history.
"""

import collections
import hashlib
import json
import subprocess
import sys


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


def main(conninfo, acknowledged):
    wrong = []
    seqs = collections.defaultdict(list)
    versions = collections.defaultdict(list)
    last_at = {}
    tasks = {}
    jobs = {}
    finished = {}
    completed = collections.Counter()
    sql = (
        "SELECT shard, seq, job, task, version, worker, convert_from(payload, 'UTF8') FROM events ORDER BY shard, seq"
    )
    count = 0
    for shard, seq, job, task, version, worker, payload in rows(conninfo, sql):
        count += 1
        event = json.loads(payload)
        seqs[shard].append(int(seq))
        versions[(job, task, worker)].append(int(version))
        if event["at"] < last_at.get(shard, ""):
            wrong.append(f"time runs backwards at {shard}/{seq}")
        last_at[shard] = event["at"]
        kind, data = event["type"], event["data"]
        if worker == "t":
            continue
        if task == "0":
            if kind == "JobSubmitted":
                jobs[job] = data["spec"]["taskCount"]
            elif kind == "JobFinished":
                finished[job] = data["status"]
            elif kind == "JobRetryRequested":
                finished.pop(job, None)
            continue
        key = (job, int(task))
        state, attempt, final = tasks.get(key, (None, 0, False))
        after = STEPS.get((state, kind))
        if after is None:
            wrong.append(f"{kind} in state {state} of task {key} at {shard}/{seq}")
            continue
        if kind == "TaskScheduled":
            if data["attempt"] != attempt + 1:
                wrong.append(f"attempt {data['attempt']} after {attempt} of task {key}")
            attempt = data["attempt"]
        if kind == "TaskFailed":
            final = data["final"]
        elif kind == "RetryCancelled":
            final = True
        elif kind == "TaskReady":
            final = False
        elif kind == "TaskCompleted":
            completed[key] += 1
        tasks[key] = (after, attempt, final)
    for shard, numbers in seqs.items():
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"shard {shard} has gaps or repeats")
    for stream, numbers in versions.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            wrong.append(f"versions of {stream} are {sorted(numbers)[:20]}")
    for key, times in completed.items():
        if times > 1:
            wrong.append(f"task {key} completed {times} times")
    with open(acknowledged, encoding="utf-8") as file:
        promised = {line.strip().removeprefix("job-") for line in file if line.strip()}
    for job in promised - jobs.keys():
        wrong.append(f"job {job} was acknowledged and is not in the log")
    for job, task_count in jobs.items():
        if job not in finished:
            wrong.append(f"job {job} has not finished")
        for number in range(1, task_count + 1):
            state, _, final = tasks.get((job, number), (None, 0, False))
            if not (state == "COMPLETED" or (state == "FAILED" and final)):
                wrong.append(f"task {number} of job {job} ended as {state}")
    wrong += chain(conninfo)
    wrong += read_models(conninfo, jobs, finished, tasks)
    print(json.dumps({"events": count, "jobs": len(jobs), "acknowledged": len(promised), "wrong": len(wrong)}))
    for what in wrong[:50]:
        print(what, file=sys.stderr)
    return 1 if wrong else 0


def chain(conninfo):
    """The hash of every batch covers that of the one before and its parts."""
    wrong = []
    previous = {}
    sql = (
        "SELECT shard, first_seq, last_seq, encode(prev_hash, 'hex'), encode(hash, 'hex'), encode(parts, 'hex') "
        "FROM batches ORDER BY shard, last_seq"
    )
    for shard, first, last, prev_hash, hash_, parts in rows(conninfo, sql):
        before = previous.get(shard, (0, "0" * 64))
        if int(first) != before[0] + 1 or prev_hash != before[1]:
            wrong.append(f"the chain of shard {shard} is broken at {first}")
        linked = hashlib.sha256(bytes.fromhex(prev_hash) + bytes.fromhex(parts)).hexdigest()
        if linked != hash_:
            wrong.append(f"the hash of batch {shard}/{first} is not that of its parts")
        previous[shard] = (int(last), hash_)
    return wrong


def read_models(conninfo, jobs, finished, tasks):
    wrong = []
    seen = set()
    for job, status, *counters in rows(
        conninfo, "SELECT id, status, ready, scheduled, running, completed, failed FROM grid_read.jobs"
    ):
        seen.add(job)
        history = collections.Counter(tasks.get((job, n), ("READY",))[0] for n in range(1, jobs.get(job, 0) + 1))
        expected = [history[state] for state in ("READY", "SCHEDULED", "RUNNING", "COMPLETED", "FAILED")]
        if [int(counter) for counter in counters] != expected or status != finished.get(job, "RUNNING"):
            wrong.append(f"read model of job {job}: {status} {counters}, history: {finished.get(job)} {expected}")
    for job in jobs.keys() - seen:
        wrong.append(f"job {job} is not in the read model")
    for job, number, state, attempt in rows(conninfo, "SELECT job, number, state, attempt FROM grid_read.tasks"):
        history = tasks.get((job, int(number)), (None, 0, False))
        if (state, int(attempt)) != history[:2]:
            wrong.append(f"read model of task {number} of {job}: {state} {attempt}, history: {history}")
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
