"""The strict reader of control lines and answers: what both ends refuse, whoever sends it (rule E32).

Each pair of tests feeds the same hostile values to a control line, which the server reads, and to an answer, which the
client reads.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from logferry.protocol.delivery.answer_lines import read_answer, read_welcome
from logferry.protocol.delivery.control_lines import read_control_line
from logferry.protocol.delivery.control_reader import (
    MAX_DEPTH,
    MalformedLine,
    offset,
    optional,
    read_line,
    read_object,
    text,
)
from logferry.protocol.messages.answers import Alive, InvalidAnswer, Position
from logferry.protocol.messages.requests import Hello, Note, Open, Ping, SourcesOf, Violation
from logferry.protocol.messages.writing import MAX_OFFSET, answer_line, control_line

POSITION: Mapping[str, Any] = {"source": "s1", "committed": 1, "lines": 1, "crc32": 1}

# Control lines of a client, with every key that they must have.
CONTROL_LINES: Mapping[str, Mapping[str, Any]] = {
    "hello": {"version": 1, "client": "c", "host": "h"},
    "open": {"source": "s1", "path": "/a"},
    "batch": {"source": "s1", "start": 0, "end": 9, "lines": 1, "bytes": 9, "encoding": "gzip", "crc32": 1},
    "skip": {"source": "s1", "start": 0, "end": 9, "reason": "x"},
    "note": {"source": "s1", "start": 0, "end": 9, "reason": "x"},
    "window": {"source": "s1", "start": 0, "last_look": 1, "noticed": 2, "reason": "x"},
    "report": {"source": "s1", "after": 0},
    "sources": {"host": "h", "path": "/a", "after": ""},
    "positions": {"sources": ["s1"]},
    "content": {"source": "s1", "start": 0, "position": 0, "bytes": 1},
    "damaged": {"source": "s1", "after": 0},
    "repair": {"source": "s1", "start": 0, "end": 9, "lines": 1, "bytes": 9, "encoding": "identity", "crc32": 1},
}

# Answers of a server, with every key that they must have.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    "open": POSITION,
    "received": POSITION,
    "window": {"source": "s1"},
    "report": {**POSITION, "known": True, "extents": [], "losses": [], "more": False},
    "sources": {"sources": [], "more": False},
    "positions": {"positions": []},
    "content": {"source": "s1", "start": 0, "position": 0, "data": ""},
    "damaged": {"source": "s1", "extents": [], "more": False},
    "damage": {"source": "s1"},
    "repair": {"source": "s1", "start": 0, "whole": True, "reason": ""},
}

# Per type of the right value, JSON that is not one.
WRONG: Mapping[type, tuple[str, ...]] = {
    int: (
        "null",
        "true",
        '"1"',
        "1.0",
        "1e999",
        "-1e999",
        str(2**63),
        str(2**70),
        "-1",
        "1" * 5000,
        "NaN",
        "[1]",
        "{}",
    ),
    str: ("null", "true", "1", '["a"]', "{}"),
    bool: ("null", "0", "1", '"true"', "[]"),
    list: ("null", "true", "1", '"s1"', "{}", '{"s1": 1}', "[null]", "[[1]]", "[{}]"),
}


def wrong_values(lines: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return the kind, the key and a wrong value of it, as JSON."""
    return [
        pytest.param(kind, name, wrong, id=f"{kind}-{name}-{wrong[:8]}")
        for kind, fields in lines.items()
        for name, value in fields.items()
        for wrong in WRONG[type(value)]
    ]


def with_value(line: bytes, name: str, value: str) -> bytes:
    """Return a line with another value, as JSON, of one key."""
    fields = json.loads(line)
    fields[name] = "the value"
    return json.dumps(fields).replace('"the value"', value).encode() + b"\n"


