"""Files that are not UTF-8: lines come in UTF-8, and every position is one of the file (rule F58)."""

import gzip
from pathlib import Path

import pytest

from logferry.client.files.archives.archive import open_content
from logferry.client.files.identity import TAIL_BYTES
from logferry.client.files.lines.line_reader import CHUNK_BYTES, SourceFile
from logferry.model.chunk import Chunk
from logferry.model.encoding_names import RANGE_ENCODINGS
from logferry.model.render_spec import RenderSpec
from tests.support.builders import append

WIDE = ["utf-16-le", "utf-16-be"]
every_encoding = pytest.mark.parametrize("encoding", RANGE_ENCODINGS)
both_orders = pytest.mark.parametrize("encoding", WIDE)

# Not of the code pages: characters of one, two, three and four bytes, and those that have 0A or 0D in UTF-16.
MIXED = "\u0a0a\u0a00\u010a\u0d0a\U0001f60a\u00e9"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.touch()
    return path


def opened(path: Path, encoding: str, **changes: object) -> SourceFile:
    file = SourceFile(path, max_line_bytes=1, content=open_content(path))
    file.render_as(RenderSpec(skips_nuls=True, encoding=encoding, **changes))  # type: ignore[arg-type]
    return file


def read_all(file: SourceFile, *, is_final: bool = False, limit: int | None = None) -> list[Chunk]:
    """Read until there is nothing more; the chunks must follow each other, and have the tail of the file there."""
    chunks: list[Chunk] = []
    while True:
        start = file.offset
        chunk = file.read(is_final=is_final, limit=limit, max_lines=None)
        if chunk:
            assert (chunk.start, chunk.end) == (start, file.offset)
            assert chunk.end > chunk.start
            assert chunk.tail == file.peek(max(0, chunk.end - TAIL_BYTES), min(TAIL_BYTES, chunk.end))
            chunks.append(chunk)
        elif not file.is_scanning:
            return chunks


def text_of(chunks: list[Chunk]) -> str:
    return b"".join(chunk.data for chunk in chunks).decode()


def lines(count: int, encoding: str) -> str:
    word = MIXED if encoding.startswith("utf") else "\u00e9\u00df"
    return "".join(f"{number}: {word * (number % 7)}" + ("\r\n" if number % 3 else "\n") for number in range(count))


@every_encoding
def test_lines_come_in_utf_8_and_end_where_the_file_has_their_ends(path: Path, encoding: str) -> None:
    text = lines(20, encoding)
    append(path, (text + "rest").encode(encoding))
    file = opened(path, encoding)
    chunks = read_all(file)
    assert text_of(chunks) == text
    assert chunks[-1].end == len(text.encode(encoding))
    assert text_of(read_all(file, is_final=True)) == "rest"
    file.close()


@every_encoding
def test_any_step_in_which_a_file_grows_gives_the_same_lines(path: Path, encoding: str) -> None:
    """Also half a character at a time."""
    text = lines(12, encoding)
    data, file, chunks = text.encode(encoding), opened(path, encoding), list[Chunk]()
    for begin in range(0, len(data), 3):
        append(path, data[begin : begin + 3])
        chunks += read_all(file)
    assert text_of(chunks) == text
    assert file.offset == len(data)
    file.close()


@every_encoding
@pytest.mark.parametrize("max_lines", [1, 3])
def test_a_chunk_of_few_lines_ends_behind_them_in_the_file(path: Path, encoding: str, max_lines: int) -> None:
    text = lines(20, encoding)
    append(path, text.encode(encoding))
    file, found = opened(path, encoding), ""
    while chunk := file.read(max_lines=max_lines):
        found += chunk.data.decode()
        assert chunk.end == len(found.encode(encoding))
    assert found == text
    file.close()


@every_encoding
def test_any_line_end_is_a_place_to_go_on_from(path: Path, encoding: str) -> None:
    text = lines(9, encoding)
    append(path, text.encode(encoding))
    done = ""
    for line in text.splitlines(keepends=True):
        file = opened(path, encoding)
        file.skip_to(len(done.encode(encoding)))
        assert text_of(read_all(file)) == text[len(done) :]
        file.close()
        done += line


@every_encoding
def test_a_large_file_comes_in_chunks_of_whole_lines(path: Path, encoding: str) -> None:
    text = lines(40_000, encoding)
    append(path, text.encode(encoding))
    file = opened(path, encoding)
    chunks = read_all(file)
    assert len(chunks) > 1
    assert all(chunk.data.endswith(b"\n") for chunk in chunks)
    assert text_of(chunks) == text
    file.close()


@every_encoding
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("extra", [-1, 0, 1, 500, CHUNK_BYTES])
def test_the_limit_of_a_line_counts_its_utf_8(path: Path, encoding: str, ending: str, extra: int) -> None:
    """Whether a line is too long does not depend on how its file has it, or on how it is read."""
    line = "\u00e9" * 50 + "x" * extra if extra >= 0 else "\u00e9" * 49 + "x"
    text = f"before\n{line}{ending}after\n"
    append(path, text.encode(encoding))
    file = opened(path, encoding, max_line_bytes=100)
    chunks = read_all(file)
    assert [chunk.truncated for chunk in chunks] == [False, True, False] if extra > 0 else [False]
    cut = [chunk.data.decode() for chunk in chunks if chunk.truncated]
    assert cut == ([line[:50]] if extra > 0 else [])
    assert "".join(chunk.data.decode() for chunk in chunks if not chunk.truncated) == (
        "before\nafter\n" if extra > 0 else text
    )
    assert file.offset == len(text.encode(encoding))
    file.close()


