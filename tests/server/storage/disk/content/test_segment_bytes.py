"""The plain bytes of segments: each member is decompressed once, forward, backward and a few bytes at a time."""

from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.content.codecs import Codec, codec_of
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes, any_form, blocks
from tests.support.running import numbered_line

LINES = [b"".join(map(numbered_line, range(number, number + 10))) for number in range(0, 100, 10)]
PLAIN = b"".join(LINES)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    """A segment of ten members; return the path of its plain file, which it does not have."""
    codec: Codec = codec_of("gzip")
    stored = b""
    for number, lines in enumerate(LINES):
        stored += codec.member(lines, position=len(b"".join(LINES[:number])), stored_position=len(stored))[1]
    (tmp_path / "2024-01-15-1.ndjson.gz").write_bytes(stored)
    return tmp_path / "2024-01-15-1.ndjson"


def reading(segment: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[int]]:
    decompressed: list[int] = []
    read = CompressedBytes._read

    def counted(self: CompressedBytes, member: Any) -> bytes | None:
        decompressed.append(member.position)
        return read(self, member)

    monkeypatch.setattr(CompressedBytes, "_read", counted)
    return any_form(segment), decompressed


@pytest.mark.parametrize("step", [1, 7, 100, 761, 5000])
def test_a_pass_decompresses_each_member_once(segment: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    content, decompressed = reading(segment, monkeypatch)
    with content:
        forward = [b"".join(blocks(content, start, step)) for start in range(0, len(PLAIN), step)]
        assert b"".join(forward) == PLAIN
        assert len(decompressed) == len(LINES)
        assert content._kept == {}
        ends = range(len(PLAIN), 0, -step)
        backward = [b"".join(blocks(content, max(0, end - step), min(step, end))) for end in ends]
        assert b"".join(reversed(backward)) == PLAIN
        assert len(decompressed) == 2 * len(LINES)
        assert content.bytes_read == 2 * len(PLAIN)


def test_what_lies_behind_the_end_is_nothing(segment: Path) -> None:
    with any_form(segment) as content:
        assert content.size == len(PLAIN)
        assert list(blocks(content, len(PLAIN), 10)) == []
        assert b"".join(blocks(content, len(PLAIN) - 3, 10)) == PLAIN[-3:]
        assert content.block(5, 0) == b""


def test_a_damaged_member_is_tried_once_and_costs_only_itself(segment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = segment.with_name(segment.name + ".gz")
    stored = bytearray(path.read_bytes())
    stored[200] ^= 1
    path.write_bytes(stored)
    content, decompressed = reading(segment, monkeypatch)
    with content:
        damaged = next(member for member in content.members if member.stored_end > 200)
        for _ in range(3):
            with pytest.raises(OSError, match=f"from byte {damaged.position} on is damaged"):
                list(blocks(content, damaged.position + 5, 10))
        assert decompressed == [damaged.position]
        assert b"".join(blocks(content, damaged.end, len(PLAIN))) == PLAIN[damaged.end :]
        assert not content.is_sound()
