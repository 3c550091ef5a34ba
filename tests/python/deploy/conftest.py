"""What the tests of the files that Grid is deployed with share: where things are, and the programs that read them.

Nothing here starts a container: there need not be an engine where the tests run. Programs come by the environment that
scripts/deploy.sh sets.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCKER = ROOT / "docker"
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def program(variable):
    """The program that an environment variable names; without Go there is none, and its tests are left out."""
    path = os.environ.get(variable, "")
    if not path:
        pytest.skip(f"{variable} names no program: run scripts/deploy.sh, with Go")
    return path


def run(*command, env=None, **options):
    """What a program printed; it must succeed."""
    done = subprocess.run(command, env=env, text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def in_environment(name):
    """A program of the Python environment that runs this."""
    return str(Path(sys.executable).parent / name)


@pytest.fixture(scope="session")
def grid():
    """The real program."""
    path = ROOT / os.environ.get("GRID", "target/release/grid")
    assert path.exists(), f"{path} is missing: make build, or name another as GRID"
    return str(path)


def configured(grid, environment):
    """What the program makes of an environment alone, {section: {key: {value, origin}}}; it refuses what it does not know."""
    environment = {"PATH": os.environ["PATH"]} | environment
    return json.loads(run(grid, "config", "--output", "json", env=environment))


def variables_read(text):
    """The names in ${NAME…} of a file."""
    return set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", text))
