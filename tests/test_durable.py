"""Files that survive: what a crash, a full disk or somebody else leaves of them."""

import os
from pathlib import Path
from typing import Any

import pytest

from logferry import durable
from logferry.durable import Journal, replace_file

FULL = OSError(28, "No space left on device")

# --- replacing a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "checkpoints.json"
    replace_file(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "write":  # of all the steps the one that has no name in `os`
        real_open = open
        monkeypatch.setattr(durable, "open", lambda *words: _Full(real_open(*words)), raising=False)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoints.json"]


class _Full:
    """A file on a disk that is full."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, _: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_temporary_file_that_a_crash_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json.new").write_bytes(b"half of something that was much longer")
    replace_file(tmp_path / "checkpoints.json", b"new")
    assert (tmp_path / "checkpoints.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["checkpoints.json"]


# --- a journal --------------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal of two lines."""
    journal = Journal(tmp_path / "journal")
    journal.replace(b"one\n")
    journal.append(b"two\n")
    return journal


def reopened(journal: Journal) -> Journal:
    """Return the journal as another process finds it."""
    other = Journal(journal.path)
    other.read()
    return other


def fill_up(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Let the disk have room for so many bytes more."""
    real = os.pwrite
    left = [room]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise FULL
        written = real(descriptor, bytes(data)[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)


def test_lines_are_appended_by_one_write_that_is_on_the_disk_then(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        real = getattr(os, name)

        def call(*words: Any) -> Any:
            calls.append(name)
            return real(*words)

        monkeypatch.setattr(os, name, call)

    note("pwrite")
    note("fdatasync")
    journal.append(b"three\nfour\n")
    assert calls == ["pwrite", "fdatasync"]
    assert journal.read() == b"one\ntwo\nthree\nfour\n"
    assert journal.lines == 4


@pytest.mark.parametrize("cut", range(len(b"three\n")))
def test_a_line_that_was_torn_is_cut_off_by_the_next_append(journal: Journal, cut: int) -> None:
    with journal.path.open("ab") as file:
        file.write(b"three\n"[:cut])
    after_the_crash = reopened(journal)
    assert after_the_crash.lines == 2
    assert after_the_crash.can_be_appended_to
    after_the_crash.append(b"four\n")
    assert journal.path.read_bytes() == b"one\ntwo\nfour\n"


@pytest.mark.parametrize("room", range(len(b"three\nfour\n")))
def test_a_disk_that_gets_full_in_the_middle_of_an_append_harms_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    fill_up(monkeypatch, room)
    with pytest.raises(OSError, match="No space left"):
        journal.append(b"three\nfour\n")
    monkeypatch.undo()
    left = journal.path.read_bytes()
    assert left == b"one\ntwo\nthree\nfour\n"[: 8 + room]
    assert reopened(journal).lines == left.count(b"\n")
    assert journal.can_be_appended_to
    journal.append(b"five\n")
    assert journal.path.read_bytes() == b"one\ntwo\nfive\n"


def test_a_disk_that_takes_a_part_at_a_time_gets_all(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:2], offset))
    journal.append(b"three\nfour\n")
    assert journal.path.read_bytes() == b"one\ntwo\nthree\nfour\n"


def test_a_file_that_could_not_be_synced_has_to_be_replaced(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        journal.append(b"three\n")
    monkeypatch.undo()
    assert not journal.can_be_appended_to
    with pytest.raises(ValueError, match="nobody knows"):
        journal.append(b"four\n")
    journal.replace(b"all\n")
    assert journal.can_be_appended_to
    assert journal.path.read_bytes() == b"all\n"


def test_a_replacement_that_fails_leaves_a_file_that_has_to_be_replaced(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        journal.replace(b"all\n")
    assert journal.path.read_bytes() == b"one\ntwo\n"
    assert not journal.can_be_appended_to


def test_a_file_that_somebody_has_removed_cut_or_exchanged_has_to_be_replaced(journal: Journal) -> None:
    copy = journal.path.with_name("copy")
    copy.write_bytes(journal.path.read_bytes() * 2)
    os.truncate(journal.path, 5)
    assert not journal.can_be_appended_to
    copy.replace(journal.path)
    assert not journal.can_be_appended_to
    journal.path.unlink()
    assert not journal.can_be_appended_to


def test_a_file_that_no_journal_can_be_is_not_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_MAX_JOURNAL_BYTES", 7)
    with pytest.raises(ValueError, match="more than 7 bytes"):
        reopened(journal)
