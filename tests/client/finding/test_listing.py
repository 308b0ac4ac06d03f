"""Listings of folders: what they contain, and when a folder is read again."""

import os
from pathlib import Path

import pytest

from logferry.client.finding.listing import FolderListings

LATER_NS = 10**12


def changed_at(folder: Path, modified_ns: int) -> None:
    os.utime(folder, ns=(modified_ns, modified_ns))


def test_a_listing_separates_folders_from_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"")
    (tmp_path / "old").mkdir()
    (tmp_path / "link").symlink_to("old")
    listing = FolderListings().listing(str(tmp_path))
    assert listing.folders == ["old"]
    assert listing.names == {name: os.lstat(tmp_path / name).st_ino for name in ("app.log", "link")}
    assert listing.by_inode[os.lstat(tmp_path / "app.log").st_ino] == "app.log"


def test_rotated_files_are_found_by_their_original_name(tmp_path: Path) -> None:
    for name in ("app.log", "app.log.1", "app.log.1.gz", "app.log.2.gz", "other.log"):
        (tmp_path / name).write_bytes(b"")
    listing = FolderListings().listing(str(tmp_path))
    assert listing.rotated["app.log"] == ["app.log.1"]
    assert listing.archives["app.log"] == ["app.log.2.gz"], "the file that app.log.1.gz was made from is still there"
    assert set(listing.rotated_or_archived("app.log")) == {"app.log.1", "app.log.2.gz"}
    assert listing.rotated_or_archived("other.log") == {}


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path) -> None:
    folders = FolderListings(clock_ns=lambda: LATER_NS)
    changed_at(tmp_path, 0)
    first = folders.listing(str(tmp_path))
    assert folders.listing(str(tmp_path)) is first
    (tmp_path / "new.log").write_bytes(b"")
    changed_at(tmp_path, 1)
    assert "new.log" in folders.listing(str(tmp_path)).names
    assert folders.generation == 2


def test_a_forgotten_folder_is_read_again_although_its_time_is_the_same(tmp_path: Path) -> None:
    folders = FolderListings(clock_ns=lambda: LATER_NS)
    changed_at(tmp_path, 0)
    folders.listing(str(tmp_path))
    (tmp_path / "new.log").write_bytes(b"")
    changed_at(tmp_path, 0)
    assert folders.listing(str(tmp_path)).names == {}
    folders.forget(str(tmp_path))
    assert "new.log" in folders.listing(str(tmp_path)).names


@pytest.mark.parametrize("ago_ns", [0, 49_000_000, -49_000_000])
def test_a_folder_that_has_just_changed_is_read_again(tmp_path: Path, ago_ns: int) -> None:
    changed_at(tmp_path, LATER_NS - ago_ns)
    folders = FolderListings(clock_ns=lambda: LATER_NS)
    first = folders.listing(str(tmp_path))
    assert folders.listing(str(tmp_path)) is not first


def test_an_unreadable_folder_is_empty_and_its_end_counts_as_a_change(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folders = FolderListings()
    assert folders.listing(str(folder)).names == {}
    assert folders.generation == 0
    folder.mkdir()
    folders.listing(str(folder))
    folder.rmdir()
    assert folders.listing(str(folder)).names == {}
    assert folders.generation == 2
