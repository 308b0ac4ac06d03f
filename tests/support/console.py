"""A console over lines in memory, in a thread with an event loop of its own, and a reader of its API."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlencode

from logferry.console.access import Hosts
from logferry.console.application import application
from logferry.console.levels import CLASS_OF, LEVEL_CLASSES
from logferry.console.queries.queries import Limits, Queries
from logferry.console.running import ConsoleServer
from logferry.console.source import (
    Counted,
    CountedRow,
    Counts,
    FileCheck,
    FileInfo,
    FileProof,
    Followed,
    Gap,
    HostInfo,
    Line,
    Proof,
    Query,
    Source,
    Stop,
    Storage,
    UnknownPlace,
    Usage,
    Word,
)
from logferry.tls_files import TlsContext
from tests.support.running import DEADLINE_S

START_MS = 1_768_464_000_000  # 2026-01-15T08:00:00Z


class MemorySource:
    """A Source over a list, which the test may extend. `slow` makes a search wait before each line."""

    def __init__(self, lines: Sequence[Line] = (), gaps: Sequence[Gap] = ()) -> None:
        self.lines = list(lines)
        self.known_gaps = list(gaps)
        self.slow_s = 0.0
        self.damaged = 0
        self.checked_at = START_MS
        self.verdict: dict[str, object] = {}  # on each file
        self.clients: dict[str, dict[str, object]] = {}
        self.failure: Exception | None = None
        self.running = 0  # searches and tails that have begun and not ended

    def add(self, content: bytes, *, host: str = "web-1", path: str = "/var/log/app.log", time: int = -1) -> Line:
        """Add a line, a second after the one before it."""
        number = len(self.lines)
        moment = time if time >= 0 else START_MS + 1000 * number
        line = Line(f"1-{number}", host, path, moment, moment, True, content)
        self.lines.append(line)
        return line

    def hosts(self) -> Sequence[HostInfo]:
        """See Source."""
        if self.failure:
            raise self.failure
        return [
            HostInfo(
                *(host, len(paths), len(own), sum(len(line.content) for line in own), own[0].time, own[-1].time),
                client=self.clients.get(host, {}),
            )
            for host in sorted({line.host for line in self.lines})
            if (own := [line for line in self.lines if line.host == host]) and (paths := {line.path for line in own})
        ]

    def files(self) -> Sequence[FileInfo]:
        """See Source."""
        return [
            FileInfo(host, path, len(own), sum(len(line.content) for line in own), own[0].time, own[-1].time)
            for host, path in sorted({(line.host, line.path) for line in self.lines})
            if (own := [line for line in self.lines if (line.host, line.path) == (host, path)])
        ]

    def search(self, query: Query, *, from_place: str, is_backward: bool, stop: Stop) -> Iterator[Line]:
        """See Source."""
        self.running += 1
        try:
            yield from self._search(query, from_place, is_backward=is_backward, stop=stop)
        finally:
            self.running -= 1

    def _search(self, query: Query, from_place: str, *, is_backward: bool, stop: Stop) -> Iterator[Line]:
        lines = sorted(self.lines, key=_order)
        if from_place:
            place = bisect_left(lines, _order(self._line(from_place)), key=_order)
            lines = lines[:place] if is_backward else lines[place + 1 :]
        for line in reversed(lines) if is_backward else lines:
            stop.check()
            if self.slow_s:
                stop.wait(self.slow_s)
            stop.bytes_read += len(line.content)
            stop.lines_read += 1
            if matches(query, line):
                yield line

    def counts(self, query: Query, *, since: int, bucket_ms: int, buckets: int, stop: Stop) -> Iterator[Counts]:
        """See Source."""
        rows: dict[int, list[int]] = {}
        for line in self.search(query, from_place="", is_backward=False, stop=stop):
            row = rows.setdefault((line.time - since) // bucket_ms, [0] * len(LEVEL_CLASSES))
            row[LEVEL_CLASSES.index(level_class(line))] += 1
        yield Counts([[bucket, *row] for bucket, row in sorted(rows.items()) if bucket < buckets])

    def gaps(self, query: Query) -> Sequence[Gap]:
        """See Source."""
        return self.known_gaps

    def context(self, place: str, *, before: int, after: int, stop: Stop) -> Sequence[Line]:
        """See Source."""
        wanted = self._line(place)
        lines = [line for line in self.lines if (line.host, line.path) == (wanted.host, wanted.path)]
        at = lines.index(wanted)
        return lines[max(0, at - before) : at + after + 1]

    def raw(self, place: str, *, stop: Stop) -> bytes:
        """See Source."""
        return self._line(place).content

    def follow(self, query: Query, *, after: str, stop: Stop) -> Iterator[Followed]:
        """See Source. A bookmark is the number of lines that were seen."""
        if after and not after.isdecimal():
            raise UnknownPlace
        seen = int(after) if after else len(self.lines)
        self.running += 1
        try:
            yield Followed(None, str(seen))
            while True:
                stop.check()
                if seen == len(self.lines):
                    yield Followed(None, str(seen))
                    stop.wait(0.01)
                while seen < len(self.lines):
                    seen += 1
                    if matches(query, line := self.lines[seen - 1]):
                        yield Followed(line, str(seen))
        finally:
            self.running -= 1

    def proof(self) -> Proof:
        """See Source."""
        files = [self._proof_of(each) for each in self.files()]
        size = sum(each.bytes for each in files)
        return Proof(
            *(files, size, size, self.checked_at, self.checked_at, self.damaged * len(files)),
            *(sum(each.lost for each in files), sum(each.unknown for each in files)),
        )

    def _proof_of(self, file: FileInfo) -> FileProof:
        gaps = [gap for gap in self.known_gaps if (gap.host, gap.path) == (file.host, file.path)]
        lost = [gap for gap in gaps if gap.kind == "lost"]
        return FileProof(
            *(file.host, file.path, file.lines, file.bytes, file.bytes, self.checked_at, self.damaged, 0),
            *(len(lost), sum(gap.bytes for gap in lost), len(gaps) - len(lost), 0),
            gaps=gaps,
            verdict=self.verdict,
        )

    def statistics(self, query: Query, *, by: str, with_patterns: bool, stop: Stop) -> Iterator[Counted]:
        """See Source: by host alone."""
        found = list(self.search(query, from_place="", is_backward=False, stop=stop))
        counts = sorted(Counter(line.host for line in found).items())
        yield Counted([CountedRow(host, count, [], [], {}) for host, count in counts], len(found), 0, 0, 1, 0, "")

    def check(self, host: str, path: str, *, stop: Stop) -> Iterator[FileCheck]:
        """See Source."""
        for each in self.files():
            if (each.host, each.path) == (host, path):
                for part in (2, 1):
                    stop.wait(self.slow_s)
                    altered = self.damaged if part == 1 else 0
                    yield FileCheck(
                        *(host, path, each.bytes, each.bytes // part, each.lines, 1),
                        *(altered, altered, altered, 0, 0, ("one.ndjson has other content",) * altered),
                    )

    def storage(self) -> Storage:
        """See Source."""
        usage = [Usage(each.host, "2026-01-15", each.bytes, each.bytes // 8, each.lines) for each in self.hosts()]
        size = sum(each.bytes for each in usage)
        return Storage(usage, 1, 0, size, size // 8, 1 << 40, 1 << 39, 1e9, START_MS + 10**10, [])

    def _line(self, place: str) -> Line:
        for line in self.lines:
            if line.place == place:
                return line
        raise UnknownPlace


def matches(query: Query, line: Line) -> bool:
    """Whether a query wants a line."""
    text = line.content.decode("utf-8", "replace")
    name = line.path.rpartition("/")[2]
    return (
        (not query.hosts or any(fnmatchcase(line.host, pattern) for pattern in query.hosts))
        and (not query.files or any(fnmatchcase(line.path if "/" in p else name, p) for p in query.files))
        and (not query.levels or _level(line) in query.levels or level_class(line) in query.levels)
        and (query.since is None or line.time >= query.since)
        and (query.until is None or line.time < query.until)
        and all(_has(word, text) != word.is_unwanted for word in query.words)
    )


def level_class(line: Line) -> str:
    """Return the class of a line's level."""
    return CLASS_OF.get(_level(line), "other")


