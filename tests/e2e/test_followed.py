"""Real processes: who follows stored lines has each of them once, while the server is killed, rolls, compresses,
deletes and scrubs. On the command line, and over the tail of a console whose connection breaks again and again.
"""

import http.client
import json
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_console import console
from tests.support.builders import append
from tests.support.processes import QUICK, ROOT, client, free_port, program, server
from tests.support.running import DEADLINE_S, wait_until

pytest.importorskip("starlette", reason="the extra logferry[console] is not installed")

# Of ten segments, four are kept. What comes is shown long before it is deleted.
BUSY = (
    *("--segment-bytes", "64K", "--segment-compression", "gzip", "--retention-bytes", "150K"),
    *("--scrub-interval", "500ms"),
)
PART = 400
PARTS = 10
KILLS = (2, 6)


def lines(first: int, count: int) -> bytes:
    """Return lines that compression leaves a third of."""
    chance = random.Random(first)
    return b"".join(
        b"2026-01-15 08:00:00 INFO number %d %s\n" % (number, chance.randbytes(20).hex().encode())
        for number in range(first, first + count)
    )


class Tail(threading.Thread):
    """A reader of a console's tail that leaves after some lines, and goes on behind the last event that it has had."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._address = urlsplit(url).netloc
        self._last = ""
        self.shown: list[int] = []
        self.began = threading.Event()
        self.connections = 0
        self.is_stopping = False

    def run(self) -> None:
        """Read until the test ends."""
        while not self.is_stopping:
            with closing(http.client.HTTPConnection(self._address, timeout=DEADLINE_S)) as connection:
                headers = {"Last-Event-ID": self._last} if self._last else {}
                connection.request("GET", "/api/v1/tail?q=number", headers=headers)
                with suppress(OSError, http.client.HTTPException):  # the console may end first
                    self._read(connection.getresponse())

    def _read(self, answer: http.client.HTTPResponse) -> None:
        self.connections += 1
        for kind, number, value in events(answer):
            if kind == "begin":
                assert value == ({"goes_on": True} if self._last else {})
                self.began.set()
            assert kind != "left_out"
            self._last = number or self._last
            if kind == "line":
                self.shown.append(int(value["message"].split()[1]))
                if len(self.shown) % 377 == 0:
                    return
            if self.is_stopping:
                return


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str, Any]]:
    """Yield kind, id and value of the events of a tail; a comment has no kind."""
    kind = number = ""
    while line := answer.readline().decode().rstrip("\n") or answer.readline().decode().rstrip("\n"):
        name, _, text = line.partition(": ")
        if name == "event":
            kind, number = text, ""
        elif name == "id":
            number = text
        elif name == "data":
            yield kind, number, json.loads(text)
        else:
            yield "", "", None


def test_whoever_follows_has_each_line_once_whatever_happens_to_the_server(tmp_path: Path) -> None:
    log, data, port = tmp_path / "app.log", tmp_path / "data", free_port()
    log.touch()
    with ExitStack() as stack:
        running = stack.enter_context(server(data, *BUSY, folder=tmp_path, port=port))
        stack.enter_context(client(log, port, "--mode", "continuous", *QUICK, folder=tmp_path))
        _, url = stack.enter_context(console(data, folder=tmp_path))
        tail = Tail(url)
        tail.start()
        assert tail.began.wait(DEADLINE_S)
        command = [sys.executable, ROOT / "main.py", "logs", "-f", "--output", "json", "--data-dir", data]
        follower = stack.enter_context(program(*map(str, command), folder=tmp_path))
        append(log, lines(0, 1))
        wait_until(lambda: numbers(follower.stdout) == [0], "the first line is followed")
        for part in range(PARTS):
            append(log, lines(1 + part * PART, PART))
            if part in KILLS:
                running.program.kill()
                running = stack.enter_context(server(data, *BUSY, folder=tmp_path, port=port))
            end = 1 + (part + 1) * PART
            wait_until(lambda: len(tail.shown) >= end and follower.stdout.count("\n") >= end, "the lines are shown")  # noqa: B023
        wait_until(lambda: list(data.rglob("*.gz")), "segments are compressed")
        wait_until(lambda: not list(data.rglob("*-1.ndjson*")), "retention has deleted the first segment")
        append(log, lines(1 + PARTS * PART, 1))
        expected = list(range(PARTS * PART + 2))
        wait_until(lambda: len(tail.shown) >= len(expected) and "number 4001 " in follower.stdout, "the last is shown")
        tail.is_stopping = True
        append(log, lines(2 + PARTS * PART, 1))
        tail.join(DEADLINE_S)
        assert numbers(follower.stdout)[: len(expected)] == expected
        assert tail.shown[: len(expected)] == expected
        assert tail.connections > 10


def numbers(stdout: str) -> list[int]:
    return [int(json.loads(line)["message"].split()[1]) for line in stdout.splitlines() if line.endswith("}")]
