"""Which NDJSON lines a server takes (docs/protocol.md, rules L1 to L7).

The canonical form, the one that `client/formatter.py` writes, is recognised by one regular expression over a whole
run of lines; only lines of another form are parsed one by one. Both ways give the same verdict.
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn

from logferry.protocol.text import runs_by_validity


class Accept(StrEnum):
    """Which JSON objects are taken: those with `level` and `message`, or any (foreign agents)."""

    LEVEL_AND_MESSAGE = "level-and-message"
    ANY_OBJECT = "any-object"


@dataclass(frozen=True, slots=True)
class Lines:
    """`count` valid lines, ready to be stored as they are; each is owed one ok ack once stored."""

    payload: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line or one frame that is not taken, owed one error ack with `reason`."""

    reason: str


Verdict = Lines | Rejected

# Possessive throughout (Python 3.11): it never backtracks, so its time is linear in the bytes whatever they are.
_STRING: Final = rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"'
_CANONICAL_LINE: Final = (
    rb'\{"level": "[A-Z]++", "message": ' + _STRING + rb', "timestamp": (?:"[0-9TZUCGM:., +-]++"|null)'
    rb'(?:, "raw": "[A-Za-z0-9+/=]*+")?+(?:, "truncated": true)?+\}\n'
)
_canonical_run: Final = re.compile(rb"(?:" + _CANONICAL_LINE + rb")*+")


def validate(payload: bytes, *, accept: Accept) -> list[Verdict]:
    """Judge a run of whole lines, each ended by a newline; the verdicts come in the lines' order."""
    verdicts: list[Verdict] = []
    for is_text, position, end in runs_by_validity(payload):
        if not is_text:
            verdicts.append(Rejected("not valid UTF-8"))
            continue
        while position < end:
            run_end = _end_of_canonical_run(payload, position, end)
            if run_end > position:
                run = payload[position:run_end]
                verdicts.append(Lines(run, run.count(b"\n")))
            else:
                run_end = payload.index(b"\n", position) + 1
                verdicts.append(validate_line(payload[position:run_end], accept=accept))
            position = run_end
    return verdicts


def _end_of_canonical_run(payload: bytes, start: int, end: int) -> int:
    match = _canonical_run.match(payload, start, end)
    return match.end() if match else start


def validate_line(line: bytes, *, accept: Accept) -> Verdict:
    """Judge one line of any form; a valid one is kept as written, without white space around it."""
    text = line.strip(b" \t\r\n")
    if not text:
        return Rejected("empty line")
    try:
        # Digits by the million are legal JSON; int() would refuse them, float() does not.
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