@every_encoding
@pytest.mark.parametrize("extra", [0, 1, 500])
def test_a_last_line_without_newline_is_cut_alike(path: Path, encoding: str, extra: int) -> None:
    append(path, ("\u00e9" * 50 + "x" * extra).encode(encoding))
    file = opened(path, encoding, max_line_bytes=100)
    (chunk,) = read_all(file, is_final=True)
    assert (chunk.data.decode(), chunk.truncated) == ("\u00e9" * 50, extra > 0)
    assert file.is_at_end
    file.close()


@both_orders
def test_no_character_is_cut_in_two(path: Path, encoding: str) -> None:
    append(path, ("x" + "\U0001f600" * 30 + "\n").encode(encoding))
    file = opened(path, encoding, max_line_bytes=64)
    (chunk,) = read_all(file)
    assert chunk.data.decode() == "x" + "\U0001f600" * 15
    file.close()


@both_orders
def test_half_a_character_at_the_end_waits_and_is_kept_once_nothing_follows(path: Path, encoding: str) -> None:
    text = "one\nt\u0a0aw".encode(encoding)
    append(path, text[:-1])
    file = opened(path, encoding)
    assert text_of(read_all(file)) == "one\n"
    assert read_all(file) == []
    (rest,) = read_all(file, is_final=True)
    assert rest.end == len(text) - 1
    assert rest.data.startswith("t\u0a0a".encode() + b"\xff")
    append(path, text[-1:] + "o\nthree\n".encode(encoding))  # the writer was only slow
    found = read_all(file)
    assert b"".join(chunk.data for chunk in found).endswith(b"o\nthree\n")
    file.close()


def test_a_newline_of_which_only_half_was_read_leaves_nothing_behind(path: Path) -> None:
    append(path, "one\n".encode("utf-16-le")[:-1])
    file = opened(path, "utf-16-le")
    assert len(read_all(file, is_final=True)) == 1
    append(path, b"\0" + "two\n".encode("utf-16-le"))
    hole, chunk = read_all(file)
    assert (hole.data, hole.nuls, chunk.data) == (b"", 1, b"two\n")
    file.close()


@both_orders
def test_lone_surrogates_are_part_of_their_lines(path: Path, encoding: str) -> None:
    text = "a \ud83d\nb \ude00\ud83d\n\ud83d\n"
    append(path, text.encode(encoding, "surrogatepass"))
    file = opened(path, encoding)
    (chunk,) = read_all(file)
    assert chunk.data.decode("utf-8", "surrogatepass") == text
    assert file.is_at_end
    file.rewind(0, one_by_one_until=10_000)
    assert [chunk.data.count(b"\n") for chunk in read_all(file)] == [1, 1, 1]
    file.close()


@both_orders
def test_a_line_of_many_chunks_ends_at_its_newline(path: Path, encoding: str) -> None:
    line = MIXED * CHUNK_BYTES
    append(path, f"{line}\nnext\n".encode(encoding))
    file = opened(path, encoding, max_line_bytes=10_000)
    cut, after = read_all(file)
    assert cut.truncated
    assert line.startswith(cut.data.decode())
    assert (after.data, cut.end) == (b"next\n", len((line + "\n").encode(encoding)))
    file.close()


@both_orders
def test_the_search_for_the_end_of_a_long_line_goes_on_wherever_the_file_ended(path: Path, encoding: str) -> None:
    data = ("x" * 600 + "\nnext\n").encode(encoding)
    file = opened(path, encoding, max_line_bytes=64)
    found = []
    for begin in range(0, len(data), 7):
        append(path, data[begin : begin + 7])
        found += read_all(file)
    assert [(chunk.truncated, chunk.end) for chunk in found] == [(True, 1202), (False, len(data))]
    file.close()


@both_orders
@pytest.mark.parametrize("size", [2, 1000, CHUNK_BYTES * 3])
def test_nuls_before_a_line_are_a_hole_and_those_of_its_characters_are_not(
    path: Path, encoding: str, size: int
) -> None:
    """F35."""
    hole, last = bytes(size), "\u0100 2\n".encode(encoding)
    append(path, hole + "one\n".encode(encoding) + bytes(4) + "two\n".encode(encoding) + hole)
    file = opened(path, encoding)
    chunks = read_all(file)
    assert text_of(chunks) == "one\ntwo\n"
    assert sum(chunk.nuls for chunk in chunks) == size + 4
    append(path, last[:1])  # perhaps the beginning of a character, perhaps not
    chunks = read_all(file)
    append(path, last[1:])
    chunks += read_all(file)
    assert text_of(chunks) == "\u0100 2\n"
    assert sum(chunk.nuls for chunk in chunks) == size
    assert file.is_at_end
    file.close()


