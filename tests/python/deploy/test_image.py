"""docker/Dockerfile: what a linter says, that the build gets every file it needs, and how the image runs."""

import http.server
import json
import re
import subprocess
import threading
import tomllib

import pytest

from conftest import DOCKER, ROOT, in_environment, run

DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def instructions(stage):
    """The instructions of a stage as (name, rest), continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M).replace("\\\n", " ")
    body = re.split(r"^FROM ", text, flags=re.M)
    (found,) = [part for part in body if re.match(rf"\S+ AS {stage}\n", part)]
    return [tuple(line.split(None, 1)) for line in found.splitlines()[1:] if line.strip()]


def value(name):
    (found,) = [rest for instruction, rest in instructions("run") if instruction == name]
    return found


@pytest.fixture(scope="session")
def context(tmp_path_factory):
    """The files that a build gets: those of the repository that Dockerfile.dockerignore lets through."""
    kept = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    folder = tmp_path_factory.mktemp("context")
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if any(name == keep or name.startswith(f"{keep}/") for keep in kept) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def test_the_linter_finds_nothing():
    run(in_environment("hadolint"), "--config", str(DOCKER / ".hadolint.yaml"), str(DOCKER / "Dockerfile"))


def test_the_build_gets_every_file_that_the_program_is_made_of(context):
    described = run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1", cwd=context)
    (package,) = json.loads(described)["packages"]
    assert "grid" in [target["name"] for target in package["targets"] if "bin" in target["kind"]]
    included = re.compile(r'(?:include_str|include_bytes|include)!\("([^"]+)"\)')
    missing = [
        f"{source}: {name}"
        for source in context.rglob("*.rs")
        for name in included.findall(source.read_text())
        if not (source.parent / name).resolve().is_file()
    ]
    assert missing == []
    # What is read by the folder: build.rs and the migrations.
    for folder in ("schema", "migrations"):
        assert sorted(path.name for path in (context / folder).iterdir()) == sorted(
            path.name for path in (ROOT / folder).iterdir()
        )


def test_what_is_copied_is_in_the_context(context):
    stages = instructions("run") + instructions("build") + instructions("page")
    copied = [rest.split() for name, rest in stages if name == "COPY"]
    for words in copied:
        if not any(word.startswith("--from=") for word in words):
            for word in [word for word in words if not word.startswith("--")][:-1]:
                assert (context / word).exists(), words


def test_the_page_is_built_as_by_hand_and_put_into_the_program():
    package = json.loads((ROOT / "src/ui/package.json").read_text())
    (version,) = re.findall(r"FROM node:(\d+)\.\d+\.\d+-bookworm-slim AS page", DOCKERFILE)
    (oldest,) = re.findall(r">=(\d+)", package["engines"]["node"])
    assert int(version) >= int(oldest)
    commands = " ".join(rest for name, rest in instructions("page") if name == "RUN")
    # What scripts/ui.sh runs by its own name, npm runs by that of package.json.
    by_hand = (ROOT / "scripts/ui.sh").read_text()
    for script in ("codegen", "build"):
        assert f"npm run {script}" in commands and f"node_modules/.bin/{package['scripts'][script]}" in by_hand
    assert "GRID_UI_OUT=/page" in commands and "GRID_UI_OUT" in (ROOT / "src/ui/vite.config.ts").read_text()
    copies = [rest for name, rest in instructions("build") if name == "COPY"]
    assert copies == [". .", "--from=page /page src/ui/dist"]
    # What was built on this machine is not taken along.
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    assert {"src/ui/dist/*.gz", "src/ui/dist/assets", "src/ui/node_modules", "src/ui/app/gen"} <= set(ignored)


def test_the_compiler_is_the_one_of_the_repository():
    channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    assert f"FROM rust:{channel}-slim-bookworm AS build" in DOCKERFILE
    assert f"RUSTUP_TOOLCHAIN={channel}" in DOCKERFILE


def test_it_runs_as_nobody_special_with_a_health_check_and_roles_by_argument():
    user, group = value("USER").split(":")
    assert int(user) > 0 and int(group) > 0
    assert value("ENTRYPOINT") == '["grid"]'
    assert value("HEALTHCHECK").endswith('CMD ["grid-health"]')
    labels = value("LABEL")
    for label in ("title", "version", "revision", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_every_shared_library_of_the_program_is_in_the_image(grid):
    # By the package of Debian 12 that has it; the first four are in every image.
    packages = {
        r"libc\.so|libm\.so|ld-linux|linux-vdso": None,
        r"libgcc_s\.so": None,
        r"libssl\.so\.3|libcrypto\.so\.3": "libssl3",
        r"libz\.so\.1": "zlib1g",
    }
    installed = " ".join(rest for name, rest in instructions("run") if name == "RUN")
    for line in run("ldd", grid).splitlines():
        library = line.split()[0]
        (package,) = [package for pattern, package in packages.items() if re.search(pattern, library)]
        assert package is None or f" {package} " in installed, library


@pytest.fixture
def answering():
    """Servers that answer /health/ready with the status that they are asked for; gives their ports."""
    servers = []

    def start(status):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status if self.path == "/health/ready" else 404)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return str(server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_health_check_tells_ready_from_not(answering):
    check = str(DOCKER / "health.sh")
    ready, waiting = answering(200), answering(503)
    assert subprocess.run([check, ready]).returncode == 0
    assert subprocess.run([check], env={"GRID_HEALTH_PORT": ready, "PATH": "/usr/bin:/bin"}).returncode == 0
    refused = subprocess.run([check, waiting], capture_output=True, text=True)
    assert refused.returncode == 1 and "answers 503" in refused.stderr
    assert subprocess.run([check, "1"], capture_output=True).returncode == 1
