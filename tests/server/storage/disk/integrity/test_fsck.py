"""fsck finds what is wrong with segments, and nothing else."""

import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.content import segment_bytes
from logferry.server.storage.disk.content.segment_bytes import AnyForm
from logferry.server.storage.disk.files import regular
from logferry.server.storage.disk.integrity import data_folder, surplus_lines
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from tests.server.storage.disk.integrity.test_repair import ship
from tests.support.delivery import LINES, DeliveryClient, batch, size_of
from tests.support.running import running_server
from tests.support.stores import SIZE, Stored, opened, problems, segments_of, small_disk, store_twelve, submit_each


def test_fsck_finds_every_segment_sound_and_counts_it(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    size = size_of(LINES[10:13])
    findings = list(fsck(tmp_path))
    assert [finding.problem for finding in findings] == [""] * 4
    assert [(finding.bytes, finding.lines) for finding in findings] == [(size, 3)] * 4
    assert findings[0].path == "10.0.0.7/plain/2024-01-15-1.ndjson"


def test_fsck_reports_what_is_wrong_with_a_segment(tmp_path: Path) -> None:
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


def test_fsck_reports_bytes_added_to_a_closed_segment_but_not_to_the_open_one(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    for path in segments_of(tmp_path)[2:]:
        path.write_bytes(path.read_bytes() + LINES[10])
    assert problems(tmp_path) == ["", "", f"has {SIZE} bytes more than were stored", ""]


def test_fsck_of_a_folder_without_a_ledger_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no ledger"):
        list(fsck(tmp_path))
    store_twelve(tmp_path)
    for path in tmp_path.glob("ledger*"):
        path.unlink()
    with pytest.raises(StoreError, match="`logferry fsck --rebuild`"):
        list(fsck(tmp_path))


def test_fsck_may_run_beside_a_server(tmp_path: Path) -> None:
    with running_server(tmp_path, segment_bytes=1024) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(LINES[:10], start=0) + batch(LINES[10:50], start=size_of(LINES[:10])))
        while client.answer()["lines"] < 50:
            assert set(problems(server.data_dir)) <= {""}
        assert problems(server.data_dir) == ["", ""]


@pytest.mark.parametrize("is_crashed", [False, True])
def test_a_folder_on_a_volume_that_is_mounted_read_only_is_checked_with_its_log(
    tmp_path: Path, is_crashed: bool
) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        data_dir = disk / "data"
        with opened(tmp_path / "data", segment_bytes=3 * SIZE) as store:
            submit_each(store, LINES[10:22], Stored())
            if is_crashed:  # the last transactions are in the log alone
                shutil.copytree(tmp_path / "data", data_dir)
        if not is_crashed:
            shutil.copytree(tmp_path / "data", data_dir)
        assert (data_dir / "ledger.sqlite3-wal").exists() == is_crashed
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert problems(data_dir) == [""] * 4
        assert sum(finding.lines for finding in fsck(data_dir)) == 12


def verdicts(data_dir: Path) -> dict[str, tuple[str, str, str]]:
    """Return what fsck says, by path, without sound segments."""
    findings = list(fsck(data_dir))
    return {f.path: (f.kind, f.problem, f.note) for f in findings if f.kind != "segment" or f.problem}


def test_a_damaged_ledger_is_a_finding_and_never_an_error(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    ledger = tmp_path / "ledger.sqlite3"
    whole = ledger.read_bytes()
    for page in range(len(whole) // 4096):
        ledger.write_bytes(whole[: 4096 * page] + bytes(4096) + whole[4096 * (page + 1) :])
        found = verdicts(tmp_path)
        assert found["ledger.sqlite3"][0] == "ledger"
        assert "`logferry fsck --rebuild`" in found["ledger.sqlite3"][1]
    ledger.write_bytes(b"something else" * 1000)
    assert list(verdicts(tmp_path)) == ["ledger.sqlite3"]


@pytest.mark.parametrize("kind", ["named pipe", "folder", "symbolic link", "socket"])
@pytest.mark.parametrize("place", [0, -1])
def test_what_is_not_a_file_in_place_of_a_segment_is_found_and_not_opened(
    tmp_path: Path, kind: str, place: int
) -> None:
    store_twelve(tmp_path)
    path = segments_of(tmp_path)[place]
    path.rename(tmp_path / "elsewhere")
    unknown = path.with_name("2024-01-15-77.ndjson")
    for name in (path, unknown, path.with_name(f"{path.name}.surplus-1-0")):
        make(kind, name, tmp_path / "elsewhere")
    found = verdicts(tmp_path)
    problem = f"cannot be read: it is a {kind}, not a file"
    assert found[relative(path)] == ("segment", problem, "")
    assert found[relative(unknown)] == ("unknown segment", f"is a {kind}, not a file", "")
    assert found[f"{relative(path)}.surplus-1-0"][1] == problem


def make(kind: str, path: Path, target: Path) -> None:
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "symbolic link":
        path.symlink_to(target)
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)


def relative(path: Path) -> str:
    return "/".join(path.parts[-3:])


def test_what_the_ledger_does_not_have_is_listed(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    folder = segments_of(tmp_path)[0].parent
    (folder / "2024-01-15-77.ndjson").write_bytes(b"unknown\n")
    (folder / "notes.txt").write_bytes(b"a note")
    (folder.parent / "deep").mkdir()
    (folder.parent.parent / "file").write_bytes(b"")
    (tmp_path / "ledger.sqlite3.damaged-1").write_bytes(b"")
    (tmp_path / "lost+found").mkdir()
    assert verdicts(tmp_path) == {
        "10.0.0.7/plain/2024-01-15-77.ndjson": ("unknown segment", "is a segment that the ledger does not have", ""),
        "10.0.0.7/plain/notes.txt": ("foreign", "", "does not belong to the store"),
        "file": ("foreign", "", "does not belong to the store"),
        "ledger.sqlite3.damaged-1": ("foreign", "", "an earlier ledger, kept by a rebuild"),
        "lost+found": ("foreign", "", "a folder: does not belong to the store"),
    }


def test_a_million_foreign_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "_MAX_FOREIGN", 3)
    store_twelve(tmp_path)
    for number in range(8):
        (tmp_path / f"foreign{number}").write_bytes(b"")
    assert list(verdicts(tmp_path)) == ["foreign0", "foreign1", "foreign2", "and 5 more"]


@pytest.mark.parametrize("has_journal", [False, True])
def test_a_surplus_is_a_problem_until_its_lines_are_stored_unless_two_witnesses_say_that_it_was_never_acked(
    tmp_path: Path, has_journal: bool
) -> None:
    store_twelve(tmp_path)
    last = segments_of(tmp_path)[-1]
    last.write_bytes(last.read_bytes() + LINES[30] + LINES[31] + LINES[32][:20])
    if not has_journal:
        journal_path(last).unlink()
    name = f"{relative(last)}.surplus-1-{3 * SIZE}{'.unacked' * has_journal}"
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        if has_journal:
            assert verdicts(tmp_path)[name] == ("surplus", "", "a surplus with 2 lines that were never acked")
        else:
            problem = "is a surplus with 2 lines that are not stored elsewhere"
            assert verdicts(tmp_path) == {name: ("surplus", problem, "")}
        submit_each(store, [LINES[31]], Stored())
        assert "with 1 lines" in "".join(verdicts(tmp_path)[name])
        submit_each(store, [LINES[30]], Stored())
    assert verdicts(tmp_path) == {name: ("surplus", "", "a surplus whose lines are stored")}


def test_lines_that_the_ledger_has_lost_are_a_problem(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        submit_each(store, LINES[:2], Stored())
    older = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path) as store:
        submit_each(store, LINES[2:5], Stored())
    (tmp_path / "ledger.sqlite3").write_bytes(older)
    assert problems(tmp_path) == [
        "has 3 lines that the ledger has lost; the next start enters them again from the journal"
    ]


def _work_of_fsck(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """Return how many rows of the ledger fsck reads, how often it lists a folder, and how often it opens a segment."""
    rows = opened_files = listed = 0
    query, open_file, open_segment = Ledger._query, regular.open_file, segment_bytes.any_form
    scan, names = os.scandir, os.listdir

    def counted_query(ledger: Ledger, *question: Any) -> list[Any]:
        nonlocal rows
        found = query(ledger, *question)
        rows += len(found)
        return found

    def counted_open(path: Path) -> int:
        nonlocal opened_files
        opened_files += 1
        return open_file(path)

    def counted_segment(path: Path) -> AnyForm:
        nonlocal opened_files
        opened_files += 1
        return open_segment(path)

    def counted(list_folder: Callable[..., Any]) -> Callable[..., Any]:
        def count(*path: Any) -> Any:
            nonlocal listed
            listed += 1
            return list_folder(*path)

        return count

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_query", counted_query)
        patch.setattr(surplus_lines, "open_file", counted_open)
        patch.setattr(surplus_lines, "any_form", counted_segment)
        patch.setattr(os, "scandir", counted(scan))
        patch.setattr(os, "listdir", counted(names))
        list(fsck(data_dir))
    return rows, listed, opened_files


def test_fsck_reads_each_segment_and_each_row_once_however_many_lie_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for each segment all of its log again, and not for each surplus all segments."""
    with opened(tmp_path, segment_bytes=SIZE) as store:
        submit_each(store, LINES[10:50], Stored())
    rows, listed, opened_files = _work_of_fsck(tmp_path, monkeypatch)
    assert opened_files == 0
    assert rows < 40 * 4
    for path in segments_of(tmp_path):
        path.with_name(f"{path.name}.surplus-1-{SIZE}").write_bytes(b"not stored\n")
    with_surplus = _work_of_fsck(tmp_path, monkeypatch)
    assert with_surplus == (rows, listed + 1, 40 + 40)


def test_surpluses_that_do_not_fit_into_memory_together_are_compared_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surplus_lines, "MAX_COMPARED_BYTES", 2 * SIZE)
    store_twelve(tmp_path)
    folder = segments_of(tmp_path)[0].parent
    for number, content in enumerate([LINES[10], LINES[50], LINES[51] + LINES[11], b"".join(LINES[50:53])], 1):
        (folder / f"2024-01-15-1.ndjson.surplus-{number}-0").write_bytes(content)
    assert [said[1] or said[2] for said in verdicts(tmp_path).values()] == [
        "a surplus whose lines are stored",
        "is a surplus with 1 lines that are not stored elsewhere",
        "is a surplus with 1 lines that are not stored elsewhere",
        "is a surplus that is too large to look for its lines in the segments",
    ]


@pytest.mark.parametrize("table", ["segments", "extents", "sources", "losses"])
@pytest.mark.parametrize("value", ["x'ff00'", "-1", "1.5", "'../../../etc/passwd'"])
def test_values_that_no_store_has_written_are_damage_whatever_their_type(
    tmp_path: Path, table: str, value: str
) -> None:
    """SQLite's own check finds nothing wrong with them, and some would be paths of other people's files."""
    with opened(tmp_path) as store:
        ship(store, 10, 20)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as database:
        database.execute("INSERT INTO losses VALUES ('s1', 0, 1, 'cut', 0, 1)")
        columns = [
            name
            for _, name, kind, *_ in database.execute(f"PRAGMA table_info({table})")
            if kind != "REAL" and name != "is_lost"
        ]
    checked = 0
    for column in columns:
        copy = tmp_path / column
        shutil.copytree(tmp_path / "segments", copy / "segments")
        shutil.copy(tmp_path / "ledger.sqlite3", copy)
        with closing(sqlite3.connect(copy / "ledger.sqlite3", isolation_level=None)) as database:
            try:
                database.execute(f"UPDATE {table} SET {column} = {value}")
            except sqlite3.IntegrityError:  # the number of a segment is one
                continue
            ((is_text,),) = database.execute(f"SELECT typeof({column}) = 'text' FROM {table}")
        findings = list(fsck(copy))
        is_as_any_text = is_text and (table, column) not in {("segments", "path"), ("segments", "state")}
        if not (is_as_any_text and column in ("id", "client", "host", "path", "source", "reason")):
            assert any(finding.kind == "ledger" for finding in findings), (column, findings)
            checked += 1
    assert checked


@pytest.mark.parametrize("state", ["open", "closed", "expired"])
def test_nothing_is_cut_or_deleted_outside_of_the_store_on_the_word_of_a_ledger(tmp_path: Path, state: str) -> None:
    data_dir, precious = tmp_path / "data", tmp_path / "precious.txt"
    store_twelve(data_dir)
    precious.write_bytes(b"precious\n" * 30)
    (tmp_path / "precious.txt.note").write_bytes(b"x")
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3", isolation_level=None)) as database:
        values = ("../../precious.txt", state)
        database.execute("UPDATE segments SET path = ?, state = ?, bytes = 9, lines = 1 WHERE id = 1", values)
    with pytest.raises(StoreError, match="is damaged"), opened(data_dir):
        pass
    assert precious.read_bytes() == b"precious\n" * 30
    assert (tmp_path / "precious.txt.note").exists()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_a_pipe_in_place_of_a_file_of_the_ledger_stops_nobody(tmp_path: Path, suffix: str) -> None:
    store_twelve(tmp_path)
    path = tmp_path / f"ledger.sqlite3{suffix}"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises((StoreError, OSError), match="a named pipe"):
        list(fsck(tmp_path))
    with pytest.raises(StoreError, match="a named pipe"), opened(tmp_path):
        pass
