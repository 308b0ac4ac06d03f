"""What a batch is on the wire: JSON lines or frames of the plain protocol, or a batch of the delivery extension."""

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from logferry.client.delivery.outputs.unanswered_lines import unanswered_part
from logferry.config import ShipSettings
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.compressor import gzipped
from logferry.protocol.delivery import batch_header, control_line
from logferry.protocol.plain_client import PlainClientProtocol, cut_lines

Piece = bytes | memoryview | tuple[bytes | memoryview, ...]
"""What goes to the network in one send, if the transport takes it; parts are not joined, one of them may be large."""


class Encoder(Protocol):
    """Turns batches into pieces for the network."""

    @property
    def lines_per_send(self) -> int:
        """How many lines one send may have at most."""

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Give the pieces of what is to be sent of a batch; none when it has nothing to say."""


class PlainEncoder:
    """The lines of a batch that have no answer yet, as JSON lines or in frames."""

    def __init__(self, settings: ShipSettings, connection: PlainClientProtocol) -> None:
        self.lines_per_send = _lines_per_send(settings)
        self._connection = connection

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """See Encoder: a batch without lines has nothing to say."""
        if not batch.lines:
            return iter(())
        return self._connection.pieces(unanswered_part(batch), batch.lines - batch.acked)


class DeliveryEncoder:
    """Batches with their source and range."""

    def __init__(self, settings: ShipSettings) -> None:
        self.lines_per_send = _lines_per_send(settings)
        self._level = settings.compress_level if settings.compress else None
        self._batch_size = settings.batch_size if self._level is None else None

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """See Encoder. A part of a batch cannot be sent by itself."""
        where = {"source": batch.source.id, "start": batch.start, "end": batch.end}
        if batch.lost:
            return iter((control_line("skip", **where, reason=batch.lost),))
        note = control_line("note", **where, reason=batch.cut) if batch.cut else b""
        body = batch.payload if self._level is None else gzipped(batch.payload, level=self._level)
        header = note + batch_header(
            source=batch.source.id,
            start=batch.start,
            end=batch.end,
            lines=batch.lines,
            crc32=batch.crc32,
            size=len(body),
            is_gzip=self._level is not None,
            is_split=batch.split,
        )
        pieces = cut_lines(body, batch.lines, self._batch_size)
        return chain(((header, next(pieces)),), pieces)


def open_line(source: Source) -> bytes:
    """Return the question how far a source is stored."""
    return control_line("open", source=source.id, path=source.path, known=source.committed)


def _lines_per_send(settings: ShipSettings) -> int:
    return sys.maxsize if settings.batch_size is None else settings.batch_size
