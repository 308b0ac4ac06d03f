"""A lost or damaged ledger is made anew from the segments and their journals; nothing is lost or repeated by that."""

import errno
import os
import shutil
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.protocol.messages.requests import Open, Skip, Window
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.files.held_folder import HeldFolder
from logferry.server.storage.disk.journals.journal import begin_entry, journal_path, total_entry
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery import rebuild as rebuilding
from logferry.server.storage.disk.recovery.rebuild import Rebuilt, rebuild
from logferry.server.storage.owners import of_client
from logferry.server.storage.store import Store
from tests.server.storage.disk.integrity.test_repair import ship
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, LOG, SIZE, Stored, opened, problems, segments_of, submit_each


def lose_ledger(data_dir: Path) -> None:
    for path in data_dir.glob("ledger.sqlite3*"):
        path.unlink()


def tables(data_dir: Path) -> dict[str, list[Any]]:
    """Return what a ledger says, without times and without the numbers of segments."""
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        paths = {row.id: row.path for row in ledger.segments()}
        return {
            "store": [ledger.store_id],
            "sources": ledger._query("SELECT id, client, host, path, committed, lines, crc32 FROM sources ORDER BY id"),
            "segments": sorted(
                (row.path, row.bytes, row.lines, row.crc32, row.state, row.log and ledger.log(row.log).name)  # type: ignore[union-attr]
                for row in ledger.segments()
            ),
            "logs": sorted((row.folder, row.name) for row in ledger.logs()),
            "extents": sorted(
                (source, start, end, lines, crc32, paths[segment], position, size)
                for source, start, end, lines, crc32, segment, position, size in ledger._query("SELECT * FROM extents")
            ),
            "losses": ledger._query("SELECT source, start, end, reason, is_lost FROM losses ORDER BY source, start"),
            "windows": ledger._query("SELECT source, start, last_look, noticed, reason FROM windows ORDER BY source"),
        }


def fill(data_dir: Path) -> None:
    """Store lines of two sources and of a plain client in five segments."""
    with opened(data_dir, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        ship(store, 10, 14, source="s2", path="/var/log/other.log")
        submit_each(store, LINES[20:24], Stored())


def test_a_lost_ledger_is_made_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    made = rebuild(tmp_path)
    assert made == Rebuilt(segments=4, lines=18, sources=2)
    assert tables(tmp_path) == before
    assert problems(tmp_path) == [""] * 4
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        assert store.health().counters.repeats
        submit_each(store, LINES[24:26], Stored())
    assert sorted(stored_lines(tmp_path)) == sorted([*LINES[10:26], *LINES[10:14]])


@pytest.mark.parametrize("content", [None, b"", b"not a ledger" * 1000])
def test_a_server_without_its_ledger_does_not_start_beside_segments(tmp_path: Path, content: bytes | None) -> None:
    fill(tmp_path)
    lose_ledger(tmp_path)
    if content is not None:
        (tmp_path / "ledger.sqlite3").write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreError, match="fsck --rebuild"), opened(tmp_path):
            pass
    made = rebuild(tmp_path)
    assert made.kept_as == ("" if content is None else "ledger.sqlite3.damaged-1")
    if content:
        assert (tmp_path / made.kept_as).read_bytes() == content
    with opened(tmp_path):
        pass


