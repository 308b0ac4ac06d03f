"""Formats whose lines mean what the header before them says, while a file is read (docs/protocol.md, rule F59)."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.lines.header_lines import HeaderLines, headers_of
from logferry.client.files.lines.line_reader import CHUNK_BYTES, SourceFile
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.rerender import rerender, rerender_as_stored
from logferry.model.chunk import Chunk
from logferry.model.render_spec import RenderSpec
from logferry.rendering.renderer import renderer
from tests.support.formats import SAMPLES
from tests.support.shipping import input_settings

FIRST, SECOND = b"#Fields: date time c-ip sc-status\n", b"#Fields: date time sc-status c-ip\n"
LINE = b"2024-01-15 08:23:%02d 192.0.2.7 404\n"
OTHER = b"2024-01-15 08:23:%02d 500 192.0.2.8\n"
UNKNOWN_LINE = {"level": "UNKNOWN", "timestamp": None}


def chunks_of(
    path: Path, *, log_format: str = "iis", begin: int = 0, ends: bool = True, max_lines: int | None = None
) -> list[Chunk]:
    """Return the chunks that a client reads that begins at this offset."""
    rules = InputRules(input_settings(path, format=log_format))
    with closing(SourceFile(path, max_line_bytes=1000)) as file:
        if begin:
            file.skip_to(begin)
        chunks: list[Chunk] = []
        while True:
            rules.prepare(file, ends=ends)
            chunk = file.read(is_final=ends, max_lines=max_lines)
            if chunk is None and not file.is_scanning:
                return chunks
            chunks += [chunk] if chunk else []


def payload(chunks: list[Chunk]) -> bytes:
    return b"".join(
        renderer(chunk.rendering).render(chunk.data, is_start=chunk.start == 0, truncated=chunk.truncated).payload
        for chunk in chunks
    )


def records(chunks: list[Chunk]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in payload(chunks).splitlines()]


def formats(chunks: list[Chunk]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for chunk in chunks:
        if not found or found[-1][1] != chunk.rendering.format:
            found.append((chunk.start, chunk.rendering.format))
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "u_ex240115.log"


@pytest.mark.parametrize("log_format", ["iis", "auto"])
@pytest.mark.parametrize("max_lines", [None, 1])
def test_a_sample_becomes_its_expected_records(log_format: str, max_lines: int | None) -> None:
    chunks = chunks_of(SAMPLES / "iis.log", log_format=log_format, max_lines=max_lines)
    assert payload(chunks) == (SAMPLES / "iis.ndjson").read_bytes()


def test_a_header_in_the_middle_holds_from_its_line_on(log: Path) -> None:
    log.write_bytes(LINE % 1 + FIRST + LINE % 2 + SECOND + OTHER % 3 + LINE % 4)
    chunks = chunks_of(log)
    levels = ["UNKNOWN", "UNKNOWN", "WARNING", "UNKNOWN", "ERROR", "UNKNOWN"]
    assert [record["level"] for record in records(chunks)] == levels
    assert [start for start, _ in formats(chunks)] == [0, len(LINE % 1), len(LINE % 1 + FIRST + LINE % 2)]


def test_the_header_is_found_wherever_reading_begins(log: Path) -> None:
    """A restart, also one without a checkpoint, comes to the same result."""
    lines = [LINE % 0, FIRST, LINE % 1, LINE % 2, SECOND, OTHER % 3, FIRST, LINE % 4]
    log.write_bytes(b"".join(lines))
    whole = payload(chunks_of(log))
    for count in range(1, len(lines)):
        begin = len(b"".join(lines[:count]))
        assert payload(chunks_of(log, begin=begin)) == b"".join(whole.splitlines(keepends=True)[count:])


@pytest.mark.parametrize("size", [CHUNK_BYTES, 5 * 1024 * 1024])
def test_a_header_far_before_the_offset_is_found(log: Path, size: int) -> None:
    data = FIRST + LINE % 1 * (size // len(LINE % 1))
    log.write_bytes(data + LINE % 2)
    (record,) = records(chunks_of(log, begin=len(data)))
    assert (record["level"], record["remote_addr"]) == ("WARNING", "192.0.2.7")
    assert len(formats(chunks_of(log))) == 1


def test_a_header_across_blocks_of_the_search_is_found(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = LINE % 0 * 3 + FIRST + LINE % 1 * 3
    log.write_bytes(data + LINE % 2)
    for size in range(40, 90):
        monkeypatch.setattr("logferry.client.files.lines.header_lines._SEARCH_BYTES", size)
        assert records(chunks_of(log, begin=len(data)))[0]["level"] == "WARNING"


def test_a_header_that_is_not_complete_is_not_passed(log: Path) -> None:
    """Lines are read no further than they were looked at."""
    rules = InputRules(input_settings(log, format="iis"))
    log.write_bytes(LINE % 1 + FIRST[:12])
    with closing(SourceFile(log, max_line_bytes=1000)) as file:
        rules.prepare(file)
        found = [file.read()]
        rules.prepare(file)
        log.write_bytes(LINE % 1 + FIRST + LINE % 2)
        assert file.read() is None
        for _ in range(2):
            rules.prepare(file)
            found.append(file.read())
    chunks = [chunk for chunk in found if chunk]
    assert [record["level"] for record in records(chunks)] == ["UNKNOWN", "UNKNOWN", "WARNING"]


@pytest.mark.parametrize(
    "header",
    [
        b"#Fields:\n",
        b"#Fields: " + b"x " * 2000 + b"\n",
        b'#Fields: a "b"\n',
        b"#Fields: caf\xc3\xa9\n",
        b"#Fields: \\\n",
    ],
)
def test_lines_after_a_header_that_cannot_be_used_are_shipped_whole(log: Path, header: bytes) -> None:
    log.write_bytes(FIRST + header + LINE % 1)
    found = records(chunks_of(log))
    assert found[-1] == UNKNOWN_LINE | {"message": (LINE % 1).decode()[:-1]}


def test_windows_line_endings_and_a_byte_order_mark_are_no_part_of_a_header(log: Path) -> None:
    log.write_bytes(b"\xef\xbb\xbf" + (FIRST + LINE % 1).replace(b"\n", b" \r\n", 1).replace(b"404\n", b"404\r\n"))
    assert [record["level"] for record in records(chunks_of(log))] == ["UNKNOWN", "WARNING"]
    assert records(chunks_of(log, begin=log.stat().st_size - len(LINE % 1) - 1))[0]["level"] == "WARNING"


def test_a_hole_before_a_header_does_not_hide_it(log: Path) -> None:
    log.write_bytes(FIRST + LINE % 1 + b"\0" * 5000 + SECOND + OTHER % 2)
    assert [record["level"] for record in records(chunks_of(log))] == ["UNKNOWN", "WARNING", "UNKNOWN", "ERROR"]


def test_a_long_line_between_does_not_hide_the_header(log: Path) -> None:
    log.write_bytes(FIRST + b"x" * (2 * CHUNK_BYTES) + b"\n" + LINE % 1 + b"y" * 2000 + b"\n" + LINE % 2)
    levels = [record["level"] for record in records(chunks_of(log))]
    assert levels == ["UNKNOWN", "UNKNOWN", "WARNING", "UNKNOWN", "WARNING"]


def test_a_source_has_a_limited_number_of_headers(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its checkpoint would grow with every line."""
    monkeypatch.setattr("logferry.client.files.lines.header_lines._MOST_RENDERINGS", 2)
    log.write_bytes(FIRST + LINE % 1 + SECOND + OTHER % 2)
    with closing(SourceFile(log, max_line_bytes=1000)) as file:
        file.source.renderings = [(0, RenderSpec()), (1, RenderSpec(format="raw"))]
        assert HeaderLines(file).at(file, 0, ends=True)[0] == "iis"


def test_what_no_checkpoint_has_is_rendered_again_by_its_headers(log: Path) -> None:
    """Rule F37: a batch of another format begins another extent."""
    log.write_bytes(FIRST + LINE % 1 + SECOND + OTHER % 2)
    chunks = chunks_of(log)
    renderings = [(chunks[0].start, chunks[0].rendering)]
    stored = renderer(chunks[1].rendering).render(chunks[1].data)
    with closing(SourceFile(log, max_line_bytes=1000)) as file:
        assert [name.partition(":")[2] for _, name in headers_of(file, file.size())] == [
            *(FIRST.decode()[9:-1], SECOND.decode()[9:-1])
        ]
        file.skip_to(chunks[1].start)
        known = rerender(file, chunks[1].end, [*renderings, (chunks[1].start, chunks[1].rendering)])
        assert known.lines == stored.lines
        file.rewind(chunks[1].start)
        found = rerender_as_stored(file, chunks[1].end, renderings, (known.lines, known.crc32))
        assert found.crc32 == known.crc32
