"""How a batch is encoded for the wire: as JSON lines or frames of the plain protocol, or for the delivery extension."""

import os
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Protocol

from logferry.client.delivery.outputs.unanswered_lines import unanswered_part
from logferry.client.readers.stdin_content import NAME as STANDARD_INPUT
from logferry.config import ShipSettings
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.model.unknown_window import UnknownWindow
from logferry.names import text_of_name
from logferry.protocol.compressor import gzipped
from logferry.protocol.messages.writing import batch_header, control_line
from logferry.protocol.plain.client import PlainClientProtocol, cut_lines

Piece = bytes | memoryview | tuple[bytes | memoryview, ...]
"""What goes to the network in one send, if the transport takes it all. Parts are not joined: they may be large."""


class Encoder(Protocol):
    """Turns batches into pieces for the network."""

    @property
    def lines_per_send(self) -> int:
        """The most lines that one send may have."""

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """Yield the pieces of a batch that are to be sent, if any."""


class PlainEncoder:
    """Encodes the lines of a batch that have no answer yet, as JSON lines or in frames."""

    def __init__(self, settings: ShipSettings, connection: PlainClientProtocol) -> None:
        self.lines_per_send = _lines_per_send(settings)
        self._connection = connection

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """See Encoder: nothing is sent for a batch without lines."""
        if not batch.lines:
            return iter(())
        return self._connection.pieces(unanswered_part(batch), batch.lines - batch.acked)


class DeliveryEncoder:
    """Encodes batches with their source and range."""

    def __init__(self, settings: ShipSettings, *, reports_windows: bool = False) -> None:
        self.lines_per_send = _lines_per_send(settings)
        self._reports_windows = reports_windows
        self._level = settings.compress_level if settings.compress else None
        self._batch_size = settings.batch_size if self._level is None else None

    def pieces(self, batch: Batch) -> Iterator[Piece]:
        """See Encoder. A batch is always sent as a whole."""
        if batch.unknown:
            return iter((window_line(batch, batch.unknown),) if self._reports_windows else ())
        where = {"source": batch.source.id, "start": batch.start, "end": batch.end}
        if batch.lost:
            kind = {"lost": False} if batch.is_skipped else {}
            return iter((control_line("skip", **where, reason=batch.lost, **kind),))
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
    """Return the `open` message, which asks how far a source is stored."""
    return control_line("open", source=source.id, path=text_of_name(_full_path(source.path)), known=source.committed)


def _full_path(path: str) -> str:
    """Return the path by which the store keeps a file's lines: two services may both write `logs/app.log`."""
    if path == STANDARD_INPUT:
        return path
    try:
        return os.path.abspath(path)
    except OSError:  # the working folder is gone
        return path


def window_line(batch: Batch, window: UnknownWindow) -> bytes:
    """Return the message that reports an unknown window, with times in milliseconds."""
    times = {"last_look": round(window.last_look * 1000), "noticed": round(window.noticed_at * 1000)}
    return control_line("window", source=batch.source.id, start=batch.start, **times, reason=window.reason)


def _lines_per_send(settings: ShipSettings) -> int:
    return sys.maxsize if settings.batch_size is None else settings.batch_size
