"""What a store does with what it finds when it is opened."""

from contextlib import closing
from pathlib import Path

import pytest

from logferry.server.storage.disk.content.measure import unfinished_bytes
from logferry.server.storage.disk.content.segment_bytes import PlainBytes
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.opening import DiskStoreSettings
from logferry.server.storage.store import RecoveryReport
from tests.support.running import DEADLINE_S, stored_lines
from tests.support.stores import (
    LINES,
    LOG,
    SIZE,
    Stored,
    delivery,
    names,
    opened,
    problems,
    segments_of,
    store_twelve,
)


def test_a_restart_moves_an_unfinished_line_aside_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=3 * len(LINES[0])) as store:
        for line in LINES[:5]:
            store.submit(delivery(line), Stored())
    first, last = sorted(tmp_path.glob("segments/**/*.ndjson"))
    first.write_bytes(first.read_bytes() + b"not the last segment: not touched")
    last.write_bytes(last.read_bytes() + LINES[5][:30])
    (last.parent / "notes.txt").write_bytes(b"not a segment")
    with opened(tmp_path) as store:
        store.submit(delivery(LINES[6]), Stored())
    assert last.read_bytes() == LINES[3] + LINES[4] + LINES[6]
    assert first.read_bytes().endswith(b"not touched")
    assert (last.parent / "notes.txt").read_bytes() == b"not a segment"
    assert [m for m in caplog.messages if m.startswith("moved 30 bytes")] == [caplog.messages[0]]


def test_a_restart_recovers_segments_that_are_not_written_to_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.submit(delivery(*LINES[:5]), Stored())
    path = next(tmp_path.glob("segments/**/*.ndjson"))
    path.write_bytes(path.read_bytes() + LINES[5][:-1])
    with opened(tmp_path):
        assert path.read_bytes() == b"".join(LINES[:5])


@pytest.mark.parametrize("before", [b"", b"one\n", b"one\n" * 50_000])
@pytest.mark.parametrize("unfinished", [b"", b"x", b"x" * 65_536, b"x" * 200_000])
def test_unfinished_bytes_are_those_after_the_last_newline(tmp_path: Path, before: bytes, unfinished: bytes) -> None:
    path = tmp_path / "segment"
    path.write_bytes(before + unfinished)
    with PlainBytes(path) as content:
        assert unfinished_bytes(content) == len(unfinished)


def test_a_segment_that_is_shorter_than_the_ledger_says_is_closed_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as store:
        store.submit(delivery(*LINES[:5]), Stored())
    path = segments_of(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-10])
    with opened(tmp_path) as store:
        store.submit(delivery(LINES[6]), Stored())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert len(segments_of(tmp_path)) == 2
    assert path.read_bytes() == b"".join(LINES[:5])[:-10]
    assert problems(tmp_path)[1] == ""


def test_a_file_that_the_ledger_does_not_know_is_left_alone_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as store:
        store.submit(delivery(LINES[0]), Stored())
    stranger = segments_of(tmp_path)[0].with_name("2024-01-15-7.ndjson")
    stranger.write_bytes(b"not ours")
    with opened(tmp_path, segment_bytes=10) as store:
        store.submit(delivery(LINES[1]), Stored())
    assert stranger.read_bytes() == b"not ours"
    assert "1 segments are not in the ledger and left alone" in caplog.text
    assert "10.0.0.7/plain/2024-01-15-2.ndjson" in names(tmp_path)


def test_what_a_crash_left_of_a_deletion_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    ledger = Ledger(tmp_path, durable=True)
    with ledger.transaction():
        ledger._query("UPDATE segments SET state = 'expired' WHERE id = 1")
    ledger.close()
    with opened(tmp_path):
        assert stored_lines(tmp_path) == LINES[13:22]


def recovery_of(data_dir: Path) -> RecoveryReport:
    """Open a store and close it; return what it found and did."""
    store = DiskStore(DiskStoreSettings(data_dir=data_dir, durability="fsync", segment_bytes=3 * SIZE))
    report = store.open(lambda: None)
    store.close(DEADLINE_S)
    return report


def test_after_a_clean_stop_there_is_nothing_to_recover(tmp_path: Path) -> None:
    assert recovery_of(tmp_path) == RecoveryReport()
    store_twelve(tmp_path)
    assert recovery_of(tmp_path) == RecoveryReport(segments=4)


def test_the_report_counts_what_was_cut_too_short_and_unknown(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for host in ("one", "two", "three"):
            store.submit(delivery(LINES[0], log=LOG._replace(host=host)), Stored())
    longer, shorter, other = segments_of(tmp_path)
    longer.write_bytes(longer.read_bytes() + b"never acked")
    shorter.write_bytes(b"")
    other.with_name("2024-01-15-9.ndjson").write_bytes(b"not ours")
    assert recovery_of(tmp_path) == RecoveryReport(
        segments=3, bytes_moved=len(b"never acked"), segments_moved=1, segments_too_short=1, segments_unknown=1
    )


def test_the_report_counts_what_was_deleted(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    with closing(Ledger(tmp_path, durable=True)) as ledger, ledger.transaction():
        ledger._query("UPDATE segments SET state = 'expired' WHERE id = 1")
    assert recovery_of(tmp_path) == RecoveryReport(segments=3, segments_deleted=1)
    assert recovery_of(tmp_path) == RecoveryReport(segments=3)
