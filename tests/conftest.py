"""Fixtures that several test modules use."""

import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from logferry.client.delivery.engine import engine as shipper
from logferry.client.delivery.servers.retry import Backoff
from logferry.telemetry.log_limits import FloodGuard
from tests.support.nats_servers import NatsCluster, binary_or_skip, running_nodes
from tests.support.running import RawClient, RunningServer, running_server
from tests.support.shipping import log_line
from tests.support.stopping import close_stop_signals

# How long and how hard hypothesis tries; a busy machine is no reason to fail. The suite tries the same examples at each
# run, so that what fails has been broken; `pytest tests/properties --hypothesis-profile explore` looks for others. Some
# of the examples ("again") are enough where the suite has run on another Python already.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.register_profile("logferry", _patient, max_examples=300, derandomize=True)
settings.register_profile("again", _patient, max_examples=60, derandomize=True)
settings.register_profile("explore", _patient, max_examples=3000)
settings.load_profile("logferry")


@pytest.fixture
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect again almost at once: what a test waits for is never the backoff."""
    monkeypatch.setattr(shipper, "Backoff", lambda **_: Backoff(first_s=0.01, ceiling_s=0.05))


@pytest.fixture(autouse=True)
def state_dir_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test may touch the checkpoints of whoever runs it; processes that a test starts inherit this."""
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def sockets_closed() -> Iterator[None]:
    """Close what a test left open, so that the warning about it can be an error for the product's own sockets."""
    yield
    RawClient.close_all()
    close_stop_signals()


@pytest.fixture(autouse=True)
def quiet_logging() -> None:
    """Begin every test with the level of a fresh process, and without the counts of messages that were not logged: a
    command that ran in this one may have set another level, and has left its handler.
    """
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in root.handlers:
        for guard in [each for each in handler.filters if isinstance(each, FloodGuard)]:
            handler.removeFilter(guard)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Let a test call `logferry`: what later tests log is not for its stderr, which is closed by then."""
    yield
    logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()], force=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with a file system of its own, of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "logferry-test", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, text=True, check=False)
    if not mounted or mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip() if mounted else 'no mount'}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Run a server."""
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a window hold one batch, of ten lines; return that number."""
    monkeypatch.setattr("logferry.client.delivery.engine.engine.WINDOW_BYTES", 1)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 10 * len(log_line(10_000)))
    return 10


@pytest.fixture(scope="session")
def nats_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """Give one NATS server that all tests of a worker share: each takes a prefix of its own (`--nats-prefix`).

    It does not sync each message: on a busy disk, that takes a tenth of a second each.
    """
    with running_nodes(binary_or_skip(), tmp_path_factory.mktemp("nats"), jetstream="") as node:
        yield node


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """Give a cluster of three NATS servers; tests that end nodes start them again."""
    with running_nodes(binary_or_skip(), tmp_path_factory.mktemp("nats-cluster"), count=3) as cluster:
        yield cluster
