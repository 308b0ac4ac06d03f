"""Where logs lie below `segments`: by host and whole path, also in stores of earlier versions, and only there."""

import os
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.protocol.messages.requests import BatchRequest, Open
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.files.emptied_folders import remove_emptied
from logferry.server.storage.disk.files.segment_files import log_folders, segment_files
from logferry.server.storage.disk.files.segment_names import MAX_DEPTH
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.integrity.source_report import report
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.log_names import NO_LOG, LogName
from logferry.server.storage.owners import of_identity
from logferry.server.storage.records import LogRow
from logferry.server.storage.store import Store
from tests.server.storage.disk.integrity.test_repair import ship
from tests.server.storage.disk.recovery.test_rebuild import fill, lose_ledger, tables
from tests.support.old_stores import as_version_5
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, LOG, SIZE, Stored, delivery, names, opened, problems, submit_each

SEGMENT = "2024-01-15-1.ndjson"


def logs(data_dir: Path) -> dict[str, LogName]:
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        return {row.folder: row.name for row in ledger.logs()}


def ship_as(store: Store, identity: str, host: str, path: str, source: str) -> None:
    """Store a line of a file of an identity."""
    stored = Stored()
    batch = BatchRequest(source, 0, 5, 1, zlib.crc32(LINES[0]), LINES[0])
    for message in (Open(source, path), batch):
        request = SourceRequest(message, 1, of_identity(identity, "c", folder=identity), host)
        pieces = [LINES[0]] if message is batch else []
        store.submit(Delivery(NO_LOG, pieces, len(pieces), len(b"".join(pieces)), source_request=request), stored)
    wait_until(lambda: len(stored.deliveries) == 2, "it is stored")


def test_a_log_lies_by_host_and_path(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        ship(store, 10, 12, source="s2", path="/var/log/app.log/0.log")
        ship_as(store, "team", "web-1", "/журнал/app.log", "s3")
        submit_each(store, LINES[:1], Stored())
    assert names(tmp_path) == [
        f"10.0.0.7/plain/{SEGMENT}",
        f"team/web-1/журнал/app.log/{SEGMENT}",
        f"web-1/var/log/app.log/0.log/{SEGMENT}",
        f"web-1/var/log/app.log/{SEGMENT}",
    ]
    assert logs(tmp_path) == {
        "10.0.0.7/plain": LOG,
        "team/web-1/журнал/app.log": LogName("web-1", "/журнал/app.log", "team"),
        "web-1/var/log/app.log": LogName("web-1", "/var/log/app.log"),
        "web-1/var/log/app.log/0.log": LogName("web-1", "/var/log/app.log/0.log"),
    }
    assert problems(tmp_path) == [""] * 4


def test_logs_that_would_share_a_folder_do_not_also_after_a_restart_and_a_rebuild(tmp_path: Path) -> None:
    for number in range(2):
        with opened(tmp_path) as store:
            ship_as(store, "web", "a", "/x", f"s1-{number}")
            store.submit(delivery(LINES[2], log=LogName("web", "/a/x")), stored := Stored())
            wait_until(lambda: stored.lines == LINES[2:3], "it is stored")
    before = tables(tmp_path)
    assert len(logs(tmp_path)) == 2
    lose_ledger(tmp_path)
    rebuild(tmp_path)
    assert tables(tmp_path) == before
    assert [(tmp_path / "segments" / name).read_bytes() for name in names(tmp_path)] == [LINES[2] * 2, LINES[0] * 2]


def test_a_store_of_an_earlier_version_goes_on_in_new_folders(tmp_path: Path) -> None:
    fill(tmp_path)
    as_version_5(tmp_path)
    old = names(tmp_path)
    assert problems(tmp_path) == [""] * 4, "it is read as it is"
    page = report(tmp_path, "s1", after=0)
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 24)
        ship(store, 10, 16, source="s2", path="/var/log/other.log")
        submit_each(store, LINES[24:25], Stored())
        assert report(tmp_path, "s1", after=0).extents[: len(page.extents)] == page.extents
    assert [name for name in names(tmp_path) if name not in old] == [
        f"web-1/var/log/app.log/{SEGMENT}",
        f"web-1/var/log/other.log/{SEGMENT}",
    ], "a plain peer goes on in its segment"
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        by_folder = {os.path.dirname(row.path): (row.state, row.log) for row in ledger.segments()}
    assert by_folder["web-1/app.log"] == by_folder["web-1/other.log"] == ("closed", None)
    assert by_folder["10.0.0.7/plain"][0] == "open"
    assert set(logs(tmp_path)) == {"10.0.0.7/plain", "web-1/var/log/app.log", "web-1/var/log/other.log"}
    assert sorted(stored_lines(tmp_path)) == sorted([*LINES[10:24], *LINES[10:16], *LINES[20:25]])
    assert set(problems(tmp_path)) == {""}
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    rebuild(tmp_path)
    assert tables(tmp_path)["logs"] == before["logs"]
    assert tables(tmp_path)["extents"] == before["extents"]
    with opened(tmp_path):
        pass
    assert set(problems(tmp_path)) == {""}


