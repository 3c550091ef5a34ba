#!/usr/bin/env python3
"""Holds every message of a topic of events against the schemas in schema/. Shares no code with grid.

usage: validate.py --brokers HOST:PORT --topic TOPIC --schemas DIR --until PARTITION:POSITION,…

Ends when each partition has brought that position. Prints how many messages there were of each type, as JSON. Ends with 1
and says what is wrong when a message is not what the schemas say; or when a schema would let a message pass that lacks
something.
"""

import argparse
import json
import pathlib
import re
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from jsonschema import Draft202012Validator

MOST_TOLD = 20


class Schemas:
    def __init__(self, folder):
        self.folder = folder
        self.headers = self.read("events/headers.json")
        asyncapi = json.loads((folder / "asyncapi.json").read_text())
        self.messages = asyncapi["components"]["messages"]
        self.payloads = {}

    def read(self, path):
        schema = json.loads((self.folder / path).read_text())
        Draft202012Validator.check_schema(schema)
        return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    def of(self, kind):
        """Key and payload of `grid.<Type>.v<version>`, found as a stranger would: by the name in the AsyncAPI document."""
        if kind not in self.payloads:
            named = [message for message in self.messages.values() if message["name"] == kind]
            if len(named) != 1:
                return None, None
            key = re.compile(named[0]["bindings"]["kafka"]["key"]["pattern"])
            self.payloads[kind] = key, self.read(named[0]["payload"]["$ref"])
        return self.payloads[kind]


def problems(schemas, message):
    names = [name for name, _ in message.headers()]
    headers = {name: value.decode() for name, value in message.headers()}
    yield from (f"header {name} comes twice" for name in set(names) if names.count(name) > 1)
    yield from (f"headers: {error.message}" for error in schemas.headers.iter_errors(headers))
    yield from (f"header {name} is in no schema" for name in names if name not in schemas.headers.schema["properties"])
    key = message.key().decode()
    subject = headers["ce_subject"]
    owner = re.sub(r"^task-(.*)-[0-9]+$", r"job-\1", subject)
    if owner != key:
        yield f"key {key} of subject {subject}"
    if headers["ce_id"] != f"{message.partition()}-{headers['ce_position']}":
        yield f"id {headers['ce_id']}"
    form, payload = schemas.of(headers["ce_type"])
    if payload is None:
        yield f"type {headers['ce_type']} is not described"
        return
    if not form.search(key):
        yield f"key {key}"
    data = json.loads(message.value())
    yield from (f"{headers['ce_type']} {error.json_path}: {error.message}" for error in payload.iter_errors(data))
    # A validator that lets everything pass would say nothing above.
    for name in payload.schema.get("required", []):
        if payload.is_valid({other: value for other, value in data.items() if other != name}):
            yield f"{headers['ce_type']} passes without {name}"
    for name in data:
        if payload.is_valid({**data, name: None}):
            yield f"{headers['ce_type']} passes with {name} being null"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--schemas", required=True, type=pathlib.Path)
    parser.add_argument("--until", required=True)
    args = parser.parse_args()
    wanted = {int(partition): int(position) for partition, position in (one.split(":") for one in args.until.split(","))}
    schemas = Schemas(args.schemas)
    consumer = Consumer({"bootstrap.servers": args.brokers, "group.id": "validate", "enable.auto.commit": False})
    consumer.assign([TopicPartition(args.topic, partition, OFFSET_BEGINNING) for partition in wanted])
    counts, wrong = {}, []
    while wanted:
        message = consumer.poll(60)
        if message is None or message.error() is not None:
            sys.exit(f"still wanted: {wanted}; {message and message.error()}")
        found = list(problems(schemas, message))
        headers = dict(message.headers())
        kind = headers["ce_type"].decode()
        counts[kind] = counts.get(kind, 0) + 1
        place = f"partition {message.partition()}, offset {message.offset()}"
        wrong += [f"{place}: {problem}" for problem in found]
        if int(headers["ce_position"]) >= wanted.get(message.partition(), sys.maxsize):
            del wanted[message.partition()]
    consumer.close()
    json.dump(counts, sys.stdout)
    if wrong:
        sys.exit("\n".join([f"{len(wrong)} problems", *wrong[:MOST_TOLD]]))


if __name__ == "__main__":
    main()
