"""`--format auto` on files that grow in any pieces: what is chosen depends on the lines alone (rules F55 and F56)."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from logferry import checksum
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.rerender import rerender
from logferry.model.chunk import Chunk
from logferry.rendering.renderer import renderer
from tests.support.shipping import input_settings

LINES = [
    b'{"level":"info","msg":"pump on"}\n',
    b"2024-01-15 08:23:45 INFO pump on\n",
    b"pump on\n",
    b"   at pump\n",
    b"\n",
    b'192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 200 612\n',
    b'2024-01-15T08:23:45Z stdout F {"level":"warn","msg":"hot"}\n',
    b"\0\0\0level=info msg=on\n",
    b"I0115 08:23:45.123456       1 pump.go:123] ready\n",
]

# Runs of lines: samples and trials have many lines of few formats.
_runs = st.lists(st.tuples(st.sampled_from(LINES), st.integers(1, 130)), min_size=1, max_size=8)
contents = _runs.map(lambda runs: b"".join(line * count for line, count in runs))


class Memory:
    """The bytes of a file that grows."""

    is_stream = False
    problems: Sequence[str] = ()
    cut_ends: Sequence[int] = ()

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def pread(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + size]

    def next_data(self, offset: int) -> int:
        return offset

    def size(self) -> int:
        return len(self.data)

    def status(self) -> os.stat_result:
        return os.stat("/")

    def duplicate(self) -> "Memory":
        return self

    def close(self) -> None:
        pass


def read(rules: InputRules, file: SourceFile, *, ends: bool, max_lines: int | None) -> list[Chunk]:
    found = list[Chunk]()
    while True:
        rules.prepare(file, ends=ends)
        chunk = file.read(is_final=ends, is_settled=ends, max_lines=max_lines)
        if chunk is None:
            return found
        found.append(chunk)


def opened(content: Memory) -> SourceFile:
    return SourceFile(Path("app.log"), max_line_bytes=1000, content=content)


def changes(chunks: list[Chunk]) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for chunk in chunks:
        if not found or found[-1][1] != chunk.rendering:
            found.append((chunk.start, chunk.rendering))
    return found


@given(contents, st.lists(st.integers(1, 3000), max_size=30), st.sampled_from([None, 1, 3]), st.booleans())
def test_a_file_that_grows_becomes_what_its_checkpoint_says_and_ends_in_the_same_format(
    data: bytes, pieces: list[int], max_lines: int | None, joins: bool
) -> None:
    rules = InputRules(input_settings("app.log", format="auto", multiline="timestamp" if joins else ""))
    at_once = read(rules, opened(Memory(data)), ends=True, max_lines=None)

    content = Memory()
    file, chunks = opened(content), list[Chunk]()
    for piece in pieces:
        content.data = data[: len(content.data) + piece]
        chunks += read(rules, file, ends=False, max_lines=max_lines)
    content.data = data
    chunks += read(rules, file, ends=True, max_lines=max_lines)

    covered = [(chunk.start, chunk.end) for chunk in chunks]
    assert (covered[0][0], covered[-1][1]) == (0, len(data))
    assert all(end == start for (_, end), (start, _) in pairwise(covered))
    assert chunks[-1].rendering == at_once[-1].rendering
    if data.count(b"\n") > 20:  # where the lines after the first ones change the choice, they do so in one place
        assert changes(chunks)[-1][0] == changes(at_once)[-1][0] or changes(at_once)[-1][0] == 0

    payload = b"".join(
        renderer(chunk.rendering).render(chunk.data, is_start=chunk.start == 0).payload for chunk in chunks
    )
    file.rewind(0)
    again = rerender(file, len(data), changes(chunks))
    assert (again.lines, again.crc32) == (payload.count(b"\n"), checksum.crc32(payload))


@given(contents, st.integers(0, 100_000))
def test_a_restart_at_any_line_goes_on_in_the_format_that_the_lines_show(data: bytes, offset: int) -> None:
    rules = InputRules(input_settings("app.log", format="auto"))
    at_once = changes(read(rules, opened(Memory(data)), ends=True, max_lines=None))
    start = data.rfind(b"\n", 0, offset) + 1
    file = opened(Memory(data))
    file.skip_to(start)
    expected = [(max(begin, start), spec) for begin, spec in at_once if begin > start or begin == at_once[0][0]]
    expected = expected if len(at_once) == 1 or start < at_once[1][0] else [(start, at_once[1][1])]
    assert changes(read(rules, file, ends=True, max_lines=None)) == (expected if start < len(data) else [])
