"""How batches are said to a server, and its answers understood: the plain protocol, or the delivery extension.

`greet` finds out which one a server speaks.
"""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from logferry.client.delivery.window import rest_of
from logferry.client.net.connect import READ, WRITE, Connection, Wait
from logferry.config import ShipSettings
from logferry.errors import PeerClosed, PeerConfused, PeerSilent
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.compressor import gzipped
from logferry.protocol.delivery import (
    VERSION,
    Answer,
    NotUnderstood,
    Welcome,
    batch_header,
    control_line,
)
from logferry.protocol.delivery_client import DeliveryClientProtocol
from logferry.protocol.plain_client import ClientEvent, PlainClientProtocol, cut_lines

# A server that knows the hello answers at once, whatever its disk does.
HELLO_TIMEOUT_S: Final = 10.0

Event = ClientEvent | Answer

Piece = bytes | memoryview | tuple[bytes | memoryview, ...]
"""What goes to the network in one send, if the socket takes it; parts are not joined, one of them may be large."""


class PlainDialect:
    """JSON lines or frames; one answer per line, in order."""

    needs_open = False
    max_batch_bytes = sys.maxsize  # lines are judged one by one
    max_sources = sys.maxsize  # nobody is told of them

    def __init__(self, settings: ShipSettings) -> None:
        level = settings.compress_level if settings.compress else None
        self.lines_per_send = _lines_per_send(settings)
        self._connection = PlainClientProtocol(lines_per_send=settings.batch_size, compress_level=level)

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Give what goes to the network for the unanswered part of a batch, one send each."""
        return self._connection.pieces(rest_of(batch), batch.lines - batch.acked) if batch.lines else iter(())

    def read(self, data: bytes) -> list[Event]:
        """Return the answers in what was received."""
        return list(self._connection.receive_data(data))


class DeliveryDialect:
    """Batches with their source and range; answers that say how far a source is stored."""

    needs_open = True

    def __init__(self, settings: ShipSettings, session: DeliveryClientProtocol, welcome: Welcome) -> None:
        self._settings = settings
        self._session = session
        self.lines_per_send = _lines_per_send(settings)
        self.max_batch_bytes = welcome.max_batch_bytes
        self.max_sources = welcome.max_sources

    def open_line(self, source: Source) -> bytes:
        """Return the question how far a source is stored."""
        return control_line("open", source=source.id, path=source.path, known=source.committed)

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Give what goes to the network for a batch, one send each; a part of it cannot be sent by itself."""
        where = {"source": batch.source.id, "start": batch.start, "end": batch.end}
        if batch.lost:
            return iter((control_line("skip", **where, reason=batch.lost),))
        note = control_line("note", **where, reason=batch.cut) if batch.cut else b""
        level = self._settings.compress_level if self._settings.compress else None
        body = batch.payload if level is None else gzipped(batch.payload, level=level)
        header = note + batch_header(
            source=batch.source.id,
            start=batch.start,
            end=batch.end,
            lines=batch.lines,
            crc32=batch.crc32,
            size=len(body),
            is_gzip=level is not None,
            is_split=batch.split,
        )
        pieces = cut_lines(body, batch.lines, self._settings.batch_size if level is None else None)
        return chain(((header, next(pieces)),), pieces)

    def read(self, data: bytes) -> list[Event]:
        """Return the answers in what was received."""
        return list(self._session.receive_data(data))


Dialect = PlainDialect | DeliveryDialect


def _lines_per_send(settings: ShipSettings) -> int:
    """Return how many lines one send may have at most."""
    return sys.maxsize if settings.batch_size is None else settings.batch_size


def greet(connection: Connection, settings: ShipSettings, *, client_id: str, wait: Wait) -> Dialect:
    """Say hello; return the dialect that the answer asks for.

    Raises PeerClosed or PeerSilent when there is no answer, PeerConfused when it makes no sense.
    """
    session = DeliveryClientProtocol()
    hello = control_line("hello", version=VERSION, client=client_id, host=settings.host, encodings=["gzip"])
    _send_all(connection, hello, wait)
    answer = _first_answer(connection, session, min(HELLO_TIMEOUT_S, settings.ack_timeout), wait)
    if isinstance(answer, Welcome):
        return DeliveryDialect(settings, session, answer)
    if isinstance(answer, NotUnderstood):
        return PlainDialect(settings)
    raise PeerConfused(f"{answer}")


def answers_a_blank_line(connection: Connection, settings: ShipSettings, *, wait: Wait) -> bool:
    """Whether the server is there and speaks the plain protocol: it answers every line, a blank one too (rule L5)."""
    try:
        _send_all(connection, b"\n", wait)
        answer = _first_answer(connection, DeliveryClientProtocol(), min(HELLO_TIMEOUT_S, settings.ack_timeout), wait)
    except (PeerClosed, PeerSilent):
        return False
    return isinstance(answer, NotUnderstood)


def _send_all(connection: Connection, data: bytes, wait: Wait) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[connection.send(rest) :]
        if rest and not wait(connection.sock, WRITE, HELLO_TIMEOUT_S):
            raise PeerSilent("the server takes no data")


def _first_answer(
    connection: Connection,
    session: DeliveryClientProtocol,
    timeout_s: float,
    wait: Wait,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    end = clock() + timeout_s
    while True:
        if not wait(connection.sock, READ, max(0.0, end - clock())):
            raise PeerSilent(f"the server has not answered the hello within {timeout_s:g} s")
        answers = session.receive_data(connection.receive())
        if answers:
            return answers[0]