@both_orders
def test_a_single_nul_at_the_end_of_a_file_that_will_not_grow_is_a_hole(path: Path, encoding: str) -> None:
    append(path, "one\n".encode(encoding) + b"\0")
    file = opened(path, encoding)
    assert text_of(read_all(file)) == "one\n"
    assert [(chunk.data, chunk.nuls) for chunk in read_all(file, is_final=True)] == [(b"", 1)]
    file.close()


@both_orders
def test_events_of_several_lines_are_joined(path: Path, encoding: str) -> None:
    first = "2026-01-01 00:00:00 \u0a0a\n" + "  at x\n" * 3
    text = first + "2026-01-01 00:00:01 b\n  at y\n"
    append(path, text.encode(encoding))
    file = opened(path, encoding, multiline="timestamp")
    (chunk,) = read_all(file)
    assert (chunk.data.decode(), chunk.end) == (first, len(first.encode(encoding)))
    assert text_of(read_all(file, is_final=True)) == text[len(first) :]
    file.close()


@both_orders
def test_an_event_of_the_largest_size_is_not_split_by_the_size_of_a_read(path: Path, encoding: str) -> None:
    begin = "2026-01-01 00:00:00 a\n"
    event = begin + "x" * 99 + "\n"
    event += ("  " + "x" * 97 + "\n") * 1290
    assert 120 * 1024 < len(event) < 128 * 1024
    append(path, (event + begin).encode(encoding))
    file = opened(path, encoding, multiline="timestamp", multiline_max_lines=10_000)
    (chunk,) = read_all(file)
    assert chunk.data.decode() == event
    file.close()


@every_encoding
def test_skipping_to_the_end_goes_behind_the_last_whole_line(path: Path, encoding: str) -> None:
    text = "one\n\u00e9\n"
    append(path, (text + "rest").encode(encoding) + b"x")
    file = opened(path, encoding)
    file.skip_to_end()
    assert file.offset == len(text.encode(encoding))
    append(path, b"y" + "x".encode(encoding) * CHUNK_BYTES)
    file.skip_to_end()
    assert file.offset == len(text.encode(encoding))
    file.close()


@every_encoding
def test_no_byte_from_the_limit_on_is_read(path: Path, encoding: str) -> None:
    text = lines(10, encoding)
    append(path, text.encode(encoding))
    file = opened(path, encoding)
    end = len("".join(text.splitlines(keepends=True)[:4]).encode(encoding))
    assert text_of(read_all(file, is_final=True, limit=end)) == "".join(text.splitlines(keepends=True)[:4])
    assert file.offset == end
    file.close()


# --- archives ---------------------------------------------------------------------------------------------------------


@every_encoding
def test_an_archive_is_read_like_the_file_that_it_was(tmp_path: Path, encoding: str) -> None:
    text, path = lines(30_000, encoding), tmp_path / "app.log.gz"
    path.write_bytes(gzip.compress(text.encode(encoding)))
    file = opened(path, encoding)
    assert text_of(read_all(file, is_final=True)) == text
    file.rewind(0)
    assert text_of(read_all(file, is_final=True)) == text
    file.close()


@every_encoding
@pytest.mark.parametrize("lost", range(8))
def test_the_text_behind_damage_begins_anew(tmp_path: Path, encoding: str, lost: int) -> None:
    """The first member is damaged, and has any number of bytes: perhaps half a character."""
    member = gzip.compress("one\ntwo\nthr".encode(encoding) + bytes([65] * lost), 0)
    whole = "four\nf\u00efve\n".encode(encoding)
    path = tmp_path / "app.log.gz"
    path.write_bytes(member[:-8] + b"DAMAGED!" + gzip.compress(whole))
    file = opened(path, encoding)
    chunks = read_all(file, is_final=True)
    assert file.problems
    assert text_of([chunk for chunk in chunks if not chunk.truncated]) == "one\ntwo\nfour\nf\u00efve\n"
    (cut,) = [chunk for chunk in chunks if chunk.truncated]
    assert cut.is_incomplete
    assert cut.data.startswith(b"thr")
    assert file.is_at_end
    ends = [chunk.end for chunk in chunks]
    file.rewind(cut.start)
    assert [chunk.end for chunk in read_all(file, is_final=True)] == [end for end in ends if end > cut.start]
    file.close()


@both_orders
@pytest.mark.parametrize("limit", [64, 10_000])
def test_a_long_line_that_damage_ends_is_cut_there(tmp_path: Path, encoding: str, limit: int) -> None:
    member = gzip.compress(("x" * 70_000).encode(encoding) + b"y", 0)
    path = tmp_path / "app.log.gz"
    path.write_bytes(member[:-8] + b"DAMAGED!" + gzip.compress("next\n".encode(encoding)))
    file = opened(path, encoding, max_line_bytes=limit)
    cut, after = read_all(file, is_final=True)
    assert (cut.data, cut.truncated, cut.end) == (b"x" * limit, True, 140_002)
    assert (after.data, after.truncated) == (b"next\n", False)
    file.close()
