"""What the description of the API cannot say of a request, kept out of requests that are to be good ones.

A schema says of each parameter what form it has. It cannot say that a cursor or a position is good only when this server
gave it, nor what two parameters say of each other. Wrong forms of them are tried all the same, and so are the positions
that the server gave.
"""

import base64
import binascii
import json
import os
import re
from datetime import datetime, timezone

import schemathesis

TASK = re.compile(r"task-[0-9a-f-]{36}-[1-9][0-9]*")
OPAQUE = re.compile(r"[A-Za-z0-9_-]+")
POSITIONS = ("minPosition", "after")
SPANS = (("createdFrom", "createdTo"), ("from", "to"))
# Of the tokens by which the API is tried: revoked, there would be nothing more to try.
IN_USE = [os.environ[name].split("_")[1] for name in ("GRID_TOKEN", "GRID_WORKER_TOKEN")]
# What each position of this server begins with: its version and the log's timeline.
OURS = b"\x01" + bytes.fromhex(os.environ["GRID_TIMELINE"].replace("-", ""))


def is_ours(position: str) -> bool:
    try:
        return base64.urlsafe_b64decode(position + "=" * (-len(position) % 4)).startswith(OURS)
    except (binascii.Error, ValueError):
        return False


def time(text):
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(context, case, kwargs):
    asked = (case.path_parameters or {}).get("id")
    if asked in IN_USE:
        case.path_parameters["id"] = "0" * 16
    # Where an id was taken from an earlier answer, one of a task may stand for its job's.
    if TASK.fullmatch(asked or "") and case.path.startswith("/api/v1/jobs/"):
        case.path_parameters["id"] = "job-" + asked[5:41]
    query = case.query
    if not query:
        return
    well_formed = {name for name, value in query.items() if isinstance(value, str) and OPAQUE.fullmatch(value)}
    if "cursor" in well_formed:
        del query["cursor"]
    for name in POSITIONS:
        if name in well_formed and query[name] != "end" and not is_ours(query[name]):
            del query[name]
    for begin, end in SPANS:
        times = (time(query.get(begin)), time(query.get(end)))
        if None not in times and times[0] >= times[1]:
            del query[end]