def _level(line: Line) -> str:
    found = re.match(rb'\{"level": "([^"]*)"', line.content)
    return found[1].decode().lower() if found else ""


def _has(word: Word, text: str) -> bool:
    return bool(re.search(word.text, text)) if word.is_regex else word.text.lower() in text.lower()


def _order(line: Line) -> tuple[int, int]:
    return line.time, int(line.place.rpartition("-")[2])


class Console:
    """A console that runs, and what its API answers."""

    def __init__(self, source: Source, queries: Queries, host: str, port: int, url: str) -> None:
        self.source = source
        self.queries = queries
        self.host = host
        self.port = port
        self.url = url

    def request(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def get(self, path: str, headers: Mapping[str, str] | None = None, /, **parameters: object) -> Any:
        """Return what a question is answered with, which must be good."""
        status, _, body = self.request(f"/api/v1{path}?{urlencode(parameters)}", headers)
        assert status == 200, body
        return json.loads(body)

    def refused(self, path: str, headers: Mapping[str, str] | None = None, /, **parameters: object) -> tuple[int, str]:
        """Return the status and the sentence of an error."""
        status, _, body = self.request(f"/api/v1{path}?{urlencode(parameters)}", headers)
        assert status >= 400, body
        error = json.loads(body)["error"]
        assert set(error) == {"code", "message"}
        return status, error["message"]

    @contextmanager
    def stream(
        self, path: str, headers: Mapping[str, str] | None = None, /, *, receive_buffer: int = 0, **parameters: object
    ) -> Iterator[http.client.HTTPResponse]:
        """Give an answer whose body is read by the test; its connection is closed at the end."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            if receive_buffer:
                connection.sock = socket.socket()
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                connection.sock.settimeout(DEADLINE_S)
                connection.sock.connect((self.host, self.port))
            connection.request(
                "GET",
                f"/api/v1{path}?{urlencode(parameters)}",
                headers={"Accept": "application/x-ndjson", **(headers or {})},
            )
            answer = connection.getresponse()
            with contextlib.closing(answer):
                yield answer


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield the Server-Sent Events of an answer."""
    kind = ""
    while line := answer.readline().decode().rstrip("\n"):
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])
            answer.readline()
        elif line.startswith(":"):
            answer.readline()


@contextmanager
def running_console(
    source: Source,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    names: Sequence[str] = (),
    tls: TlsContext | None = None,
    listens_on: str = "127.0.0.1",
) -> Iterator[Console]:
    """Run a console on a free loopback port."""
    server = ConsoleServer("127.0.0.1", 0, tls)
    ready: list[Console] = []
    began = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        queries = Queries(limits or Limits())
        app = application(source, queries, hosts=Hosts(listens_on, names), token=token)
        ready.append(Console(source, queries, *server.address, server.url))
        loop.call_soon(began.set)
        await server.run(app, queries, stop)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert began.wait(DEADLINE_S)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        loop.close()
