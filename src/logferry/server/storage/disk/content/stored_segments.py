"""Opens segments to read them, by their rows in the ledger, whatever form their files have at that moment.

A segment may be compressed, or deleted, after its row was read. Then the row is read again; if the file is still
another one than the ledger says, which a crash may leave for a while, any file that is there is read. Only reads; for
one thread, as its ledger.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from logferry.server.storage.disk.content.members import unpacked
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes, PlainBytes, SegmentBytes, any_form
from logferry.server.storage.disk.files.segment_forms import stored_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow


class StoredSegments:
    """The segments below a folder. Keeps the compressed one open that was read last, with one member in memory."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self.root = root
        self._ledger = ledger
        self._last: tuple[SegmentRow, SegmentBytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is kept open."""
        if self._last:
            self._last[1].close()
            self._last = None

    @contextlib.contextmanager
    def opened(self, row: SegmentRow) -> Iterator[SegmentBytes]:
        """Open a segment for the length of a `with`. Raises OSError; FileNotFoundError if it has no file."""
        if self._last and self._last[0] == row:
            yield self._last[1]
            return
        self.close()
        content = self._open(row)
        if content.compression:
            self._last = row, content
            yield content
        else:
            with content:
                yield content

    def _open(self, row: SegmentRow) -> SegmentBytes:
        try:
            return self._as_recorded(row)
        except FileNotFoundError:
            now = self._ledger.segment(row.id) if row.id else None
            if now is None or now.state == "expired":
                raise
            with contextlib.suppress(FileNotFoundError):
                return self._as_recorded(now)
            return any_form(self.root / row.path)

    def _as_recorded(self, row: SegmentRow) -> SegmentBytes:
        path = stored_path(self.root / row.path, row.compression)
        if not row.compression:
            return PlainBytes(path)
        members = unpacked(self._ledger.members_of(row.id), size=row.bytes, stored_size=row.stored_bytes)
        return CompressedBytes(path, row.compression, members)
