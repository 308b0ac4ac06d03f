"""The thread that compresses: what it takes, what it leaves alone, and that nothing waits for it."""

import errno
import logging
import os
import random
from pathlib import Path
from typing import Any

import pytest

from logferry.config import ServeSettings, load
from logferry.errors import ConfigError
from logferry.server.storage.disk.compression.compressor import Compressor
from logferry.server.storage.disk.content import codecs
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.zstd_library import MODULE, REMEDY, zstd_library
from tests.server.storage.disk.integrity.test_repair import flip, ship
from tests.support.compressing import SIZE, compress_all, dying_at, files_of, rows, small_members
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, Stored, delivery, opened, parts_of, problems

STORE: dict[str, Any] = {"segment_bytes": 10 * SIZE, "durability": "os"}


def test_what_is_closed_is_compressed_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path, **STORE, compression="gzip") as store:
        ship(store, 10, 36)
        parts_of(store).compressor._worker.wake()
        wait_until(lambda: [row.compression for row in rows(tmp_path)] == ["gzip", "gzip", ""], "two are compressed")
        plain, stored = 20 * SIZE, sum(row.stored_bytes for row in rows(tmp_path))
        wait_until(lambda: store.health().counters.bytes_compressed == plain, "it is counted")
        assert store.health().counters.compressed_to_bytes == stored
    assert stored_lines(tmp_path) == LINES[10:36]


def test_with_none_nothing_is_compressed_and_what_is_stays(tmp_path: Path) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        compress_all(store, tmp_path, "gzip")
        store.change_limits(segment_bytes=10 * SIZE, retention_bytes=0, retention_days=0, compression="")
        ship(store, 22, 34)
        parts_of(store).compressor._worker.wake()
    assert [row.compression for row in rows(tmp_path)] == ["gzip", "", ""]
    assert set(problems(tmp_path)) == {""}


def test_damaged_segments_and_those_without_gain_are_left_as_they_are(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(3000).hex().encode()
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        path = tmp_path / "segments" / rows(tmp_path)[0].path
        flip(path)
        before = path.read_bytes()
        store.submit(delivery(random.Random(2).randbytes(200).replace(b"\n", b"") + b"\n"), Stored())
        store.submit(delivery(noise + b"\n"), Stored())
        wait_until(lambda: len(rows(tmp_path)) == 4, "it is stored")
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: len(parts_of(store).compressor._left) == 2, "both are left")
    assert path.read_bytes() == before
    assert {row.compression for row in rows(tmp_path)} == {""}
    assert [files_of(tmp_path, row) for row in rows(tmp_path)] == [[""]] * 4


class FullDisk(FileSystem):
    """A disk that takes `room` more bytes of compressed files."""

    def __init__(self) -> None:
        self.room: float = 100

    def write_at(self, descriptor: int, data: bytes, position: int) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write_at(descriptor, data, position)


def test_a_full_disk_leaves_everything_as_it_was_and_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small_members(monkeypatch)
    monkeypatch.setattr("logferry.server.storage.disk.compression.compressor._RETRY_S", 0.01)
    files = FullDisk()
    with caplog.at_level(logging.INFO), opened(tmp_path, file_system=files, **STORE) as store:
        ship(store, 10, 22)
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: files.room < -2000, "it is tried again and again")
        assert files_of(tmp_path, rows(tmp_path)[0])[:1] == [""]
        assert rows(tmp_path)[0].compression == ""
        files.room = float("inf")
        compress_all(store, tmp_path, "gzip")
    (message,) = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert message.startswith("cannot compress segments, trying again in a minute; they stay as they are: ")
    assert stored_lines(tmp_path) == LINES[10:22]
    assert not list(tmp_path.rglob("*.new"))


def test_a_segment_that_cannot_be_read_keeps_no_other_from_being_compressed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        ship(store, 10, 32, source="s2", path="/var/other/y.log")
        path = tmp_path / "segments" / rows(tmp_path)[0].path
        path.unlink()
        os.mkfifo(path)
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: any(row.compression for row in rows(tmp_path)), "the next one is compressed")
    assert "cannot compress a segment, trying again in an hour; it stays as it is: " in caplog.text


