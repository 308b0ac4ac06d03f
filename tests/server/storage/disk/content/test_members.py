"""Where members are: the ledger's table is believed only if it fits, and the file alone is enough to find them."""

import os
from pathlib import Path

import pytest

from logferry.server.storage.disk.content import members as members_module
from logferry.server.storage.disk.content.codecs import Codec, codec_of
from logferry.server.storage.disk.content.members import MAX_MEMBER_BYTES, Member, are_all, packed, unpacked, walk
from logferry.server.storage.disk.files.segment_forms import MARK
from tests.support.compressing import CODECS
from tests.support.running import numbered_line


def some(count: int) -> list[Member]:
    return [Member(number * 1000, 1000, number * 100, 100) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_packed_members_are_unpacked(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(members_module, "_ENTRIES_PER_ROW", 3)
    rows = list(packed(some(count)))
    assert [first for first, _ in rows] == list(range(0, count * 1000, 3000))
    assert list(unpacked(rows, size=count * 1000, stored_size=count * 100)) == some(count)


@pytest.mark.parametrize(
    ("rows", "size", "stored_size"),
    [
        ([], 1000, 100),
        ([(0, b"")], 1000, 100),
        ([(0, bytes(15))], 1000, 100),
        (list(packed(some(2)))[:1], 1000, 100),  # the last one is empty
        (list(packed(some(2))), 3000, 200 + (1 << 20)),  # larger than it may be
        (list(packed(some(2))), 1000 + MAX_MEMBER_BYTES + 1, 200),
        ([(0, packed_row) for _, packed_row in packed(some(2)[1:])], 2000, 200),
        ([(0, row) for _, row in packed(list(reversed(some(2))))], 2000, 200),
        ([(0, b"\xff" * 32)], 2000, 200),
    ],
)
def test_rows_that_do_not_fit_are_not_believed(rows: list[tuple[int, bytes]], size: int, stored_size: int) -> None:
    assert list(unpacked(rows, size=size, stored_size=stored_size)) == []


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return codec_of(request.param)


def written(path: Path, codec: Codec) -> list[Member]:
    """Write three members."""
    found: list[Member] = []
    with path.open("wb") as file:
        for number in range(3):
            lines = b"".join(map(numbered_line, range(number * 10, number * 10 + 10)))
            position = found[-1].end if found else 0
            member, stored = codec.member(lines, position=position, stored_position=file.tell())
            file.write(stored)
            found.append(member)
    return found


def walked(path: Path, codec: Codec) -> list[Member]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(walk(descriptor, path.stat().st_size, codec.opening))
    finally:
        os.close(descriptor)


def test_the_file_alone_is_enough(tmp_path: Path, codec: Codec) -> None:
    members = written(tmp_path / "file", codec)
    assert walked(tmp_path / "file", codec) == members
    assert are_all(members, members[-1].end, members[-1].stored_end)
    assert not are_all(members[1:], members[-1].end, members[-1].stored_end)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("offset", [0, 5, 15, 20, 25])
def test_a_damaged_head_costs_one_member(tmp_path: Path, codec: Codec, number: int, offset: int) -> None:
    path = tmp_path / "file"
    members = written(path, codec)
    content = bytearray(path.read_bytes())
    content[members[number].stored_position + offset] ^= 0xFF
    path.write_bytes(content)
    found = walked(path, codec)
    assert [member for member in members if member not in found] == [members[number]]


def test_members_out_of_order_leave_a_gap(tmp_path: Path, codec: Codec) -> None:
    path = tmp_path / "file"
    first, second, third = written(path, codec)
    content = path.read_bytes()
    pieces = [content[member.stored_position : member.stored_end] for member in (first, third, second)]
    path.write_bytes(b"".join(pieces))
    found = walked(path, codec)
    assert [(member.position, member.size) for member in found] == [(0, first.size), (third.position, third.size)]


def test_a_file_of_anything_has_no_members(tmp_path: Path, codec: Codec) -> None:
    path = tmp_path / "file"
    path.write_bytes(codec.opening * 3 + bytes(range(256)) * 3000 + codec.opening)
    assert walked(path, codec) == []


def test_a_file_full_of_what_looks_like_heads_is_read_once(
    tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a planted file of some megabytes would keep a rebuild busy for hours."""
    path, read, pread = tmp_path / "file", 0, os.pread

    def counting(descriptor: int, size: int, position: int) -> bytes:
        nonlocal read
        data = pread(descriptor, size, position)
        read += len(data)
        return data

    path.write_bytes((codec.opening + MARK) * 50_000)
    monkeypatch.setattr(os, "pread", counting)
    assert walked(path, codec) == []
    assert read < 10 * path.stat().st_size
