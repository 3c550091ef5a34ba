"""Names, ports, secrets and values of the chart that people have been told of: to the letter."""

import base64

import pytest
import yaml

from chart import CHART, named, rendered, template_of

DEFAULT = lambda: rendered("default")


def container(kind, name, sets=()):
    return template_of(named(rendered("default", *sets), kind, name))["spec"]["containers"][0]


def forwarded(service, local_and_remote):
    """The port of a pod to which `kubectl port-forward svc/NAME LOCAL:REMOTE` leads."""
    remote = int(local_and_remote.split(":")[1])
    objects = DEFAULT()
    spec = named(objects, "Service", service)["spec"]
    (target,) = [port["targetPort"] for port in spec["ports"] if port["port"] == remote]
    workload = "grid-jobmaster" if service == "jobmaster" else service
    kind = "Deployment" if service == "jobmaster" else "StatefulSet"
    ports = template_of(named(objects, kind, workload))["spec"]["containers"][0]["ports"]
    (port,) = [port["containerPort"] for port in ports if port["name"] == target]
    return port


def test_grafana_is_forwarded_from_port_80():
    assert forwarded("grid-grafana", "3000:80") == 3000


def test_grafanas_password_is_in_its_secret():
    # kubectl get secret grid-grafana -o jsonpath="{.data.admin-password}" | base64 --decode
    secret = named(DEFAULT(), "Secret", "grid-grafana")
    stored = {key: base64.b64encode(value.encode()) for key, value in secret["stringData"].items()}
    password = base64.b64decode(stored["admin-password"]).decode()
    assert len(password) == 32 and password.isalnum()
    chosen = named(rendered("default", "grafana.adminPassword=mine"), "Secret", "grid-grafana")
    assert chosen["stringData"]["admin-password"] == "mine"
    (variable,) = [
        one for one in container("StatefulSet", "grid-grafana")["env"] if one["name"] == "GF_SECURITY_ADMIN_PASSWORD"
    ]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "grid-grafana", "key": "admin-password"}


@pytest.mark.parametrize(
    "service, port", [("jobmaster", 8080), ("grid-influxdb", 8086), ("grid-victorialogs", 9428), ("grid-vector", 9000)]
)
def test_services_are_called_what_people_were_told(service, port):
    spec = named(DEFAULT(), "Service", service)["spec"]
    assert [one["port"] for one in spec["ports"]] == [port]
    assert forwarded(service, f"{port}:{port}") == port


def test_data_sources_are_where_people_were_told():
    data = named(DEFAULT(), "ConfigMap", "grid-grafana-provisioning")["data"]["datasources.yaml"]
    sources = {source["name"]: source for source in yaml.safe_load(data)["datasources"]}
    assert sources["InfluxDB"]["url"] == "http://grid-influxdb:8086"
    assert sources["InfluxDB"]["jsonData"]["defaultBucket"] == "grid-metrics"
    assert sources["VictoriaLogs"]["url"] == "http://grid-victorialogs:9428"
    with_prometheus = rendered("default", "grafana.prometheusUrl=http://prometheus:9090")
    provisioning = named(with_prometheus, "ConfigMap", "grid-grafana-provisioning")["data"]["prometheus.yaml"]
    assert yaml.safe_load(provisioning)["datasources"][0]["name"] == "Prometheus"


def test_influxdb_has_its_organization_and_bucket():
    variables = {one["name"]: one.get("value") for one in container("StatefulSet", "grid-influxdb")["env"]}
    assert (variables["DOCKER_INFLUXDB_INIT_ORG"], variables["DOCKER_INFLUXDB_INIT_BUCKET"]) == ("grid", "grid-metrics")


def test_victorialogs_has_10_gb_that_can_be_configured():
    def size(*sets):
        (claim,) = named(rendered("default", *sets), "StatefulSet", "grid-victorialogs")["spec"]["volumeClaimTemplates"]
        return claim["spec"]["resources"]["requests"]["storage"]

    assert size() == "10G"
    assert size("victorialogs.persistence.size=50Gi") == "50Gi"


def test_vector_takes_the_three_values_of_the_manual():
    values = yaml.safe_load((CHART / "values.yaml").read_text())["vector"]
    assert (values["port"], values["batchMaxBytes"], values["batchTimeout"]) == (9000, 1048576, 5)

    def variables(*sets):
        return {one["name"]: one["value"] for one in container("StatefulSet", "grid-vector", sets)["env"]}

    told = variables()
    assert (told["VECTOR_PORT"], told["VECTOR_BATCH_MAX_BYTES"], told["VECTOR_BATCH_TIMEOUT"]) == (
        "9000",
        "1048576",
        "5",
    )
    sets = ("vector.port=9100", "vector.batchMaxBytes=20971520", "vector.batchTimeout=7")
    told = variables(*sets)
    assert (told["VECTOR_PORT"], told["VECTOR_BATCH_MAX_BYTES"], told["VECTOR_BATCH_TIMEOUT"]) == (
        "9100",
        "20971520",
        "7",
    )
    worker = {one["name"]: one.get("value") for one in container("StatefulSet", "grid-worker", sets)["env"]}
    assert worker["GRID__WORKER__VECTOR"] == "grid-vector:9100"
    assert [port["port"] for port in named(rendered("default", *sets), "Service", "grid-vector")["spec"]["ports"]] == [
        9100
    ]
