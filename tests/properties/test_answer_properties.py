"""Whatever a server answers, at any step: the client ends with a sentence or goes on, and passes no line in silence.

A client delivers over a transport in memory to a peer that lies as often as hypothesis wants it to, then is honest.
Rules E31 to E35.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.outputs.auto import AutoEstablish
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.delivery.positions.resume import StoredRanges
from logferry.client.delivery.servers.retry import Backoff
from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import Readiness, Wait
from logferry.client.net.waiting.steps import Steps
from logferry.errors import DeliveryAbandoned
from logferry.model.source import Source
from logferry.protocol.delivery.answer_lines import read_answer, read_welcome
from logferry.protocol.messages.writing import answer_line, refusal_line
from logferry.telemetry.metrics import Metrics
from tests.support.memory_delivery import MemoryProducer, MemoryProgress
from tests.support.running import numbered_line
from tests.support.shipping import ship_settings
from tests.support.stopping import stop_signal

LINES = [numbered_line(number) for number in range(100, 112)]
SIZE = len(LINES[0])

NUMBERS = [0, 1, -1, -7, 3, SIZE, 5 * SIZE, 12 * SIZE, 10**15, 2**63 - 1, 2**63, 2**70, 1.5, float("inf"), True]
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [*NUMBERS, None, "", "s", "s-new", "x" * 300, "\ud800", "\x1b", [], [1], {}, [[]], [["s", 1]]]
)
FIELDS = st.sampled_from(
    ["source", "committed", "lines", "crc32", "message", "status", "final", "version", "max_batch_bytes", "max_sources"]
)
KINDS = ("open", "received", "error", "alive", "hello", "positions", "report", "content", "damage", "window", "repair")

Lie = tuple[str, dict[str, Any]] | bytes
LIES = st.one_of(
    st.tuples(st.sampled_from(KINDS), st.dictionaries(FIELDS, VALUES, max_size=3)),
    st.sampled_from([b"\n", b"{", b"[" * 5000, b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"status": "ok"}\n', b"\0" * 9]),
    st.binary(max_size=30),
)
SCRIPTS = st.lists(st.one_of(st.none(), LIES), max_size=12)  # None: an honest answer


def lie_line(lie: Lie, source: str, committed: int) -> bytes:
    """Return a lie as it goes over the wire."""
    if isinstance(lie, bytes):
        return lie
    kind, changes = lie
    fields: dict[str, Any] = {"status": "ok", "message": kind, "source": source, "committed": committed}
    fields |= {"lines": 0, "crc32": 0, "version": 1, "max_batch_bytes": 10**6, "durability": "os", "positions": []}
    if kind == "error":
        fields |= {"status": "error", "final": True}
    return json.dumps(fields | changes).encode() + b"\n"


class Liar:
    """A server that stores what it may, and says what the script wants it to say."""

    def __init__(self, script: list[Lie | None]) -> None:
        self.script = script
        self.stored: dict[str, list[bytes]] = {}
        self.committed: dict[str, int] = {}
        self.talks: list[tuple[MemoryTransport, MemoryTransport, bytearray]] = []
        self.now = 1000.0
        self.polls = 0

    def dial(self) -> Steps[Transport]:
        ours, theirs = MemoryTransport.pair()
        self.talks.append((ours, theirs, bytearray()))
        yield from ()
        return ours

    def clock(self) -> float:
        return self.now

    def poll(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """See Wait."""
        self.polls += 1
        assert self.polls < 3000, "the client never ends"
        for _, theirs, buffer in self.talks[-3:]:
            self._serve(theirs, buffer)
        ready = {ours.fileno(): ours.ready() & interest.get(ours.fileno(), 0) for ours, _, _ in self.talks[-3:]}
        ready = {fd: events for fd, events in ready.items() if events}
        if not ready:
            self.now += min(timeout_s, 1000.0) + 0.001
        return ready

    def _serve(self, theirs: MemoryTransport, buffer: bytearray) -> None:
        if theirs.is_closed:
            return
        data = theirs.receive(1 << 20)
        buffer += data or b""
        for answer in self._answers(buffer):
            theirs.send((answer,), more=False)
        if data == b"":
            theirs.close()

    def _answers(self, buffer: bytearray) -> Iterator[bytes]:
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            request = json.loads(line) if line.startswith(b"{") else {}
            size = request.get("bytes", 0)
            if len(rest) < size:
                return
            buffer[:] = rest[size:]
            honest = self._honest(request, rest[:size])
            lie = self.script.pop(0) if self.script else None
            source = str(request.get("source", "s"))
            yield honest if lie is None else lie_line(lie, source, self.committed.get(source, 0))

    def _honest(self, request: dict[str, Any], payload: bytes) -> bytes:
        kind, source = request.get("logferry"), str(request.get("source", ""))
        if kind == "hello":
            return answer_line("hello", version=1, max_batch_bytes=10**6, durability="os")
        if kind in ("batch", "skip"):
            if request["start"] != self.committed.get(source, 0):
                return refusal_line("a gap", source=source, committed=self.committed.get(source, 0), is_final=False)
            self.committed[source] = request["end"]
            self.stored.setdefault(source, []).append(payload)
        if kind in ("batch", "skip", "open"):
            data = b"".join(self.stored.get(source, []))
            numbers = {
                "committed": self.committed.get(source, 0),
                "lines": data.count(b"\n"),
                "crc32": zlib.crc32(data),
            }
            return answer_line("open" if kind == "open" else "received", source=source, **numbers)
        return b'{"status": "error", "message": "not understood"}\n'


@settings(max_examples=100)
@given(script=SCRIPTS)
def test_no_answer_ends_a_client_with_a_traceback_or_makes_it_pass_a_line_in_silence(
    script: list[Lie | None],
) -> None:
    liar, one, metrics = Liar(list(script)), Source("app.log", id="s"), Metrics()
    producer, progress = MemoryProducer({one: LINES}, lines_per_batch=3), MemoryProgress([])
    options = ship_settings(Path("app.log"), 1, mode="batch", max_attempts=4, ack_timeout=5.0, poll_interval=1.0)
    servers = Servers()

    def stored_extents(source_id: str, *, wait: Wait) -> StoredRanges:
        return StoredRanges([], [])

    engine = DeliveryEngine(
        producer,
        ServerOutput("memory", AutoEstablish(liar.dial, options, servers, server="memory")),
        options,
        metrics=metrics,
        stop=stop_signal(),
        checkpoints=progress,
        stored_extents=stored_extents,
        backoff=Backoff(uniform=lambda: 1.0),
        clock=liar.clock,
        poll=liar.poll,
    )
    try:
        engine.run()
    except DeliveryAbandoned:
        return  # the sentence of the last failure
    stored = b"".join(b"".join(payloads) for payloads in liar.stored.values()).splitlines(keepends=True)
    missing = [line for line in LINES if line not in stored]
    if servers.is_known:  # otherwise the client fell back to the plain protocol, which this peer does not store
        assert len(missing) <= metrics.total().counters.lines_rejected


class Servers:
    """See KnownServers."""

    client_id = "client"
    is_known = False

    def knows_extension(self, server: str) -> bool:
        return self.is_known

    def learn_extension(self, server: str) -> None:
        self.is_known = True


@pytest.mark.parametrize("read", [read_answer, read_welcome])
@given(lie=LIES)
def test_every_answer_can_be_read(read: Any, lie: Lie) -> None:
    for line in lie_line(lie, "s", 0).split(b"\n"):
        read(line)
