"""Segments alone, without a store."""

import datetime
from collections.abc import Callable
from pathlib import Path

from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.segments import Payload, Segments
from tests.support.stores import (
    LINES,
    LOG,
    MONDAY,
)


def test_segments_are_appended_to_only_through_append(tmp_path: Path) -> None:
    """Nothing is cut when nothing was appended since the last commit."""
    cuts: list[Path | int] = []

    class NoCuts(FileSystem):
        def truncate(self, path: Path | int, size: int) -> None:
            cuts.append(path)

    today: Callable[[], datetime.date] = lambda: MONDAY  # noqa: E731  (a name for the type's sake)
    ledger = Ledger(tmp_path, durable=True)
    segments = Segments(tmp_path, ledger, segment_bytes=1000, durable=True, files=NoCuts(), today=today)
    segments.append(LOG, [Payload([LINES[0]], 1)])
    segments.sync()
    segments.confirm_appended()
    segments.undo_if_needed()
    segments.close()
    ledger.close()
    assert cuts == []
