"""The chart as Helm renders it, and what its objects say."""

import functools
import os
import subprocess

import yaml

from conftest import ROOT, program

CHART = ROOT / "charts/grid"
CASES = ["default", "minimal", "external", "hardened"]
NAMESPACE = "grid"
# What the cluster must have been taught: schemas of them are not Kubernetes'.
TAUGHT = {"ServiceMonitor", "ScaledObject"}


def helm(*arguments, version="1.32", chart=CHART):
    """The outcome of a command of Helm, without what it says of symbolic links."""
    command = [program("GRID_TEST_HELM"), *arguments, "--kube-version", version, "--namespace", NAMESPACE]
    # The configuration of whoever runs this is not asked.
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(command, cwd=chart, env=environment, text=True, capture_output=True)
    done.stderr = "".join(line for line in done.stderr.splitlines(True) if "symbolic link" not in line)
    return done


@functools.cache
def rendered(case="default", *sets, version="1.32", chart=CHART):
    """The objects of the chart with a file of ci/ and what is set besides."""
    settings = [argument for one in sets for argument in ("--set", one)]
    done = helm("template", "grid", ".", "--values", f"ci/{case}-values.yaml", *settings, version=version, chart=chart)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(*sets, case="default"):
    """Why the chart does not take these values."""
    settings = [argument for one in sets for argument in ("--set", one)]
    done = helm("template", "grid", ".", "--values", f"ci/{case}-values.yaml", *settings)
    assert done.returncode != 0, f"{sets} were taken"
    return done.stderr


def of_kind(objects, *kinds):
    return [one for one in objects if one["kind"] in kinds]


def named(objects, kind, name):
    (found,) = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    return found


def template_of(one):
    """The pod template of an object, or None."""
    spec = one.get("spec", {})
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec.get("template") if one["kind"] in ("CronJob", "Job", "Deployment", "StatefulSet") else None


def pods(objects):
    """(object, pod template) of everything that makes pods."""
    return [(one, template_of(one)) for one in objects if template_of(one)]


def selects(selector, labels):
    return selector.items() <= labels.items()


def environment(objects, pod, container, pod_name="grid-worker-0"):
    """The environment of a container as Kubernetes would make it, and the variables that were given. What is in a Secret
    of somebody else has a value that says so."""
    given = {}
    for source in container.get("envFrom", []):
        given |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    fields = {"metadata.name": pod_name, "metadata.namespace": NAMESPACE}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            value = secret(objects, **source["secretKeyRef"])
        elif "fieldRef" in source:
            value = fields[source["fieldRef"]["fieldPath"]]
        else:
            value = variable["value"]
        for name, known in given.items():
            value = value.replace(f"$({name})", known)
        assert "$(" not in value, f"{variable}: names what is not there before it"
        given[variable["name"]] = value
    links = service_links(objects) if pod.get("enableServiceLinks", True) else {}
    return links | given, given


def secret(objects, name, key):
    for one in of_kind(objects, "Secret"):
        if one["metadata"]["name"] == name:
            return one["stringData"][key]
    if "url" in key:
        return "postgres://somebody:secret@elsewhere/grid"
    return f"{key} of {name}"


def service_links(objects):
    """What Kubernetes puts into the environment of pods for each service that has an address."""
    links = {}
    for service in of_kind(objects, "Service"):
        if service["spec"].get("clusterIP") == "None":
            continue
        prefix = service["metadata"]["name"].upper().replace("-", "_")
        port = service["spec"]["ports"][0]["port"]
        links |= {
            f"{prefix}_SERVICE_HOST": "10.96.0.7",
            f"{prefix}_SERVICE_PORT": str(port),
            f"{prefix}_SERVICE_PORT_HTTP": str(port),
            f"{prefix}_PORT": f"tcp://10.96.0.7:{port}",
            f"{prefix}_PORT_{port}_TCP": f"tcp://10.96.0.7:{port}",
            f"{prefix}_PORT_{port}_TCP_PROTO": "tcp",
            f"{prefix}_PORT_{port}_TCP_PORT": str(port),
            f"{prefix}_PORT_{port}_TCP_ADDR": "10.96.0.7",
        }
    return links
