"""The server's side of the plain protocol, without the socket: bytes in, events out.

`PlainServerProtocol` owns the bytes of messages that are not complete yet. It finds lines and frames in what a client
sends and judges them in steps (docs/protocol.md, rules M1 to M14). It must never read a clock or a socket, nor hold
more than its limits, nor do more in one call than a step (steps.py).
"""

import re
from dataclasses import dataclass
from typing import Final

from logferry.errors import FrameError
from logferry.protocol.compressor import (
    GZIP_MAGIC,
    LENGTH_BYTES,
    MAX_LEGAL_FRAME_BYTES,
    Inflation,
    frame_length,
)
from logferry.protocol.lines.validation import Accept, LineJudge, Lines, Rejected, count_if_usual, too_long
from logferry.protocol.patterns import compile_pattern
from logferry.protocol.pieces import Pieces
from logferry.protocol.steps import INFLATED_WEIGHT, STEP_BYTES, Allowance
from logferry.protocol.strangers import (
    MAX_FIRST_LINE_BYTES,
    PROXY_V2,
    PROXY_V2_SIGNATURE,
    Stranger,
    may_be_stored,
    stranger_of_endless_line,
    stranger_of_line,
)

# A frame of 40 KB can hold 16 million lines that are refused. A client that sends more than this many in one frame
# does not look at the answers, and gets one for all that follow (rule M14).
MAX_FRAME_REFUSALS: Final = 1000
_REST_OF_FRAME: Final = f"the rest of a frame is refused, because {MAX_FRAME_REFUSALS} of its lines are"

# Messages larger than this do not stay in memory until those behind them are judged; smaller ones are not worth a copy.
_MUCH_BYTES: Final = 64 * 1024

# A frame of 16 MiB or more begins like neither a line nor a legal frame.
_oversized_frame: Final = compile_pattern(rb"[^{\0\n][^\n]{%d}" % (LENGTH_BYTES - 1) + re.escape(GZIP_MAGIC))
_line_before_oversized: Final = compile_pattern(rb"\n(?=%b)" % _oversized_frame.pattern)