@pytest.mark.parametrize(("kind", "name", "wrong"), wrong_values(CONTROL_LINES))
def test_e32_a_control_line_with_a_value_of_another_type_or_range_is_a_violation(
    kind: str, name: str, wrong: str
) -> None:
    """Rule E32."""
    line = control_line(kind, **CONTROL_LINES[kind])
    assert not isinstance(read_control_line(line), Violation)
    assert isinstance(read_control_line(with_value(line, name, wrong)), Violation)


@pytest.mark.parametrize(("kind", "name", "wrong"), wrong_values(ANSWERS))
def test_e32_an_answer_with_a_value_of_another_type_or_range_is_invalid(kind: str, name: str, wrong: str) -> None:
    """Rule E32."""
    line = answer_line(kind, **ANSWERS[kind])
    assert not isinstance(read_answer(line), InvalidAnswer)
    assert isinstance(read_answer(with_value(line, name, wrong)), InvalidAnswer)


@pytest.mark.parametrize("wrong", WRONG[int])
@pytest.mark.parametrize("place", range(4))
def test_e32_rows_are_read_as_strictly(place: int, wrong: str) -> None:
    """Rule E32."""
    row = [0, 9, 1, 5]
    line = answer_line("damaged", source="s1", extents=[row], more=False)
    values = [str(number) for number in row]
    values[place] = wrong
    assert isinstance(read_answer(line.replace(b"[0, 9, 1, 5]", f"[{', '.join(values)}]".encode())), InvalidAnswer)


@pytest.mark.parametrize("name", ["version", "max_batch_bytes", "max_sources"])
@pytest.mark.parametrize("wrong", WRONG[int])
def test_e32_a_welcome_is_read_as_strictly(name: str, wrong: str) -> None:
    """Rule E32."""
    line = answer_line("hello", version=1, max_batch_bytes=5, durability="os", max_sources=7)
    assert isinstance(read_welcome(with_value(line, name, wrong)), InvalidAnswer)


HOSTILE_LINES = {
    "a key twice": b'{"logferry": "ping", "a": 1, "a": 2}\n',
    "the same value twice": b'{"logferry": "ping", "new": 1, "new": 1}\n',
    "a key twice, further in": b'{"logferry": "ping", "new": {"a": 1, "a": 2}}\n',
    "NaN": b'{"logferry": "ping", "new": NaN}\n',
    "-Infinity": b'{"logferry": "ping", "new": [-Infinity]}\n',
    "not UTF-8": b'{"logferry": "ping", "new": "\xff"}\n',
    "a surrogate in UTF-8": b'{"logferry": "ping", "new": "\xed\xa0\x80"}\n',
    "UTF-16": '{"logferry": "ping"}\n'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"logferry": "ping"}\n',
    "nested too deeply": b'{"logferry": "ping", "new": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}\n",
    "objects nested too deeply": b'{"logferry": "ping", "new": ' + b'{"a":' * 9 + b"1" + b"}" * 9 + b"}\n",
    "brackets without end": b"[" * 60_000 + b"\n",
    "nested as deeply as a control line can be": b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n",
    "a number without end": b'{"logferry": "ping", "new": ' + b"9" * 60_000 + b"}\n",
    "two objects": b'{"logferry": "ping"} {}\n',
    "a list": b'["logferry", "ping"]\n',
    "nothing": b"\n",
}


@pytest.mark.parametrize("line", HOSTILE_LINES.values(), ids=HOSTILE_LINES)
def test_e32_what_is_not_one_plain_object_is_read_by_neither_end(line: bytes) -> None:
    """Rule E32."""
    assert isinstance(read_control_line(line), Violation)
    answer = line.replace(b'"logferry": "ping"', b'"status": "ok", "message": "alive"')
    assert isinstance(read_answer(answer), InvalidAnswer)


@pytest.mark.parametrize(
    "new",
    ["[" * 7 + "]" * 7, '{"a":' * 7 + "1" + "}" * 7, '"[[[[[[[[[[{{{"', r'"\"[[[[[[[[["', "[" + "[]," * 99 + "[]]"],
)
def test_e32_a_key_that_is_not_known_may_be_nested_and_brackets_in_strings_do_not_count(new: str) -> None:
    """Rule E32: a later version may send it."""
    assert read_control_line(f'{{"logferry": "ping", "new": {new}}}\n'.encode()) == Ping()
    assert read_answer(f'{{"status": "ok", "message": "alive", "new": {new}}}\n'.encode()) == Alive()


