"""What tests of compressed segments share: stores whose closed segments are compressed, in members of a few lines."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.content import segment_bytes
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.segment_forms import stored_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow
from logferry.zstd_library import zstd_library
from tests.support.running import numbered_line, wait_until
from tests.support.stores import opened, parts_of

SIZE = len(numbered_line(10))
CODECS = [
    "gzip",
    pytest.param("zstd", marks=pytest.mark.skipif(not zstd_library(), reason="this Python has no library for zstd")),
]


def small_members(monkeypatch: pytest.MonkeyPatch, lines: int = 2) -> None:
    """Have segments compressed a few lines at a time."""
    monkeypatch.setattr(segment_bytes, "BLOCK_BYTES", lines * SIZE)


def rows(data_dir: Path) -> list[SegmentRow]:
    """Return the segments that the ledger has and that are not expired."""
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        found: list[SegmentRow] = ledger.segments("open", "closed")
    return found


def files_of(data_dir: Path, row: SegmentRow) -> list[str]:
    """Return the names of the files that belong to a segment, without its journal."""
    path = data_dir / "segments" / row.path
    names = sorted(other.name for other in path.parent.glob(f"{path.name}*"))
    return [name.removeprefix(path.name) for name in names if not name.endswith(".journal")]


def file_of(data_dir: Path, row: SegmentRow) -> Path:
    """Return the file that the ledger says a segment has."""
    return stored_path(data_dir / "segments" / row.path, row.compression)


def compress_all(store: DiskStore, data_dir: Path, codec: Any) -> list[SegmentRow]:
    """Have all closed segments of a store compressed; return their rows."""
    parts_of(store).compressor.change(codec)

    def closed() -> list[SegmentRow]:
        return [row for row in rows(data_dir) if row.state == "closed"]

    wait_until(lambda: all(row.compression == codec for row in closed()), "all closed segments are compressed")
    wait_until(lambda: all(len(files_of(data_dir, row)) == 1 for row in closed()), "the plain files are deleted")
    return closed()


@contextmanager
def dying_at(data_dir: Path, copy: Path, point: str, **changes: Any) -> Iterator[DiskStore]:
    """Run a store; when it comes to a crash point, copy its folder: that is what a kill would leave there."""

    def crash_point(name: str) -> None:
        if name == point and not copy.exists():
            shutil.copytree(data_dir, copy)

    with opened(data_dir, crash_point=crash_point, **changes) as store:
        yield store


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change what a file holds."""
    path.write_bytes(change(path.read_bytes()))
