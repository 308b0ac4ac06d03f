"""Compressed files: recognised by name and first bytes together."""

import bz2
import gzip
import lzma
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from logferry.client.finding import compressed
from logferry.client.finding.compressed import is_compressed


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("app.log.1.gz", gzip.compress(b"one\n")),
        ("app.log.1.bz2", bz2.compress(b"one\n")),
        ("app.log.1.xz", lzma.compress(b"one\n")),
        ("app.log.1.zst", b"\x28\xb5\x2f\xfd..."),
        ("app.log.1.lz4", b"\x04\x22\x4d\x18..."),
        ("app.log.1.Z", b"\x1f\x9d..."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_is_compressed_if_its_name_and_its_first_bytes_agree(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert is_compressed(str(path))
    plain = tmp_path / "app.log"
    plain.write_bytes(content)
    assert not is_compressed(str(plain)), "the name has no suffix of a compressor"
    path.write_bytes(b"one line\n")
    assert not is_compressed(str(path)), "the content is text"


@pytest.mark.parametrize("size", [0, 1])
def test_a_file_that_a_compressor_has_just_opened_counts_only_on_request(tmp_path: Path, size: int) -> None:
    path = tmp_path / "app.log.1.gz"
    path.write_bytes(gzip.compress(b"one\n")[:size])
    assert not is_compressed(str(path))
    assert is_compressed(str(path), or_unfinished=True)


def test_a_missing_file_is_not_compressed(tmp_path: Path) -> None:
    assert not is_compressed(str(tmp_path / "app.log.gz"), or_unfinished=True)


def test_a_file_that_cannot_be_read_is_judged_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.log.1.gz"
    path.write_bytes(gzip.compress(b"line\n"))
    monkeypatch.setattr(compressed, "open_file", Mock(side_effect=PermissionError))
    assert is_compressed(str(path))
    assert not is_compressed(str(tmp_path / "app.log"))


def test_a_fifo_with_the_name_of_an_archive_is_not_waited_for(tmp_path: Path) -> None:
    """Somebody who writes logs can put one there."""
    os.mkfifo(tmp_path / "app.log.1.gz")
    assert not is_compressed(str(tmp_path / "app.log.1.gz"))
