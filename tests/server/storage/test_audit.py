"""fsck and reports tell the truth about the disk; retention deletes what is old, and only that."""

import datetime
import errno
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.fsck import fsck
from logferry.server.storage.ledger import Ledger
from logferry.server.storage.source_report import report
from tests.support.delivery import LINES, DeliveryClient, batch, size_of
from tests.support.running import running_server, stored_lines
from tests.support.stores import LOG, MONDAY, FailingFiles, Stored, delivery, names, opened, submit_each

SIZE = len(LINES[10])  # two digits


def segments_of(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("segments/*/*/*.ndjson"))


def problems(data_dir: Path) -> list[str]:
    return [finding.problem for finding in fsck(data_dir)]


def store_twelve(data_dir: Path) -> None:
    """Four segments of three lines each, the last one open."""
    with opened(data_dir, segment_bytes=3 * SIZE) as store:
        for line in LINES[10:22]:
            store.submit(delivery(line), Stored())


# --- fsck


def test_fsck_finds_every_segment_sound_and_counts_it(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    size = size_of(LINES[10:13])
    findings = list(fsck(tmp_path))
    assert [finding.problem for finding in findings] == [""] * 4
    assert [(finding.bytes, finding.lines) for finding in findings] == [(size, 3)] * 4
    assert findings[0].path == "10.0.0.7/plain/2024-01-15-1.ndjson"


def test_fsck_says_what_is_wrong_with_a_segment(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    first, second, third, fourth = segments_of(tmp_path)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    third.write_bytes(third.read_bytes().replace(b"line 17", b"line 71"))
    fourth.write_bytes(fourth.read_bytes().replace(b"\n", b" ", 1))
    assert problems(tmp_path) == [
        "is missing",
        f"lacks 10 of its {3 * SIZE} bytes",
        "has other content than was stored (checksum)",
        "has 2 lines, not 3",
    ]


def test_fsck_minds_what_was_added_to_a_closed_segment_but_not_to_the_open_one(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    for path in segments_of(tmp_path)[2:]:
        path.write_bytes(path.read_bytes() + LINES[10])
    assert problems(tmp_path) == ["", "", f"has {SIZE} bytes more than were stored", ""]


def test_fsck_of_a_folder_without_a_ledger_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no ledger"):
        list(fsck(tmp_path))


def test_fsck_may_run_beside_a_server(tmp_path: Path) -> None:
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:10], start=0) + batch(LINES[10:50], start=size_of(LINES[:10])))
        while client.answer()["lines"] < 50:
            assert set(problems(server.data_dir)) <= {""}
        assert problems(server.data_dir) == ["", ""]


def test_a_page_of_a_report_ends_when_it_has_read_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.storage.source_report._PAGE_BYTES", 10)
    with running_server(tmp_path, segment_bytes=100) as server, DeliveryClient(server, source="s1") as client:
        for number in range(3):
            client.send(batch([LINES[number]], start=size_of(LINES[:number])))
        while client.answer()["lines"] < 3:
            pass
        page = report(server.data_dir, "s1", after=0)
        assert (len(page.extents), page.has_more) == (1, True)
        assert not report(server.data_dir, "s1", after=size_of(LINES[:2])).has_more


# --- what recovery does with what it finds


def test_segments_of_a_version_without_a_ledger_are_adopted(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    for path in tmp_path.glob("ledger.sqlite3*"):
        path.unlink()
    last = segments_of(tmp_path)[-1]
    last.write_bytes(last.read_bytes() + LINES[0][:20])
    with opened(tmp_path, segment_bytes=10 * SIZE) as store:
        assert store.health().counters.recovered_bytes == 20
        store.submit(delivery(LINES[30]), Stored())
    assert stored_lines(tmp_path) == [*LINES[10:22], LINES[30]]
    assert problems(tmp_path) == [""] * 4
    ledger = Ledger(tmp_path, durable=False, read_only=True)
    assert [row.state for row in ledger.segments()] == ["closed", "closed", "closed", "open"]
    ledger.close()


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
    assert "10.0.0.7/plain/2024-01-15-8.ndjson" in names(tmp_path)


def test_a_ledger_that_refuses_for_a_while_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.ENOSPC, "database or disk is full")] * 3
    original = Ledger.set_segments

    def failing(self: Ledger, rows: object) -> None:
        if failures:
            raise failures.pop()
        original(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "set_segments", failing)
    stored = Stored()
    with opened(tmp_path) as store:
        submit_each(store, LINES[:5], stored)
        assert store.health().counters.lines_stored == 5
    assert stored_lines(tmp_path) == LINES[:5]
    assert problems(tmp_path) == [""]
    assert len([m for m in caplog.messages if "holding back acks" in m]) == 1