def zero_a_page(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(bytes(4096))


def test_a_ledger_with_a_damaged_page_stops_the_start_and_is_kept(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tables(tmp_path)
    for page in range(1, (tmp_path / "ledger.sqlite3").stat().st_size // 4096):
        copy = tmp_path / f"copy{page}"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy*"))
        zero_a_page(copy / "ledger.sqlite3", page)
        damaged = (copy / "ledger.sqlite3").read_bytes()
        with pytest.raises(StoreError, match=r"is damaged.*fsck --rebuild"), opened(copy):
            pass
        assert rebuild(copy).kept_as == "ledger.sqlite3.damaged-1"
        assert (copy / "ledger.sqlite3.damaged-1").read_bytes() == damaged
        assert tables(copy) == before


def test_transactions_that_the_ledger_has_lost_are_entered_again_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 14)
    older = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        ship(store, 10, 14, source="s2", path="/var/log/other.log")
        submit_each(store, LINES[20:24], Stored())
    before = tables(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(older)  # as if the log of the ledger had been removed
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        assert "that were acknowledged; entered them again" in caplog.text
        ship(store, 10, 20)
    assert tables(tmp_path) == before
    assert not list(tmp_path.rglob("*surplus*"))
    assert problems(tmp_path) == [""] * 4


def test_a_journal_of_other_content_is_not_believed_at_the_start(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 14)
    older = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path) as store:
        ship(store, 10, 20)
    (tmp_path / "ledger.sqlite3").write_bytes(older)
    path = segments_of(tmp_path)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"line 18", b"line 81"))
    with opened(tmp_path) as store:
        ship(store, 10, 20)
    assert stored_lines(tmp_path) == LINES[10:20]
    (surplus,) = (found for found in tmp_path.rglob("*surplus*") if found.suffix != ".journal")
    assert content.replace(b"line 18", b"line 81").endswith(surplus.read_bytes())
    altered = "is a surplus with 1 lines that are not stored elsewhere"
    assert problems(tmp_path) == ["", altered]
    lose_ledger(tmp_path)
    rebuild(tmp_path)
    assert problems(tmp_path) == ["", altered]


def test_segments_without_journals_are_kept_and_named(tmp_path: Path) -> None:
    fill(tmp_path)
    lose_ledger(tmp_path)
    first, *_, last = segments_of(tmp_path)
    for path in (first, last):
        journal_path(path).unlink()
    last.write_bytes(last.read_bytes() + b"unfinished")
    made = rebuild(tmp_path)
    assert [str(path.relative_to(tmp_path / "segments")) in "".join(made.remarks) for path in (first, last)] == [
        True
    ] * 2
    assert "second time" in made.remarks[0]
    assert problems(tmp_path) == [""] * 4
    before = stored_lines(tmp_path)
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
    assert sorted(set(stored_lines(tmp_path))) == sorted(set(before))
    assert problems(tmp_path)[:4] == [""] * 4


