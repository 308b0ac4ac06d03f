"""Beside each segment lies a journal that has what the ledger has about the segment."""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from logferry.protocol.messages.requests import BatchRequest, Open, Skip
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.journals import compaction, own_journals
from logferry.server.storage.disk.journals.journal import (
    Origin,
    State,
    Total,
    begin_entry,
    extent_entry,
    journal_path,
    journal_total,
    log_entry,
    loss_entry,
    parsed,
    source_entry,
    state_entry,
    total_entry,
    window_entry,
)
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.retention.retention import RetentionLimits
from logferry.server.storage.log_names import NO_LOG, LogName
from logferry.server.storage.owners import of_client
from logferry.server.storage.records import ExtentRow, LossRow, SegmentRow, WindowRow
from tests.server.storage.disk.integrity.test_repair import ship
from tests.support.journals import WholeJournal, read_journal, whole_of
from tests.support.running import wait_until
from tests.support.stores import (
    LINES,
    LOG,
    SIZE,
    Stored,
    delivery,
    in_one_group,
    opened,
    parts_of,
    problems,
    segments_of,
    submit_each,
)

EXTENT = ExtentRow(0, 10, 1, 7, 0, 0, 30)
WHOLE = WholeJournal(
    store_id="abc",
    path="web-1/app.log/2024-01-15-1.ndjson",
    log=LogName("web-1", "/app.log", ""),
    total=Total(30, 1, 7),
    sources={"s1": Origin("client", "web-1", "/var/log/a\n\u202e\udcff.log")},
    extents={("s1", 0): EXTENT},
    states={"s1": [State(10, 1, 7)]},
    losses={LossRow("s1", 10, 12, "gone", False): None},
    windows={WindowRow("s1", 12, 1, 2, "nobody looked"): None},
)


def written(folder: Path, data: bytes) -> Path:
    """Write the journal of a segment; return the path of the segment."""
    segment = folder / "2024-01-15-1.ndjson"
    journal_path(segment).write_bytes(data)
    return segment


def entries_of(journal: WholeJournal) -> Iterator[bytes]:
    """Yield the entries of a journal, each once."""
    yield begin_entry(journal.store_id, journal.path)
    if journal.log:
        yield log_entry(journal.log)
    yield from (source_entry(source, origin) for source, origin in journal.sources.items())
    yield from (extent_entry(source, extent) for (source, _), extent in journal.extents.items())
    yield from (state_entry(source, states[-1]) for source, states in journal.states.items())
    yield from map(loss_entry, journal.losses)
    yield from map(window_entry, journal.windows)
    assert journal.total
    yield total_entry(*journal.total)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    segment = written(tmp_path, b"".join(entries_of(WHOLE)))
    assert read_journal(segment) == WHOLE
    assert journal_total(segment) == WHOLE.total


def test_damage_anywhere_costs_a_line_at_most(tmp_path: Path) -> None:
    whole = b"".join(entries_of(WHOLE))
    for at in range(len(whole)):
        found = read_journal(written(tmp_path, whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]))
        assert found is None or found.damaged_lines >= 1
        read_journal(written(tmp_path, whole[:at]))


def test_what_is_not_ended_by_a_total_does_not_count(tmp_path: Path) -> None:
    later = extent_entry("s1", ExtentRow(10, 20, 1, 7, 0, 30, 30))
    segment = written(tmp_path, b"".join(entries_of(WHOLE)) + later)
    assert read_journal(segment) == WHOLE
    written(tmp_path, b"".join(entries_of(WHOLE)) + later + total_entry(60, 2, 9))
    assert len(read_journal(segment).extents) == 2  # type: ignore[union-attr]
    assert read_journal(segment, limit=59) == WHOLE


@pytest.mark.parametrize(
    "items",
    [
        *(
            b"{}",
            b"[]",
            b"[1]",
            b'["x"]',
            b'["t",1,2]',
            b'["t",1,2,-3]',
            b'["t",1,2,true]',
            b'["t",1,2,9223372036854775808]',
        ),
        *(b'["t",1,2,3.0]', b'["p",1,2,3,4]', b'["s","s1",[],"",""]', b"[" * 60_000, b'["t",1,2,NaN]'),
    ],
)
def test_what_is_no_entry_is_ignored(items: bytes) -> None:
    assert parsed(b"%08x %s\n" % (zlib.crc32(items), items)) is None


def test_a_journal_of_a_later_version_is_not_read(tmp_path: Path) -> None:
    items = b'["j",2,"abc","web-1/app.log/2024-01-15-1.ndjson"]'
    assert read_journal(written(tmp_path, b"%08x %s\n" % (zlib.crc32(items), items))) is None


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_something_else_in_place_of_a_journal_stops_nobody(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path) as store:
        submit_each(store, LINES[:1], Stored())
        path = journal_path(segments_of(tmp_path)[0])
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path) as store:
        submit_each(store, LINES[1:3], Stored())
    assert segments_of(tmp_path)[0].read_bytes() == b"".join(LINES[:3])
    assert not (tmp_path / "elsewhere").exists()


