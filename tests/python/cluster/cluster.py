"""A real API server of Kubernetes over a real etcd, and what it is asked by kubectl and Helm. Nothing runs pods or
controls anything: a Job ends when a test says so."""

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

from chart import CHART
from conftest import program, run
from servers import free_port, process, until

TOKEN = "the-administrator"


class Cluster:
    """Kubernetes' API, by kubectl and Helm."""

    def __init__(self, folder, port):
        self.programs = Path(program("GRID_TEST_APISERVER")).parent
        self.configuration = folder / "kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        named = [("clusters", "cluster", cluster), ("users", "user", {"token": TOKEN})]
        named.append(("contexts", "context", {"cluster": "here", "user": "here"}))
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "here"}
        config |= {several: [{"name": "here", one: value}] for several, one, value in named}
        self.configuration.write_text(json.dumps(config))
        self.configuration.chmod(0o600)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(self.configuration)}

    def kubectl(self, *arguments, **options):
        return run(str(self.programs / "kubectl"), *arguments, env=self.environment, **options)

    def refused(self, *arguments, **options):
        """Why kubectl was refused."""
        command = [str(self.programs / "kubectl"), *arguments]
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True, **options)
        assert done.returncode != 0, f"{arguments} was taken"
        return done.stderr

    def helm(self, *arguments):
        """The outcome of a command of Helm; it waits for hooks, and for nothing else."""
        waiting = ["--timeout", "120s"] if arguments[0] in ("install", "upgrade", "rollback", "uninstall") else []
        command = [program("GRID_TEST_HELM"), *arguments, *waiting]
        done = subprocess.run(command, cwd=CHART, env=self.environment, text=True, capture_output=True)
        done.stderr = "".join(line for line in done.stderr.splitlines(True) if "symbolic link" not in line)
        return done

    def get(self, kind, name, namespace):
        return json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))

    def names(self, kind, namespace):
        listed = self.kubectl("get", kind, "--namespace", namespace, "--output", "name")
        return {line.split("/")[1] for line in listed.splitlines()}

    def complete(self, job, namespace):
        """Says what a controller says of a Job whose pod has done its work."""
        at = "2026-01-01T00:00:00Z"
        conditions = [{"type": name, "status": "True"} for name in ("SuccessCriteriaMet", "Complete")]
        status = {
            "startTime": at,
            "completionTime": at,
            "succeeded": 1,
            "conditions": conditions,
            "uncountedTerminatedPods": {},
        }
        patch = json.dumps({"status": status})
        self.kubectl(
            "patch", "job", job, "--namespace", namespace, "--subresource=status", "--type=merge", "--patch", patch
        )

    @contextlib.contextmanager
    def migrating(self, namespace, seen):
        """While Helm works, waits for the Job of the migration, has `seen` look at what is there then, and ends it."""
        problems = []

        def wait():
            try:

                def there():
                    found = subprocess.run(
                        [
                            str(self.programs / "kubectl"),
                            "get",
                            "job",
                            "grid-migrate",
                            "--namespace",
                            namespace,
                            "--output",
                            "json",
                        ],
                        env=self.environment,
                        text=True,
                        capture_output=True,
                    )
                    return found.returncode == 0 and not json.loads(found.stdout)["status"].get("succeeded")

                until("the Job of the migration", 60, there)
                seen()
                self.complete("grid-migrate", namespace)
            except BaseException as problem:  # raised again by the thread of the test
                problems.append(problem)

        thread = threading.Thread(target=wait)
        thread.start()
        yield
        thread.join(120)
        if problems:
            raise problems[0]


@contextlib.contextmanager
def cluster():
    with tempfile.TemporaryDirectory(prefix="grid-cluster-", dir="/tmp") as name:
        folder = Path(name)
        programs = Path(program("GRID_TEST_APISERVER")).parent
        for part in ("etcd", "apiserver"):
            (folder / part).mkdir()
        client, peer, port = free_port(), free_port(), free_port()
        etcd = [str(programs / "etcd"), "--data-dir", str(folder / "etcd/data"), "--unsafe-no-fsync"]
        for flag in ("listen-client-urls", "advertise-client-urls"):
            etcd += [f"--{flag}", f"http://127.0.0.1:{client}"]
        for flag in ("listen-peer-urls", "initial-advertise-peer-urls"):
            etcd += [f"--{flag}", f"http://127.0.0.1:{peer}"]
        etcd += ["--initial-cluster", f"default=http://127.0.0.1:{peer}"]
        key = folder / "key.pem"
        run("openssl", "genrsa", "-out", str(key), "2048")
        (folder / "tokens.csv").write_text(f'{TOKEN},administrator,1,"system:masters"\n')
        server = [
            str(programs / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{client}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={folder}/apiserver",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=RBAC",
        ]
        with process(etcd, folder / "etcd"), process(server, folder / "apiserver") as started:
            here = Cluster(folder, port)

            def ready():
                assert started.poll() is None, started.log.read_text()[-4000:]
                command = [str(programs / "kubectl"), "get", "--raw", "/readyz"]
                return subprocess.run(command, env=here.environment, capture_output=True).stdout == b"ok"

            until("the API server", 120, ready)
            yield here
