"""The Compose file with real containers: both ends over TLS, and Prometheus with the rules, an alert that fires.

Needs a Docker engine and the image that the Dockerfiles build on. Where Prometheus's image cannot be pulled, one is
built under its tag from Debian's package. Everything is removed afterwards.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from logferry.server.clients.identities.tokens import entry_for, new_token
from tests.e2e.test_prometheus import asked
from tests.support.certificates import DAY, NOW, authority, files_of, issued
from tests.support.processes import ROOT, free_port
from tests.support.running import wait_until
from tests.support.shipping import append, assert_conserved

BASE: Final = "python:3.12-slim"
USER: Final = 10001  # of both images
MINUTES_S: Final = 300

# What Docker's official image has: the user, the folder, the entry point.
PROMETHEUS: Final = f"""
FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \\
    && install --directory --owner=65534 --group=65534 /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
"""

pytestmark = pytest.mark.timeout(2 * MINUTES_S)


def docker(*words: str | Path, env: Mapping[str, str] | None = None, text: str | None = None) -> str:
    """Run docker; return what it prints, or fail with what it says."""
    done = subprocess.run(
        ["docker", *words],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=MINUTES_S,
    )
    assert done.returncode == 0, f"docker {' '.join(map(str, words))}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def has(*words: str) -> bool:
    """Whether a docker command succeeds."""
    if not shutil.which("docker"):
        return False
    done = subprocess.run(["docker", *words], capture_output=True, check=False, timeout=MINUTES_S)
    return done.returncode == 0


@pytest.fixture
def prometheus_image() -> Iterator[None]:
    """Have the image that the Compose file names; what was not there before is removed afterwards."""
    found = re.search(r"image: (prom/\S+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert found
    if has("image", "inspect", found[1]):
        yield
        return
    if not has("pull", "--quiet", found[1]):
        docker("build", "--quiet", "--tag", found[1], "-", text=PROMETHEUS)
    yield
    docker("image", "rm", found[1])


class Project:
    """A Compose project of its own."""

    def __init__(self, folder: Path) -> None:
        self._words = ("compose", "--project-name", f"logferry-test-{os.getpid()}")
        self._files = ("-f", ROOT / "docker-compose.yml", "-f", ROOT / "deploy" / "compose" / "tls.yml")
        self._profiles = ("--profile", "client", "--profile", "batch", "--profile", "monitoring")
        self._own = folder / "own.yml"
        self._own.write_text(f"services: {{log-client: {{volumes: ['{folder}/logs:/app/logs:ro']}}}}\n")
        self.prometheus = free_port()
        self._env = {
            "SECRETS": str(folder / "secrets"),
            "SERVER_PORT": str(free_port()),
            "PROMETHEUS_PORT": str(self.prometheus),
        }

    def run(self, *words: str) -> str:
        """Run a command of Compose with all profiles."""
        return docker(*self._words, *self._files, "-f", self._own, *self._profiles, *words, env=self._env)

    def health_of(self, service: str) -> str:
        """Return what Docker thinks of a service."""
        container = self.run("ps", "--quiet", service).strip()
        return docker("inspect", "--format", "{{.State.Health.Status}}", container).strip() if container else "gone"


@pytest.fixture
def project(tmp_path: Path, prometheus_image: None) -> Iterator[Project]:
    found = Project(tmp_path)
    try:
        yield found
    finally:
        found.run("down", "--volumes", "--remove-orphans", "--rmi", "local")


def make_secrets(folder: Path) -> None:
    """Make the files that deploy/compose/tls.yml mounts; the server's certificate is to be replaced soon."""
    token = new_token()
    files_of(issued("log-server", not_after=NOW + 10 * DAY), folder / "server")
    (folder / "server" / "clients.toml").write_text(entry_for("web", token))
    (folder / "client").mkdir()
    (folder / "client" / "ca.pem").write_bytes(authority().cert_pem.bytes())
    (folder / "client" / "token").write_text(token)
    for path in (folder / "server" / "server.key", folder / "client" / "token"):
        path.chmod(0o600)
    for path in folder.rglob("*"):
        os.chown(path, USER, -1)


def firing(port: int) -> set[str]:
    """Return the names of the alerts that fire."""
    alerts: list[dict[str, Any]] = asked(port, "alerts").get("alerts", [])
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def health_of_targets(port: int) -> Mapping[str, str]:
    """Return how each end is that Prometheus scrapes."""
    return {target["labels"]["job"]: target["health"] for target in asked(port, "targets").get("activeTargets", [])}


def test_both_ends_over_tls_and_their_monitoring_in_containers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not has("version") or not has("image", "inspect", BASE):
        pytest.skip(f"no Docker engine answers, or it has no image {BASE}")
    if os.getuid():
        pytest.skip("only root can make files of the user in the containers")
    project: Project = request.getfixturevalue("project")
    (tmp_path / "logs").mkdir()
    append(tmp_path / "logs" / "app.log", range(100))
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    make_secrets(tmp_path / "secrets")
    project.run("build", "--quiet")
    project.run("up", "--detach", "log-server", "log-client", "prometheus")

    def stored() -> list[bytes]:
        found = project.run(
            "exec", "-T", "log-server", "sh", "-c", "find /data/segments/web -name '*.ndjson' -exec cat {} +"
        )
        return found.encode().splitlines(keepends=True)

    wait_until(lambda: len(stored()) == 100, "the lines of the client are stored", deadline_s=60)
    assert_conserved(range(100), stored())
    wait_until(lambda: project.health_of("log-server") == "healthy", "the server is healthy", deadline_s=30)
    port = project.prometheus
    both = {"logferry-server": "up", "logferry-client": "up"}
    wait_until(lambda: health_of_targets(port) == both, "Prometheus scrapes both ends", deadline_s=60)
    wait_until(lambda: "LogferryCertificateExpires" in firing(port), "the alert fires", deadline_s=60)
    rules = [rule for group in asked(port, "rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert firing(port) == {"LogferryCertificateExpires"}
    project.run("stop", "log-client")
    wait_until(lambda: set(health_of_targets(port)) == {"logferry-server"}, "nobody waits for it", deadline_s=60)
    batch = project.run("run", "--rm", "--no-deps", "log-client-batch")
    assert not batch
    assert "0 damaged" in project.run("exec", "-T", "log-server", "logferry", "fsck", "--data-dir", "/data")
    log = project.run("logs", "--no-color", "log-server")
    assert not re.search("ERROR|Traceback|handshake", log), log