def recorded(data_dir: Path) -> Iterator[tuple[WholeJournal, WholeJournal]]:
    """Yield what each journal says, and what the ledger says about its segment."""
    ledger = Ledger(data_dir, durable=False, read_only=True)
    files = JournalFiles(data_dir / "segments")
    for row in ledger.segments("open", "closed"):
        found = whole_of(files, row.path)
        assert found
        extents = {
            (source, extent.start): ExtentRow(extent.start, extent.end, extent.lines, extent.crc32, 0, *place)
            for source, extent in ledger.extents_in(row.id, after=("", -1), limit=1000)
            for place in [(extent.position, extent.bytes)]
        }
        yield found, WholeJournal(ledger.store_id, row.path, Total(row.bytes, row.lines, row.crc32), extents=extents)
    ledger.close()


def give_own_journals(store: DiskStore) -> None:
    """Give all segments their own journals, as the thread of the journals does."""
    parts_of(store).journals._settle(is_last=True)


def assert_journals_agree(data_dir: Path) -> None:
    count = 0
    for found, expected in recorded(data_dir):
        assert (found.store_id, found.path, found.total) == (expected.store_id, expected.path, expected.total)
        assert found.extents == expected.extents
        assert {source for source, _ in found.extents} <= found.sources.keys()
        count += 1
    assert count


def test_journals_have_what_the_ledger_has(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        submit_each(store, LINES[20:24], Stored())
        assert_journals_agree(tmp_path)
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        submit_each(store, LINES[24:30], Stored())
        assert_journals_agree(tmp_path)


def test_a_journal_that_grows_is_written_anew_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_journals, "_COMPACT_AT_BYTES", 500)
    with opened(tmp_path) as store:
        parts_of(store).journals._interval_s = 0.01
        submit_each(store, LINES[10:11], Stored())
        give_own_journals(store)
        submit_each(store, LINES[11:60], Stored())
        assert_journals_agree(tmp_path)
        wait_until(lambda: journal_path(segments_of(tmp_path)[0]).stat().st_size < 1000, "the journal is written anew")
        submit_each(store, LINES[60:64], Stored())
        assert_journals_agree(tmp_path)
    assert_journals_agree(tmp_path)


def test_what_is_added_while_a_journal_is_written_anew_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Stored()
    with opened(tmp_path) as store:

        def adding(lines: Iterable[bytes]) -> Iterator[bytes]:
            yield from compaction.compacted(lines)
            submit_each(store, LINES[20:22], stored)  # would wait for the writer if the journal were locked

        submit_each(store, LINES[10:20], stored)
        give_own_journals(store)
        monkeypatch.setattr(own_journals, "compacted", adding)
        parts_of(store).journals._own._large[1] = "10.0.0.7/plain/2024-01-15-1.ndjson"
        parts_of(store).journals._compact_some()
        assert_journals_agree(tmp_path)
        submit_each(store, LINES[22:24], stored)
        assert_journals_agree(tmp_path)


def test_the_journals_of_closed_segments_have_each_entry_once(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 24)
    for segment in segments_of(tmp_path)[:2]:
        found = read_journal(segment)
        assert found
        assert journal_path(segment).read_bytes() == b"".join(entries_of(found))


def test_a_journal_that_waits_is_not_made_again_once_its_segment_is_deleted(tmp_path: Path) -> None:
    stored = Stored()
    with opened(tmp_path) as store:
        with in_one_group(store):
            for number in range(20):
                store.submit(delivery(LINES[number], log=LogName(f"host-{number}", "")), stored)
        wait_until(lambda: len(stored.deliveries) == 20, "all is stored")
        give_own_journals(store)
        deleted = journal_path(segments_of(tmp_path)[0])
        deleted.unlink()
        parts_of(store).journals.forget([1])
    assert not deleted.exists()
    assert journal_path(segments_of(tmp_path)[1]).exists()


