#!/usr/bin/env python3
"""An example of a reader of grid.events: keeps the counters of every job, and needs nothing of Grid but the topic.

usage: consumer.py --brokers HOST:PORT,… [--topic grid.events] [--state FILE] [--until PARTITION:POSITION,…]
                   [--source /grid/TIMELINE] [--group grid.readers] [--property NAME=VALUE]…

Reads from the beginning, or from where FILE says; prints the jobs as JSON on stdout when it ends: with --until as soon as
it has those positions (with --source, of that log), else when it is interrupted. What it knows is kept in FILE, places and
counters together, so that it may be killed at any time. It follows the rule in events.md, "Every event once, in order"; needs confluent-kafka (PyPI).
"""

import argparse
import json
import os
import signal
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

# How many messages may be read again after a kill.
STORE_EVERY = 2_000


class Place:
    """How far one partition is read. `offset` only says where to go on reading; what counts is `have`."""

    def __init__(self, source, epoch, have, offset):
        self.source, self.epoch, self.have, self.offset = source, epoch, have, offset

    def see(self, source, epoch, position, previous):
        """What to do with a message: "apply", "skip", "wait" or "start over"; the rule of events.md."""
        if self.source is None:
            # This reader wants everything, so it begins with an event that nothing comes before.
            if previous != 0:
                return "wait"
            self.source, self.epoch, self.have = source, epoch, position
            return "apply"
        if epoch < self.epoch:
            return "skip"
        if source != self.source:
            self.source, self.epoch, self.have = source, epoch, position
            return "start over"
        first_of_epoch, self.epoch = epoch > self.epoch, epoch
        if position <= self.have:
            return "skip"
        if previous > self.have and not first_of_epoch:
            return "wait"
        self.have = position
        return "apply"


class Jobs:
    """The counters of every job, from events alone; see events.md, "The counters of a job"."""

    def __init__(self, jobs):
        self.jobs = jobs

    def forget(self, partition):
        self.jobs = {job: it for job, it in self.jobs.items() if it["partition"] != partition}

    def apply(self, partition, kind, job, data):
        if kind == "grid.JobSubmitted.v1":
            counters = dict.fromkeys(("ready", "scheduled", "running", "completed", "failed"), 0)
            counters["ready"] = data["spec"]["taskCount"]
            self.jobs[job] = {"partition": partition, "taskCounters": counters, "status": "RUNNING"}
        elif kind == "grid.JobRetryRequested.v1":
            self.jobs[job]["status"] = "RUNNING"
        elif kind == "grid.JobFinished.v1":
            self.jobs[job]["status"] = data["status"]
        elif kind == "grid.TaskReady.v1":
            # All tasks of a new job count as READY already.
            if data["cause"] != "submission":
                self.move(job, "failed", "ready")
        elif kind == "grid.TaskScheduled.v1":
            self.move(job, "ready", "scheduled")
        elif kind == "grid.TaskStarted.v1":
            self.move(job, "scheduled", "running")
        elif kind == "grid.TaskCompleted.v1":
            self.move(job, "running", "completed")
        elif kind == "grid.TaskFailed.v1":
            self.move(job, data["from"].lower(), "failed")
        # Anything else moves no counter, or is newer than this reader.

    def move(self, job, from_state, to_state):
        counters = self.jobs[job]["taskCounters"]
        counters[from_state] -= 1
        counters[to_state] += 1


class Reader:
    def __init__(self, state_file):
        self.state_file = state_file
        self.places, self.jobs = {}, Jobs({})
        if state_file and os.path.exists(state_file):
            with open(state_file, encoding="utf-8") as file:
                state = json.load(file)
            self.places = {int(number): Place(**place) for number, place in state["places"].items()}
            self.jobs = Jobs(state["jobs"])

    def store(self):
        """Places and counters at once: a kill leaves the old file or the new one."""
        if not self.state_file:
            return
        state = {"places": {number: vars(place) for number, place in self.places.items()}, "jobs": self.jobs.jobs}
        with open(self.state_file + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.state_file + ".new", self.state_file)

    def place(self, partition):
        return self.places.setdefault(partition, Place(None, 0, 0, OFFSET_BEGINNING))

    def take(self, message):
        headers = {name: value.decode() for name, value in message.headers()}
        place = self.place(message.partition())
        before = place.source
        verdict = place.see(
            headers["ce_source"], int(headers["ce_epoch"]), int(headers["ce_position"]), int(headers["ce_prevposition"])
        )
        place.offset = message.offset() + 1
        if verdict == "start over":
            self.jobs.forget(message.partition())
            # Of a partition in which the restored log has nothing yet, no message would tell.
            for number, other in self.places.items():
                if other.source == before:
                    self.jobs.forget(number)
                    other.source, other.have = None, 0
        if verdict in ("apply", "start over"):
            # The key is the job that the event belongs to, or the worker.
            key = message.key().decode()
            self.jobs.apply(message.partition(), headers["ce_type"], key, json.loads(message.value()))

    def has(self, wanted, source):
        places = ((self.place(partition), position) for partition, position in wanted.items())
        return all(place.have >= position and source in (None, place.source) for place, position in places)


def pairs(text):
    return {int(partition): int(position) for partition, position in (one.split(":") for one in text.split(",") if one)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", default="grid.events")
    parser.add_argument("--group", default="grid.readers")
    parser.add_argument("--state")
    parser.add_argument("--until", type=pairs)
    parser.add_argument("--source")
    parser.add_argument("--property", action="append", default=[], type=lambda text: tuple(text.split("=", 1)))
    return parser.parse_args()


def main():
    args = arguments()
    consumer = Consumer(
        {
            "bootstrap.servers": args.brokers,
            # Partitions are assigned by hand and places are kept here: the client wants a group, and nothing is stored
            # under its name.
            "group.id": args.group,
            "enable.auto.commit": False,
            # A topic that was made anew begins anew; what is known already is skipped.
            "auto.offset.reset": "earliest",
            **dict(args.property),
        }
    )
    reader = Reader(args.state)
    topic = consumer.list_topics(args.topic, timeout=30).topics[args.topic]
    if topic.error is not None:
        raise KafkaException(topic.error)
    consumer.assign([TopicPartition(args.topic, number, reader.place(number).offset) for number in topic.partitions])
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    unstored = 0
    while not stopped and not (args.until is not None and reader.has(args.until, args.source)):
        messages = consumer.consume(num_messages=500, timeout=0.2)
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            reader.take(message)
        unstored += len(messages)
        if unstored >= STORE_EVERY or (unstored and not messages):
            reader.store()
            unstored = 0
    reader.store()
    consumer.close()
    json.dump(reader.jobs.jobs, sys.stdout)


if __name__ == "__main__":
    main()
