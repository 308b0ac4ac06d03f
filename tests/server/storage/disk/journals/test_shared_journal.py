"""New segments share one journal, which is as good as their own ones, and get their own ones later."""

import os
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.journals import new_segments
from logferry.server.storage.disk.journals.journal import begin_entry, journal_path, settled_entry, total_entry
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.journals.shared_journal import SHARED_NAME, Pieces, SharedJournal, pieces_of
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.log_names import LogName
from tests.server.storage.disk.integrity.test_repair import ship
from tests.server.storage.disk.journals.test_journals import assert_journals_agree, give_own_journals
from tests.server.storage.disk.recovery.test_rebuild import fill, lose_ledger, tables
from tests.support.journals import whole_of
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, SIZE, Stored, delivery, in_one_group, opened, parts_of, problems, segments_of

PATH = "web-1/var/log/app.log/2024-01-15-{}.ndjson"


@pytest.fixture
def stays_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a kill leaves: a store that is closed gives no segment its own journal."""
    monkeypatch.setattr(new_segments, "_MAX_AT_CLOSE", -1)


def shared_of(data_dir: Path) -> Path:
    return data_dir / "segments" / SHARED_NAME


def own_journals(data_dir: Path) -> list[Path]:
    return sorted(data_dir.rglob("*.ndjson.journal"))


def begin(store: DiskStore, count: int, *, together: int = 8) -> None:
    """Store a line in each of `count` new segments, a few in each group."""
    for start in range(0, count, together):
        stored = Stored()
        numbers = range(start, min(start + together, count))
        with in_one_group(store):
            for number in numbers:
                store.submit(delivery(LINES[number], log=LogName(f"host-{number}", "")), stored)
        wait_until(lambda: len(stored.deliveries) == len(numbers), "all is stored")  # noqa: B023


def test_new_segments_make_no_file_but_themselves(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        begin(store, 24)
        assert own_journals(tmp_path) == []
        assert_journals_agree(tmp_path)
        assert stat.S_IMODE(shared_of(tmp_path).stat().st_mode) == 0o640
        assert {finding.kind for finding in fsck(tmp_path)} == {"segment"}
    assert len(own_journals(tmp_path)) == 24
    assert not shared_of(tmp_path).exists()
    assert_journals_agree(tmp_path)


@pytest.mark.usefixtures("stays_shared")
def test_a_lost_ledger_is_made_from_the_shared_journal_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        ship(store, 10, 14, source="s2", path="/var/log/other.log")
        begin(store, 3)
    assert own_journals(tmp_path) == []
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    assert rebuild(tmp_path).remarks == []
    assert tables(tmp_path) == before
    with opened(tmp_path) as store:
        assert len(own_journals(tmp_path)) == 5
        assert not shared_of(tmp_path).exists()
        ship(store, 10, 20)
    assert tables(tmp_path) == before
    assert set(problems(tmp_path)) == {""}


@pytest.mark.usefixtures("stays_shared")
def test_what_the_ledger_has_lost_is_entered_again_from_the_shared_journal(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    older = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path) as store:
        ship(store, 10, 14)
        begin(store, 3)
    before = tables(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(older)
    with pytest.raises(Exception, match="is empty"), opened(tmp_path):
        pass
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        ledger.add_segment("host-9/plain/2024-01-14-1.ndjson")
    with opened(tmp_path) as store:
        ship(store, 10, 14)
    after = tables(tmp_path)
    assert (after["extents"], after["sources"]) == (before["extents"], before["sources"])
    assert not list(tmp_path.rglob("*surplus*"))


@pytest.mark.usefixtures("stays_shared")
@pytest.mark.parametrize("keep", [0, 1, 50, 0.3, 0.6, 0.9, -1])
def test_wherever_the_shared_journal_ends_its_sources_continue_and_nothing_is_missing(
    tmp_path: Path, keep: float
) -> None:
    with opened(tmp_path) as store:
        for end in range(12, 22, 2):
            ship(store, 10, end)
    lose_ledger(tmp_path)
    data = shared_of(tmp_path).read_bytes()
    shared_of(tmp_path).write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    rebuild(tmp_path)
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        assert {row.committed for row in store.positions(["s1"])} == {10 * SIZE}
        assert_journals_agree(tmp_path)
    assert set(stored_lines(tmp_path)) == set(LINES[10:20])
    assert set(problems(tmp_path)) == {""}


def chunk(number: int) -> list[bytes]:
    return [begin_entry("abc", PATH.format(number)), total_entry(number, number, number)]


def split(lines: Sequence[bytes]) -> Pieces:
    return pieces_of(b"".join(lines).splitlines(keepends=True))


def test_damage_gives_no_segment_what_belongs_to_another() -> None:
    whole = b"".join([*chunk(1), *chunk(2), *chunk(1), settled_entry(PATH.format(2)), *chunk(3)])
    lines = set(whole.splitlines(keepends=True))
    for at in range(len(whole)):
        found = split([whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]])
        for path, kept in found.items():
            number = int(path.rpartition("-")[2].partition(".")[0])
            assert {line for line in kept if line in lines} <= set(chunk(number))


def test_the_segments_of_identities_are_among_them() -> None:
    path = f"alice/{PATH.format(1)}"
    lines = [begin_entry("abc", path), total_entry(1, 1, 1)]
    assert split([*chunk(1), *lines]) == {PATH.format(1): chunk(1), path: lines}


def test_nothing_counts_once_a_segment_has_its_own_journal() -> None:
    assert split([*chunk(1), *chunk(2), settled_entry(PATH.format(1))]) == {PATH.format(2): chunk(2)}
    again = [*chunk(1), settled_entry(PATH.format(1)), *chunk(1)]
    assert split(again) == {PATH.format(1): chunk(1)}


@pytest.mark.parametrize(
    "path",
    [
        *("../../2024-01-15-1.ndjson", "/etc/2024-01-15-1.ndjson", "web-1/2024-01-15-1.ndjson", "", "a//b"),
        *(
            "a/./2024-01-15-1.ndjson",
            "/".join("d" * 27) + "/2024-01-15-1.ndjson",
            "a/b/passwd",
            "a/b/2024-01-15-1.ndjson/",
        ),
    ],
)
def test_a_path_that_is_not_one_of_a_segment_is_ignored(path: str) -> None:
    assert split([begin_entry("abc", path), total_entry(5, 1, 7), *chunk(1)]) == {PATH.format(1): chunk(1)}


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "full"])
def test_what_prevents_a_shared_journal_leaves_each_segment_its_own(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "segments").mkdir()
    if kind == "pipe":
        os.mkfifo(shared_of(tmp_path))
    elif kind == "folder":
        shared_of(tmp_path).mkdir()
    elif kind == "link":
        shared_of(tmp_path).symlink_to(tmp_path / "elsewhere")
    else:
        monkeypatch.setattr(new_segments, "_MAX_SHARED_BYTES", -1)
    with opened(tmp_path) as store:
        begin(store, 3)
        assert len(own_journals(tmp_path)) == 3
        assert_journals_agree(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    if kind in ("pipe", "link"):
        assert [finding.path for finding in fsck(tmp_path) if finding.kind == "foreign"] == [SHARED_NAME]
    lose_ledger(tmp_path)
    assert [("share cannot be read" in remark) for remark in rebuild(tmp_path).remarks] == [True] * (kind != "full")


def test_a_write_that_fails_is_made_good_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = SharedJournal.append

    def failing(self: SharedJournal, data: bytes) -> None:
        if b'["e"' in data:
            self.close()
            raise OSError(28, "No space left on device")
        append(self, data)

    with opened(tmp_path) as store:
        monkeypatch.setattr(SharedJournal, "append", failing)
        ship(store, 10, 14)
        monkeypatch.setattr(SharedJournal, "append", append)
        ship(store, 10, 16)
        assert_journals_agree(tmp_path)


def test_segments_that_are_closed_or_have_many_entries_get_their_own_journals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        parts_of(store).journals._interval_s = 0.01
        ship(store, 10, 18)
        wait_until(lambda: len(own_journals(tmp_path)) == 1, "the closed segment has its own journal")
        assert_journals_agree(tmp_path)
        monkeypatch.setattr(new_segments, "_OWN_AT_BYTES", 10)
        ship(store, 10, 19)
        wait_until(lambda: len(own_journals(tmp_path)) == 2, "the other one has its own journal, too")
        wait_until(lambda: not shared_of(tmp_path).exists(), "nothing is shared any more")
        ship(store, 10, 20)
        assert_journals_agree(tmp_path)


def test_what_has_the_name_of_an_own_journal_keeps_no_other_segment_from_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        begin(store, 3)
        journal_path(segments_of(tmp_path)[0]).mkdir()
        give_own_journals(store)
        assert len(own_journals(tmp_path)) == 3
        assert journal_path(segments_of(tmp_path)[1]).read_bytes()
        begin(store, 6)
        with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
            rows = ledger.segments()
        journal_path(segments_of(tmp_path)[0]).rmdir()
        assert all(JournalFiles(tmp_path / "segments").agrees(row) for row in rows)


def test_a_large_shared_journal_becomes_small_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_segments, "_SHARED_AT_BYTES", 4000)
    with opened(tmp_path) as store:
        parts_of(store).journals._interval_s = 0.01
        begin(store, 60)
        wait_until(lambda: len(own_journals(tmp_path)) > 8, "segments get their own journals")
        wait_until(lambda: not shared_of(tmp_path).exists() or shared_of(tmp_path).stat().st_size < 8000, "it is small")
        assert_journals_agree(tmp_path)
    assert len(own_journals(tmp_path)) == 60
    assert_journals_agree(tmp_path)


def test_what_is_added_while_a_segment_gets_its_own_journal_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SharedJournal.read
    with opened(tmp_path) as store:

        def adding(self: SharedJournal, start: int, end: int, **more: Any) -> Pieces:
            found = read(self, start, end, **more)
            if start == 0:
                ship(store, 10, 16)
                ship(store, 10, 12, source="s2", path="/var/log/other.log")
            return found

        ship(store, 10, 14)
        monkeypatch.setattr(SharedJournal, "read", adding)
        give_own_journals(store)
        monkeypatch.setattr(SharedJournal, "read", read)
        assert own_journals(tmp_path) == [journal_path(tmp_path / "segments" / PATH.format(1))]
        assert_journals_agree(tmp_path)
        ship(store, 10, 18)
        assert_journals_agree(tmp_path)


@pytest.mark.usefixtures("stays_shared")
def test_a_crash_between_the_two_journals_leaves_what_they_have_together(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        shared = shared_of(tmp_path).read_bytes()
        give = parts_of(store).journals
        give._new._ripe.update(give._new._new)
        give._settle(is_last=False)
        ship(store, 10, 24)
    before = tables(tmp_path)
    (own,) = own_journals(tmp_path)
    whole = own.read_bytes()
    shared_of(tmp_path).write_bytes(shared)  # as if it still had the segment
    for data in (whole, whole[: len(shared) // 2]):
        own.write_bytes(data)
        found = whole_of(JournalFiles(tmp_path / "segments"), PATH.format(1))
        assert found
        assert found.total
        assert found.total.bytes == (14 if data == whole else 10) * SIZE
        assert sum(extent.bytes for extent in found.extents.values()) == found.total.bytes
    own.write_bytes(whole)
    lose_ledger(tmp_path)
    assert rebuild(tmp_path).remarks == []
    assert tables(tmp_path) == before


@pytest.mark.usefixtures("stays_shared")
def test_a_segment_that_retention_deletes_is_not_missed_by_a_rebuild(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 24)
        store.change_limits(segment_bytes=6 * SIZE, retention_bytes=7 * SIZE, retention_days=0)
        wait_until(lambda: len(segments_of(tmp_path)) < 3, "segments are deleted")
    remaining = len(segments_of(tmp_path))
    lose_ledger(tmp_path)
    made = rebuild(tmp_path)
    assert (made.segments, [remark for remark in made.remarks if "damaged" in remark]) == (remaining, [])


def test_what_an_earlier_version_left_stale_is_not_believed(tmp_path: Path) -> None:
    """An earlier version wrote own journals beside a shared one that it did not know."""
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        stale = shared_of(tmp_path).read_bytes()
        ship(store, 10, 20)
    before = tables(tmp_path)
    shared_of(tmp_path).write_bytes(stale)
    with opened(tmp_path):
        assert_journals_agree(tmp_path)
    assert not shared_of(tmp_path).exists()
    assert tables(tmp_path) == before


@pytest.mark.parametrize("what", ["Replacement", "_lacks_something"])
def test_a_store_that_cannot_write_own_journals_keeps_the_shared_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "journal")

    with monkeypatch.context() as patched:
        patched.setattr(new_segments, "_MAX_AT_CLOSE", -1)
        fill(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(f"logferry.server.storage.disk.journals.journal_completion.{what}", refusing)
        with opened(tmp_path, segment_bytes=6 * SIZE) as store:
            begin(store, 2)
        assert shared_of(tmp_path).exists()
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    assert rebuild(tmp_path).remarks == []
    assert tables(tmp_path) == before