@pytest.mark.parametrize("deletes_during", ["the reading", "the last look"])
def test_a_segment_that_retention_deletes_while_its_journal_is_written_anew_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deletes_during: str
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        parts = parts_of(store)

        def retire() -> None:
            parts.retention.limits = RetentionLimits(6 * SIZE, 0)
            submit_each(store, LINES[30:31], Stored())  # would wait for the writer if compaction kept retention waiting
            wait_until(lambda: not segment.exists(), "the segment is deleted")

        def deleting(lines: Iterable[bytes]) -> Iterator[bytes]:
            if deletes_during == "the reading":
                retire()
            yield from compaction.compacted(lines)
            if deletes_during == "the last look":
                retire()

        ship(store, 10, 20)
        segment = segments_of(tmp_path)[0]
        give_own_journals(store)
        parts.journals._own._large[1] = str(segment.relative_to(tmp_path / "segments"))
        assert journal_path(segment).exists()
        monkeypatch.setattr(own_journals, "compacted", deleting)
        parts.journals._compact_some()
        left = [path.name for path in segment.parent.iterdir() if path.name.startswith((segment.name, "."))]
    assert left == []
    assert problems(tmp_path) == [""] * len(segments_of(tmp_path))


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize("count", [2, 8, 30])
def test_groups_with_many_segments_wait_for_the_thread_and_others_are_written_at_once(
    tmp_path: Path, count: int, durability: str
) -> None:
    stored = Stored()
    with opened(tmp_path, durability=durability) as store:
        with in_one_group(store):
            for number in range(count):
                store.submit(delivery(LINES[number], log=LogName(f"host-{number}", "")), stored)
        wait_until(lambda: len(stored.deliveries) == count, "all is stored")
        if count <= 8:
            assert_journals_agree(tmp_path)
        else:
            assert JournalFiles(tmp_path / "segments").total("host-0/plain/2024-01-15-1.ndjson") == Total(0, 0, 0)
    assert_journals_agree(tmp_path)


def test_no_later_lines_of_a_source_reach_a_journal_before_its_earlier_ones(tmp_path: Path) -> None:
    """A kill would leave a gap in what the journals have; its client would store again what lies behind that."""
    stored = Stored()
    with opened(tmp_path, segment_bytes=2 * SIZE) as store:
        ship(store, 10, 12)
        with in_one_group(store):
            for number in range(10):
                store.submit(delivery(LINES[number], log=LogName(f"host-{number}", "")), stored)
            for first in (12, 14):  # two segments
                start, payload = (first - 10) * SIZE, b"".join(LINES[first : first + 2])
                batch = BatchRequest("s1", start, start + 2 * SIZE, 2, zlib.crc32(payload), payload)
                request = SourceRequest(batch, 1, of_client("client-1"), "web-1")
                store.submit(Delivery(NO_LOG, [payload], 2, len(payload), source_request=request), stored)
        wait_until(lambda: len(stored.deliveries) == 12, "the group is stored")
        ship(store, 16, 18)
        totals = [
            JournalFiles(tmp_path / "segments").total(f"web-1/var/log/app.log/2024-01-15-{number}.ndjson")
            for number in range(1, 5)
        ]
        assert totals[1:] == [Total(0, 0, 0)] * 3
    assert_journals_agree(tmp_path)


def skip(store: DiskStore, *, count: int = 1) -> None:
    """Report the same loss of the source s1 a number of times, in one group."""
    stored = Stored()
    with in_one_group(store):
        skips = [Skip("s1", 10 * SIZE, 11 * SIZE, "gone")] * count
        requests: list[Open | Skip] = [Open("s1", "/var/log/app.log"), *skips]
        for request in requests:
            found = SourceRequest(request, 1, of_client("client-1"), "web-1")
            store.submit(Delivery(LOG, [], 0, 0, source_request=found), stored)
    wait_until(lambda: len(stored.deliveries) == count + 1, "the store answers")


def test_a_repeated_loss_is_written_once_and_its_segment_is_looked_for_once_in_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[int] = []
    last_segment_of = Ledger.last_segment_of

    def counting(self: Ledger, log: int) -> SegmentRow | None:
        looked_up.append(log)
        return last_segment_of(self, log)

    with opened(tmp_path) as store:
        ship(store, 10, 20)
        give_own_journals(store)
        journal = journal_path(segments_of(tmp_path)[0])
        monkeypatch.setattr(Ledger, "last_segment_of", counting)
        skip(store, count=100)
        size = journal.stat().st_size
        for _ in range(3):
            skip(store, count=100)
        assert journal.stat().st_size == size
        assert looked_up == [1]
    found = read_journal(segments_of(tmp_path)[0])
    assert found
    assert len(found.losses) == 1


def test_a_ledger_that_does_not_answer_after_the_commit_stalls_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_: Ledger, __: int) -> SegmentRow | None:
        raise OSError(None, "disk I/O error", "ledger")

    with opened(tmp_path) as store:
        ship(store, 10, 20)
        monkeypatch.setattr(Ledger, "last_segment_of", failing)
        skip(store)
        monkeypatch.undo()
        ship(store, 10, 12, source="s2", path="/var/log/other.log")
    assert_journals_agree(tmp_path)
    assert len([text for text in caplog.messages if "disk I/O error; the ledger has it" in text]) == 1
