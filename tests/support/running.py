"""What tests share: a server in a thread, a client made of a bare socket, and waiting with a deadline."""

import asyncio
import contextlib
import dataclasses
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from logferry.config import ServeSettings, load
from logferry.server import Patience, Replacements, Server, ServerStats
from logferry.server.clients.identities.authenticator import Authenticator
from logferry.server.storage.disk.content.segment_bytes import any_form, blocks
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.segment_forms import segment_form
from logferry.server.storage.store import Store

# No wait of a test is longer; long enough for a busy machine, since a test that passes never waits for it.
DEADLINE_S: Final = 30.0


def wait_until(
    condition: Callable[[], object], what: str | Callable[[], str], *, deadline_s: float = DEADLINE_S
) -> None:
    """Return as soon as `condition` is true; fail the test, with `what`, if it does not become so in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"after {deadline_s:g} s still not: {what if isinstance(what, str) else what()}")
        time.sleep(0.002)


def wait_while_it_moves(condition: Callable[[], object], progress: Callable[[], object], what: str) -> None:
    """Wait until `condition` is true; fail once `progress` has been the same for a deadline.

    For what takes many rounds, each of which waits for other threads: all of them together have no deadline that is
    right on a busy machine.
    """
    while not condition():
        before = progress()
        wait_until(lambda before=before: condition() or progress() != before, f"{what}; it is at {before}")  # type: ignore[misc]


def numbered_line(number: int) -> bytes:
    """Return a line as our own client renders it; no two numbers give the same."""
    return b'{"level": "INFO", "message": "line %d", "timestamp": "2024-01-15 08:23:45"}\n' % number


def stored_lines(data_dir: Path) -> list[bytes]:
    """Return all whole lines that a server keeps, newlines included; of each folder in the order of storing.

    The server may be in the middle of a write: what follows the last newline of a segment is not a line yet.
    """
    names = data_dir.glob("segments/**/*.ndjson*")
    segments = {path.with_name(str(form[0])) for path in names if (form := segment_form(path.name))}
    contents = map(plain_bytes, sorted(segments, key=_age))
    return b"".join(content[: content.rfind(b"\n") + 1] for content in contents).splitlines(keepends=True)


def plain_bytes(segment: Path) -> bytes:
    """Return what a segment holds, whatever its form."""
    with any_form(segment) as content:
        return b"".join(blocks(content, 0, content.size))


def _age(path: Path) -> tuple[str, str, int]:
    day, _, number = path.stem.rpartition("-")
    return str(path.parent), day, int(number)


def serve_settings(data_dir: Path, **changes: Any) -> ServeSettings:
    """Return the defaults of `logferry serve` on a free loopback port, with `changes`."""
    settings = load(ServeSettings, {}, {})
    base: dict[str, Any] = {"server_host": "127.0.0.1", "server_port": 0, "data_dir": data_dir, "min_free_bytes": 0}
    base["segment_compression"] = "none"  # tests that read files want to know which there are
    return dataclasses.replace(settings, **(base | changes))


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (4096, 1):
            while file.write(bytes(size)) == size:
                pass


class RunningServer:
    """A server with a thread and an event loop of its own."""

    def __init__(self, settings: ServeSettings, **more: Any) -> None:
        self.data_dir = settings.data_dir
        self.server = Server(settings, **more)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._run(self.server.start())
        except BaseException:
            self._end_thread()
            raise
        self.host, self.port = self.server.addresses[0]

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_S)

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    @property
    def stats(self) -> ServerStats:
        """What the server has done so far."""
        return self.server.stats

    def stored_lines(self) -> list[bytes]:
        """Return all lines on its disk."""
        return stored_lines(self.data_dir)

    def connect(self, **options: Any) -> "RawClient":
        """Open a connection to it."""
        return RawClient(self.host, self.port, **options)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the event loop from doing anything for the length of a `with`."""
        begun, may_go_on = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            may_go_on.wait(DEADLINE_S)

        self._loop.call_soon_threadsafe(hold)
        assert begun.wait(DEADLINE_S)
        try:
            yield
        finally:
            may_go_on.set()

    def stop(self) -> None:
        """Stop the server and its thread; a second time does nothing."""
        if self._thread.is_alive():
            self._run(self.server.stop())
            self._end_thread()


@contextmanager
def running_server(
    tmp_path: Path,
    *,
    patience: Patience | None = None,
    files: FileSystem | None = None,
    echo: Callable[[bytes], None] | None = None,
    store: Store | None = None,
    authenticator: Authenticator | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Run a server on `tmp_path / "data"` (or the setting `data_dir`) for the length of a `with`."""
    data_dir = settings.pop("data_dir", tmp_path / "data")
    # Short, so that tests may leave their clients open.
    patience = patience or Patience(linger_s=0.2)
    replacements = Replacements(store=store, authenticator=authenticator, patience=patience, files=files)
    server = RunningServer(serve_settings(data_dir, **settings), echo=echo, replacements=replacements)
    try:
        yield server
    finally:
        server.stop()


class RawClient:
    """A socket that sends what a test wants sent, and never waits longer than the deadline.

    `close_all` at the end of each test closes the sockets that the test left open.
    """

    _open: ClassVar[set["RawClient"]] = set()

    @classmethod
    def close_all(cls) -> None:
        """Close every socket that is still open."""
        for client in list(cls._open):
            client.close()

    def __init__(self, host: str, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._open.add(self)
        self.socket.settimeout(DEADLINE_S)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect((host, port))
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def answer(self) -> dict[str, Any]:
        """Return the next ack."""
        while b"\n" not in self._received:
            data = self._receive()
            assert data, f"the server closed; before that: {self._received!r}"
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def answers(self, count: int) -> list[str]:
        """Return the statuses of the next `count` acks."""
        return [self.answer()["status"] for _ in range(count)]

    def finish_sending(self) -> None:
        """Close the sending half (`nc -N`)."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_to_end(self, *, deadline_s: float | None = None) -> bytes:
        """Return all that the server still sends until it closes; within `deadline_s` in all, if that is given."""
        end = time.monotonic() + (deadline_s or float("inf"))
        while data := self._receive():
            assert time.monotonic() < end, f"after {deadline_s} s the server still sends"
            self._received += data
        everything, self._received = self._received, b""
        return everything

    def _receive(self) -> bytes:
        return self.socket.recv(65536)

    def reset(self) -> None:
        """Break the connection off, as a crash of the machine or a firewall would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._open.discard(self)
        self.socket.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class PeakMemory:
    """How much more memory this process used at most than at the beginning of the `with`; `grown_bytes` afterwards."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present
        self._before = _status_bytes("VmHWM")
        self.grown_bytes = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.grown_bytes = _status_bytes("VmHWM") - self._before


def _status_bytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024
