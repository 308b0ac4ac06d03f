"""A bare client of the delivery extension: says what a test wants said, and counts offsets by itself."""

import gzip
import json
import zlib
from collections.abc import Sequence
from typing import Any

from logferry.protocol.messages.writing import batch_header, control_line
from tests.support.running import RawClient, RunningServer, numbered_line

LINES = [numbered_line(number) for number in range(2000)]


def hello(**changes: Any) -> bytes:
    """Return the first line of a client."""
    fields: dict[str, Any] = {"version": 1, "client": "test", "host": "web-1", "encodings": ["gzip"]}
    return control_line("hello", **(fields | changes))


def opening(source: str = "s1", path: str = "/var/log/app.log") -> bytes:
    """Return the control line that opens a source."""
    return control_line("open", source=source, path=path)


def batch(
    lines: Sequence[bytes],
    *,
    start: int,
    end: int | None = None,
    source: str = "s1",
    is_gzip: bool = False,
    is_split: bool = False,
) -> bytes:
    """Return a batch; without `end`, the NDJSON itself counts as the file's content."""
    payload = b"".join(lines)
    body = gzip.compress(payload, 1) if is_gzip else payload
    header = batch_header(
        source=source,
        start=start,
        end=start + len(payload) if end is None else end,
        lines=len(lines),
        crc32=zlib.crc32(payload),
        size=len(body),
        is_gzip=is_gzip,
        is_split=is_split,
    )
    return header + body


class DeliveryClient(RawClient):
    """A connection that was welcomed; it may have a source open."""

    def __init__(self, server: RunningServer, *, source: str | None = None, **changes: Any) -> None:
        super().__init__(server.host, server.port)
        self.send(hello(**changes))
        self.welcome: dict[str, Any] = self.answer()
        if source:
            self.send(opening(source))
            self.opened = self.answer_after_alive()

    def report(self, source: str = "s1", after: int = 0) -> dict[str, Any]:
        """Ask for a report and return it."""
        self.send(control_line("report", source=source, after=after))
        return self.answer_after_alive()

    def answer_after_alive(self) -> dict[str, Any]:
        """Return the next answer that is more than a sign of life: those may come while a busy disk is waited for."""
        answer: dict[str, Any] = self.answer()
        while answer.get("message") == "alive":
            answer = self.answer()
        return answer


def size_of(lines: Sequence[bytes]) -> int:
    """Return the bytes of some lines."""
    return sum(map(len, lines))


def position(lines: Sequence[bytes], *, source: str = "s1", durability: str = "fsync") -> dict[str, Any]:
    """Return the answer that says that exactly these lines are stored, of a source whose content is their NDJSON."""
    payload = b"".join(lines)
    return {
        "status": "ok",
        "message": "received",
        "source": source,
        "committed": len(payload),
        "lines": len(lines),
        "crc32": zlib.crc32(payload),
        "durability": durability,
    }


def dumps(answer: dict[str, Any]) -> bytes:
    """Return an answer as it goes over the wire."""
    return json.dumps(answer).encode() + b"\n"
