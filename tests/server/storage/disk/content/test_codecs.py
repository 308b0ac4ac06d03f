"""Members of compressed segments: what is written is read, anything else is damage, and memory is bounded."""

import contextlib
import shutil
import subprocess
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.content import codecs
from logferry.server.storage.disk.content.codecs import Codec, DamagedMember, chosen_compression, codec_of
from logferry.server.storage.disk.content.members import HEAD_BYTES, Member, head_of
from tests.support.compressing import CODECS
from tests.support.running import numbered_line

LINES = b"".join(map(numbered_line, range(50)))


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    return codec_of(request.param)


def test_what_is_compressed_is_read(codec: Codec) -> None:
    member, stored = codec.member(LINES, position=7, stored_position=9)
    assert (member.position, member.size, member.stored_position) == (7, len(LINES), 9)
    assert member.stored_size == len(stored) < len(LINES) / 3
    assert codec.plain(member, stored) == LINES


@pytest.mark.parametrize(("compression", "program"), [("gzip", "zcat"), ("zstd", "zstdcat")])
def test_other_programs_read_a_file_of_members(tmp_path: Path, compression: Any, program: str) -> None:
    if not shutil.which(program) or (compression == "zstd" and chosen_compression("auto") != "zstd"):
        pytest.skip(f"there is no {program}, or no library for {compression}")
    codec, file = codec_of(compression), tmp_path / "file"
    first = codec.member(LINES, position=0, stored_position=0)[1]
    file.write_bytes(first + codec.member(LINES, position=len(LINES), stored_position=len(first))[1])
    with file.open("rb") as content:
        assert subprocess.run([program], stdin=content, capture_output=True, check=True).stdout == 2 * LINES


def test_any_changed_byte_is_noticed(codec: Codec) -> None:
    lines = LINES[:300] + b"\n"
    member, stored = codec.member(lines, position=0, stored_position=0)
    for place in range(len(stored)):
        for change in (1, 0x80):
            damaged = bytearray(stored)
            damaged[place] ^= change
            with contextlib.suppress(DamagedMember):
                assert codec.plain(member, bytes(damaged)) == lines, "only bits that mean nothing may change"


def test_a_member_that_is_cut_or_longer_or_elsewhere_is_damaged(codec: Codec) -> None:
    member, stored = codec.member(LINES, position=0, stored_position=0)
    longer = stored + stored
    for other in (stored[:-1], stored[:40], b"", stored + b"\n", longer):
        for expected in (member, member._replace(stored_size=len(other))):
            with pytest.raises(DamagedMember):
                codec.plain(expected, other)
    with pytest.raises(DamagedMember):
        codec.plain(member._replace(position=1), stored)


def bomb(codec: Codec, size: int) -> tuple[Member, bytes]:
    """Return a member of 100 plain bytes that really has `size`."""
    if codec.name == "gzip":
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(size >> 20)) + deflater.flush() + bytes(8)
    else:
        body = codec._compress(bytes(size))
    member = Member(0, 100, 0, len(codec.opening) + HEAD_BYTES + len(body))
    return member, codec.opening + head_of(member) + body


def test_a_member_that_inflates_to_much_more_is_damaged_and_takes_no_memory(codec: Codec) -> None:
    member, stored = bomb(codec, 64 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedMember):
            codec.plain(member, stored)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_without_the_library_zstd_says_what_to_install_and_auto_is_gzip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "zstd_library", lambda: None)
    assert chosen_compression("auto") == "gzip"
    with pytest.raises(OSError, match=r"need the Python module backports.zstd: pip install 'logferry\[zstd\]'"):
        codec_of("zstd")
    assert [chosen_compression(setting) for setting in ("none", "gzip", "zstd")] == ["", "gzip", "zstd"]