def test_a_store_of_a_version_without_journals_gets_them_at_its_start(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tables(tmp_path)
    for path in segments_of(tmp_path):
        journal_path(path).unlink()
    with opened(tmp_path, segment_bytes=6 * SIZE):
        pass
    lose_ledger(tmp_path)
    assert rebuild(tmp_path).remarks == []
    assert tables(tmp_path) == before


@pytest.mark.parametrize("keep", [0, 1, 50, 0.3, 0.6, 0.9, -1])
def test_wherever_a_journal_ends_its_sources_continue_and_nothing_is_missing(tmp_path: Path, keep: float) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        for end in range(12, 22, 2):
            ship(store, 10, end)
    lose_ledger(tmp_path)
    journal = journal_path(segments_of(tmp_path)[-1])
    data = journal.read_bytes()
    journal.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    remarks = "".join(rebuild(tmp_path).remarks)
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        assert {row.committed for row in store.positions(["s1"])} == {10 * SIZE}
    assert set(stored_lines(tmp_path)) == set(LINES[10:20])
    assert ("a second time" in remarks) == (stored_lines(tmp_path) != LINES[10:20])
    assert remarks
    assert set(problems(tmp_path)) == {""}


def test_a_rebuild_beside_a_server_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        with pytest.raises(StoreError, match="stop it first"):
            rebuild(tmp_path)


def test_a_folder_without_segments_has_nothing_to_rebuild(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no segments"):
        rebuild(tmp_path)


def test_a_rebuild_that_was_interrupted_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    before = tables(tmp_path)
    (tmp_path / "ledger.sqlite3-wal").write_bytes(b"of the old one")
    rename = os.rename
    for countdown in range(3):
        left = [countdown]

        def crash(source: Path, target: Path, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError(5, "Input/output error")
            left[0] -= 1
            rename(source, target)

        monkeypatch.setattr(os, "rename", crash)
        with pytest.raises(StoreError, match="can be repeated"):
            rebuild(tmp_path)
    monkeypatch.setattr(os, "rename", rename)
    rebuild(tmp_path)
    assert tables(tmp_path) == before
    assert len(list(tmp_path.glob("ledger.sqlite3.damaged-*"))) >= 2


def test_losses_and_unknown_windows_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        for message in (
            Skip("s1", 2 * SIZE, 3 * SIZE, "it was gone"),
            Skip("s1", 3 * SIZE, 4 * SIZE, "nobody asked for it", lost=False),
            Window("s1", 4 * SIZE, 1000, 2000, "nobody looked"),
        ):
            ask(store, message)
    before = tables(tmp_path)
    assert [len(before[name]) for name in ("losses", "windows")] == [2, 1]
    lose_ledger(tmp_path)
    rebuild(tmp_path)
    assert tables(tmp_path) == before


def ask(store: Store, message: Skip | Window) -> None:
    """Send a request about the source s1, and wait for it."""
    stored = Stored()
    for request in (Open("s1", "/var/log/app.log"), message):
        found = SourceRequest(request, 1, of_client("client-1"), "web-1")
        store.submit(Delivery(LOG, [], 0, 0, source_request=found), stored)
    wait_until(lambda: len(stored.deliveries) == 2, "the store answers")


def test_a_planted_name_decides_no_day_and_no_pipe_stops_a_rebuild(tmp_path: Path) -> None:
    fill(tmp_path)
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    folder = segments_of(tmp_path)[0].parent
    (folder / "9999-12-31-1.ndjson").write_bytes(b"planted\n")
    os.mkfifo(folder / "2024-01-15-7.ndjson")
    os.mkfifo(folder / "2024-01-15-8.ndjson.journal")
    remarks = "\n".join(rebuild(tmp_path).remarks)
    assert "9999-12-31-1.ndjson has no journal and is of a day to come: it is left alone" in remarks
    assert "2024-01-15-7.ndjson cannot be read and is left alone: it is a named pipe, not a file" in remarks
    assert tables(tmp_path) == before


def test_remarks_are_bounded_and_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "_MAX_REMARKS", 3)
    fill(tmp_path)
    lose_ledger(tmp_path)
    folder = segments_of(tmp_path)[0].parent
    for number in range(10):
        (folder / f"9999-12-31-{number + 1}.ndjson").write_bytes(b"planted\n")
    made = rebuild(tmp_path)
    assert (len(made.remarks), made.further_remarks) == (3, 7)


def test_a_gap_in_the_journals_of_one_source_keeps_no_other_from_being_entered(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 12)
    older = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        for end in range(12, 32, 2):
            ship(store, 10, end)
        ship(store, 10, 14, source="s2", path="/var/log/other.log")
    (tmp_path / "ledger.sqlite3").write_bytes(older)
    second = segments_of(tmp_path)[1]
    journal_path(second).unlink()
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        assert {row.committed for row in store.positions(["s2"])} == {4 * SIZE}
        assert 0 < store.positions(["s1"])[0].committed < 22 * SIZE


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_root_makes_anew_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    fill(tmp_path)
    with segments_of(tmp_path)[-1].open("ab") as file:
        file.write(b"unfinished")
    lose_ledger(tmp_path)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 12345, 12345)
    rebuild(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.stat().st_uid != 12345} == set()


def test_a_crash_in_the_first_group_is_no_lost_ledger(tmp_path: Path) -> None:
    """The journal and an empty segment are there, and the ledger has recorded neither."""
    with opened(tmp_path):
        pass
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        assert ledger.is_empty
        store_id = ledger.store_id
    segment = tmp_path / "segments" / LOG.host / "plain" / "2024-01-15-1.ndjson"
    segment.parent.mkdir(parents=True)
    segment.touch()
    path = f"{LOG.host}/plain/{segment.name}"
    journal_path(segment).write_bytes(begin_entry(store_id, path) + total_entry(0, 0, 0))
    with opened(tmp_path) as store:
        submit_each(store, LINES[:3], Stored())
    assert stored_lines(tmp_path) == LINES[:3]
    assert set(problems(tmp_path)) == {""}


@pytest.mark.parametrize("target", ["other", "."])
def test_a_rebuild_follows_no_link_in_the_place_of_the_new_ledger(tmp_path: Path, target: str) -> None:
    """Somebody who may write into the data folder could have root delete the ledger of another store."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        fill(folder)
    before = (tables(mine), tables(other))
    (mine / "ledger.new").symlink_to(other if target == "other" else target)
    with pytest.raises(StoreError, match=r"ledger\.new"):
        rebuild(mine)
    assert (tables(mine), tables(other)) == before


def test_a_new_ledger_that_does_not_fit_takes_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, SQLite may have the new ledger only in its log, whose end is not the ledger's."""

    def fail(ledger: Ledger) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ledger.path))

    fill(tmp_path)
    before = tables(tmp_path)
    monkeypatch.setattr(Ledger, "move_log_into_file", fail)
    with pytest.raises(StoreError, match="No space left"):
        rebuild(tmp_path)
    assert tables(tmp_path) == before
    monkeypatch.undo()
    assert rebuild(tmp_path).remarks == []
    assert tables(tmp_path) == before


