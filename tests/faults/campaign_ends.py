"""The client and the server of a campaign, as real processes that are started again and again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.campaign_secrets import Secrets
from tests.faults.chaos_proxy import ChaosProxy
from tests.support.processes import ROOT, Program, free_port

_QUICK: Final = (
    "--poll-interval",
    "0.05",
    "--ack-timeout",
    "2",
    "--connect-timeout",
    "1",
    "--health-interval",
    "0.2",
    "--backoff-max",
    "0.5",
)


class Ends:
    """The client, its servers, and their folders. `client` is the present process; with `secrets`, all speak TLS."""

    client: Program

    def __init__(
        self, folder: Path, client_words: tuple[str, ...], secrets: Secrets | None = None, *, servers: int = 1
    ) -> None:
        self._folder = folder
        self._client_words = client_words
        self.secrets = secrets
        self.logs = folder / "logs"
        self.disk = folder / "disk"
        self._programs: list[Program] = []
        self.logs.mkdir()
        self.disk.mkdir()
        self.servers = tuple(ServerEnd(self, number) for number in range(servers))

    def start_client(self) -> None:
        """Follow all logs, and ship to the servers through their proxies."""
        addresses = [f"127.0.0.1:{server.proxy.port}" for server in self.servers]
        self.client = self.start(
            ROOT / "main.py",
            *("--mode", "continuous", "--log-file", self.logs / "*.log"),
            *(word for address in addresses for word in ("--server", address)),
            *("--failback-after", "2", "--state-dir", self._folder / "state", *_QUICK, *self._client_words),
            *(self.secrets.words("client") if self.secrets else ()),
        )

    def ask(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run another command of the project to its end."""
        command = [sys.executable, str(ROOT / "main.py"), *map(str, words)]
        env = {"PATH": os.environ["PATH"], "LOGFERRY_STATE_DIR": str(self._folder / "state")}
        return subprocess.run(command, cwd=self._folder, env=env, capture_output=True, text=True, check=False)

    def check(self) -> None:
        """Raise AssertionError if one of them has ended by itself."""
        for running in (self.client, *(server.process for server in self.servers)):
            if running.is_over and running.process.returncode != -signal.SIGKILL:
                raise AssertionError(f"a program has ended by itself: {running.stderr[-2000:]}")

    def end(self) -> None:
        """Ask everything that still runs to stop."""
        for running in self._programs:
            if not running.is_over:
                running.send(signal.SIGCONT)
                running.terminate()

    def logged(self) -> str:
        """Return all that the processes have logged."""
        return "".join(running.stderr for running in self._programs)

    def start(self, *words: object) -> Program:
        """Start a Python program."""
        running = Program([sys.executable, *map(str, words)], self._folder)
        self._programs.append(running)
        return running


class ServerEnd:
    """One server: `process` is the present one, `proxy` what is between it and the client."""

    process: Program
    proxy: ChaosProxy

    def __init__(self, ends: Ends, number: int) -> None:
        self._ends = ends
        self.port = free_port()
        self.name = f"server-{number}"
        self.data_dir = ends.disk / f"data-{number}"
        self.copy = ends.disk.parent / f"copy-{number}"  # of its data folder

    def start(self) -> None:
        """Serve; the server reads all that it has every two seconds."""
        self.process = self._ends.start(
            ROOT / "server_main.py",
            *("--server-host", "127.0.0.1", "--server-port", self.port, "--data-dir", self.data_dir),
            *("--min-free-bytes", "0"),  # the disk is to become really full
            *("--scrub-interval", "2s"),
            *("--segment-bytes", "128K"),  # they are compressed after some seconds
            *(self._ends.secrets.words(self.name) if self._ends.secrets else ()),
        )

    def start_crashing(self, seed: str) -> Program:
        """Start a server that dies in the middle of a durable step (crashing_server.py)."""
        options = {"server_host": "127.0.0.1", "server_port": str(self.port), "data_dir": str(self.data_dir)}
        options["segment_bytes"] = "128K"
        options |= self._ends.secrets.options(self.name) if self._ends.secrets else {}
        return self._ends.start(Path(__file__).with_name("crashing_server.py"), seed, json.dumps(options))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Give a folder a file system of its own if this user may; yield whether it has one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "logferry-campaign", str(folder)]
    is_mounted = (
        bool(shutil.which("mount")) and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