# The header of version 2 of the PROXY protocol begins with two blank lines; what follows would be a frame.
_PROXY_V2_FRAME: Final = PROXY_V2_SIGNATURE[4 : 4 + LENGTH_BYTES + 1]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes that a server holds for one message of one client."""

    # The largest record of our client: a 1 MiB line of NULs with one broken byte renders to 7.4 MiB (\\u0000 and
    # base64).
    max_record_bytes: int = 8 * 1024 * 1024
    max_frame_bytes: int = MAX_LEGAL_FRAME_BYTES
    max_inflated_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Broken:
    """The rest of the stream cannot be understood: send one error answer with `reason`, then close."""

    reason: str


@dataclass(frozen=True, slots=True)
class Met:
    """The client is a stranger: store nothing more of it, send its answer if it has one, then close."""

    stranger: Stranger


ServerEvent = Lines | Rejected | Broken | Met


class PlainServerProtocol:
    """Turns the complete messages of one client into events; the rest waits in a bounded buffer."""

    def __init__(self, *, limits: Limits, accept: Accept) -> None:
        self._limits = limits
        self._accept = accept
        self._beginning = Pieces()  # of one message
        self._data = b""  # complete messages, from `_position` on
        self._position = 0
        self._arrived = bytearray()  # since, and left to the next step
        self._inflation: Inflation | None = None  # of a frame
        self._judge: LineJudge | None = None  # of the lines of a frame, or between two frames
        self._refusals_left: int | None = None  # in a frame
        self._unjudged_bytes = 0
        self._wanted = 0  # parse only when the buffer holds this many bytes (frames)
        self._skip_bytes = 0  # of a refused frame, still to be discarded
        self._skip_line = False  # discard until the newline that ends a refused line
        self._broken = False
        self.inflates_at_once = True  # otherwise a step ends where a frame would begin to inflate
        self.step = Allowance()  # what is left of the last step
        self._is_guarding = True  # until a line that may be stored, the client may be a stranger

    @property
    def buffered_bytes(self) -> int:
        """How many bytes are held of an incomplete message."""
        return self._beginning.size

    @property
    def unjudged_bytes(self) -> int:
        """How many bytes are held that `next_events` has not judged yet."""
        inflated = self._inflation.held_bytes if self._inflation else 0
        return self._unjudged_bytes + inflated + len(self._data) + len(self._arrived)

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has more to return. Do not read from the socket while this is true."""
        return bool(self._judge or self._inflation or self._data or self._arrived)

    @property
    def is_inflating(self) -> bool:
        """Whether the next step makes the server hold more, because it inflates."""
        return self._inflation is not None

    @property
    def rest_bytes(self) -> int:
        """How many bytes more a message may inflate to."""
        return self._inflation.rest_bytes if self._inflation else 0

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """Accept bytes from the socket; return the events they complete, in order of arrival.

        Return only those of one step: see `has_more`.
        """
        if self.has_more:
            self.hold_data(data)
        elif not self._broken:
            self._take_in(data)
            if self._data:
                return self.next_events()
        return []

    def is_continued_by(self, data: bytes) -> bool:
        """Whether `data` only lengthens an incomplete message, so that to receive it costs nothing."""
        size = self._beginning.size
        if self.has_more or size < LENGTH_BYTES + len(GZIP_MAGIC) or self._broken:
            return False
        if self._wanted:
            return size + len(data) < self._wanted
        return size + len(data) <= self._limits.max_record_bytes and b"\n" not in data

    def hold_data(self, data: bytes) -> None:
        """Accept bytes from the socket, and leave them to `next_events`."""
        if not self._broken:
            self._arrived += data

    def _take_in(self, data: bytes) -> None:
        """Add bytes to the beginning of a message, if there is one; what is then worth parsing is in `_data`."""
        if self._beginning.size:
            self._beginning.add(data)
            if not self._is_worth_parsing(data):
                return
            data = self._beginning.take()
        self._data, self._position = data, 0

    def next_events(self) -> list[ServerEvent]:
        """Do the next step; return its events."""
        events: list[ServerEvent] = []
        self.step = allowance = Allowance()
        while self.has_more and not allowance.is_used_up:
            if self._judge:
                self._judge_lines(self._judge, events, allowance)
            elif self._inflation:
                self._inflate(self._inflation, events, allowance)
            elif self._data:
                self._parse(events, allowance)
                if self._inflation and not self.inflates_at_once:
                    break
            else:
                arrived = bytes(self._arrived)
                self._arrived.clear()
                self._take_in(arrived)
        return events

    def receive_eof(self) -> list[ServerEvent]:
        """Handle the end of the client's data: judge a last line without a newline (rule M9).

        Call it once `has_more` is false.
        """
        rest = self._beginning.take()
        if rest and rest[0] == 0:
            self.discard()
            return [Rejected("connection closed in the middle of a frame")]
        if rest and not self._broken:
            self._begin_to_judge(rest + b"\n")
        return self.next_events()

    def discard(self) -> None:
        """Discard everything held, and ignore whatever follows."""
        self._broken = True
        self._beginning.clear()
        self._arrived.clear()
        self._data = b""
        self._inflation = self._judge = None
        self._unjudged_bytes = 0

    def _is_worth_parsing(self, arrived: bytes) -> bool:
        """Avoid scanning the same bytes twice: a long message may arrive in a million small pieces."""
        size = self._beginning.size
        if self._wanted:
            return size >= self._wanted
        if size - len(arrived) < LENGTH_BYTES + len(GZIP_MAGIC) <= size:
            return True
        return size > self._limits.max_record_bytes or b"\n" in arrived

    def _parse(self, events: list[ServerEvent], allowance: Allowance) -> None:
        """Take the next message, or what there is of one that is not complete."""
        data, position = self._data, self._position
        self._wanted = 0
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(data) - position)
            self._skip_bytes -= skipped
            after = position + skipped
        elif self._skip_line:
            after = data.find(b"\n", position) + 1
            self._skip_line = after == 0
            after = after or len(data)
        elif data[position] == 0:
            allowance.requests -= 1  # also for a frame that is refused, or inflates to nothing
            after = self._parse_frame(data, position, events)
        else:
            after = self._parse_lines(data, position, events, allowance)
        if after == position and not self._broken:
            self._beginning.add(data, position)
        if after in (position, len(data)) or self._broken:
            self._data = b""
        elif after > position + _MUCH_BYTES:
            self._data, self._position = data[after:], 0
        else:
            self._position = after

    def _parse_lines(self, data: bytes, start: int, events: list[ServerEvent], allowance: Allowance) -> int:
        """Judge all complete lines up to the next frame at once."""
        # A line contains no NUL, and searching for one byte is ten times faster than searching for two.
        nul = data.find(b"\0", start)
        next_frame = data.find(b"\n\0", max(start, nul - 1)) if nul >= 0 else -1
        end = next_frame + 1 if next_frame >= 0 else data.rfind(b"\n", start) + 1
        if end <= start:
            return self._parse_unfinished_line(data, start, events)
        lines = data[start:end]
        if GZIP_MAGIC[:1] in lines:
            if _oversized_frame.match(lines):
                self._break_oversized(events)
                return start
            if before := _line_before_oversized.search(lines):
                lines = lines[: before.end()]  # first; then the frame begins the rest
        if not self._are_usual(lines, events, allowance):
            self._begin_to_judge(lines)
        return start + len(lines)

    def _are_usual(self, lines: bytes, events: list[ServerEvent], allowance: Allowance) -> bool:
        """Judge lines at once if nothing is special about them; return whether that was so.

        They may exceed what is left of the step by an eighth, so that a line whose message is as large is one step.
        """
        if self._is_guarding or len(lines) > min(allowance.bytes + STEP_BYTES // 8, self._limits.max_record_bytes):
            return False
        allowance.bytes -= len(lines)
        count, times = count_if_usual(lines)
        if count:
            events.append(Lines(lines, count, times))
        return count > 0

    def _begin_to_judge(self, lines: bytes) -> None:
        self._judge = LineJudge(lines, accept=self._accept, max_line_bytes=self._limits.max_record_bytes)
        self._unjudged_bytes = len(lines)

    def _judge_lines(self, judge: LineJudge, events: list[ServerEvent], allowance: Allowance) -> None:
        """Judge the next lines. Those before the first that may be stored are judged one by one: see `_guard`."""
        if self._is_guarding:
            self._guard(judge, events, allowance)
        if not self._is_guarding:
            for verdict in judge.step(allowance):
                events.append(judge.as_lines(verdict))
                if isinstance(verdict, Rejected) and self._is_last_refusal():
                    events.append(Rejected(_REST_OF_FRAME))
                    self._end_lines()
                    self._end_frame()
                    return
        if judge.is_done:
            self._end_lines()

    def _is_last_refusal(self) -> bool:
        """Count a refused line of a frame; return whether the rest of the frame is not judged any more."""
        if self._refusals_left is None:
            return False
        self._refusals_left -= 1
        return self._refusals_left == 0

    def _end_lines(self) -> None:
        self._judge = None
        self._unjudged_bytes = 0

    def _guard(self, judge: LineJudge, events: list[ServerEvent], allowance: Allowance) -> None:
        """Judge lines one by one until the first that may be stored, or the first that a stranger sends."""
        while not judge.is_done and not allowance.is_used_up:
            if not judge.is_inside_line:
                line = judge.peek(MAX_FIRST_LINE_BYTES)
                if stranger := stranger_of_line(line):
                    self._meet(stranger, events)
                    return
                if may_be_stored(line):
                    self._is_guarding = False
                    return
            if verdict := judge.next_line(allowance):
                events.append(judge.as_lines(verdict))

    def _meet(self, stranger: Stranger, events: list[ServerEvent]) -> None:
        self.discard()
        events.append(Met(stranger))

    def _parse_unfinished_line(self, data: bytes, start: int, events: list[ServerEvent]) -> int:
        size = len(data) - start
        if _oversized_frame.match(data[start : start + LENGTH_BYTES + len(GZIP_MAGIC)]):
            self._break_oversized(events)
        elif size > self._limits.max_record_bytes:
            if self._is_guarding and (stranger := stranger_of_endless_line(data[start:])):
                self._meet(stranger, events)
            else:
                events.append(too_long(self._limits.max_record_bytes))
                self._skip_line = True
            return len(data)
        return start

    def _parse_frame(self, data: bytes, start: int, events: list[ServerEvent]) -> int:
        available = len(data) - start
        body = start + LENGTH_BYTES
        if available < LENGTH_BYTES:
            self._wanted = LENGTH_BYTES
            return start
        length = frame_length(data[start:body])
        if length == 0:
            events.append(Rejected("empty frame"))
            return body
        if length > self._limits.max_frame_bytes:
            self._break_oversized(events)
            return start
        magic = data[body : body + min(length, len(GZIP_MAGIC))]
        if data.startswith(_PROXY_V2_FRAME, start):
            self._meet(PROXY_V2, events)
            return start
        if not GZIP_MAGIC.startswith(magic):
            events.append(Rejected("frame is not gzip"))
            self._skip_bytes = length
            return body
        if available < LENGTH_BYTES + length:
            self._wanted = LENGTH_BYTES + (length if len(magic) == len(GZIP_MAGIC) else min(length, len(GZIP_MAGIC)))
            return start
        gzip = memoryview(data)[body : body + length]
        self._inflation = Inflation(gzip, max_inflated_bytes=self._limits.max_inflated_bytes)
        return body + length

    def _inflate(self, inflation: Inflation, events: list[ServerEvent], allowance: Allowance) -> None:
        """Inflate the next part of a frame or, once that is done, begin to judge its next lines."""
        if inflation.is_done:
            if lines := inflation.next_lines(STEP_BYTES):
                self._begin_to_judge(lines)
            else:
                self._end_frame()
            return
        try:
            allowance.bytes -= INFLATED_WEIGHT * inflation.step(allowance.bytes // INFLATED_WEIGHT)
        except FrameError as error:
            self._inflation = None
            events.append(Rejected(str(error)))
            return
        if inflation.is_done:
            self._is_guarding = False
            self._refusals_left = MAX_FRAME_REFUSALS
            if inflation.is_empty:
                events.append(Rejected("empty frame"))

    def _end_frame(self) -> None:
        self._inflation = None
        self._refusals_left = None

    def _break_oversized(self, events: list[ServerEvent]) -> None:
        self.discard()
        events.append(Broken(f"frame longer than {self._limits.max_frame_bytes} bytes"))