def test_the_log_of_a_ledger_is_moved_into_it_or_an_error(tmp_path: Path) -> None:
    fill(tmp_path)
    with closing(Ledger(tmp_path, durable=False)) as ledger, closing(Ledger(tmp_path, durable=False)) as reader:
        with ledger.transaction():
            ledger.set_store_id("new")
        with reader.transaction():
            assert reader.store_id == "new"
        ledger.move_log_into_file()
        assert not (tmp_path / "ledger.sqlite3-wal").stat().st_size


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write into the folders of others")
def test_root_rebuilds_nothing_in_a_folder_that_belongs_to_somebody_else(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        fill(folder)
    for segment in segments_of(other):
        segment.write_bytes(segment.read_bytes() + b"a line that its own ledger does not have yet")
    before = {path: path.read_bytes() for path in segments_of(other)}
    host = next((mine / "segments").iterdir())
    shutil.rmtree(host)
    host.symlink_to(other / "segments" / host.name)
    for path in (mine, *mine.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    lose_ledger(mine)
    rebuild(mine)
    assert {path: path.read_bytes() for path in segments_of(other)} == before


def two_stores(tmp_path: Path) -> tuple[Path, Path]:
    """Return the data folders of two stores whose segments hold more than their journals have."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        fill(folder)
        for segment in segments_of(folder):
            segment.write_bytes(segment.read_bytes() + b"what no journal has")
    lose_ledger(mine)
    return mine, other


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def exchange(folder: Path, other: Path) -> Path:
    """Put a link to a folder of another store in the place of one; return where that is now."""
    moved = folder.with_name(f"{folder.name}-moved")
    if not moved.exists():
        folder.rename(moved)
        folder.symlink_to(other)
    return moved


@pytest.mark.parametrize("level", ["segments", "host", "log"])
@pytest.mark.parametrize("step", ["set_aside", "any_form", "measure", "unfinished_bytes"])
def test_a_folder_that_is_exchanged_while_a_rebuild_works_in_it_harms_no_other_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, step: str
) -> None:
    mine, other = two_stores(tmp_path)
    before = contents(other)
    log = segments_of(mine)[0].parent
    folder = {"segments": log.parent.parent, "host": log.parent, "log": log}[level]
    original, exchanged = getattr(rebuilding, step), []

    def exchanging(*words: Any, **more: Any) -> Any:
        exchanged.append(exchange(folder, other / folder.relative_to(mine)))
        return original(*words, **more)

    monkeypatch.setattr(rebuilding, step, exchanging)
    rebuild(mine)
    assert contents(other) == before
    assert exchanged


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system has no paths of descriptors")
def test_a_folder_that_is_exchanged_after_it_was_listed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = two_stores(tmp_path)
    before = contents(other)
    log = segments_of(mine)[0].parent
    below = HeldFolder.below

    def exchanging(self: HeldFolder, relative: str) -> AbstractContextManager[HeldFolder]:
        if relative == f"{log.parent.name}/{log.name}":
            exchange(log, other / log.relative_to(mine))
        return below(self, relative)

    monkeypatch.setattr(HeldFolder, "below", exchanging)
    remarks = rebuild(mine).remarks
    assert any(
        remark.endswith("is left alone: its folder was exchanged for another one meanwhile") for remark in remarks
    )
    assert contents(other) == before


def test_a_folder_that_appears_after_it_was_missing_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = two_stores(tmp_path)
    before = contents(other)
    log = segments_of(mine)[0].parent
    below = HeldFolder.below

    def appearing(self: HeldFolder, relative: str) -> AbstractContextManager[HeldFolder]:
        if relative == f"{log.parent.name}/{log.name}":
            exchange(log, other / log.relative_to(mine))
            raise FileNotFoundError
        return below(self, relative)

    monkeypatch.setattr(HeldFolder, "below", appearing)
    rebuild(mine)
    assert contents(other) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a ledger for others")
def test_a_pipe_in_the_place_of_the_new_ledger_keeps_root_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    os.chown(tmp_path, 12345, 12345)
    before = tables(tmp_path)
    original = Ledger.move_log_into_file

    def planting(self: Ledger) -> None:
        original(self)
        (tmp_path / "ledger.new" / "ledger.sqlite3").unlink()
        os.mkfifo(tmp_path / "ledger.new" / "ledger.sqlite3")

    monkeypatch.setattr(Ledger, "move_log_into_file", planting)
    with pytest.raises(StoreError, match="the old ledger is kept"):
        rebuild(tmp_path)
    monkeypatch.undo()
    assert tables(tmp_path) == before


@pytest.mark.parametrize("step", ["__init__", "move_log_into_file"])
def test_a_new_ledger_whose_folder_is_exchanged_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        fill(folder)
    before = (tables(mine), tables(other))
    original = getattr(Ledger, step)

    def exchanging(self: Ledger, *words: Any, **more: Any) -> None:
        if (mine / "ledger.new").is_dir():
            exchange(mine / "ledger.new", other)
        original(self, *words, **more)

    monkeypatch.setattr(Ledger, step, exchanging)
    with pytest.raises(StoreError, match=r"ledger\.new was exchanged for another folder meanwhile"):
        rebuild(mine)
    monkeypatch.undo()
    assert (tables(mine), tables(other)) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a ledger for others")
def test_root_makes_the_ledger_of_others_where_only_root_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        fill(folder)
    for path in (mine, *mine.rglob("*")):
        os.chown(path, 12345, 12345)
    before = (tables(mine), tables(other))
    lose_ledger(mine)
    original = Ledger.__init__

    def exchanging(self: Ledger, *words: Any, **more: Any) -> None:
        exchange(mine / "ledger.new", other)
        original(self, *words, **more)

    monkeypatch.setattr(Ledger, "__init__", exchanging)
    with pytest.raises(StoreError, match=r"ledger\.new"):  # it cannot be removed: it is not a folder any more
        rebuild(mine)
    monkeypatch.undo()
    assert (tables(mine), tables(other)) == before
    assert (mine / "ledger.sqlite3").stat().st_uid == 12345
