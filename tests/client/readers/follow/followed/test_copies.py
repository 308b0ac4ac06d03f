"""What becomes of a file that looks like a copy of a followed one: the judgement, without a reader that acts on it."""

from pathlib import Path
from typing import Any, Final

import pytest

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.follow.followed.copies import (
    COPY_SETTLE_S,
    IsCopy,
    Read,
    SkipTo,
    Verdict,
    Wait,
    is_same_copy,
    judge,
    paths_of_originals,
)
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.model.source import Source

NOW: Final = 1000.0


def followed_file(path: Path, data: bytes) -> FollowedFile:
    """Write a file, and open it as one that was called app.log."""
    path.write_bytes(data)
    return FollowedFile(
        str(path), str(path.with_name("app.log")), descriptors=DescriptorPool(8), folders=FolderListings(), now=NOW
    )


def overwritten(data: bytes, *, offset: int) -> OverwrittenSource:
    """Return what is remembered of a file with these bytes that was read up to `offset`, and overwritten."""
    source = Source("app.log", head=data[:offset])
    return OverwrittenSource(source, offset, data[:offset], data, len(data))


def verdict_on(suspect: FollowedFile, *, after_s: float = COPY_SETTLE_S, **facts: Any) -> Verdict:
    """Judge a file now, and several times until some time has passed; return the last verdict."""
    known: dict[str, Any] = {"looks_alike": False, "is_followed": False, "truncated": [], **facts}
    return [judge(suspect, **known, now=NOW + after_s * step / 8) for step in range(9)][-1]


@pytest.fixture
def suspect(tmp_path: Path) -> FollowedFile:
    return followed_file(tmp_path / "app.log.1", b"one\ntwo\n")


def test_an_empty_suspect_waits(tmp_path: Path) -> None:
    assert verdict_on(followed_file(tmp_path / "app.log.1", b"")) == Wait()


def test_a_file_that_looks_like_no_followed_file_is_read(suspect: FollowedFile) -> None:
    assert verdict_on(suspect, after_s=0.0) == Read()


def test_what_looks_like_a_copy_waits_until_it_is_settled(suspect: FollowedFile) -> None:
    assert verdict_on(suspect, looks_alike=True, is_followed=True, after_s=COPY_SETTLE_S - 0.1) == Wait()
    assert verdict_on(suspect, looks_alike=True, is_followed=True) == Read()


def test_a_copy_that_grows_is_not_settled(suspect: FollowedFile) -> None:
    facts: dict[str, Any] = {"looks_alike": True, "is_followed": True, "truncated": []}
    assert judge(suspect, **facts, now=NOW) == Wait()
    suspect.path.write_bytes(b"one\ntwo\nthree\n")
    assert verdict_on(suspect, **facts, after_s=COPY_SETTLE_S - 0.1) == Wait()
    assert verdict_on(suspect, **facts) == Read()


def test_a_machine_that_stood_still_held_up_the_truncation_too(suspect: FollowedFile) -> None:
    """What would be long enough in small steps is not if nobody looked for most of it."""
    facts: dict[str, Any] = {"looks_alike": True, "is_followed": True, "truncated": []}
    assert [judge(suspect, **facts, now=NOW + hours * 3600) for hours in range(3)] == [Wait()] * 3


def test_a_settled_copy_that_is_not_followed_itself_is_not_read(suspect: FollowedFile) -> None:
    assert verdict_on(suspect, looks_alike=True) == IsCopy()


def test_a_copy_of_a_truncated_file_is_read_from_where_the_original_was_left(suspect: FollowedFile) -> None:
    assert verdict_on(suspect, truncated=[overwritten(b"one\ntwo\n", offset=4)], after_s=0.0) == SkipTo(4)


def test_the_truncation_that_was_read_furthest_counts(suspect: FollowedFile) -> None:
    truncated = [overwritten(b"one\ntwo\n", offset=8), overwritten(b"one\n", offset=4)]
    assert verdict_on(suspect, truncated=truncated) == SkipTo(8)


def test_a_copy_of_another_file_does_not_begin_where_a_truncated_one_was_left(suspect: FollowedFile) -> None:
    assert verdict_on(suspect, truncated=[overwritten(b"six\nten\n", offset=4)]) == Read()


@pytest.mark.parametrize(
    ("name", "originals"),
    [
        ("app.log.1", {"app.log"}),
        ("app-20240115.log", {"app.log"}),
        ("app.log", set()),
    ],
)
def test_a_name_says_which_files_one_may_be_a_copy_of(name: str, originals: set[str]) -> None:
    found = set(paths_of_originals(Path("/var/log") / name))
    assert found == {f"/var/log/{original}" for original in originals}


def test_a_suspect_of_another_folder_is_not_the_same_copy(tmp_path: Path, suspect: FollowedFile) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    copy = followed_file(folder / "app.log.1", b"one\ntwo\n")
    gone = overwritten(b"one\ntwo\n", offset=4)
    assert is_same_copy(suspect, copy, gone, original_path=str(tmp_path / "app.log"))
    assert not is_same_copy(suspect, copy, gone, original_path=str(folder / "app.log"))