def test_e32_texts_that_utf8_cannot_encode_are_escaped_whatever_they_are_part_of() -> None:
    """Rule E32."""
    assert read_control_line(control_line("sources", host="a\udce9", path="/\udce9", after="\ud800")) == SourcesOf(
        r"a\xe9", r"/\xe9", r"\ud800"
    )
    assert read_control_line(control_line("open", source="s1", path="/caf\udce9")) == Open("s1", r"/caf\xe9")
    assert read_control_line(control_line("hello", version=1, client="\ud800", host="\ud800")) == Hello(
        r"\ud800", r"\ud800"
    )


def test_e32_long_paths_hosts_and_reasons_are_cut() -> None:
    """Rule E32."""
    note = read_control_line(control_line("note", source="s1", start=0, end=1, reason="x" * 5000))
    assert isinstance(note, Note)
    assert len(note.reason) == 200
    opened = read_control_line(control_line("open", source="s1", path="/" * 20_000))
    assert isinstance(opened, Open)
    assert len(opened.path) == 16_384


def test_e32_the_id_of_a_client_is_never_cut() -> None:
    """Rule E32: two clients must not become one."""
    fields = {"version": 1, "host": "h"}
    assert read_control_line(control_line("hello", client="x" * 255, **fields)) == Hello("x" * 255, "h")
    assert isinstance(read_control_line(control_line("hello", client="x" * 256, **fields)), Violation)


def test_e32_what_is_wrong_is_said_without_quoting_the_line() -> None:
    """Rule E32."""
    with pytest.raises(MalformedLine, match=r"^start is out of range$"):
        read_line(b'{"start": -1}', {"start": offset})
    with pytest.raises(MalformedLine, match=r"^it is not JSON$"):
        read_object(b"\x1b[31m")


def test_e32_a_key_may_be_missing_but_if_it_is_there_it_is_what_it_should_be() -> None:
    """Rule E32."""
    shape = {"a": optional(offset, 7), "b": optional(text(3), "")}
    assert read_line(b'{"b": "12345", "c": null}', shape) == {"a": 7, "b": "123"}
    with pytest.raises(MalformedLine, match="a is not a number"):
        read_line(b'{"a": null}', shape)


def test_e32_times_are_times_that_can_be_shown() -> None:
    """Rules E27, E30 and E32: a client shows them."""
    window = CONTROL_LINES["window"]
    assert not isinstance(read_control_line(control_line("window", **{**window, "noticed": 10**14})), Violation)
    assert isinstance(read_control_line(control_line("window", **{**window, "noticed": 10**14 + 1})), Violation)
    for answer in (
        answer_line("sources", sources=[["s1", 0, 0, 10**14 + 1]], more=False),
        answer_line("report", **{**ANSWERS["report"], "windows": [[0, 1, 10**14 + 1, "x"]]}),
    ):
        assert isinstance(read_answer(answer), InvalidAnswer)


@pytest.mark.parametrize("kind", ["batch", "repair"])
def test_e32_a_range_has_at_least_a_byte_for_each_line(kind: str) -> None:
    """Rules E7 and E32: a line of a file has at least its newline."""
    fields = CONTROL_LINES[kind]
    assert not isinstance(read_control_line(control_line(kind, **{**fields, "lines": 9})), Violation)
    assert isinstance(read_control_line(control_line(kind, **{**fields, "lines": 10})), Violation)


def test_e32_the_largest_position_is_that_of_file_systems() -> None:
    """Rule E32."""
    assert read_answer(answer_line("open", **{**POSITION, "committed": MAX_OFFSET})) == Position(
        "s1", MAX_OFFSET, 1, 1, is_answer_to_open=True
    )
