"""Rotated files that were compressed before all of them was read: what is missing is read from the archive."""

import bz2
import contextlib
import gzip
import lzma
import shutil
import sys
import time
from pathlib import Path

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.status.inspect import InspectedFile, inspect
from logferry.zstd_library import MODULE, REMEDY
from tests.support.running import DEADLINE_S, RunningServer, numbered_line, wait_until
from tests.support.shipping import append, assert_conserved, log_line, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


def follow(tmp_path: Path, server: RunningServer, lines: int, *, pattern: str = "app.log") -> None:
    """Follow until the server has so many lines in all; then stop."""
    names = [tmp_path / pattern]
    with shipping(names, server.port, **once(tmp_path, mode="continuous")) as run:
        wait_until(lambda: run.is_over or len(server.stored_lines()) >= lines, f"{lines} lines are stored")
        run.stop()


def packed(data: bytes, suffix: str) -> bytes:
    """Compress in the format of a suffix."""
    if suffix == ".zst":
        archive: bytes = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
        return archive
    if suffix == ".xz":
        return lzma.compress(data)
    return bz2.compress(data) if suffix == ".bz2" else gzip.compress(data)


def compress(path: Path, archive: Path) -> Path:
    """Compress a file as gzip does: the archive has its time stamp, the file is gone."""
    archive.write_bytes(packed(path.read_bytes(), archive.suffix))
    shutil.copystat(path, archive)
    path.unlink()
    return archive


@pytest.mark.parametrize(
    ("pattern", "suffix"),
    [("app.log", ".gz"), ("app.log*", ".gz"), ("app.log", ".bz2"), ("app.log*", ".xz"), ("app.log", ".zst")],
)
def test_the_rest_of_a_file_that_was_rotated_and_compressed_meanwhile_is_read_from_the_archive(
    tmp_path: Path, server: RunningServer, pattern: str, suffix: str
) -> None:
    log = append(tmp_path / "app.log", range(1000))
    follow(tmp_path, server, 1000, pattern=pattern)
    append(log, range(1000, 5000))
    compress(log.rename(tmp_path / "app.log.1"), tmp_path / f"app.log.1{suffix}")
    append(log, range(5000, 5010))
    for _ in range(2):
        follow(tmp_path, server, 5010, pattern=pattern)
    assert sorted(server.stored_lines()) == sorted(map(numbered_line, range(5010)))


def test_what_was_shipped_and_compressed_adds_nothing(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(1000))
    follow(tmp_path, server, 1000)
    compress(log.rename(tmp_path / "app.log.1"), tmp_path / "app.log.1.gz")
    append(log, range(1000, 1010))
    for _ in range(2):
        follow(tmp_path, server, 1010)
    assert len(server.stored_lines()) == 1010


def test_files_that_were_rotated_twice_and_compressed_meanwhile_are_all_read(
    tmp_path: Path, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    follow(tmp_path, server, 100)
    append(log, range(100, 200))
    compress(log.rename(tmp_path / "app.log.2"), tmp_path / "app.log.2.zst")
    append(log, range(200, 300))
    compress(log.rename(tmp_path / "app.log.1"), tmp_path / "app.log.1.xz")
    append(log, range(300, 400))
    follow(tmp_path, server, 400)
    assert len(server.stored_lines()) == len(set(server.stored_lines())) == 400


def test_an_archive_beside_the_file_that_it_was_made_of_adds_nothing(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    follow(tmp_path, server, 100)
    rotated = log.rename(tmp_path / "app.log.1")
    (tmp_path / "app.log.1.bz2").write_bytes(packed(rotated.read_bytes(), ".bz2"))
    append(log, range(100, 110))
    follow(tmp_path, server, 110)
    assert len(server.stored_lines()) == 110


def test_an_archive_of_before_the_first_run_is_nobodys_business(tmp_path: Path, server: RunningServer) -> None:
    compress(append(tmp_path / "app.log.1", range(100)), tmp_path / "app.log.1.gz")
    append(tmp_path / "app.log", range(100, 110))
    for _ in range(2):
        follow(tmp_path, server, 10)
    assert len(server.stored_lines()) == 10


def test_a_file_that_was_copied_truncated_and_compressed_while_it_is_followed_is_read_from_the_archive(
    tmp_path: Path, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once(tmp_path, mode="continuous", poll_interval=3600.0)) as run:
        run.wait_for_acks(100)
        run.request_stop()
    append(log, range(100, 200))
    copy = Path(shutil.copy(log, tmp_path / "app.log.1"))
    compress(copy, tmp_path / "app.log.1.gz")
    log.write_bytes(b"")
    append(log, range(200, 250))
    follow(tmp_path, server, 250)
    assert len(server.stored_lines()) == len(set(server.stored_lines())) == 250


def test_an_archive_that_needs_an_extra_is_reported_once_and_read_when_the_extra_is_there(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = append(tmp_path / "app.log", range(100))
    follow(tmp_path, server, 100)
    append(log, range(100, 200))
    archive = compress(log.rename(tmp_path / "app.log.1"), tmp_path / "app.log.1.zst")
    append(log, range(200, 300))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zstandard", None)
        patch.setitem(sys.modules, MODULE, None)
        follow(tmp_path, server, 200)
    reported = [record.getMessage() for record in caplog.records if str(log) in record.getMessage()]
    reason = f"zstd archives need the Python module {MODULE}: {REMEDY}"
    assert reported == [f"cannot read the rotated file {archive}: {reason}"]
    assert [(file.other_name, file.reason) for file in unreadable(tmp_path)] == [(str(archive), reason)]
    follow(tmp_path, server, 300)
    assert sorted(server.stored_lines()) == sorted(map(numbered_line, range(300)))
    assert unreadable(tmp_path) == []


def unreadable(tmp_path: Path) -> list[InspectedFile]:
    """Return the files that the status reports as unreadable."""
    status = inspect(tmp_path / "state", now=time.time())
    return [file for file in status.files if file.is_unreadable]


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zst"])
def test_a_batch_run_ships_archives_and_verifies_them(tmp_path: Path, server: RunningServer, suffix: str) -> None:
    archive = tmp_path / f"app.log.1{suffix}"
    archive.write_bytes(packed(b"".join(map(log_line, range(1000))), suffix))
    with shipping(archive, server.port, **once(tmp_path)) as run:
        assert run.result().problems == ()
    assert_conserved(range(1000), server.stored_lines())
    checkpoints = Checkpoints(tmp_path / "state", read_only=True)
    reports = ReportClient(
        Endpoint(server.host, server.port),
        client_id=checkpoints.client_id,
        client_host="web-1",
        connect_timeout_s=DEADLINE_S,
        answer_timeout_s=DEADLINE_S,
    )
    with contextlib.closing(reports):
        verdict = verify(archive, checkpoints, reports)
    assert verdict.is_proven, verdict
    assert (verdict.lines, verdict.stored) == (1000, 1000)


def test_a_batch_run_names_an_archive_that_needs_an_extra_and_ships_the_others(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, archive = append(tmp_path / "app.log", range(10)), tmp_path / "app.log.1.zst"
    archive.write_bytes(packed(log_line(11), ".zst"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, MODULE, None)
    with shipping([other, archive], server.port, **once(tmp_path)) as run:
        (problem,) = run.result().problems
    assert problem == (f"cannot read {archive}: zstd archives need the Python module {MODULE}: {REMEDY}")
    assert_conserved(range(10), server.stored_lines())
