"""Contents: the replay buffer of a stream, and a gzip file read as its uncompressed bytes."""

import errno
import gzip
import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.client.files.archives.archive import open_content, uncompressed
from logferry.client.files.content.content import Content, FileContent, open_regular
from logferry.client.files.content.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.errors import SourceError
from tests.support.running import PeakMemory

MIB = 1024 * 1024
LIMIT = 100


# --- replay buffer ----------------------------------------------------------------------------------------------------


def buffer_of(*parts: bytes, limit: int = LIMIT) -> ReplayBuffer:
    buffer = ReplayBuffer(max_line_bytes=limit)
    for part in parts:
        for start in range(0, len(part), BLOCK_BYTES):
            buffer.append(part[start : start + BLOCK_BYTES])
    return buffer


def test_a_buffer_returns_what_was_appended() -> None:
    buffer = buffer_of(b"one\n", b"tw", b"o\n", b"x" * 100_000, b"\n")
    assert buffer.end == 100_009
    assert buffer.read(7, 2) == b"e\ntwo\nx"
    assert buffer.read(MIB, 100_000) == b"x" * 8 + b"\n"
    assert buffer.read(10, buffer.end) == b""


def test_a_buffer_returns_nothing_that_it_has_dropped() -> None:
    buffer = buffer_of(b"x" * 200_000, b"\n", b"y" * 200_000)
    buffer.trim(200_001)
    assert 0 < buffer.begin <= 200_001
    assert buffer.read(10, buffer.begin - 1) == b""
    assert buffer.read(3, 199_999 if buffer.begin <= 199_999 else 200_001)
    assert buffer.read(MIB, 200_001) == b"y" * 200_000


def test_a_buffer_keeps_at_most_what_trim_to_allows() -> None:
    buffer = buffer_of(b"".join(b"%07d\n" % number for number in range(200_000)))
    buffer.trim_to(300_000)
    assert 300_000 - BLOCK_BYTES < buffer.kept_bytes <= 300_000
    assert buffer.end - buffer.begin == buffer.kept_bytes
    assert buffer.read(8, buffer.end - 8) == b"0199999\n"


def test_bytes_appended_one_by_one_take_no_more_memory_than_one_append() -> None:
    with PeakMemory() as memory:
        buffer = ReplayBuffer(max_line_bytes=LIMIT)
        for _ in range(MIB // 2):
            buffer.append(b"\n")
    assert buffer.read(4 * MIB, 0) == b"\n" * (MIB // 2)
    assert memory.grown_bytes < 8 * MIB


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3 * BLOCK_BYTES), min_size=1, max_size=6),
    st.lists(st.integers(1, BLOCK_BYTES), min_size=1, max_size=4),
    st.sampled_from([LIMIT, BLOCK_BYTES, 400_000]),
)
def test_the_middle_of_an_over_long_line_is_omitted_however_it_is_split(
    lengths: list[int], cuts: list[int], limit: int
) -> None:
    content = b"\n".join(random.Random(length).randbytes(length).replace(b"\n", b".") for length in lengths)
    buffer, position, number = ReplayBuffer(max_line_bytes=limit), 0, 0
    while position < len(content):
        size = cuts[number % len(cuts)] if number < 50 else BLOCK_BYTES
        buffer.append(content[position : position + size])
        position, number = position + size, number + 1
    kept, expected = max(limit + 4, BLOCK_BYTES), []
    for line in content.split(b"\n"):
        left_out = max(0, len(line) - kept - 256)
        expected.append(line[:kept] + bytes(left_out) + line[kept + left_out :])
    assert buffer.read(len(content), 0) == b"\n".join(expected)
    assert buffer.kept_bytes == len(content) - sum(max(0, length - kept - 256) for length in lengths)


def test_an_endless_line_takes_no_memory() -> None:
    buffer = ReplayBuffer(max_line_bytes=MIB)
    with PeakMemory() as memory:
        for _ in range(1000):
            buffer.append(b"x" * BLOCK_BYTES)
    assert buffer.end == 1000 * BLOCK_BYTES
    assert memory.grown_bytes < 8 * MIB


# --- gzip -------------------------------------------------------------------------------------------------------------

