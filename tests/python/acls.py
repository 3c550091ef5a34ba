#!/usr/bin/env python3
"""Rights on a broker: makes those of docs/kafka-acls.md, and tries what a login may do.

usage: acls.py create --brokers HOST:PORT --document FILE --prefix PREFIX
       acls.py probe --brokers HOST:PORT --prefix PREFIX --user NAME --password WORD --read T,… --write T,… --join GROUP:TOPIC

`create` gives to User:<role> what the document's table gives to the role. `probe` tries each topic, and the group for a topic, and
prints for each whether the broker let it: {"read": {topic: bool}, "write": {topic: bool}, "join": bool}.
"""

import argparse
import json
import re
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

ROW = re.compile(r"^\| `(\w+)` +\| (topic|group) +\| `grid\.([\w*]+)` +\| ([A-Z_, ]+?) +\|$", re.MULTILINE)
SECONDS = 20
# The group that probes name: everybody may, since it is the topics that are asked about.
PROBE = "probe"


def bindings(document, prefix):
    for role, resource, name, operations in ROW.findall(document):
        pattern = ResourcePatternType.PREFIXED if name == "*" else ResourcePatternType.LITERAL
        for operation in operations.split(", "):
            yield AclBinding(
                ResourceType[resource.upper()],
                prefix + name.replace("*", ""),
                pattern,
                f"User:{role}",
                "*",
                AclOperation[operation],
                AclPermissionType.ALLOW,
            )


def create(args):
    wanted = list(bindings(open(args.document, encoding="utf-8").read(), args.prefix))
    if len(wanted) < 30:
        sys.exit(f"the table gives only {len(wanted)} rights")
    everybody = ("User:*", "*", AclOperation.READ, AclPermissionType.ALLOW)
    wanted.append(AclBinding(ResourceType.GROUP, PROBE, ResourcePatternType.LITERAL, *everybody))
    admin = AdminClient({"bootstrap.servers": args.brokers})
    for future in admin.create_acls(wanted, request_timeout=SECONDS).values():
        future.result()
    json.dump({"made": len(wanted)}, sys.stdout)


def refused(error):
    """The broker said no; any other error is not an answer."""
    if error is None:
        return False
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return True
    raise KafkaException(error)


def may_write(login, topic):
    outcome = []
    producer = Producer({**login, "message.timeout.ms": SECONDS * 1000})
    producer.produce(topic, b"a probe", partition=0, on_delivery=lambda error, _: outcome.append(error))
    producer.flush(2 * SECONDS)
    return not refused(outcome[0])


def may_read(login, topic):
    consumer = Consumer({**login, "group.id": PROBE, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    # Who may not even see the topic is told so here, others by the first fetch.
    if refused(consumer.list_topics(topic, timeout=SECONDS).topics[topic].error):
        return False
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(SECONDS)
    consumer.close()
    if message is None:
        sys.exit(f"{topic}: no answer")
    error = message.error()
    return not refused(None if error is not None and error.code() == KafkaError._PARTITION_EOF else error)


def may_join(login, group, topic):
    consumer = Consumer({**login, "group.id": group})
    consumer.subscribe([topic])
    message = consumer.poll(SECONDS)
    consumer.close()
    return message is None or not refused(message.error())


def probe(args):
    login = {
        "bootstrap.servers": args.brokers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": args.user,
        "sasl.password": args.password,
    }
    group, of_topic = args.join.split(":")
    answer = {
        "read": {topic: may_read(login, args.prefix + topic) for topic in args.read.split(",")},
        "write": {topic: may_write(login, args.prefix + topic) for topic in args.write.split(",") if topic},
        "join": may_join(login, args.prefix + group, args.prefix + of_topic),
    }
    json.dump(answer, sys.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, run, options in (
        ("create", create, ("document",)),
        ("probe", probe, ("user", "password", "read", "write", "join")),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        for option in ("brokers", "prefix", *options):
            command.add_argument(f"--{option}", required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
