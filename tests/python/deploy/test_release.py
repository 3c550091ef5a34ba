"""The version stands in one place, and everything that is released is named by it."""

import re

import yaml

from conftest import DOCKER, ROOT, VERSION


def test_everything_has_the_version_of_the_program():
    chart = yaml.safe_load((ROOT / "charts/grid/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert f"ARG VERSION={VERSION}\n" in (DOCKER / "Dockerfile").read_text()
    assert f"image: ${{GRID_IMAGE:-grid:{VERSION}}}" in (DOCKER / "compose.yaml").read_text()


def test_the_changelog_begins_with_it():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert re.fullmatch(rf"{re.escape(VERSION)} \((unreleased|\d{{4}}-\d\d-\d\d)\)", headings[0])
    # Whatever came before was released.
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading) for heading in headings[1:])
