"""The server's side of the plain protocol, without the socket: bytes in, events out.

`PlainServerProtocol` owns the bytes of messages that are not complete yet. It finds lines and frames in what a client
sends and judges them (docs/protocol.md, rules M1 to M9). It must never read a clock or a socket, nor hold more than its
limits.
"""

import re
from dataclasses import dataclass
from typing import Final

from logferry.errors import FrameError
from logferry.protocol.compressor import (
    GZIP_MAGIC,
    LENGTH_BYTES,
    MAX_LEGAL_FRAME_BYTES,
    frame_length,
    inflate,
)
from logferry.protocol.patterns import compile_pattern
from logferry.protocol.strangers import (
    PROXY_V2,
    PROXY_V2_SIGNATURE,
    Stranger,
    may_be_stored,
    stranger_of_endless_line,
    stranger_of_line,
)
from logferry.protocol.validation import Accept, Lines, Rejected, validate

# The server judges the content of a frame in steps of about this size: a frame of 40 KB can hold 16 million lines, and
# each line may get its own error. Between two steps the server writes acks, stores lines, and serves other clients.
JUDGE_STEP_BYTES: Final = 256 * 1024

# A frame of 16 MiB or more begins like neither a line nor a legal frame.
_oversized_frame: Final = compile_pattern(rb"(?m:^)[^{\0\n][^\n]{%d}" % (LENGTH_BYTES - 1) + re.escape(GZIP_MAGIC))

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
        self._long_line = compile_pattern(rb"(?m:^)[^\n]{%d,}+\n" % limits.max_record_bytes)
        self._buffer = bytearray()  # the beginning of one message
        self._unjudged = b""  # the content of a frame, from `_judged_to` on
        self._judged_to = 0
        self._wanted = 0  # parse only when the buffer holds this many bytes (frames)
        self._skip_bytes = 0  # of a refused frame, still to be discarded
        self._skip_line = False  # discard until the newline that ends a refused line
        self._broken = False
        self._is_guarding = True  # until a line that may be stored, the client may be a stranger

    @property
    def buffered_bytes(self) -> int:
        """How many bytes are held of an incomplete message, or after a frame that is not judged yet."""
        return len(self._buffer)

    @property
    def unjudged_bytes(self) -> int:
        """How many bytes of a large frame's content `next_events` has not judged yet."""
        return len(self._unjudged)

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has more to return. Do not read from the socket while this is true."""
        return bool(self._unjudged)

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """Accept bytes from the socket; return the events they complete, in order of arrival.

        Of a large frame, return only the first part: see `has_more`.
        """
        if self._broken:
            return []
        if self._unjudged:
            self._buffer += data
            return []
        if self._buffer:
            searched = len(self._buffer)
            self._buffer += data
            if not self._is_worth_parsing(searched):
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        return self._receive(data)

    def next_events(self) -> list[ServerEvent]:
        """Judge the next part of a large frame and, after its last part, the bytes received since."""
        events = self._judge_step()
        if not self._unjudged and self._buffer and not self._broken:
            data = bytes(self._buffer)
            self._buffer.clear()
            events += self._receive(data)
        return events

    def receive_eof(self) -> list[ServerEvent]:
        """Handle the end of the client's data: judge everything left, and a last line without a newline (rule M9)."""
        events: list[ServerEvent] = []
        while self.has_more:
            events += self.next_events()
        rest = bytes(self._buffer)
        self.discard()
        if rest and rest[0] == 0:
            events.append(Rejected("connection closed in the middle of a frame"))
        elif rest:
            events += self._judge(rest + b"\n")
        return events

    def discard(self) -> None:
        """Discard everything held, and ignore whatever follows."""
        self._broken = True
        self._buffer.clear()
        self._unjudged = b""

    def _receive(self, data: bytes) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        rest = self._parse(data, events)
        if not self._broken:
            self._buffer += memoryview(data)[rest:]
        return events

    def _is_worth_parsing(self, searched: int) -> bool:
        """Avoid scanning the same bytes twice: a long message may arrive in a million small pieces."""
        size = len(self._buffer)
        if self._wanted:
            return size >= self._wanted
        if searched < LENGTH_BYTES + len(GZIP_MAGIC) <= size:
            return True
        return size > self._limits.max_record_bytes or self._buffer.find(b"\n", searched) >= 0

    def _parse(self, data: bytes, events: list[ServerEvent]) -> int:
        """Append the events that `data` completes; return where the incomplete rest begins."""
        position = 0
        self._wanted = 0
        while position < len(data) and not self._broken and not self._unjudged:
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(data) - position)
                self._skip_bytes -= skipped
                after = position + skipped
            elif self._skip_line:
                after = data.find(b"\n", position) + 1
                self._skip_line = after == 0
                after = after or len(data)
            elif data[position] == 0:
                after = self._parse_frame(data, position, events)
            else:
                after = self._parse_lines(data, position, events)
            if after == position:
                break
            position = after
        return position

    def _parse_lines(self, data: bytes, start: int, events: list[ServerEvent]) -> int:
        """Judge all complete lines up to the next frame at once."""
        # A line contains no NUL, and searching for one byte is ten times faster than searching for two.
        nul = data.find(b"\0", start)
        next_frame = data.find(b"\n\0", max(start, nul - 1)) if nul >= 0 else -1
        end = next_frame + 1 if next_frame >= 0 else data.rfind(b"\n", start) + 1
        if end <= start:
            return self._parse_unfinished_line(data, start, events)
        lines = data[start:end]
        oversized = _oversized_frame.search(lines) if GZIP_MAGIC[:1] in lines else None
        if oversized:
            events.extend(self._judge(lines[: oversized.start()]))
            self._break_oversized(events)
        else:
            events.extend(self._judge(lines))
        return end

    def _judge(self, lines: bytes) -> list[ServerEvent]:
        """Judge a run of complete lines. Only a run longer than the limit can hold a line that is too long."""
        events: list[ServerEvent] = []
        if self._is_guarding:
            lines = self._guard(lines, events)
        if len(lines) > self._limits.max_record_bytes:
            position = 0
            for match in self._long_line.finditer(lines):
                events.extend(validate(lines[position : match.start()], accept=self._accept))
                events.append(self._too_long())
                position = match.end()
            lines = lines[position:]
        events.extend(validate(lines, accept=self._accept))
        return events

    def _guard(self, lines: bytes, events: list[ServerEvent]) -> bytes:
        """Judge the lines before the first that may be stored one by one; return the rest, none if met a stranger."""
        position = 0
        while position < len(lines):
            end = lines.index(b"\n", position) + 1
            line = lines[position:end]
            if stranger := stranger_of_line(line):
                self._meet(stranger, events)
                return b""
            if may_be_stored(line):
                self._is_guarding = False
                break
            if len(line) > self._limits.max_record_bytes:
                events.append(self._too_long())
            else:
                events.extend(validate(line, accept=self._accept))
            position = end
        return lines[position:]

    def _meet(self, stranger: Stranger, events: list[ServerEvent]) -> None:
        self._broken = True
        events.append(Met(stranger))

    def _parse_unfinished_line(self, data: bytes, start: int, events: list[ServerEvent]) -> int:
        size = len(data) - start
        if _oversized_frame.match(data[start : start + LENGTH_BYTES + len(GZIP_MAGIC)]):
            self._break_oversized(events)
        elif size > self._limits.max_record_bytes:
            if self._is_guarding and (stranger := stranger_of_endless_line(data[start:])):
                self._meet(stranger, events)
            else:
                events.append(self._too_long())
                self._skip_line = True
            return len(data)
        return start

    def _too_long(self) -> Rejected:
        return Rejected(f"line longer than {self._limits.max_record_bytes} bytes")

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
        events.extend(self._open_frame(memoryview(data)[body : body + length]))
        return body + length

    def _open_frame(self, body: memoryview) -> list[ServerEvent]:
        try:
            payload = inflate(body, max_inflated_bytes=self._limits.max_inflated_bytes)
        except FrameError as error:
            return [Rejected(str(error))]
        if not payload:
            return [Rejected("empty frame")]
        self._unjudged = payload if payload.endswith(b"\n") else payload + b"\n"
        self._judged_to = 0
        self._is_guarding = False
        return self._judge_step()

    def _judge_step(self) -> list[ServerEvent]:
        """Judge the next complete lines of a frame: about JUDGE_STEP_BYTES, or one line if that is longer."""
        start = self._judged_to
        end = self._unjudged.find(b"\n", start + JUDGE_STEP_BYTES) + 1 or len(self._unjudged)
        step = self._unjudged[start:end]
        self._judged_to = end
        if end == len(self._unjudged):
            self._unjudged = b""
        return self._judge(step)

    def _break_oversized(self, events: list[ServerEvent]) -> None:
        self._broken = True
        events.append(Broken(f"frame longer than {self._limits.max_frame_bytes} bytes"))
