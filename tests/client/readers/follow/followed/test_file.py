"""A followed file: what it has to do with the name that it is followed under."""

from pathlib import Path

import pytest

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.follow.followed.file import TRANSITIONS, FollowedFile, Standing


@pytest.fixture
def file(tmp_path: Path) -> FollowedFile:
    """Return a file that has its name."""
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n")
    return FollowedFile(str(path), str(path), descriptors=DescriptorPool(8), folders=FolderListings(), now=0.0)


def test_every_standing_has_its_transitions_and_only_the_last_has_none() -> None:
    assert set(TRANSITIONS) == set(Standing)
    assert [standing for standing, following in TRANSITIONS.items() if not following] == [Standing.RELEASED]


def test_a_file_that_is_opened_under_another_name_does_not_have_the_followed_one(tmp_path: Path) -> None:
    path = tmp_path / "app.log.1"
    path.write_bytes(b"one\n")
    file = FollowedFile(
        str(path), str(tmp_path / "app.log"), descriptors=DescriptorPool(8), folders=FolderListings(), now=0.0
    )
    assert file.standing is Standing.RENAMED
    assert file.source.path == str(tmp_path / "app.log")


def test_losing_the_name_for_good_is_dated_once(file: FollowedFile) -> None:
    file.note_name(has_it=False)
    assert file.standing is Standing.RENAMED
    for now in (5.0, 7.0):
        file.note_superseded(now, is_superseded=True)
    assert (file.standing, file.superseded_at) == (Standing.SUPERSEDED, 5.0)


def test_a_file_may_get_its_name_back(file: FollowedFile) -> None:
    file.note_superseded(5.0, is_superseded=True)
    file.note_name(has_it=True)
    assert file.has_name
    file.note_superseded(6.0, is_superseded=False)
    assert file.has_name


def test_a_file_that_was_newest_again_has_not_lost_its_name_for_good(file: FollowedFile) -> None:
    file.note_superseded(5.0, is_superseded=True)
    file.note_superseded(6.0, is_superseded=False)
    assert file.standing is Standing.RENAMED


def test_a_released_file_stays_released(file: FollowedFile) -> None:
    file.become(Standing.RELEASED)
    with pytest.raises(AssertionError, match="cannot become"):
        file.become(Standing.NAMED)


def test_a_renamed_file_is_found_under_its_new_name(tmp_path: Path, file: FollowedFile) -> None:
    assert not file.find_name()
    renamed = (tmp_path / "app.log").rename(tmp_path / "anything")
    assert file.find_name()
    assert file.name == str(renamed)
    assert file.standing is Standing.RENAMED


def test_a_deleted_file_has_no_name_and_stays_open(tmp_path: Path, file: FollowedFile) -> None:
    (tmp_path / "app.log").unlink()
    assert file.find_name()
    assert file.name == ""
    assert file.content.is_pinned


@pytest.mark.parametrize("offset", [0, 405])
def test_a_renamed_file_that_was_closed_is_reopened_to_be_read_again(tmp_path: Path, offset: int) -> None:
    path, descriptors = tmp_path / "app.log", DescriptorPool(8)
    path.write_bytes(b"".join(b"line %03d\n" % number for number in range(100)))
    file = FollowedFile(str(path), str(path), descriptors=descriptors, folders=FolderListings(), now=0.0)
    while file.read() is not None:
        pass
    path.rename(tmp_path / "app.log.1")
    file.find_name()
    descriptors.release(file.content)
    file.rewind(offset)
    ranges = [(chunk.start, chunk.end) for chunk in iter(file.read, None) if chunk]
    assert ranges == [(start, start + 9) for start in range(offset, 900, 9)]
