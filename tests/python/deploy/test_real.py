"""The processes of the compose file and of the chart, with exactly their arguments and environments, on a real Postgres
and a real Kafka: only addresses are others, and the servers of monitoring are left out."""

import json
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from chart import environment, named, rendered, template_of
from conftest import DOCKER, run
from servers import PASSWORDS, free_port, kafka, postgres, process, until
from test_compose import example, read

LEFT_OUT = re.compile(r"GRID__(INFLUXDB|VICTORIALOGS)__|GRID__WORKER__VECTOR$")


@pytest.fixture(scope="module")
def addresses():
    """Where Postgres and Kafka are here."""
    # Short, for a socket, and open to the user that Postgres runs as.
    with tempfile.TemporaryDirectory(prefix="grid-deploy-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres(folder / "postgres") as port, kafka(folder / "kafka") as brokers:
            yield port, brokers


def of_compose():
    """{role: (arguments, environment)} of the compose file."""
    services = read(**(example() | PASSWORDS))["services"]
    named_so = {"migrate": "grid-migrate", "jobmaster": "jobmaster-1", "worker": "worker-1"}
    return {role: (services[name]["command"], services[name]["environment"]) for role, name in named_so.items()}


def of_chart():
    """And of the chart."""
    objects = rendered("default")
    workloads = {
        "migrate": named(objects, "Job", "grid-migrate"),
        "token": named(objects, "CronJob", "grid-token"),
        "jobmaster": named(objects, "Deployment", "grid-jobmaster"),
        "worker": named(objects, "StatefulSet", "grid-worker"),
    }
    roles = {}
    for role, workload in workloads.items():
        pod = template_of(workload)["spec"]
        (container,) = pod["containers"]
        roles[role] = (container["args"], environment(objects, pod, container)[0])
    return roles


class Here:
    """The processes of one deployment, moved to free ports of this machine."""

    def __init__(self, grid, roles, addresses, folder):
        self.grid, self.roles, self.folder = grid, roles, folder
        self.postgres, self.brokers = addresses
        self.ports = {name: free_port() for name in ("api", "metrics", "worker")}

    def environment(self, role):
        moved = {"PATH": os.environ["PATH"]}
        data = self.folder / role
        data.mkdir(exist_ok=True)
        for name, value in self.roles[role][1].items():
            if LEFT_OUT.match(name):
                continue
            value = re.sub(r"//(\w+):\w+@grid-postgres(:5432)?/", self.login, value)
            value = value.replace("grid-kafka:9092", self.brokers).replace("/var/lib/grid", str(data))
            value = value.replace("0.0.0.0:8080", f"127.0.0.1:{self.ports['api' if role == 'jobmaster' else 'worker']}")
            value = value.replace("0.0.0.0:9090", f"127.0.0.1:{self.ports['metrics']}")
            value = re.sub(r"http://jobmaster(-\d)?:8080", f"http://127.0.0.1:{self.ports['api']}", value)
            moved[name] = value
        assert not re.search(r"grid-(postgres|kafka)", " ".join(moved.values())), moved
        return moved

    def login(self, found):
        password = PASSWORDS["GRID_OWNER_PASSWORD" if found[1] == "grid_owner" else "GRID_SERVICE_PASSWORD"]
        return f"//{found[1]}:{password}@127.0.0.1:{self.postgres}/"

    def once(self, role):
        return run(self.grid, *self.roles[role][0], env=self.environment(role), timeout=120)

    def start(self, role):
        return process([self.grid, *self.roles[role][0]], self.folder / role, env=self.environment(role))

    def ready(self, role, started):
        """Waits as the health check of a container does."""
        port = self.ports["metrics" if role == "jobmaster" else "worker"]

        def answers():
            assert started.poll() is None, started.log.read_text()
            return subprocess.run([str(DOCKER / "health.sh"), str(port)], capture_output=True).returncode == 0

        until(f"{role}: {started.log}", 90, answers)

    def ask(self, path, host=None, method="GET", port="api"):
        """(status, body); without a token."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[port]}{path}", method=method, headers={"Host": host} if host else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def submit(self, token=None):
        document = self.folder / "job.yaml"
        document.write_text(
            'tasks: [{externalId: one, replicas: 3, command: [sh, -c, "test -n \\"$GRID_TASK_ID\\""]}]\n'
        )
        command = [self.grid, "submit", str(document), "--wait", "--server", f"http://127.0.0.1:{self.ports['api']}"]
        client = {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | ({"GRID_TOKEN": token} if token else {})
        return subprocess.run(command, env=client, text=True, capture_output=True, timeout=120)


def ended(started):
    """Ends a process as Kubernetes and Docker do; it must do so by itself, and well."""
    started.terminate()
    assert started.wait(45) == 0, started.log.read_text()


def test_the_processes_of_the_compose_file_run_a_job(grid, addresses, tmp_path):
    here = Here(grid, of_compose(), addresses, tmp_path)
    here.once("migrate")
    with here.start("jobmaster") as jobmaster, here.start("worker") as worker:
        here.ready("jobmaster", jobmaster)
        here.ready("worker", worker)
        # Whoever is on the machine may do what an operator may.
        submitted = here.submit()
        assert submitted.returncode == 0, submitted.stderr
        ended(worker)
        ended(jobmaster)


def test_the_processes_of_the_chart_run_a_job(grid, addresses, tmp_path):
    here = Here(grid, of_chart(), addresses, tmp_path)
    # Repeated, as at each upgrade.
    here.once("migrate")
    here.once("migrate")
    token = here.once("token").strip()
    assert token.startswith("grid_")
    with here.start("jobmaster") as jobmaster, here.start("worker") as worker:
        here.ready("jobmaster", jobmaster)
        here.ready("worker", worker)
        refused = here.submit()
        assert refused.returncode == 1 and "token" in refused.stderr, refused.stderr
        submitted = here.submit(token)
        assert submitted.returncode == 0, submitted.stderr
        # Who has no token may look: so KEDA asks how many tasks wait.
        status, body = here.ask("/api/v1/tasks?state=READY&size=1", host="jobmaster.grid.svc:8080")
        assert status == 200 and json.loads(body)["total"] == 0
        assert here.ask("/api/v1/tasks", host="evil.example")[0] == 421
        # Kubernetes' probes and Prometheus ask by address.
        for path in ("/health/live", "/health/ready", "/metrics"):
            for port in ("metrics", "worker"):
                assert here.ask(path, host="10.244.1.7:9090", port=port)[0] == 200, (path, port)
        workers = json.loads(here.ask("/api/v1/workers")[1])["items"]
        (mine,) = [one for one in workers if one["workerId"] == "worker-grid-worker-0"]
        assert mine["endpointUrl"] == "http://grid-worker-0.grid-worker.grid.svc:8080" and mine["maxCapacity"] == 4
        ended(worker)
        ended(jobmaster)
