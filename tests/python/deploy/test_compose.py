"""docker/compose.yaml: read as Docker reads it, linted, and held against what it names."""

import json
import os
import re

import pytest
import yaml

from conftest import DOCKER, VERSION, configured, program, run, variables_read

SERVERS = {"grid-grafana", "grid-influxdb", "grid-kafka", "grid-postgres", "grid-vector", "grid-victorialogs"}
JOBMASTERS, WORKERS = {"jobmaster-1", "jobmaster-2"}, {"worker-1", "worker-2"}
GRID = JOBMASTERS | WORKERS | {"grid-migrate"}
RULES = DOCKER / ".env.example"


def example(name=RULES):
    """The variables of a file of them."""
    lines = [line for line in name.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read(files=("compose.yaml",), **environment):
    """The project that the files come to, with nothing in the environment but what is given."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | environment
    return json.loads(run(program("GRID_TEST_COMPOSE_READER"), *files, cwd=DOCKER, env=environment))


@pytest.fixture(scope="module")
def project():
    return read(**example())


def test_the_linter_finds_nothing():
    modules = program("GRID_TEST_DCLINT")
    command = [modules, "--max-warnings", "0", "--config", ".dclintrc.yaml", "compose.yaml", "compose.alerting.yaml"]
    run(*command, cwd=DOCKER)


def test_the_example_sets_what_is_asked_for_and_nothing_else():
    asked = variables_read((DOCKER / "compose.yaml").read_text() + (DOCKER / "compose.alerting.yaml").read_text())
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", RULES.read_text(), flags=re.M))
    assert asked - named == {"KAFKA_CLUSTER_ID"}
    assert named - asked == {"COMPOSE_PROFILES"}


@pytest.mark.parametrize(
    "name", sorted(set(example()) - {"COMPOSE_PROFILES", "GRID_ANONYMOUS_ROLE", "GRID_WORKER_SLOTS"})
)
def test_a_password_that_is_not_chosen_is_asked_for(name):
    with pytest.raises(AssertionError, match=f"{name} is missing a value: copy docker/.env.example to docker/.env"):
        read(**{key: value for key, value in example().items() if key != name})


def test_a_profile_starts_only_the_servers():
    assert set(read(**example())["services"]) == SERVERS | GRID
    assert set(read(**(example() | {"COMPOSE_PROFILES": "servers"}))["services"]) == SERVERS


def test_every_service_is_pinned_confined_watched_and_reached_from_this_machine_alone(project):
    for name, service in project["services"].items():
        image = service["image"]
        assert re.fullmatch(r"[a-z./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image), image
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert "privileged" not in service and "network_mode" not in service, name
        assert service["restart"] == ("on-failure" if name == "grid-migrate" else "unless-stopped")
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        if name != "grid-migrate" and name in SERVERS:
            assert service["healthcheck"]["test"], name


def test_processes_of_grid_are_one_image_by_argument(project):
    for name in GRID:
        service = project["services"][name]
        assert service["image"] == f"grid:{VERSION}"
        assert service["command"] == [re.sub(r"grid-|-\d", "", name)]
        assert service["build"]["dockerfile"] == "docker/Dockerfile"


def test_everything_starts_after_what_it_needs(project):
    def needs(name):
        wanted = project["services"][name].get("depends_on", {})
        return {on: how["condition"] for on, how in wanted.items()}

    healthy, done = "service_healthy", "service_completed_successfully"
    assert needs("grid-migrate") == {"grid-postgres": healthy, "grid-kafka": healthy}
    for name in JOBMASTERS:
        assert needs(name).items() >= {"grid-migrate": done, "grid-postgres": healthy, "grid-kafka": healthy}.items()
    for name in WORKERS:
        assert needs(name) == {"jobmaster-1": healthy, "jobmaster-2": healthy, "grid-vector": healthy}


def test_what_is_kept_is_on_volumes_and_what_is_mounted_is_there(project):
    kept = {}
    for name, service in project["services"].items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                assert os.path.exists(volume["source"]), volume
                assert volume.get("read_only"), volume
            else:
                kept[name] = volume["source"]
    assert set(kept) == SERVERS | WORKERS
    assert len(set(kept.values())) == len(kept) and set(kept.values()) == set(project["volumes"])


def test_the_program_takes_every_environment(grid, project):
    for name in GRID:
        environment = project["services"][name]["environment"]
        shown = configured(grid, environment)
        origins = {key["origin"] for section in shown.values() for key in section.values()}
        given = {f"environment {variable}" for variable in environment if variable.startswith("GRID__")}
        assert origins - {"default"} == given, name
        if name in JOBMASTERS | WORKERS:
            section = "jobmaster" if name in JOBMASTERS else "worker"
            assert shown[section]["name"]["value"] == name


def test_a_jobmaster_is_asked_for_by_the_names_that_others_use(grid, project):
    for name in JOBMASTERS:
        service = project["services"][name]
        assert service["networks"]["default"]["aliases"] == ["jobmaster"]
        hosts = configured(grid, service["environment"])["api"]["allowed_hosts"]["value"]
        assert {"localhost", "127.0.0.1", "jobmaster"} | JOBMASTERS == set(hosts)
    for name in WORKERS:
        urls = project["services"][name]["environment"]["GRID__WORKER__API_URL"].split(",")
        assert {url.split("/")[2].split(":")[0] for url in urls} == JOBMASTERS


def test_a_worker_has_time_to_drain(grid, project):
    for name in WORKERS:
        service = project["services"][name]
        worker = configured(grid, service["environment"])["worker"]
        assert (worker["drain_grace"]["value"], worker["grace"]["value"]) == ("30s", "10s")
        assert service["stop_grace_period"] == "1m0s"


def test_grafana_finds_its_data_sources(project):
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/grid.yaml").read_text())["datasources"]
    addresses = {source["url"] for source in sources}
    assert addresses == {"http://grid-influxdb:8086", "http://grid-victorialogs:9428"}
    for address in addresses:
        name, port = address.removeprefix("http://").split(":")
        assert int(port) in [published["target"] for published in project["services"][name]["ports"]]
    environment = project["services"]["grid-grafana"]["environment"]
    assert environment["GRID_INFLUXDB_TOKEN"] == example()["GRID_INFLUXDB_TOKEN"]
    influxdb = project["services"]["grid-influxdb"]["environment"]
    assert influxdb["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN"] == example()["GRID_INFLUXDB_TOKEN"]
    assert influxdb["DOCKER_INFLUXDB_INIT_ORG"] == sources[0]["jsonData"]["organization"]
    assert influxdb["DOCKER_INFLUXDB_INIT_BUCKET"] == sources[0]["jsonData"]["defaultBucket"]


def test_vector_is_told_what_its_configuration_reads(project):
    configuration = (DOCKER / "vector/vector.yaml").read_text()
    told = set(project["services"]["grid-vector"]["environment"])
    assert variables_read(configuration) - told == {"VECTOR_BUFFER_MAX_BYTES"}
    assert told <= variables_read(configuration)


def test_alerts_are_told_only_with_all_receivers():
    files = ("compose.yaml", "compose.alerting.yaml")
    receivers = {
        "GRID_ALERT_EMAIL": "a@b.example",
        "GRID_ALERT_SLACK_URL": "https://c",
        "GRID_ALERT_PAGERDUTY_KEY": "d",
    }

    def mounted(project):
        targets = [volume["target"] for volume in project["services"]["grid-grafana"]["volumes"]]
        return {os.path.basename(target) for target in targets if "/alerting/" in target}

    contacts = (DOCKER / "grafana/provisioning/alerting/contact-points.yaml").read_text()
    assert set(re.findall(r"\$(GRID_ALERT_[A-Z_]+)", contacts)) == set(receivers)
    assert mounted(read(**example())) == {"rules.yaml", "mute-timings.yaml"}
    everything = read(files, **(example() | receivers))
    assert mounted(everything) == {path.name for path in (DOCKER / "grafana/provisioning/alerting").iterdir()}
    for name in receivers:
        given = example() | {key: value for key, value in receivers.items() if key != name}
        with pytest.raises(AssertionError, match=f"{name} is missing a value"):
            read(files, **given)
