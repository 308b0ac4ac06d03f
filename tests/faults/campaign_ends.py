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
    """Both ends and their folders. `client` and `server` are the present processes; with `secrets`, they speak TLS."""

    client: Program
    server: Program

    def __init__(self, folder: Path, client_words: tuple[str, ...], secrets: Secrets | None = None) -> None:
        self._folder = folder
        self._client_words = client_words
        self.secrets = secrets
        self.logs = folder / "logs"
        self.disk = folder / "disk"
        self.data_dir = self.disk / "data"
        self.port = free_port()
        self._programs: list[Program] = []
        self.logs.mkdir()
        self.disk.mkdir()

    def start_client(self, port: int) -> None:
        """Follow all logs; the server is reached through this port."""
        self.client = self._start(
            ROOT / "main.py",
            *("--mode", "continuous", "--log-file", self.logs / "*.log", "--server-host", "127.0.0.1"),
            *("--server-port", port, "--state-dir", self._folder / "state", *_QUICK, *self._client_words),
            *(self.secrets.words("client") if self.secrets else ()),
        )

    def start_server(self) -> None:
        """Serve; the server reads all that it has every two seconds."""
        self.server = self._start(
            ROOT / "server_main.py",
            *("--server-host", "127.0.0.1", "--server-port", self.port, "--data-dir", self.data_dir),
            *("--min-free-bytes", "0"),  # the disk is to become really full
            *("--scrub-interval", "2s"),
            *(self.secrets.words("server") if self.secrets else ()),
        )

    def crash_server(self, seed: str) -> Program:
        """Start a server that dies in the middle of a durable step (crashing_server.py)."""
        options = {"server_host": "127.0.0.1", "server_port": str(self.port), "data_dir": str(self.data_dir)}
        options |= self.secrets.options("server") if self.secrets else {}
        return self._start(Path(__file__).with_name("crashing_server.py"), seed, json.dumps(options))

    def ask(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run another command of the project to its end."""
        command = [sys.executable, str(ROOT / "main.py"), *map(str, words)]
        env = {"PATH": os.environ["PATH"], "LOGFERRY_STATE_DIR": str(self._folder / "state")}
        return subprocess.run(command, cwd=self._folder, env=env, capture_output=True, text=True, check=False)

    def check(self) -> None:
        """Raise AssertionError if one of them has ended by itself."""
        for running in (self.client, self.server):
            if running.is_over:
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

    def _start(self, *words: object) -> Program:
        running = Program([sys.executable, *map(str, words)], self._folder)
        self._programs.append(running)
        return running


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
