"""Which NDJSON lines a server accepts (docs/protocol.md, rules L1 to L7). Pure: bytes in, verdicts out.

One regular expression recognises a whole run of lines in the canonical form, that of the plain format; a larger one
recognises objects with `level`, `message` and any other members. Only lines of another form are parsed one by one.
Every way must give the same verdict.
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NoReturn

from logferry import speedups
from logferry.protocol.patterns import IS_AFFECTED, compile_pattern
from logferry.protocol.text import runs_by_validity


class Accept(StrEnum):
    """Which JSON objects are accepted: those with `level` and `message`, or any (for other agents)."""

    LEVEL_AND_MESSAGE = "level-and-message"
    ANY_OBJECT = "any-object"


@dataclass(frozen=True, slots=True)
class Lines:
    """`count` valid lines, ready to be stored as they are; each gets one ack once it is stored."""

    payload: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused line or frame; it gets one error answer with `reason`."""

    reason: str


Verdict = Lines | Rejected

# Possessive throughout (Python 3.11): the pattern never backtracks, so its time is linear in the bytes, whatever they
# are.
_PLAIN_CHARACTERS: Final = rb'[^"\\\x00-\x1f]*+'
_REST_OF_STRING: Final = (
    _PLAIN_CHARACTERS + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN_CHARACTERS + rb')*+"'
)  # after the opening quote
_STRING: Final = b'"' + _REST_OF_STRING
_NUMBER: Final = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_CONSTANT: Final = rb"true|false|null"
_CANONICAL_LINE: Final = (
    rb'\{"level": "[A-Z]++", "message": ' + _STRING + rb', "timestamp": (?:"[0-9TZUCGM:., +-]++"|null)'
    rb'(?:, "raw": "[A-Za-z0-9+/=]*+")?+(?:, "truncated": true)?+\}\n'
)
_canonical_run: Final = compile_pattern(rb"(?:" + _CANONICAL_LINE + rb")*+")

# Where a match uses memory in proportion to its length (patterns.py), it ends here; longer lines are parsed.
_AFFECTED_BYTES: Final = 1024 * 1024

# How many levels of objects and arrays inside a record the pattern knows. Deeper nesting is parsed.
_MAX_DEPTH: Final = 3
_COLON: Final = rb": ?+"
_COMMA: Final = rb", ?+"


def _value(depth: int) -> bytes:
    """Return a pattern of a JSON value with at most `depth` levels of nesting and only single spaces."""
    scalar = rb"%b|%b|%b" % (_STRING, _NUMBER, _CONSTANT)
    if not depth:
        return scalar
    inner = rb"(?:%b)" % _value(depth - 1)
    array = rb"\[(?:%b(?:%b(?!\])|(?=\])))*+\]" % (inner, _COMMA)
    return rb'%b|\{(?:%b%b%b(?:%b(?=")|(?=\})))*+\}|%b' % (scalar, _STRING, _COLON, inner, _COMMA, array)


@cache  # slow to compile, and many processes do not need it
def _general_run() -> re.Pattern[bytes]:
    """Return a pattern of lines that have `level` and `message`, in any order, and any other members."""
    value = rb"%b(?:%b)" % (_COLON, _value(_MAX_DEPTH))
    others = rb'(?:"(?!(?:level|message)")%b%b%b)*+' % (_REST_OF_STRING, value, _COMMA)
    rest = rb"(?:%b%b%b)*+" % (_COMMA, _STRING, value)
    in_order = rb'"level"%b%b%b"message"' % (value, _COMMA, others)
    reversed_ = rb'"message"%b%b%b"level"' % (value, _COMMA, others)
    return compile_pattern(rb"(?:\{%b(?:%b|%b)%b%b\}\n)*+" % (others, in_order, reversed_, value, rest))


def validate(payload: bytes, *, accept: Accept) -> list[Verdict]:
    """Judge complete lines, each ended by a newline; return the verdicts in the order of the lines."""
    verdicts: list[Verdict] = []
    for is_text, position, end in runs_by_validity(payload):
        if not is_text:
            verdicts.append(Rejected("not valid UTF-8"))
            continue
        while position < end:
            run_end, lines = _run(payload, position, end)
            if lines:
                verdicts.append(Lines(payload[position:run_end], lines))
            else:
                run_end = payload.index(b"\n", position) + 1
                verdicts.append(validate_line(payload[position:run_end], accept=accept))
            position = run_end
    return verdicts


def _run(payload: bytes, start: int, end: int) -> tuple[int, int]:
    """Return where a run of certainly valid lines ends, and their number: 0 if the first may be invalid."""
    if speedups.compiled:
        run_end, lines = speedups.compiled.canonical_run(payload, start, end)
        return (run_end, lines) if lines else speedups.compiled.record_run(payload, start, end)
    if IS_AFFECTED:
        end = min(end, start + _AFFECTED_BYTES)
    match = _canonical_run.match(payload, start, end)
    if match is None or match.end() == start:
        match = _general_run().match(payload, start, end)
    run_end = match.end() if match else start
    return run_end, payload.count(b"\n", start, run_end)


def validate_line(line: bytes, *, accept: Accept) -> Verdict:
    """Judge one line of any form; a valid line is kept as written, without the white space around it."""
    text = line.strip(b" \t\r\n")
    if not text:
        return Rejected("empty line")
    try:
        # A number with a million digits is legal JSON; int() would refuse it, float() does not.
        value = json.loads(text.decode(), parse_int=float, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return Rejected("not valid UTF-8")
    except RecursionError:
        return Rejected("invalid JSON: nested too deeply")
    except ValueError as error:
        return Rejected(f"invalid JSON: {error}")
    if not isinstance(value, dict):
        return Rejected("not a JSON object")
    if accept is Accept.LEVEL_AND_MESSAGE:
        for field in ("level", "message"):
            if field not in value:
                return Rejected(f'missing field "{field}"')
    return Lines(text + b"\n", 1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
