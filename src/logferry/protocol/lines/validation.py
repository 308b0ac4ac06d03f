"""Which NDJSON lines a server accepts (docs/protocol.md, rules L1 to L7). Pure: bytes in, verdicts out.

One regular expression recognises a whole run of lines in the canonical form, that of the plain format; a larger one
recognises objects with `level`, `message` and any other members. Only lines of another form are parsed one by one, and
long ones are scanned in pieces (long_lines.py). Every way must give the same verdict, and no step may do more than its
allowance (steps.py).
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final, NoReturn

from logferry import speedups
from logferry.model.event_times import UNREAD_TIMES, EventTimes
from logferry.protocol.lines import long_lines
from logferry.protocol.lines.long_lines import HAS_LEVEL, HAS_MESSAGE, MAX_NESTING
from logferry.protocol.lines.text import first_undecodable, runs_by_validity
from logferry.protocol.patterns import IS_AFFECTED, compile_pattern
from logferry.protocol.steps import LONG_LINE_BYTES, PARSED_WEIGHT, SCANNED_WEIGHT, STEP_BYTES, Allowance


class Accept(StrEnum):
    """Which JSON objects are accepted: those with `level` and `message`, or any (for other agents)."""

    LEVEL_AND_MESSAGE = "level-and-message"
    ANY_OBJECT = "any-object"


@dataclass(frozen=True, slots=True)
class Lines:
    """`count` valid lines, ready to be stored as they are; each gets one ack once it is stored."""

    payload: bytes
    count: int
    times: EventTimes = field(default=UNREAD_TIMES, compare=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused line or frame; it gets one error answer with `reason`."""

    reason: str


Verdict = Lines | Rejected


@dataclass(frozen=True, slots=True)
class Run:
    """The `count` lines in `[start, end)` of what is judged are valid, and may be stored as they are."""

    start: int
    end: int
    count: int
    times: EventTimes = field(default=UNREAD_TIMES, compare=False)


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

_SPACE: Final = b" \t\r\n"
_NOT_JSON: Final = "invalid JSON"
_TOO_DEEP: Final = f"invalid JSON: more than {MAX_NESTING} objects and arrays in each other"
_between_brackets: Final = compile_pattern(rb'(?s)"(?:[^"\\]++|\\.)*+"?+|[^"\[\]{}]++')
_ONE_KIND_OF_BRACKET: Final = bytes.maketrans(b"{}", b"[]")

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


def count_if_usual(lines: bytes) -> tuple[int, EventTimes]:
    """Return the number of complete lines if patterns recognise all of them as valid, else 0: most reads are like this.

    Also return when their events happened. The caller has checked that a step has room for the lines.
    """
    end = len(lines)
    if first_undecodable(lines, 0, end) < end:
        return 0, UNREAD_TIMES
    run_end, count, times = _run(lines, 0, end)
    return (count if run_end == end else 0), times


