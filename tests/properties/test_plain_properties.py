"""Chunks and the reference give the same bytes in the plain format; these always parse, and keep all of a line."""

import base64
import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from logferry.protocol.lines.validation import Accept, Lines, validate_line
from tests.support.builders import log_lines
from tests.support.formats import render, render_line
from tests.support.judging import validate

chunks = st.lists(log_lines, max_size=12).map(lambda lines: b"".join(line + b"\n" for line in lines))
anything = st.one_of(chunks, st.binary(max_size=200))


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines of a chunk, without their newlines."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def recover(record: dict[str, Any]) -> bytes:
    """Return the bytes of the line that a record was made of, from its raw or its message."""
    if "raw" in record:
        return base64.b64decode(record["raw"])
    message: str = record["message"]
    return message.encode()


@given(anything)
def test_the_fast_way_gives_what_line_by_line_gives(data: bytes) -> None:
    """Rule F10."""
    one_by_one = [render_line(line) for line in lines_of(data)]
    rendered = render(data)
    assert rendered.payload == b"".join(line for line in one_by_one if line is not None)
    assert rendered.lines == rendered.payload.count(b"\n") == len(one_by_one) - rendered.blank
    assert rendered.blank == one_by_one.count(None)


@given(anything)
def test_every_output_line_is_json_with_the_promised_keys_in_order(data: bytes) -> None:
    for line in render(data).payload.splitlines():
        record = json.loads(line)
        assert list(record) in (["level", "message", "timestamp"], ["level", "message", "timestamp", "raw"])
        assert isinstance(record["message"], str)
        assert record["level"].isupper()
        assert record["level"].isascii()


@given(anything)
def test_no_byte_of_a_line_is_lost(data: bytes) -> None:
    """Rules F4, F5 and F8."""
    lines = [line.removesuffix(b"\r") for line in lines_of(data)]
    records = [json.loads(line) for line in render(data).payload.split(b"\n")[:-1]]
    for line, record in zip([line for line in lines if line.strip()], records, strict=True):
        if record["timestamp"] is None:
            assert recover(record) == line
        elif "raw" in record:
            assert base64.b64decode(record["raw"]) == line
        else:
            timestamp = record["timestamp"].encode()
            message = record["message"].encode()
            assert line.endswith(message)
            assert timestamp in line
            taken = line[: len(line) - len(message)]
            level = re.sub(rb"\x1b\[[0-9;]*m", b"", taken.replace(timestamp, b"", 1)).strip(b" \t[]<>:|,;-")
            assert level.upper() in (b"", record["level"].encode())


@given(anything)
def test_the_output_has_as_many_lines_as_it_says_and_no_control_character_but_newlines(data: bytes) -> None:
    payload = render(data).payload
    assert not payload or payload.endswith(b"\n")
    assert not set(payload) & (set(range(0x20)) - {0x0A})
    payload.decode()


@given(st.lists(log_lines, max_size=12), st.integers(0, 12))
def test_a_chunk_renders_as_its_pieces_do(lines: list[bytes], where: int) -> None:
    """Rule F10."""
    first, second = (b"".join(line + b"\n" for line in part) for part in (lines[:where], lines[where:]))
    assert render(first + second).payload == render(first).payload + render(second).payload
    assert render(first + second).blank == render(first).blank + render(second).blank


@given(anything, st.booleans())
def test_our_server_takes_every_payload_whole(data: bytes, truncated: bool) -> None:
    data = data.replace(b"\n", b"") if truncated else data
    rendered = render(data, truncated=truncated)
    expected = [Lines(rendered.payload, rendered.lines)] if rendered.lines else []
    assert validate(rendered.payload, accept=Accept.LEVEL_AND_MESSAGE) == expected
    for line in rendered.payload.splitlines(keepends=True):
        assert validate_line(line, accept=Accept.LEVEL_AND_MESSAGE) == Lines(line, 1)