def test_a_log_whose_journal_does_not_name_it_is_that_of_its_sources(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
    (journal,) = tmp_path.rglob("*.journal")
    journal.write_bytes(b"".join(line for line in journal.read_bytes().splitlines(True) if b'["g"' not in line))
    before = tables(tmp_path)
    lose_ledger(tmp_path)
    rebuild(tmp_path)
    assert tables(tmp_path) == before


def test_retention_removes_the_folders_that_it_empties_and_no_others(tmp_path: Path) -> None:
    other = tmp_path / "segments/web-1/var/notes"
    with opened(tmp_path, segment_bytes=3 * SIZE, retention_bytes=6 * SIZE) as store:
        ship(store, 10, 12, path="/var/log/pods/a/0.log", source="s1")
        ship(store, 10, 12, path="/var/log/pods/b/0.log", source="s2")
        other.mkdir()
        ship(store, 12, 16, path="/var/log/pods/b/0.log", source="s2")
        submit_each(store, LINES[20:50], Stored())
    assert {name.split("/")[0] for name in names(tmp_path)} == {"10.0.0.7", "web-1"}
    with opened(tmp_path, segment_bytes=3 * SIZE, retention_bytes=6 * SIZE) as store:
        assert store.health()
    folders = {path.relative_to(tmp_path / "segments").as_posix() for path in (tmp_path / "segments").rglob("*/")}
    assert "web-1/var/notes" in folders
    for name in names(tmp_path):
        folders -= {parent.as_posix() for parent in Path(name).parents}
    assert folders == {"web-1/var/notes"}, "what is left has segments"
    assert set(problems(tmp_path)) == {""}


def test_a_log_whose_folder_was_removed_gets_it_again(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE, retention_bytes=3 * SIZE) as store:
        log = LogName("pod", "/var/log/0.log")
        for number in range(0, 30, 3):
            store.submit(delivery(*LINES[number : number + 3], log=log), stored := Stored())
            wait_until(lambda: bool(stored.deliveries), "it is stored")
    (name,) = names(tmp_path)
    assert name == "pod/var/log/0.log/2024-01-15-10.ndjson"


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_folder_that_is_not_empty_stays_and_no_link_is_followed(tmp_path: Path, kind: str) -> None:
    root, elsewhere = tmp_path / "segments", tmp_path / "elsewhere"
    (root / "h/a/b").mkdir(parents=True)
    (elsewhere / "b").mkdir(parents=True)
    if kind == "file":
        (root / "h/x").touch()
    elif kind == "folder":
        (root / "h/x").mkdir()
    else:
        os.rename(root / "h/a", tmp_path / "old")
        (root / "h/a").symlink_to(elsewhere)
    assert remove_emptied(root, "h/a/b") == ([] if kind == "link" else [root / "h/a/b", root / "h/a"])
    assert (root / "h").is_dir()
    assert (elsewhere / "b").is_dir()
    assert remove_emptied(root, "gone/a") == []


def test_what_has_become_empty_goes_up_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "segments/h/a/b").mkdir(parents=True)
    remove_emptied(tmp_path / "segments", "h/a/b")
    assert list((tmp_path / "segments").iterdir()) == []