@pytest.mark.skipif(not zstd_library(), reason="this Python has no library for zstd")
def test_a_segment_whose_library_is_gone_keeps_no_other_from_being_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill has left its plain file and the compressed one, and nobody can say whether that is whole."""
    data_dir, copy = tmp_path / "data", tmp_path / "copy"
    with dying_at(data_dir, copy, "compressed file renamed", **STORE) as store:
        ship(store, 10, 32)
        compress_all(store, data_dir, "zstd")
    monkeypatch.setattr(codecs, "zstd_library", lambda: None)
    with opened(copy, **STORE, compression="gzip"):
        wait_until(lambda: [row.compression for row in rows(copy)] == ["", "gzip", ""], "the next one is compressed")
    assert REMEDY in caplog.text
    assert set(problems(copy)) == {""}
    assert files_of(copy, rows(copy)[0]) == ["", ".zst"]
    monkeypatch.undo()
    with opened(copy, **STORE, compression="gzip"):
        wait_until(lambda: len(files_of(copy, rows(copy)[0])) == 1, "with the library, one file is left")
    assert stored_lines(copy) == LINES[10:32]


def test_it_stops_at_once_and_leaves_no_unfinished_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a segment, while it waits for its share of the processor."""
    small_members(monkeypatch)
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        forms = parts_of(store).repair._forms
        compressor = Compressor(tmp_path, forms, "gzip", share=1e-9)
        compressor.start()
        wait_until(lambda: list(tmp_path.rglob("*.gz.new")), "it is in the middle")
        assert compressor.stop(20)
        assert files_of(tmp_path, rows(tmp_path)[0]) == [""]


def test_a_segment_whose_journal_lacks_something_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        looked: list[bool] = []

        def agrees(*_: Any) -> bool:
            looked.append(True)
            return len(looked) > 2

        monkeypatch.setattr("logferry.server.storage.disk.journals.journal_files.JournalFiles.agrees", agrees)
        for _ in range(2):
            parts_of(store).compressor.change("gzip")
            count = len(looked)
            wait_until(lambda count=count: len(looked) > count, "it has looked")  # type: ignore[misc]
            assert rows(tmp_path)[0].compression == ""
        compress_all(store, tmp_path, "gzip")


def test_fsck_says_what_a_crash_has_left(tmp_path: Path) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        (first,) = compress_all(store, tmp_path, "gzip")
    compressed = tmp_path / "segments" / f"{first.path}.gz"
    compressed.with_name(first.path.rpartition("/")[2]).write_bytes(b"".join(LINES[10:20]))
    compressed.with_name(compressed.name + ".new").write_bytes(b"unfinished")
    unknown = compressed.with_name("2024-01-15-7.ndjson.gz")
    unknown.write_bytes(compressed.read_bytes())
    found = {
        finding.path.rpartition("/")[2]: (finding.kind, finding.problem or finding.note) for finding in fsck(tmp_path)
    }
    assert found == {
        "2024-01-15-1.ndjson": ("segment", ""),
        "2024-01-15-2.ndjson": ("segment", ""),
        compressed.name: ("foreign", "a second file of a segment: the server keeps a whole one"),
        f"{compressed.name}.new": ("foreign", "a file of a segment that is being written, or was when a server ended"),
        unknown.name: ("unknown segment", "is a segment that the ledger does not have"),
    }


def test_a_server_that_cannot_compress_as_it_should_says_so_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.config.loading.conflicts.zstd_library", lambda: None)
    with pytest.raises(ConfigError) as refused:
        load(ServeSettings, {"segment_compression": "zstd"}, {})
    assert f"--segment-compression zstd needs the Python module {MODULE}: {REMEDY}" in str(refused.value)
    assert load(ServeSettings, {}, {}).segment_compression == "auto"
