"""Real servers and processes of Grid, as the files that Grid is deployed with set them up, without containers: a Postgres
with the roles of docker/postgres/roles.sh and a Kafka with docker/kafka/server.properties, on free ports."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from conftest import DOCKER, run

PASSWORDS = {"GRID_OWNER_PASSWORD": "theowners", "GRID_SERVICE_PASSWORD": "theservices"}


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def until(what, seconds, condition):
    """What `condition` gives when it is something; asked until then."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def process(command, folder, env=None, user=None, stop=signal.SIGTERM):
    """Runs a program, whose output goes to the file `output` of the folder; ends it."""
    log = folder / "output"
    with log.open("ab") as output:
        started = subprocess.Popen(
            command, cwd=folder, env=env, user=user, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    started.log = log
    try:
        yield started
    finally:
        started.send_signal(stop)
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def postgres_programs():
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    folders = [*newest, *map(Path, os.environ["PATH"].split(":"))]
    return next(folder for folder in folders if (folder / "initdb").exists())


@contextlib.contextmanager
def postgres(folder):
    """The port of a Postgres whose first start has run roles.sh, as that of the image does."""
    programs, port = postgres_programs(), free_port()
    folder.mkdir()
    (folder / "password").write_text("superuser\n")
    # It does not run as root.
    user = None
    if os.geteuid() == 0:
        user = "postgres" if "postgres" in {one.pw_name for one in pwd.getpwall()} else "nobody"
        shutil.chown(folder, user)
    data = folder / "data"
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C"}
    access = ["--auth=scram-sha-256", "--auth-local=trust", "--username=postgres", f"--pwfile={folder}/password"]
    made = [str(programs / "initdb"), *access, "--encoding=UTF8", "--no-sync", "-D", str(data)]
    run(*made, env=environment, user=user, cwd=folder)
    command = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
    with process(command, folder, env=environment, user=user, stop=signal.SIGINT):
        local = environment | {"PGHOST": str(folder), "PGPORT": str(port)}
        ask = [str(programs / "pg_isready"), "--username", "postgres"]
        until("Postgres", 60, lambda: subprocess.run(ask, env=local, capture_output=True).returncode == 0)
        run(str(DOCKER / "postgres/roles.sh"), env=local | PASSWORDS)
        yield port


def kafka_jars():
    folder = Path.home() / ".cache/grid/kafka-4.3.1"
    if not (folder / ".complete").exists() or not shutil.which("java"):
        pytest.skip("Kafka is fetched by the integration tests: cargo test --release --test it bus::")
    return folder


@contextlib.contextmanager
def kafka(folder):
    """host:port of a Kafka that runs on docker/kafka/server.properties, moved to this folder and to free ports."""
    folder.mkdir()
    inside, outside, controller = free_port(), free_port(), free_port()
    properties = (DOCKER / "kafka/server.properties").read_text()
    moved = (
        properties.replace("/var/lib/kafka/data", str(folder))
        .replace("grid-kafka:9092", f"127.0.0.1:{inside}")
        .replace("localhost:29092", f"localhost:{outside}")
        .replace(":9093", f":{controller}")
        .replace("PLAINTEXT://:9092", f"PLAINTEXT://127.0.0.1:{inside}")
        .replace("HOST://:29092", f"HOST://127.0.0.1:{outside}")
    )
    assert moved.count(str(inside)) == 2 and moved.count(str(controller)) == 2 and "/var/lib" not in moved
    (folder / "server.properties").write_text(moved)
    (cluster,) = re.findall(r"KAFKA_CLUSTER_ID:-([^}]+)\}", (DOCKER / "compose.yaml").read_text())
    java = ["java", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp", f"{kafka_jars()}/*"]
    formatting = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted", "--cluster-id", cluster]
    # At each start.
    for _ in range(2):
        run(*formatting, "--config", "server.properties", cwd=folder)
    with process([*java, "kafka.Kafka", "server.properties"], folder, stop=signal.SIGKILL) as broker:

        def answers():
            assert broker.poll() is None, broker.log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", inside), 1):
                return True

        until("Kafka", 120, answers)
        yield f"127.0.0.1:{inside}"