Open = Callable[[bytes], Content]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open a file with the given bytes."""
    contents: list[Content] = []

    def make(data: bytes) -> Content:
        (tmp_path / "app.log.gz").write_bytes(data)
        contents.append(open_content(tmp_path / "app.log.gz"))
        return contents[-1]

    yield make
    for content in contents:
        content.close()


def text(lines: int, start: int = 0) -> bytes:
    return b"".join(b"%d: a line that can be compressed, in part %d\n" % (n, n * n % 9973) for n in range(start, lines))


def all_of(content: Content, step: int = BLOCK_BYTES) -> bytes:
    parts, offset = [], 0
    while data := content.pread(step, offset):
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


def test_a_file_that_is_not_compressed_is_read_unchanged(opened: Open) -> None:
    content = opened(b"one\ntwo\n")
    assert isinstance(content, FileContent)
    assert all_of(content) == b"one\ntwo\n"
    assert (content.size(), content.is_stream, list(content.problems)) == (8, False, [])


def test_a_gzip_file_is_recognised_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(gzip.compress(b"one\n"))
    content = open_content(tmp_path / "app.log")
    assert all_of(content) == b"one\n"
    content.close()


@pytest.mark.parametrize("step", [1000, BLOCK_BYTES, 3 * MIB])
def test_a_gzip_file_reads_as_its_uncompressed_bytes(opened: Open, step: int) -> None:
    content = opened(gzip.compress(text(100_000)))
    assert all_of(content, step) == text(100_000)
    assert content.size() == len(text(100_000))
    assert list(content.problems) == []


def test_members_follow_each_other_without_a_seam(opened: Open) -> None:
    parts = [text(10), b"no newline at its end", b"", text(5), b"\n" * 70_000]
    content = opened(b"".join(map(gzip.compress, parts)))
    assert all_of(content) == b"".join(parts)
    assert list(content.problems) == []


def test_thousands_of_members_are_read(opened: Open) -> None:
    content = opened(b"".join(gzip.compress(b"%d\n" % number) for number in range(5000)))
    assert all_of(content) == b"".join(b"%d\n" % number for number in range(5000))


def test_a_header_may_have_every_optional_field(opened: Open) -> None:
    """RFC 1952, 2.3: extra field, file name, comment and a checksum of the header."""
    header = b"\x1f\x8b\x08" + bytes([0x1E]) + bytes(4) + b"\x00\x03" + b"\x04\x00abcd" + b"name\0" + b"comment\0"
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    content = opened(header + gzip.compress(b"one\n", mtime=0)[10:])
    assert all_of(content) == b"one\n"
    assert list(content.problems) == []


@pytest.mark.parametrize("padding", [1, 511, 200_000])
def test_nuls_after_the_last_member_are_padding(opened: Open, padding: int) -> None:
    content = opened(gzip.compress(b"one\n") + bytes(padding))
    assert all_of(content) == b"one\n"
    assert list(content.problems) == []


def test_reading_before_the_window_inflates_the_file_again(opened: Open) -> None:
    data = text(300_000)
    content = opened(gzip.compress(data, 1))
    assert content.pread(100, len(data) - 100) == data[-100:]
    assert content.pread(100, 5000) == data[5000:5100]
    assert content.pread(1000, 0) == data[:1000]
    assert all_of(content) == data


def test_one_read_may_be_larger_than_the_window(opened: Open) -> None:
    data = text(300_000)
    content = opened(gzip.compress(data, 1))
    assert content.pread(len(data), 100) == data[100:]


def test_a_failing_disk_is_not_the_end_of_the_file(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    data = text(100_000)
    content = opened(gzip.compress(data))
    assert content.pread(100, 0) == data[:100]

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        with pytest.raises(OSError, match="Input/output error"):
            all_of(content)
    assert all_of(content) == data


def test_a_duplicate_is_read_independently_whatever_the_name_leads_to(opened: Open, tmp_path: Path) -> None:
    content = opened(gzip.compress(text(1000)))
    assert content.pread(100, 5000) == text(1000)[5000:5100]
    (tmp_path / "app.log.gz").unlink()
    duplicate = content.duplicate()
    assert all_of(duplicate) == text(1000)
    assert content.pread(100, 5100) == text(1000)[5100:5200]
    duplicate.close()


def test_what_is_appended_later_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(b"one\n"))
    content = uncompressed(FileContent.open(path), compressed_bytes=path.stat().st_size)
    with path.open("ab") as file:
        file.write(gzip.compress(b"two\n"))
    assert all_of(content) == b"one\n"
    assert list(content.problems) == []
    content.close()


def test_a_file_that_inflates_to_far_more_takes_no_more_memory(opened: Open) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(300)) + packer.flush()
    assert len(bomb) < 2 * MIB
    content = opened(bomb)
    with PeakMemory() as memory:
        offset = 0
        while data := content.pread(BLOCK_BYTES, offset):
            offset += len(data)
    assert offset == 300 * MIB
    assert memory.grown_bytes < 32 * MIB


# --- damaged


@pytest.mark.parametrize("cut", [1, 5, 8, 20, 5000])
def test_everything_readable_in_a_truncated_file_is_read(opened: Open, cut: int) -> None:
    data, last = text(20_000), text(21_000, 20_000)
    packed = gzip.compress(data)
    content = opened((packed + gzip.compress(last))[:-cut])
    found = all_of(content)
    assert found.startswith(data)
    assert (data + last).startswith(found)
    assert len(found) - len(data) > (len(last) // 2 if cut < 100 else -1)
    assert list(content.problems) == [f"truncated at compressed byte {len(packed + gzip.compress(last)) - cut}"]


@pytest.mark.parametrize("size", [2, 3, 9, 10])
def test_nothing_is_read_from_a_file_with_half_a_header(opened: Open, size: int) -> None:
    content = opened(gzip.compress(b"one\n")[:size])
    assert all_of(content) == b""
    assert list(content.problems) == [f"truncated at compressed byte {size}"]


@pytest.mark.parametrize("rubbish", [b"x", b"\x1f", b"rubbish\n" * 20_000, b"\0\0\0x", b"\x1f\x8b"])
def test_bytes_after_the_last_member_that_are_not_a_member_are_reported(opened: Open, rubbish: bytes) -> None:
    packed = gzip.compress(text(1000))
    content = opened(packed + rubbish)
    assert all_of(content) == text(1000)
    (problem,) = content.problems
    assert str(len(packed) + len(rubbish) - len(rubbish.lstrip(b"\0"))) in problem or problem.startswith("truncated")


def test_what_comes_before_a_damaged_byte_is_read_to_the_last_line(opened: Open) -> None:
    data = random.Random(1).randbytes(100_000).hex().encode()
    packed = bytearray(gzip.compress(data))
    packed[60_000:60_100] = bytes(100)
    content = opened(bytes(packed))
    found = all_of(content)
    intact = next((at for at, (a, b) in enumerate(zip(found, data, strict=False)) if a != b), len(found))
    assert intact > 100_000
    (problem,) = content.problems
    place = int(problem.split()[4])
    assert 60_000 <= place <= len(packed)


@pytest.mark.parametrize("place", [-8, -4], ids=["checksum", "length"])
def test_a_member_whose_checksum_is_wrong_is_read_and_reported_and_the_next_ones_are_read(
    opened: Open, place: int
) -> None:
    first = bytearray(gzip.compress(b"one\nhalf a li"))
    first[place] ^= 1
    content = opened(bytes(first) + gzip.compress(b"three\n") + gzip.compress(b"four\n"))
    assert all_of(content) == b"one\nhalf a li\nthree\nfour\n", "a line does not continue after a damaged place"
    (problem,) = content.problems
    assert problem.startswith("damaged at compressed byte")
    assert problem.endswith(f"reading resumes at compressed byte {len(first)}")


def test_damaged_places_are_skipped_up_to_the_next_sound_member(opened: Open) -> None:
    broken = bytearray(gzip.compress(text(3000)))
    broken[2000:2100] = b"\x1f\x8b\x08 is no member" * 5 + bytes(15)
    rubbish = b"rubbish \x1f\x8b\x08\0 rubbish"
    content = opened(
        gzip.compress(b"one\n") + rubbish + gzip.compress(b"two\n") + bytes(broken) + gzip.compress(b"3\n")
    )
    found = all_of(content)
    assert found.startswith(b"one\ntwo\n0: a line")
    assert found.endswith(b"\n3\n")
    assert len(content.problems) == 2


def test_inflating_the_file_again_reports_nothing_twice(opened: Open) -> None:
    content = opened(gzip.compress(text(300_000), 1)[:-1])
    before = all_of(content)
    assert len(content.problems) == 1
    assert all_of(content) == before
    assert len(content.problems) == 1


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.data(),
)
def test_no_damage_alters_what_came_before_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject
) -> None:
    packed = bytearray(b"".join(map(gzip.compress, parts)))
    place = data.draw(st.integers(2, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    members = [len(gzip.compress(part)) for part in parts]
    sound = sum(1 for number in range(len(parts)) if sum(members[: number + 1]) <= place)
    path = tmp_path_factory.mktemp("gzip") / "app.log.gz"
    path.write_bytes(packed)
    content = open_content(path)
    assert all_of(content).startswith(b"".join(parts[:sound]))
    content.close()


def test_a_file_that_cannot_be_read_raises_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    (tmp_path / "app.log").write_bytes(b"one\n")
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(SourceError, match="Input/output error"):
        open_content(tmp_path / "app.log")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), None], ids=["fails", "is no file"])
def test_a_file_that_is_refused_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    def fstat(fd: int) -> os.stat_result:
        if error is not None:
            raise error
        return os.stat(tmp_path)

    (tmp_path / "app.log").touch()
    before = sorted(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        with pytest.raises(SourceError, match="Input/output error" if error else "is a directory"):
            open_regular(tmp_path / "app.log")
    assert sorted(os.listdir("/proc/self/fd")) == before