class LineJudge:
    """Judges complete lines, each ended by a newline, in steps; `position` is where the next one begins.

    Holds the lines, and the state of a scan. The lines of any one step have at most `max_line_bytes` each.
    """

    def __init__(self, lines: bytes, *, accept: Accept, max_line_bytes: int, position: int = 0) -> None:
        self._lines = lines
        self._accept = accept
        self._max_line_bytes = max_line_bytes
        self._long_line: LongLine | None = None
        self.position = position

    @property
    def is_done(self) -> bool:
        """Whether all lines are judged."""
        return self.position == len(self._lines)

    def step(self, allowance: Allowance) -> Iterator[Run | Verdict]:
        """Judge what the allowance allows; yield the verdicts in the order of the lines. The caller may stop early."""
        while not self.is_done and not allowance.is_used_up:
            if self._long_line:
                yield from self._continue_long_line(self._long_line, allowance)
            elif end := self._end_of_part(allowance):
                yield from self._judge_part(end, allowance)
            elif allowance.bytes < min(STEP_BYTES, self._max_line_bytes):
                allowance.bytes = 0  # a whole step may have room for the next line
            else:
                yield from self._begin_long_line()

    @property
    def is_inside_line(self) -> bool:
        """Whether the last step ended inside a long line."""
        return self._long_line is not None

    def peek(self, most: int) -> bytes:
        """Return the next line; of a longer one than `most`, only about that much of its beginning and its end."""
        start, end = self.position, self._lines.index(b"\n", self.position) + 1
        if end - start <= most:
            return self._lines[start:end]
        return self._lines[start : start + most // 2] + self._lines[end - most // 2 : end]

    def as_lines(self, verdict: Run | Verdict) -> Verdict:
        """Return a verdict with the lines themselves."""
        if not isinstance(verdict, Run):
            return verdict
        return Lines(self._lines[verdict.start : verdict.end], verdict.count, verdict.times)

    def next_line(self, allowance: Allowance) -> Run | Verdict | None:
        """Judge one line by itself, or a piece of it; return its verdict once there is one."""
        if self._long_line is None and not self._end_of_line(LONG_LINE_BYTES):
            return next(self._begin_long_line(), None)
        if self._long_line:
            return next(self._continue_long_line(self._long_line, allowance), None)
        return self._judge_one(self._end_of_line(LONG_LINE_BYTES), allowance)

    def _end_of_line(self, within: int) -> int:
        """Return the end of the next line; 0 if it is longer than `within`, or than a line may be."""
        most = min(within, self._max_line_bytes)
        return self._lines.find(b"\n", self.position, self.position + most) + 1

    def _end_of_part(self, allowance: Allowance) -> int:
        """Return where the last line ends that a step has room for; 0 if there is no such line."""
        most = min(allowance.bytes, self._max_line_bytes)
        if len(self._lines) - self.position <= most:
            return len(self._lines)
        return self._lines.rfind(b"\n", self.position, self.position + most) + 1

    def _judge_part(self, part_end: int, allowance: Allowance) -> Iterator[Run | Verdict]:
        lines = self._lines
        for is_text, position, end in runs_by_validity(lines, self.position, part_end):
            if not is_text:
                yield self._refuse_one(end, "not valid UTF-8", allowance)
            while is_text and position < end:
                run_end, count, times = _run(lines, position, end)
                if count:
                    allowance.bytes -= run_end - position
                    self.position = run_end
                    yield Run(position, run_end, count, times)
                elif line_end := self._end_of_line(LONG_LINE_BYTES):
                    yield self._judge_one(line_end, allowance)
                else:
                    yield from self._begin_long_line()
                    return
                if allowance.is_used_up:
                    return
                position = self.position
            if allowance.is_used_up:
                return

    def _judge_one(self, end: int, allowance: Allowance) -> Run | Verdict:
        start, self.position = self.position, end
        allowance.lines -= 1
        allowance.bytes -= PARSED_WEIGHT * (end - start)
        return _as_run(validate_line(self._lines[start:end], accept=self._accept), start, end)

    def _refuse_one(self, end: int, reason: str, allowance: Allowance) -> Rejected:
        allowance.lines -= 1
        allowance.bytes -= end - self.position
        self.position = end
        return Rejected(reason)

    def _begin_long_line(self) -> Iterator[Rejected]:
        """Begin to judge a line in pieces; refuse it at once if it is too long (rule L6)."""
        end = self._end_of_line(self._max_line_bytes)
        if end:
            self._long_line = LongLine(self._lines, self.position, end, accept=self._accept)
        else:
            self.position = self._lines.index(b"\n", self.position) + 1
            yield too_long(self._max_line_bytes)

    def _continue_long_line(self, line: "LongLine", allowance: Allowance) -> Iterator[Run | Verdict]:
        verdict = line.step(allowance)
        if verdict:
            self.position, self._long_line = line.end, None
            yield verdict


class LongLine:
    """Judges one line, `[start, end)` of `lines`, in pieces."""

    def __init__(self, lines: bytes, start: int, end: int, *, accept: Accept) -> None:
        self._lines = lines
        self._accept = accept
        self._position = start
        self._state = long_lines.new_state()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.start = start
        self.end = end

    def step(self, allowance: Allowance) -> Run | Verdict | None:
        """Scan a piece; return the verdict once there is one."""
        position = self._position
        text_end = self.end - 1
        self._position = piece_end = min(text_end, position + max(1, allowance.bytes // SCANNED_WEIGHT))
        allowance.bytes -= SCANNED_WEIGHT * (piece_end - position)
        try:
            self._decoder.decode(memoryview(self._lines)[position:piece_end], final=piece_end == text_end)
        except UnicodeDecodeError:
            return Rejected("not valid UTF-8")
        if not long_lines.scan(self._lines, position, piece_end, self._state):
            return self._refusal()
        return self._verdict() if piece_end == text_end else None

    def _refusal(self) -> Rejected:
        return Rejected(_TOO_DEEP if long_lines.is_nested_too_deeply(self._state) else _NOT_JSON)

    def _verdict(self) -> Run | Verdict:
        if not long_lines.is_whole(self._state):
            return Rejected(_NOT_JSON)
        found = self._state[long_lines.FOUND]
        problem = _problem(has_level=bool(found & HAS_LEVEL), has_message=bool(found & HAS_MESSAGE))
        if problem and self._accept is Accept.LEVEL_AND_MESSAGE:
            return Rejected(problem)
        if self._lines[self.start] == ord("{") and self._lines[self.end - 2] == ord("}"):
            return Run(self.start, self.end, 1)
        return Lines(self._lines[self.start : self.end].strip(_SPACE) + b"\n", 1)


def too_long(max_line_bytes: int) -> Rejected:
    """Return the verdict on a line that is longer than the limit (rule L6)."""
    return Rejected(f"line longer than {max_line_bytes} bytes")


def _as_run(verdict: Verdict, start: int, end: int) -> Run | Verdict:
    """Return a run for a valid line that is stored as it is."""
    is_as_it_is = isinstance(verdict, Lines) and len(verdict.payload) == end - start
    return Run(start, end, 1) if is_as_it_is else verdict


def _run(payload: bytes, start: int, end: int) -> tuple[int, int, EventTimes]:
    """Return where a run of certainly valid lines ends, their number (0 if the first may be invalid), and their times.

    Only the compiled part reads their times: here, that would cost more than everything else.
    """
    if speedups.compiled:
        run = speedups.compiled.canonical_run(payload, start, end)
        return run if run[1] else speedups.compiled.record_run(payload, start, end)
    if IS_AFFECTED:
        end = min(end, start + _AFFECTED_BYTES)
    match = _canonical_run.match(payload, start, end)
    if match is None or match.end() == start:
        match = _general_run().match(payload, start, end)
    run_end = match.end() if match else start
    return run_end, payload.count(b"\n", start, run_end), UNREAD_TIMES


def validate_line(line: bytes, *, accept: Accept) -> Verdict:
    """Judge one line of any form, in time and memory that are in proportion to its length.

    A valid line is kept as written, without the white space around it.
    """
    text = line.strip(_SPACE)
    if not text:
        return Rejected("empty line")
    if _is_nested_too_deeply(text):
        return Rejected(_TOO_DEEP)
    try:
        # A number with a million digits is legal JSON; int() would refuse it, float() does not.
        value = json.loads(text.decode(), parse_int=float, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return Rejected("not valid UTF-8")
    except ValueError as error:
        return Rejected(f"invalid JSON: {error}")
    if not isinstance(value, dict):
        return Rejected("not a JSON object")
    problem = _problem(has_level="level" in value, has_message="message" in value)
    if problem and accept is Accept.LEVEL_AND_MESSAGE:
        return Rejected(problem)
    return Lines(text + b"\n", 1)


def _problem(*, has_level: bool, has_message: bool) -> str | None:
    if has_level and has_message:
        return None
    return f'missing field "{"message" if has_level else "level"}"'


def _is_nested_too_deeply(text: bytes) -> bool:
    """Whether more than MAX_NESTING objects and arrays lie in each other; `json` takes a frame of the C stack for each.

    Of text that is not JSON, at most twice as many pass. Each round takes the innermost pairs of brackets away, which
    is faster than a loop over the text.
    """
    if text.count(b"{") + text.count(b"[") <= MAX_NESTING:
        return False
    brackets = _between_brackets.sub(b"", text).translate(_ONE_KIND_OF_BRACKET)
    for _ in range(MAX_NESTING):
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    return b"[]" in brackets or brackets.count(b"[") > MAX_NESTING


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
