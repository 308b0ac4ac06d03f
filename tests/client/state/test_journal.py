"""A journal of lines: what a crash, a full disk or another program leaves of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from logferry.client.state import journal as journal_module
from logferry.client.state.journal import Journal

FULL = OSError(28, "No space left on device")


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
    """Leave `room` bytes free on the disk."""
    real = os.pwrite
    left = [room]

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if not left[0]:
            raise FULL
        written = real(descriptor, bytes(data)[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)


def test_lines_are_appended_by_one_synced_write(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(ValueError, match="is unknown"):
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


def test_a_file_that_was_removed_cut_or_exchanged_has_to_be_replaced(journal: Journal) -> None:
    copy = journal.path.with_name("copy")
    copy.write_bytes(journal.path.read_bytes() * 2)
    os.truncate(journal.path, 5)
    assert not journal.can_be_appended_to
    copy.replace(journal.path)
    assert not journal.can_be_appended_to
    journal.path.unlink()
    assert not journal.can_be_appended_to


def test_a_file_that_is_too_large_for_a_journal_is_not_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_MAX_JOURNAL_BYTES", 7)
    with pytest.raises(ValueError, match="more than 7 bytes"):
        reopened(journal)