def test_a_walk_takes_every_depth_that_a_store_makes_and_ends_where_links_lead_round(tmp_path: Path) -> None:
    deep = "/".join("d" * MAX_DEPTH)
    for folder in ("h/a", "h/a/b", "h/.snapshot/a", deep, f"{deep}/e", "top"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / SEGMENT).touch()
    (tmp_path / "h/a/loop").symlink_to(tmp_path)
    (tmp_path / "h/a/again").symlink_to(tmp_path / "h")
    (tmp_path / "h/again").symlink_to(tmp_path / "h")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere/c"
    elsewhere.mkdir(parents=True)
    (elsewhere / SEGMENT).touch()
    (tmp_path / "h/moved").symlink_to(elsewhere.parent)
    (tmp_path / "h/moved-too").symlink_to(elsewhere.parent)
    os.mkdir(os.fsencode(tmp_path) + b"/h/caf\xe9")
    found = [folder for folder, _ in segment_files(tmp_path)]
    assert found[:2] == [deep, "h/a"]
    assert {"h/a/b", "h/moved/c"} <= set(found)
    assert len(found) == len(set(found)) <= 7
    assert not [folder for folder, _ in log_folders(tmp_path) if ".snapshot" in folder or folder.count("/") > 25]


def test_fsck_reads_any_depth_and_whatever_lies_there(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        ship(store, 10, 12, source="s2", path="/" + "/".join("x" * 40))
    root = tmp_path / "segments"
    (root / "web-1/var/2024-01-15-7.ndjson").write_bytes(LINES[0])
    (root / "web-1/var/log/2024-01-15-8.ndjson").mkdir()
    (root / "web-1/2024-01-15-9.ndjson").write_bytes(LINES[0])
    (root / "web-1/var/loop").symlink_to(root)
    os.mkdir(os.fsencode(root) + b"/web-1/caf\xe9")
    (Path(os.fsdecode(os.fsencode(root) + b"/web-1/caf\xe9")) / SEGMENT).touch()
    found = {finding.path: finding.problem or finding.note for finding in fsck(tmp_path) if finding.kind != "segment"}
    assert found["web-1/var/2024-01-15-7.ndjson"] == "is a segment that the ledger does not have"
    assert found["web-1/var/log/2024-01-15-8.ndjson"] == "is a folder, not a file"
    assert found["web-1/2024-01-15-9.ndjson"] == "does not belong to the store"
    assert "does not belong to the store" in found["web-1/var/loop"]


def test_names_that_this_locale_cannot_read_are_refused_and_nothing_is_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the ledger is lost: a server would store all lines again beside what is there."""
    with opened(tmp_path) as store:
        ship(store, 10, 12)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert problems(tmp_path) == [""]
    monkeypatch.undo()
    with opened(tmp_path) as store:
        ship(store, 10, 12, source="s2", path="/журнал.log")
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    for lost in (False, True):
        if lost:
            lose_ledger(tmp_path)
        for use in (problems, rebuild, lambda folder: opened(folder).__enter__()):
            with pytest.raises(StoreError, match="PYTHONUTF8=1"):
                use(tmp_path)
    monkeypatch.undo()
    rebuild(tmp_path)
    assert problems(tmp_path) == ["", ""]


def test_a_row_of_a_log_says_which_log_it_is() -> None:
    assert LogRow(1, "team/h/x", "team", "h", "/x").name == LogName("h", "/x", "team")
