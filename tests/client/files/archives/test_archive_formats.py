"""Archives in every format behave alike: whole, in several members, truncated, damaged, hostile, or not decodable."""

import bz2
import gzip
import lzma
import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from logferry.client.files.archives.archive import open_content, uncompressed
from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.replay_buffer import BLOCK_BYTES
from logferry.errors import SourceError
from logferry.zstd_library import MODULE, REMEDY
from tests.support.running import PeakMemory

zstandard = pytest.importorskip("zstandard")

MIB = 1024 * 1024


class Format(NamedTuple):
    suffix: str
    compress: Callable[[bytes], bytes]


def zstd(data: bytes) -> bytes:
    packed: bytes = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return packed


FORMATS = [
    Format(".gz", lambda data: gzip.compress(data, 1)),
    Format(".bz2", lambda data: bz2.compress(data, 1)),
    Format(".xz", lambda data: lzma.compress(data, preset=0)),
    Format(".zst", zstd),
]
every_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: str(form.suffix))


def text(lines: int, start: int = 0) -> bytes:
    return b"".join(b"%d: a line that can be compressed, in part %d\n" % (n, n * n % 9973) for n in range(start, lines))


def all_of(content: Content, step: int = BLOCK_BYTES) -> bytes:
    parts, offset = [], 0
    while data := content.pread(step, offset):
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


def read(tmp_path: Path, data: bytes) -> tuple[bytes, list[str]]:
    """Return what is read of an archive, under any name, and its problems."""
    (tmp_path / "app.log").write_bytes(data)
    content = open_content(tmp_path / "app.log")
    found = all_of(content)
    problems = list(content.problems)
    content.close()
    return found, problems


@every_format
def test_an_archive_is_recognised_by_its_content_and_reads_as_its_uncompressed_bytes(
    tmp_path: Path, form: Format
) -> None:
    assert read(tmp_path, form.compress(text(20_000))) == (text(20_000), [])
    assert read(tmp_path, form.compress(b"")) == (b"", [])


@every_format
def test_members_follow_each_other_without_a_seam_and_nuls_are_padding(tmp_path: Path, form: Format) -> None:
    parts = [text(10), b"no newline at its end", b"", text(5), b"\n" * 70_000]
    assert read(tmp_path, b"".join(map(form.compress, parts)) + bytes(512)) == (b"".join(parts), [])


@every_format
def test_an_archive_can_be_read_again_and_by_several_readers(tmp_path: Path, form: Format) -> None:
    data = text(110_000)
    (tmp_path / "app.log").write_bytes(form.compress(data))
    content = open_content(tmp_path / "app.log")
    assert content.pread(100, len(data) - 100) == data[-100:]
    (tmp_path / "app.log").unlink()
    duplicate = content.duplicate()
    assert content.pread(100, 5000) == data[5000:5100]
    assert all_of(duplicate) == data
    content.close()
    duplicate.close()


