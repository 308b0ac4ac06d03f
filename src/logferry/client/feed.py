"""Batches from files: reads the next chunk, renders it, counts it, and says what could not be read."""

import logging
from typing import Protocol

from logferry.client.file_reader import Reader
from logferry.client.formatter import render
from logferry.client.source_file import Chunk
from logferry.client.window import Batch
from logferry.errors import SourceError
from logferry.metrics import Metrics

logger = logging.getLogger(__name__)


class Feed(Protocol):
    """Where the delivery engine takes its batches from. Nothing here ever blocks."""

    @property
    def is_finished(self) -> bool:
        """Whether there will never be another batch."""

    @property
    def is_busy(self) -> bool:
        """Whether `next_batch` should be called again soon although it returned None."""

    def next_batch(self) -> Batch | None:
        """Return the next batch, or None when there is none now."""

    def tick(self) -> None:
        """Do what is to be done every poll interval."""

    def stop(self) -> None:
        """Read no more; what was read already may still come."""


class FileFeed:
    """Batches straight from a reader."""

    def __init__(self, reader: Reader, *, metrics: Metrics, max_lines: int | None = None) -> None:
        """`max_lines` bounds a batch."""
        self._reader = reader
        self._metrics = metrics
        self._max_lines = max_lines
        self._stopped = False
        self.error: SourceError | None = None

    @property
    def is_finished(self) -> bool:
        """See Feed. A failing file system ends a feed as its end does; `error` tells."""
        return self._stopped or self.error is not None or self._reader.is_finished

    @property
    def is_complete(self) -> bool:
        """Whether all that was to be read was read."""
        return self._reader.is_finished and self.error is None

    @property
    def is_busy(self) -> bool:
        """See Feed."""
        return self._reader.is_busy

    def next_batch(self) -> Batch | None:
        """See Feed. Chunks of nothing but blank lines are passed over."""
        while not self.is_finished:
            chunk = self._read()
            if chunk is None:
                return None
            batch = self._render(chunk)
            if batch.lines:
                return batch
        return None

    def tick(self) -> None:
        """See Feed."""
        self._reader.poll()

    def stop(self) -> None:
        """See Feed."""
        self._stopped = True

    def _read(self) -> Chunk | None:
        try:
            chunk = self._reader.read(max_lines=self._max_lines)
        except SourceError as error:
            logger.error("%s", error)
            self.error = error
            return None
        for lost in self._reader.take_lost():
            logger.error("%s: bytes %d to %d are lost: %s", lost.source.path, lost.start, lost.end, lost.reason)
            self._metrics.add(bytes_lost=lost.end - lost.start)
        return chunk

    def _render(self, chunk: Chunk) -> Batch:
        rendered = render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated)
        if chunk.truncated and rendered.lines:
            logger.warning(
                "%s: the line at bytes %d to %d is too long; %d bytes of it are shipped, marked truncated",
                *(chunk.source.path, chunk.start, chunk.end, len(chunk.data)),
            )
        self._metrics.add(
            lines_read=rendered.lines + rendered.blank,
            lines_blank=rendered.blank,
            lines_cut=int(chunk.truncated and bool(rendered.lines)),
            lines_undecodable=rendered.undecodable,
            bytes_read=chunk.end - chunk.start,
        )
        return Batch(chunk.source, chunk.start, chunk.end, rendered.payload, rendered.lines)
