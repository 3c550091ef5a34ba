"""charts/grid: taken by Helm and by many versions of Kubernetes, and what its objects promise."""

import json
import os
import re
import shutil

import kubernetes_validate
import pytest
import yaml

from chart import (
    CASES,
    CHART,
    TAUGHT,
    environment,
    helm,
    named,
    of_kind,
    pods,
    rendered,
    selects,
    service_links,
    template_of,
)
from conftest import DOCKER, VERSION, configured, program, run

VERSIONS = ["1.25", "1.27", "1.29", "1.31", "1.33", "1.35", "1.37"]


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing(case):
    done = helm("lint", "--strict", ".", "--values", f"ci/{case}-values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout and "[ERROR]" not in done.stdout


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_kubernetes_takes_every_object(case, version):
    for one in rendered(case, version=version):
        if one["kind"] not in TAUGHT:
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_names_are_unique_and_every_object_says_whose_it_is(case):
    seen = set()
    for one in rendered(case):
        key = (one["kind"], one["metadata"]["name"])
        assert key not in seen, key
        seen.add(key)
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "grid" and labels["app.kubernetes.io/instance"] == "grid"
        assert labels["app.kubernetes.io/version"] == VERSION and labels["helm.sh/chart"] == f"grid-{VERSION}"


@pytest.mark.parametrize("case", CASES)
def test_pods_keep_the_restricted_standard(case):
    objects = rendered(case)
    accounts = {one["metadata"]["name"]: one for one in of_kind(objects, "ServiceAccount")}
    for one, template in pods(objects):
        spec = template["spec"]
        name = one["metadata"]["name"]
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert all(not {"hostPath"} & set(volume) for volume in spec.get("volumes", [])), name
        # Nobody needs Kubernetes' API, nor variables of services, which some programs would take for configuration.
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False, name
        for container in spec["containers"] + spec.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name
            assert re.fullmatch(r"\S+:\S+", container["image"]) and ":latest" not in container["image"], name
    assert not of_kind(objects, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


@pytest.mark.parametrize("case", CASES)
def test_what_pods_mount_is_there_and_can_be_written_where_it_must(case):
    objects = rendered(case)
    for one, template in pods(objects):
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        assert not claims & set(volumes)
        mounted = set()
        for container in template["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in claims | set(volumes), (one["metadata"]["name"], mount)
                mounted.add(mount["name"])
        assert mounted == claims | set(volumes), one["metadata"]["name"]
        for volume in volumes.values():
            if "configMap" in volume:
                data = named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
                for item in volume["configMap"].get("items", []):
                    assert item["key"] in data, volume


@pytest.mark.parametrize("case", CASES)
def test_services_lead_to_ports_of_one_workload(case):
    objects = rendered(case)
    for service in of_kind(objects, "Service"):
        selected = [
            template
            for one, template in pods(objects)
            if one["kind"] in ("Deployment", "StatefulSet")
            and selects(service["spec"]["selector"], template["metadata"]["labels"])
        ]
        assert len(selected) == 1, service["metadata"]["name"]
        ports = {port["name"] for port in selected[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for one in of_kind(objects, "StatefulSet"):
        named(objects, "Service", one["spec"]["serviceName"])
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
        matching = [
            service
            for service in of_kind(objects, "Service")
            if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        ]
        found = [port["name"] for service in matching for port in service["spec"]["ports"] if port["name"] in wanted]
        assert len(found) == 1, monitor["metadata"]["name"]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert len([1 for _, template in pods(objects) if selects(selector, template["metadata"]["labels"])]) == 1


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_for_ports_that_there_are(case):
    for one, template in pods(rendered(case)):
        for container in template["spec"]["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            probes = {name: container.get(name) for name in ("startupProbe", "livenessProbe", "readinessProbe")}
            if one["kind"] in ("Job", "CronJob"):
                assert not any(probes.values())
                continue
            for name, probe in probes.items():
                assert probe, (one["metadata"]["name"], name)
                how = probe.get("httpGet") or probe.get("tcpSocket")
                assert "exec" in probe or how["port"] in ports
    jobmaster = template_of(named(rendered(case), "Deployment", "grid-jobmaster"))["spec"]["containers"][0]
    worker = template_of(named(rendered(case), "StatefulSet", "grid-worker"))["spec"]["containers"][0]
    for container in (jobmaster, worker):
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


@pytest.mark.parametrize("case", CASES)
def test_the_program_takes_every_environment(grid, case):
    objects = rendered(case)
    checked = []
    for one, template in pods(objects):
        for container in template["spec"]["containers"]:
            if not any(variable["name"].startswith("GRID__") for variable in container.get("env", [])):
                continue
            all_of_it, given = environment(objects, template["spec"], container)
            shown = configured(grid, all_of_it)
            origins = {key["origin"] for section in shown.values() for key in section.values()}
            wanted = {name for name in given if name.startswith("GRID__")}
            # Properties of Kafka are one value, whose origin is the last of them.
            several = {name for name in wanted if name.startswith("GRID__KAFKA__PROPERTIES__")}
            assert {f"environment {name}" for name in wanted - several} <= origins, one["metadata"]["name"]
            properties = shown["kafka"]["properties"]["value"]
            assert {
                name.removeprefix("GRID__KAFKA__PROPERTIES__").replace("_", ".").lower() for name in several
            } == set(properties)
            checked.append(container["args"][0])
    assert set(checked) - {"token"} == {"jobmaster", "worker", "migrate"}


def test_variables_that_kubernetes_makes_of_services_change_nothing(grid):
    objects = rendered("default")
    links = service_links(objects)
    # Those of the services that the names of Grid's own variables begin like.
    assert {"GRID_GRAFANA_SERVICE_HOST", "GRID_VECTOR_PORT", "JOBMASTER_PORT"} <= set(links)
    for workload in (named(objects, "Deployment", "grid-jobmaster"), named(objects, "StatefulSet", "grid-worker")):
        pod = template_of(workload)["spec"]
        _, given = environment(objects, pod, pod["containers"][0])
        assert configured(grid, given) == configured(grid, links | given)
    # Nor those of what the chart reads from the environment beside Grid.
    read = set(
        re.findall(
            r"\$\{?([A-Z][A-Z0-9_]+)",
            "".join(
                path.read_text() for path in [DOCKER / "vector/vector.yaml", *sorted(DOCKER.glob("grafana/**/*.yaml"))]
            ),
        )
    )
    assert "VECTOR_PORT" in read and "GRID_INFLUXDB_TOKEN" in read
    assert not read & set(links)


def test_workers_have_time_to_drain_and_jobmasters_to_hand_over(grid):
    objects = rendered("default", "worker.drainSeconds=120")
    worker = template_of(named(objects, "StatefulSet", "grid-worker"))["spec"]
    shown = configured(grid, environment(objects, worker, worker["containers"][0])[0])["worker"]
    assert (shown["drain_grace"]["value"], shown["grace"]["value"]) == ("2m", "10s")
    assert worker["terminationGracePeriodSeconds"] > 120 + 10
    jobmaster = named(objects, "Deployment", "grid-jobmaster")
    assert jobmaster["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spec = template_of(jobmaster)["spec"]
    shown = configured(grid, environment(objects, spec, spec["containers"][0])[0])
    assert (shown["kafka"]["revoke_timeout"]["value"], shown["api"]["stop_timeout"]["value"]) == ("10s", "10s")
    assert spec["terminationGracePeriodSeconds"] >= 5 + 10 + 10 + 10


def test_a_jobmaster_is_found_by_the_names_that_it_knows(grid):
    objects = rendered("external")
    spec = template_of(named(objects, "Deployment", "grid-jobmaster"))["spec"]
    hosts = configured(grid, environment(objects, spec, spec["containers"][0])[0])["api"]["allowed_hosts"]["value"]
    assert {"localhost", "jobmaster", "jobmaster.grid.svc", "jobmaster.grid.svc.cluster.local", "grid.example"} <= set(
        hosts
    )
    (scaled,) = of_kind(objects, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    url = trigger["metadata"]["url"]
    assert url.split("/")[2].split(":")[0] in hosts
    paths = json.loads((CHART.parents[1] / "schema/openapi.json").read_text())["paths"]
    assert re.sub(r"^https?://[^/]+|\?.*", "", url) in paths
    assert "replicas" not in named(objects, "StatefulSet", "grid-worker")["spec"]


def test_every_part_has_a_network_policy_and_servers_answer_only_who_needs_them():
    objects = rendered("default")
    policies = {one["metadata"]["name"].removeprefix("grid-"): one for one in of_kind(objects, "NetworkPolicy")}
    parts = {template["metadata"]["labels"]["app.kubernetes.io/component"] for _, template in pods(objects)}
    assert set(policies) == parts
    for part, policy in policies.items():
        assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == part

    def asked_by(part):
        rules = policies[part]["spec"]["ingress"]
        peers = [peer for rule in rules for peer in rule.get("from", [])]
        return {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in peers}

    assert asked_by("postgres") == {"jobmaster", "migrate"}
    assert asked_by("kafka") == {"jobmaster", "worker", "migrate", "kafka"}
    assert asked_by("influxdb") == {"jobmaster", "worker", "grafana"}
    assert asked_by("victorialogs") == {"jobmaster", "vector", "grafana"}
    assert asked_by("vector") == {"worker"}
    assert "Egress" in policies["jobmaster"]["spec"]["policyTypes"]
    assert {} not in policies["jobmaster"]["spec"]["egress"]
    # Who may read metrics may be said: then nobody else reaches workers but jobmasters.
    assert "from" not in policies["worker"]["spec"]["ingress"][0]
    strict = named(rendered("hardened"), "NetworkPolicy", "grid-worker")["spec"]["ingress"][0]["from"]
    assert [list(peer) for peer in strict] == [["podSelector"], ["namespaceSelector"]]
    # Ports of policies are those of the pods.
    for part, policy in policies.items():
        (template,) = [
            template
            for one, template in pods(objects)
            if template["metadata"]["labels"]["app.kubernetes.io/component"] == part
            and one["kind"] in ("Deployment", "StatefulSet")
        ] or [None]
        allowed = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule.get("ports", [])}
        if template:
            assert allowed <= {port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}, part


def fixed(stateful):
    """What of the spec of a StatefulSet nobody may change."""
    mutable = {"replicas", "template", "updateStrategy", "minReadySeconds", "ordinals", "revisionHistoryLimit"}
    return {key: value for key, value in stateful.items() if key not in mutable}


def test_a_change_of_version_changes_nothing_that_kubernetes_lets_nobody_change(tmp_path):
    later = tmp_path / "grid"
    shutil.copytree(CHART, later)
    chart = (later / "Chart.yaml").read_text().replace(f"ersion: {VERSION}", "ersion: 9.9.9")
    (later / "Chart.yaml").write_text(chart)
    changed = 0
    before, after = rendered("default"), rendered("default", chart=later)
    for old, new in zip(before, after, strict=True):
        assert (old["kind"], old["metadata"]["name"]) == (new["kind"], new["metadata"]["name"])
        if old["kind"] == "StatefulSet":
            assert fixed(old["spec"]) == fixed(new["spec"])
        if old["kind"] == "Deployment":
            assert old["spec"]["selector"] == new["spec"]["selector"]
        if old["kind"] == "Service":
            assert old["spec"] == new["spec"]
        changed += old["metadata"]["labels"] != new["metadata"]["labels"]
    assert changed == len(before)


def test_the_migration_comes_before_everything_where_the_servers_are_there():
    def job(case, name):
        return named(rendered(case), "Job", name)

    hook = job("external", "grid-migrate")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    account = template_of(hook)["spec"]["serviceAccountName"]
    needed = [
        named(rendered("external"), "ServiceAccount", account),
        named(rendered("external"), "NetworkPolicy", "grid-migrate"),
    ]
    needed.append(named(rendered("hardened"), "Secret", "grid-migrate"))
    for one in needed:
        annotations = one["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade" and int(annotations["helm.sh/hook-weight"]) < 0
    # With servers of the chart's own it cannot: they are not there before the first installation.
    assert job("default", "grid-migrate")["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    assert "annotations" not in job("default", "grid-migrate-install")["metadata"]


def test_an_upgrade_is_finished_by_hand_or_by_a_hook_after_it():
    by_hand = named(rendered("external"), "CronJob", "grid-finish-upgrade")
    assert by_hand["spec"]["suspend"] is True
    by_hook = named(rendered("hardened"), "Job", "grid-finish-upgrade")
    assert by_hook["metadata"]["annotations"]["helm.sh/hook"] == "post-upgrade"
    assert {one["metadata"]["name"] for one in of_kind(rendered("hardened"), "CronJob")} == {"grid-token"}
    migration = template_of(named(rendered("hardened"), "Job", "grid-migrate"))["spec"]
    for finish in (template_of(by_hand)["spec"], template_of(by_hook)["spec"]):
        (container,) = finish["containers"]
        assert container["args"] == ["migrate", "--finish-upgrade"]
        assert finish["serviceAccountName"] == migration["serviceAccountName"]
    # Until then both versions run: a newer jobmaster is ready before an older one ends.
    rolling = named(rendered("external"), "Deployment", "grid-jobmaster")["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxSurge"], rolling["maxUnavailable"]) == (1, 0)


def test_only_the_migration_knows_the_owner_of_the_tables():
    for case in CASES:
        objects = rendered(case)
        for one, template in pods(objects):
            if one["kind"] in ("Deployment", "StatefulSet") and "postgres" not in one["metadata"]["name"]:
                names = {
                    variable["name"]
                    for container in template["spec"]["containers"]
                    for variable in container.get("env", [])
                }
                assert "GRID__POSTGRES__OWNER_URL" not in names
    worker = template_of(named(rendered("default"), "StatefulSet", "grid-worker"))["spec"]["containers"][0]
    assert "GRID__POSTGRES__URL" not in {variable["name"] for variable in worker["env"]}


def test_what_is_configured_beside_grid_is_that_of_docker_itself(tmp_path):
    files = CHART / "files"
    assert {path.name for path in files.iterdir() if path.is_symlink()} == {path.name for path in files.iterdir()}
    objects = rendered("default")
    dashboards = named(objects, "ConfigMap", "grid-grafana-dashboards")["data"]
    assert {name: json.loads(text) for name, text in dashboards.items()} == {
        path.name: json.loads(path.read_text()) for path in (DOCKER / "grafana/dashboards").iterdir()
    }
    provisioning = named(objects, "ConfigMap", "grid-grafana-provisioning")["data"]
    for key, name in [
        ("rules.yaml", "alerting/rules"),
        ("mute-timings.yaml", "alerting/mute-timings"),
        ("dashboards.yaml", "dashboards/grid"),
        ("datasources.yaml", "datasources/grid"),
    ]:
        original = yaml.safe_load((DOCKER / f"grafana/provisioning/{name}.yaml").read_text())
        assert yaml.safe_load(provisioning[key]) == original, key
    assert (
        named(objects, "ConfigMap", "grid-vector")["data"]["vector.yaml"] == (DOCKER / "vector/vector.yaml").read_text()
    )
    assert (
        named(objects, "ConfigMap", "grid-kafka")["data"]["server.properties"]
        == (DOCKER / "kafka/server.properties").read_text()
    )
    assert (
        named(objects, "ConfigMap", "grid-postgres")["data"]["roles.sh"] == (DOCKER / "postgres/roles.sh").read_text()
    )
    # A package has them too, not links.
    done = helm_package(tmp_path)
    run("tar", "--extract", "--file", done, "--directory", str(tmp_path))
    assert (tmp_path / "grid/files/dashboards/cluster-overview.json").read_text() == (
        DOCKER / "grafana/dashboards/cluster-overview.json"
    ).read_text()
    assert not [path for path in (tmp_path / "grid").rglob("*") if path.is_symlink()]
    assert not (tmp_path / "grid/ci").exists()


def helm_package(folder):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    run(program("GRID_TEST_HELM"), "package", str(CHART), "--destination", str(folder), env=environment)
    return str(folder / f"grid-{VERSION}.tgz")


def test_links_lead_to_where_grid_is():
    external = rendered("external")
    dashboards = "".join(named(external, "ConfigMap", "grid-grafana-dashboards")["data"].values())
    rules = named(external, "ConfigMap", "grid-grafana-provisioning")["data"]["rules.yaml"]
    for text in (dashboards, rules):
        assert "localhost:8080" not in text and "https://grid.example" in text
    sources = yaml.safe_load(named(external, "ConfigMap", "grid-grafana-provisioning")["data"]["datasources.yaml"])
    urls = {source["uid"]: source["url"] for source in sources["datasources"]}
    assert urls == {"grid-influxdb": "https://influx.example:8086", "grid-victorialogs": "https://logs.example"}
    assert sources["datasources"][0]["jsonData"]["organization"] == "example"


@pytest.mark.parametrize(
    "sets, receivers, routes",
    [
        ((), None, None),
        (("grafana.alerting.email=a@b.example",), {"grid-notify": ["email"]}, ["grid-notify", "grid-notify"]),
        (("grafana.alerting.pagerdutySecret=p",), {"grid-page": ["pagerduty"]}, ["grid-page", "grid-page"]),
        (
            ("grafana.alerting.slackSecret=s",),
            {"grid-page": ["slack"], "grid-notify": ["slack"]},
            ["grid-page", "grid-notify"],
        ),
    ],
)
def test_alerts_go_to_whoever_is_named(sets, receivers, routes):
    objects = rendered("default", *sets)
    data = named(objects, "ConfigMap", "grid-grafana-provisioning")["data"]
    if receivers is None:
        assert "contact-points.yaml" not in data and "policies.yaml" not in data
        return
    points = yaml.safe_load(data["contact-points.yaml"])["contactPoints"]
    assert {point["name"]: [receiver["type"] for receiver in point["receivers"]] for point in points} == receivers
    (policy,) = yaml.safe_load(data["policies.yaml"])["policies"]
    assert policy["receiver"] in receivers and [route["receiver"] for route in policy["routes"]] == routes
    # Every variable that they name is set.
    container = template_of(named(objects, "StatefulSet", "grid-grafana"))["spec"]["containers"][0]
    assert set(re.findall(r"\$(GRID_ALERT_\w+)", data["contact-points.yaml"])) <= {
        one["name"] for one in container["env"]
    }


def test_servers_are_the_versions_of_the_compose_file():
    composed = set(re.findall(r"_IMAGE:-([^}]+)\}", (DOCKER / "compose.yaml").read_text())) - {f"grid:{VERSION}"}
    used = {
        re.sub(r"^docker\.io/(library/)?", "", container["image"])
        for _, template in pods(rendered("default"))
        for container in template["spec"]["containers"]
    } - {f"grid:{VERSION}"}
    assert used == composed and len(used) == 6
    plugins = re.search(r"GF_PLUGINS_PREINSTALL_SYNC: (\S+)", (DOCKER / "compose.yaml").read_text()).group(1)
    assert yaml.safe_load((CHART / "values.yaml").read_text())["grafana"]["plugins"] == plugins


def test_the_readme_is_made_of_the_values(tmp_path):
    shutil.copytree(CHART, tmp_path / "grid", ignore=shutil.ignore_patterns("files"))
    run(program("GRID_TEST_HELM_DOCS"), "--chart-search-root", str(tmp_path), "--sort-values-order", "file")
    made = (tmp_path / "grid/README.md").read_text()
    assert (CHART / "README.md").read_text() == made, "charts/grid/README.md is not: scripts/deploy.sh readme"
    undocumented = [line for line in made.splitlines() if line.startswith("|") and line.rstrip().endswith("|  |")]
    assert undocumented == []
