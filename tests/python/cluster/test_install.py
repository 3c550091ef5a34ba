"""The chart in a real API server: installed, read back, upgraded, refused, removed."""

import base64
import json
import re
import shutil

import pytest

from chart import CHART, TAUGHT, named, of_kind, pods, rendered
from cluster import cluster
from conftest import VERSION

SECRETS = {"grid-worker", "grid-postgres", "grid-influxdb", "grid-grafana"}


@pytest.fixture(scope="module")
def kubernetes():
    with cluster() as here:
        for namespace in ("grid", "hardened"):
            here.kubectl("create", "namespace", namespace)
            # Pods that do not keep the strictest standard are refused there.
            here.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        done = here.helm("install", "grid", ".", "--namespace", "grid")
        assert done.returncode == 0, done.stderr
        yield here


def within(wanted, found, where=""):
    """Where an object lacks something of what was wanted; the server adds defaults."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [where]
        return [one for key, value in wanted.items() for one in within(value, found.get(key), f"{where}.{key}")]
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(wanted) != len(found):
            return [where]
        return [one for index, value in enumerate(wanted) for one in within(value, found[index], f"{where}[{index}]")]
    # Nothing, and what is empty, are not kept; quantities and numbers of a map of texts are.
    return [] if wanted in (None, "", {}) or str(wanted) == str(found) else [f"{where}: {wanted!r} became {found!r}"]


def image_of(workload):
    return workload["spec"]["template"]["spec"]["containers"][0]["image"]


def passwords(kubernetes):
    return {name: kubernetes.get("secret", name, "grid")["data"] for name in SECRETS}


def test_what_was_installed_is_what_was_rendered(kubernetes):
    compared = 0
    for wanted in rendered("default"):
        annotations = wanted["metadata"].get("annotations", {})
        if "helm.sh/hook" in annotations:
            continue
        found = kubernetes.get(wanted["kind"], wanted["metadata"]["name"], "grid")
        if wanted["kind"] == "Secret":
            assert set(found["data"]) == set(wanted["stringData"])
        else:
            wanted["metadata"].pop("namespace", None)
            assert within(wanted, found) == [], wanted["metadata"]["name"]
        compared += 1
    assert compared > 40


def test_every_pod_is_taken_where_the_restricted_standard_is_enforced(kubernetes):
    def pod(name, template):
        labels = template["metadata"]["labels"]
        spec = json.loads(json.dumps(template["spec"]))
        # Claims are made by a controller.
        known = {volume["name"] for volume in spec.get("volumes", [])}
        mounts = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
        spec["volumes"] = spec.get("volumes", []) + [{"name": name, "emptyDir": {}} for name in mounts - known]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}

    def tried(one):
        return ["create", "--namespace", "grid", "--dry-run=server", "--filename", "-"], {"input": json.dumps(one)}

    parts = [(one, template) for one, template in pods(rendered("default"))]
    assert len(parts) == 11
    for one, template in parts:
        arguments, options = tried(pod(f"try-{one['metadata']['name']}", template))
        kubernetes.kubectl(*arguments, **options)
    root = pod("root", parts[0][1])
    root["spec"]["containers"][0]["securityContext"]["runAsUser"] = 0
    arguments, options = tried(root)
    assert "violates PodSecurity" in kubernetes.refused(*arguments, **options)


def test_what_people_type_finds_grafanas_password(kubernetes):
    shown = kubernetes.kubectl("get", "secret", "-n", "grid", "grid-grafana", "-o", "jsonpath={.data.admin-password}")
    password = base64.b64decode(shown).decode()
    assert re.fullmatch(r"[A-Za-z0-9]{32}", password)
    ports = kubernetes.get("service", "grid-grafana", "grid")["spec"]["ports"]
    assert [(port["port"], port["targetPort"]) for port in ports] == [(80, "http")]


def test_the_notes_say_what_is_for_trying_out(kubernetes):
    notes = kubernetes.helm("get", "notes", "grid", "--namespace", "grid").stdout
    assert "kubectl port-forward -n grid svc/grid-grafana 3000:80" in notes
    assert notes.count("WARNING") == 2 and "whole history of Grid" in notes and "Kafka is one pod" in notes


def test_an_upgrade_migrates_first_and_keeps_secrets_claims_and_selectors(kubernetes, tmp_path):
    later = tmp_path / "grid"
    shutil.copytree(CHART, later)
    (later / "Chart.yaml").write_text((later / "Chart.yaml").read_text().replace(f"ersion: {VERSION}", "ersion: 9.9.9"))
    before = passwords(kubernetes)

    def seen():
        # The old program still runs, and nothing has changed yet.
        assert image_of(kubernetes.get("deployment", "grid-jobmaster", "grid")) == f"grid:{VERSION}"
        assert image_of(kubernetes.get("job", "grid-migrate", "grid")) == "grid:9.9.9"

    changes = ["--set", "vector.batchTimeout=7", "--set", "jobmaster.replicas=3", "--set", "config.logs.max_age=7d"]
    with kubernetes.migrating("grid", seen):
        done = kubernetes.helm("upgrade", "grid", str(later), "--namespace", "grid", *changes)
    assert done.returncode == 0, done.stderr
    deployment = kubernetes.get("deployment", "grid-jobmaster", "grid")
    assert (deployment["spec"]["replicas"], image_of(deployment)) == (3, "grid:9.9.9")
    assert passwords(kubernetes) == before
    # The Job of the first installation is gone with it.
    assert kubernetes.names("job", "grid") == {"grid-migrate"}
    # And back, to the values and the program of before.
    done = kubernetes.helm("rollback", "grid", "1", "--namespace", "grid")
    assert done.returncode == 0, done.stderr
    deployment = kubernetes.get("deployment", "grid-jobmaster", "grid")
    assert (deployment["spec"]["replicas"], image_of(deployment)) == (2, f"grid:{VERSION}")
    assert passwords(kubernetes) == before


def test_a_larger_claim_is_refused_as_the_readme_says(kubernetes):
    with kubernetes.migrating("grid", lambda: None):
        done = kubernetes.helm("upgrade", "grid", ".", "--namespace", "grid", "--set", "worker.persistence.size=20Gi")
    assert done.returncode != 0 and "Forbidden" in done.stderr and "grid-worker" in done.stderr
    # The next upgrade mends it.
    with kubernetes.migrating("grid", lambda: None):
        done = kubernetes.helm("upgrade", "grid", ".", "--namespace", "grid")
    assert done.returncode == 0, done.stderr


def test_with_servers_of_others_the_migration_comes_before_the_first_installation(kubernetes):
    def seen():
        assert kubernetes.names("deployment", "hardened") == set()
        assert kubernetes.names("serviceaccount", "hardened") >= {"grid-migrate-hook"}
        assert kubernetes.names("secret", "hardened") >= {"grid-migrate"}
        assert kubernetes.names("networkpolicy", "hardened") == {"grid-migrate"}

    with kubernetes.migrating("hardened", seen):
        done = kubernetes.helm("install", "grid", ".", "--namespace", "hardened", "--values", "ci/hardened-values.yaml")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout
    objects = rendered("hardened")
    assert not [one for one in objects if one["kind"] in TAUGHT]
    scaler = kubernetes.get("hpa", "grid-worker", "hardened")
    assert (
        scaler["spec"]["scaleTargetRef"]
        == named(objects, "HorizontalPodAutoscaler", "grid-worker")["spec"]["scaleTargetRef"]
    )
    wanted = {one["metadata"]["name"] for one in of_kind(objects, "NetworkPolicy")}
    assert kubernetes.names("networkpolicy", "hardened") == wanted


def test_the_server_finds_what_a_schema_cannot(kubernetes):
    done = kubernetes.helm(
        "upgrade", "grid", ".", "--namespace", "grid", "--dry-run=server", "--set", "fullnameOverride=other"
    )
    assert done.returncode == 0, done.stderr
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a_b"}, "spec": {"ports": [{"port": 80}]}}
    refused = kubernetes.refused("create", "--namespace", "grid", "--filename", "-", input=json.dumps(service))
    assert "a_b" in refused


def test_nothing_is_left_but_what_hooks_made_and_claims_hold(kubernetes):
    done = kubernetes.helm("uninstall", "grid", "--namespace", "grid")
    assert done.returncode == 0, done.stderr
    for kind in ("deployment", "statefulset", "service", "secret", "configmap", "networkpolicy", "cronjob"):
        left = {name for name in kubernetes.names(kind, "grid") if name.startswith(("grid", "jobmaster"))}
        assert left == set(), kind
