"""A hundred clients that do their worst, in one process: `attackers.py PORT CONNECTIONS`, until a signal ends it.

Each sends one kind of what is expensive to judge, over and over, and connects again whenever the server ends its
connection. Every second one takes no answers.
"""

import itertools
import json
import selectors
import socket
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src")]

from logferry.protocol.compressor import gzipped  # noqa: E402  (the path comes first)
from logferry.protocol.messages.writing import batch_header, control_line  # noqa: E402

_MIB: Final = 1024 * 1024
_READ_BYTES: Final = 64 * 1024

_sources: Final = itertools.count()


def _frame(payload: bytes) -> bytes:
    body = gzipped(payload, level=9)
    return struct.pack(">I", len(body)) + body


_NEWLINES: Final = b"\n" * (8 * _MIB)
_BOMB: Final = _frame(b"\n" * (32 * _MIB))
_BODY: Final = gzipped(_NEWLINES, level=9)
_LIMIT: Final = 8 * _MIB - 100
_ARRAYS: Final = b'{"level": 1, "message": [' + b"[]," * (_LIMIT // 3) + b"1]}\n"
_DEEP: Final = b'{"level": 1, "message": ' + b"[" * _LIMIT + b"\n"
_ODD: Final = b' {"level":"x" ,"message":[[[[[[[[[[1]]]]]]]]]]} \n' * 5000


def _repeated(data: bytes) -> Iterator[bytes]:
    return itertools.repeat(data)


def _hello() -> tuple[bytes, str]:
    source = f"attacker-{next(_sources)}"
    hello = control_line("hello", version=1, client=source, host="attacker", encodings=["gzip"])
    return hello + control_line("open", source=source, path=f"/{source}"), source


def _batches() -> Iterator[bytes]:
    beginning, source = _hello()
    yield beginning
    header = batch_header(
        source=source, start=0, end=9, lines=len(_NEWLINES), crc32=zlib.crc32(_NEWLINES), size=len(_BODY), is_gzip=True
    )
    yield from _repeated(header + _BODY)


def _notes() -> Iterator[bytes]:
    beginning, source = _hello()
    yield beginning
    for end in itertools.count(1):
        yield control_line("note", source=source, start=0, end=end, reason="x")


def _pings() -> Iterator[bytes]:
    yield _hello()[0]
    yield from _repeated(b'{"logferry":"ping"}\n' * 1000)


_KINDS: Final[tuple[Callable[[], Iterator[bytes]], ...]] = (
    *(lambda: _repeated(_BOMB), lambda: _repeated(_NEWLINES[:_MIB]), lambda: _repeated(_ARRAYS)),
    *(lambda: _repeated(_DEEP), lambda: _repeated(_ODD), _batches, _notes, _pings),
)


class Attacker:
    """One connection at a time, of one kind."""

    def __init__(self, number: int, port: int, selector: selectors.BaseSelector) -> None:
        self._pieces_of = _KINDS[number % len(_KINDS)]
        self._takes_answers = number // len(_KINDS) % 2 == 0
        self._port = port
        self._selector = selector
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setblocking(False)
        self._pieces = self._pieces_of()
        self._unsent = memoryview(b"")
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if self._takes_answers else 0)
        self._selector.register(self._socket, events, self)

    def act(self, events: int) -> None:
        """Take answers and send more; connect again if the server has ended the connection."""
        try:
            if events & selectors.EVENT_READ and not self._socket.recv(_READ_BYTES):
                raise ConnectionError
            if events & selectors.EVENT_WRITE:
                self._unsent = self._unsent or memoryview(next(self._pieces))
                self._unsent = self._unsent[self._socket.send(self._unsent[:_READ_BYTES]) :]
        except BlockingIOError:
            pass
        except OSError:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._connect()


def main() -> int:
    """Attack until a signal ends it."""
    port, connections = map(int, sys.argv[1:])
    selector = selectors.DefaultSelector()
    for number in range(connections):
        Attacker(number, port, selector)
    print(json.dumps({"connections": connections}), flush=True)
    while True:
        for key, events in selector.select():
            key.data.act(events)


if __name__ == "__main__":
    sys.exit(main())