@every_format
def test_an_archive_is_read_up_to_its_planned_size(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(form.compress(b"one\n") + form.compress(b"two\n"))
    content = uncompressed(FileContent.open(path), compressed_bytes=len(form.compress(b"one\n")))
    assert (all_of(content), list(content.problems)) == (b"one\n", [])
    content.close()


@every_format
@pytest.mark.parametrize("cut", [1, 8, 5000])
def test_of_a_truncated_archive_everything_decodable_is_read(tmp_path: Path, form: Format, cut: int) -> None:
    data, last = text(20_000), text(40_000, 20_000)
    packed = (form.compress(data) + form.compress(last))[:-cut]
    found, problems = read(tmp_path, packed)
    assert found.startswith(data)
    assert (data + last).startswith(found)
    assert problems == [f"truncated at compressed byte {len(packed)}"]


@every_format
def test_a_damaged_member_is_passed_over_and_a_line_does_not_continue_after_it(tmp_path: Path, form: Format) -> None:
    damaged = bytearray(form.compress(text(6000, 2000)))
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = bytes(20)
    found, problems = read(tmp_path, form.compress(text(2000)) + bytes(damaged) + form.compress(b"last\n"))
    assert found.startswith(text(2000))
    assert found.endswith(b"\nlast\n")
    (problem,) = problems
    assert problem.startswith("damaged at compressed byte")
    assert "reading resumes at" in problem


@every_format
def test_what_was_decoded_before_the_damage_is_read_exactly_once(tmp_path: Path, form: Format) -> None:
    data = random.Random(1).randbytes(200_000).hex().encode()
    packed = bytearray(form.compress(data))
    place = len(packed) * 3 // 4
    packed[place : place + 100] = bytes(100)
    found, _ = read(tmp_path, bytes(packed))
    assert found.startswith(data[: len(data) // 2])
    assert len(found) < len(data) + 1000


@every_format
def test_rubbish_after_the_last_member_is_reported(tmp_path: Path, form: Format) -> None:
    packed = form.compress(text(1000))
    found, (problem,) = read(tmp_path, packed + b"rubbish\n")
    assert found == text(1000)
    assert problem.startswith(f"what follows at compressed byte {len(packed)} is not")


@every_format
def test_an_archive_that_decodes_to_far_more_takes_no_more_memory(tmp_path: Path, form: Format) -> None:
    bomb = form.compress(bytes(30 * MIB))
    assert len(bomb) < MIB
    (tmp_path / "app.log").write_bytes(bomb)
    content = open_content(tmp_path / "app.log")
    with PeakMemory() as memory:
        offset = 0
        while data := content.pread(BLOCK_BYTES, offset):
            offset += len(data)
    content.close()
    assert offset == 30 * MIB
    assert memory.grown_bytes < 20 * MIB


@pytest.fixture(params=["the present library", "the one that the extra had before"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "the present library":
        pytest.importorskip(MODULE)
    else:
        monkeypatch.setitem(sys.modules, MODULE, None)


@pytest.mark.usefixtures("_library")
def test_a_file_cannot_make_the_decoder_take_more_memory_than_allowed(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1024 * MIB, "mode": lzma.MODE_FAST, "nice_len": 2, "depth": 1}]
    greedy = bytearray(lzma.compress(text(10), filters=[{**filters[0], "dict_size": MIB}]))
    assert greedy[16] == 16, "the property byte of LZMA2: the size of the dictionary"
    greedy[16] = 36
    greedy[20:24] = _crc_of_block_header(bytes(greedy))
    found, (problem,) = read(tmp_path, bytes(greedy))
    assert found == b""
    assert "emory" in problem
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 21 << 3]) + b"\x01\x00\x00"  # a window of 2 GiB
    found, (problem,) = read(tmp_path, frame)
    assert found == b""
    assert problem.startswith("damaged at compressed byte")


def _crc_of_block_header(archive: bytes) -> bytes:
    return zlib.crc32(archive[12:20]).to_bytes(4, "little")


@pytest.mark.usefixtures("_library")
def test_skippable_frames_hold_nothing(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + (200_000).to_bytes(4, "little") + bytes(200_000)
    assert read(tmp_path, skipped + zstd(b"one\n") + skipped + zstd(b"two\n")) == (b"one\ntwo\n", [])


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("level", [1, 19])
@pytest.mark.parametrize("options", [{}, {"write_checksum": True}, {"write_content_size": False}])
def test_every_kind_of_zstd_block_is_decoded(tmp_path: Path, level: int, options: dict[str, bool]) -> None:
    data = text(1000) + bytes(300_000) + random.Random(1).randbytes(200_000) + b"a" * 150_000
    compressor = zstandard.ZstdCompressor(level=level, **options)
    assert read(tmp_path, compressor.compress(data)) == (data, [])
    stream = compressor.compressobj()
    first = stream.compress(data[:7]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    packed = first + stream.compress(data[7:]) + stream.flush()
    assert read(tmp_path, packed) == (data, [])


def test_a_line_of_text_is_not_taken_for_an_archive(tmp_path: Path) -> None:
    for line in (b"BZh9 is a text\n", b"P*M is not\n", b"BZh", b""):
        assert read(tmp_path, line) == (line, [])


@pytest.mark.parametrize(
    ("module", "form", "remedy"),
    [
        (MODULE, FORMATS[3], REMEDY),
        ("lzma", FORMATS[2], "install a Python that has it"),
        ("bz2", FORMATS[1], "install a Python that has it"),
    ],
)
def test_without_its_module_an_archive_is_refused_with_a_sentence_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, form: Format, remedy: str
) -> None:
    path = tmp_path / "app.log.1"
    path.write_bytes(form.compress(b"one\n"))
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(SourceError) as refused:
        open_content(path)
    assert str(path) in str(refused.value)
    assert str(refused.value).endswith(f"archives need the Python module {module}: {remedy}")