def test_a_server_that_stops_while_its_ledger_refuses_acks_nothing_and_the_next_one_cuts_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "disk I/O error")

    stored = Stored()
    with opened(tmp_path) as store:
        submit_each(store, LINES[:1], stored)
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "set_segments", failing)
            store.submit(delivery(*LINES[1:4]), stored)
            assert store.close(0.05) == 3
    assert stored.lines == LINES[:1]
    with opened(tmp_path) as store:
        assert store.health().counters.recovered_bytes == size_of(LINES[1:4])
    assert stored_lines(tmp_path) == LINES[:1]


# --- retention


def test_retention_by_size_deletes_the_oldest_closed_segments(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE, retention_bytes=8 * SIZE) as store:
        for line in LINES[10:22]:
            store.submit(delivery(line), Stored())
    assert stored_lines(tmp_path) == LINES[16:22]
    assert problems(tmp_path) == ["", ""]
    ledger = Ledger(tmp_path, durable=False, read_only=True)
    assert [row.state for row in ledger.segments()] == ["expired", "expired", "closed", "open"]
    ledger.close()


def test_retention_never_deletes_the_segment_that_is_open(tmp_path: Path) -> None:
    for start in (0, 2):
        with opened(tmp_path, retention_bytes=1) as store:
            store.submit(delivery(*LINES[start : start + 2]), Stored())
    assert stored_lines(tmp_path) == LINES[:4]


def test_retention_by_days_closes_and_deletes_what_nobody_writes_to_any_more(tmp_path: Path) -> None:
    days = [MONDAY + datetime.timedelta(n) for n in (0, 1, 2, 3)]
    quiet = LOG._replace(host="quiet")
    stored = Stored()
    today = [MONDAY]
    with opened(tmp_path, retention_days=1, today=lambda: today[0]) as store:
        store.submit(delivery(LINES[0], log=quiet), stored)
        for day, line in zip(days, LINES[1:5], strict=True):
            today[0] = day
            submit_each(store, [line], stored)
    assert names(tmp_path) == ["10.0.0.7/plain/2024-01-17-1.ndjson", "10.0.0.7/plain/2024-01-18-1.ndjson"]
    assert problems(tmp_path) == ["", ""]


def test_what_a_crash_left_of_a_deletion_is_deleted_at_the_next_start(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    ledger = Ledger(tmp_path, durable=True)
    with ledger.transaction():
        ledger._query("UPDATE segments SET state = 'expired' WHERE id = 1")
    ledger.close()
    with opened(tmp_path):
        assert stored_lines(tmp_path) == LINES[13:22]


def test_a_deletion_that_fails_is_made_up_for_at_the_next_roll(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored()
    files = FailingFiles(delete=[errno.EROFS])
    with opened(tmp_path, file_system=files, segment_bytes=3 * SIZE, retention_bytes=8 * SIZE) as store:
        submit_each(store, LINES[10:24], stored)
    assert stored_lines(tmp_path) == LINES[16:24]
    assert len([m for m in caplog.messages if m.startswith("cannot delete expired segments")]) == 1


def test_e19_what_retention_has_deleted_is_reported_as_expired(tmp_path: Path) -> None:
    """Rule E19."""
    with (
        running_server(tmp_path, segment_bytes=1024, retention_bytes=2048) as server,
        DeliveryClient(server, source="s1") as client,
    ):
        for number in range(5):
            start = 10 * number
            client.send(batch(LINES[start : start + 10], start=size_of(LINES[:start])))
        while client.answer()["lines"] < 50:
            pass
    page = report(tmp_path / "data", "s1", after=0)
    assert [extent.state for extent in page.extents] == ["expired", "expired", "expired", "ok", "ok"]
    assert (page.lines, page.committed) == (50, size_of(LINES[:50]))
