"""What identifies a file: device and inode, fingerprints, and the remembered first and last bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logferry.client.files.identity import (
    HEAD_BYTES,
    TAIL_BYTES,
    begins_alike,
    extended_head,
    extended_tail,
    fingerprint,
    has_head_and_tail,
    identity_of,
)
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.files.overwritten import OverwrittenSource
from logferry.model.source import Source


class Bytes:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def peek(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


def test_two_names_of_a_file_have_one_identity_and_two_files_have_two(tmp_path: Path) -> None:
    one, link, other = tmp_path / "one", tmp_path / "link", tmp_path / "other"
    one.touch()
    other.touch()
    link.hardlink_to(one)
    assert identity_of(one.stat()) == identity_of(link.stat()) != identity_of(other.stat())
    assert identity_of(os.stat(one)) == (one.stat().st_dev, one.stat().st_ino)


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b"", "cae66941d9efbd404e4d88758ea67670"),
        (b"2024-01-15 08:23:45 INFO text\n", "31e82bdbc585563aae9840515df6e536"),
        (bytes(range(256)) * 4, "0b4661484ed1cc8e28c4a7f18e8b1019"),
    ],
)
def test_fingerprints_that_earlier_versions_stored_are_those_of_today(data: bytes, stored: str) -> None:
    assert fingerprint(data) == stored


def test_a_client_that_only_starts_loads_no_cryptography() -> None:
    code = "import sys, logferry.client.run; print(*sorted({'hashlib', '_hashlib', 'ssl', '_ssl'} & {*sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(
    ("data", "same"),
    [
        (b"head and tail", True),
        (b"head and tail and more", True),
        (b"Head and tail", False),
        (b"head and tale", False),
        (b"head and tai", False),
        (b"", False),
    ],
)
def test_a_file_is_the_same_when_its_beginning_and_the_bytes_before_the_offset_are(data: bytes, *, same: bool) -> None:
    assert has_head_and_tail(Bytes(data), head=b"head", tail=b"tail", end=len(b"head and tail")) is same


@pytest.mark.parametrize("size", [1, TAIL_BYTES, HEAD_BYTES, HEAD_BYTES + TAIL_BYTES, 5000])
def test_files_begin_alike_when_they_agree_at_both_ends_of_that(size: int) -> None:
    data = bytes(number % 251 for number in range(5001))
    assert begins_alike(Bytes(data), Bytes(data[:size]), size)
    for place in (0, min(size, HEAD_BYTES) - 1, max(0, size - TAIL_BYTES), size - 1):
        assert not begins_alike(Bytes(data), Bytes(data[:place] + b"\xff" + data[place + 1 : size]), size)


@pytest.mark.parametrize("step", [1, 7, TAIL_BYTES - 1, TAIL_BYTES, TAIL_BYTES + 1, HEAD_BYTES, HEAD_BYTES + 1])
def test_the_remembered_bytes_do_not_depend_on_how_they_were_split(step: int) -> None:
    data = bytes(number % 251 for number in range(3000))
    head = tail = b""
    for start in range(0, len(data), step):
        head = extended_head(head, data[start : start + step], start)
        tail = extended_tail(tail, data[start : start + step])
        end = start + step
        assert (head, tail) == (data[:end][:HEAD_BYTES], data[:end][-TAIL_BYTES:])


def test_bytes_after_a_gap_are_not_the_beginning_of_a_file() -> None:
    assert extended_head(b"one", b"three", 5) == b"one"
    assert extended_head(b"one", b"ENDING", 2) == b"onENDING"


@pytest.mark.parametrize("size", [3999, 4000])
def test_a_file_is_a_copy_of_what_was_read_by_its_end_too_if_it_is_long_enough(tmp_path: Path, size: int) -> None:
    data = b"".join(b"%07d\n" % number for number in range(500))
    original = OverwrittenSource(Source("app.log", head=data[:1024]), 4000, data[-256:], b"", 4000)
    path = tmp_path / "copy"
    path.write_bytes((data[:-10] + b"otherwise\n")[:size])
    file = SourceFile(path, max_line_bytes=1)
    assert original.bytes_read_of(file) == (size if size < 4000 else 0)
    path.write_bytes(data[:size])
    assert original.bytes_read_of(file) == size
    file.close()


def test_a_file_that_was_changed_at_its_beginning_alone_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"%07d\n" % 1 * 500)
    file = SourceFile(path, max_line_bytes=100)
    assert file.read() is not None
    assert file.is_unchanged()
    with path.open("r+b") as other:
        other.write(b"9")
    assert not file.is_unchanged()
    file.close()
