"""Both sides of a conversation, without the socket: bytes in, events out, bytes out.

`ServerConnection` finds lines and frames in what a client sends and judges them. `ClientConnection` writes batches the
way the settings ask for and reads acks. Neither knows time or sockets, so tests, fuzzers and both programs share them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from logferry.errors import FrameError
from logferry.protocol.compressor import (
    GZIP_MAGIC,
    LENGTH_BYTES,
    MAX_LEGAL_FRAME_BYTES,
    encode_frame,
    frame_length,
    inflate,
)
from logferry.protocol.messages import ACK_OK, parse_ack
from logferry.protocol.patterns import compile_pattern
from logferry.protocol.validation import Accept, Lines, Rejected, validate

# A frame's content is judged in steps of about this size: a frame of 40 KB can hold 16 million lines, each of them
# refused with an ack of its own. Between two steps a server writes acks, stores, and serves other clients.
JUDGE_STEP_BYTES: Final = 256 * 1024

# No server of ours writes an ack longer than this; a peer that does is not speaking our language.
MAX_ACK_BYTES: Final = 64 * 1024

# A frame of 16 MiB or more: it begins neither as a line nor as a legal frame does.
_oversized_frame: Final = compile_pattern(rb"(?m:^)[^{\0\n][^\n]{%d}" % (LENGTH_BYTES - 1) + re.escape(GZIP_MAGIC))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server is ready to hold for one message of one client, in bytes."""

    # A 1 MiB line of NULs with one broken byte renders to 7.4 MiB (\\u0000 and base64): our client's largest.
    max_record_bytes: int = 8 * 1024 * 1024
    max_frame_bytes: int = MAX_LEGAL_FRAME_BYTES
    max_inflated_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream cannot be understood from here on: one error ack with `reason`, then close."""

    reason: str


ServerEvent = Lines | Rejected | Broken


class ServerConnection:
    """What one client has sent so far: whole messages become events, the rest waits in a bounded buffer."""

    def __init__(self, *, limits: Limits, accept: Accept) -> None:
        self._limits = limits
        self._accept = accept
        self._long_line = compile_pattern(rb"(?m:^)[^\n]{%d,}+\n" % limits.max_record_bytes)
        self._buffer = bytearray()  # the beginning of one message, nothing more
        self._unjudged = b""  # what a frame held, from `_judged_to` on
        self._judged_to = 0
        self._wanted = 0  # not worth parsing before the buffer holds this many bytes (frames)
        self._skip_bytes = 0  # of a refused frame, still to be thrown away
        self._skip_line = False  # a refused line goes on until its newline
        self._broken = False

    @property
    def buffered_bytes(self) -> int:
        """How much is held of a message that is not yet whole (or follows a frame that is not yet judged)."""
        return len(self._buffer)

    @property
    def unjudged_bytes(self) -> int:
        """How much is held of a large frame's content that `next_events` has yet to judge."""
        return len(self._unjudged)

    @property
    def has_more(self) -> bool:
        """Whether `next_events` has something to say before more data is needed. Do not read until it has not."""
        return bool(self._unjudged)

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """Take bytes from the socket; return what they completed, in the order of arrival.

        After a large frame this is only a part of it: see `has_more`.
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
        """Judge the next part of a large frame and, after its last part, what has come since."""
        events = self._judge_step()
        if not self._unjudged and self._buffer and not self._broken:
            data = bytes(self._buffer)
            self._buffer.clear()
            events += self._receive(data)
        return events

    def receive_eof(self) -> list[ServerEvent]:
        """The client will send no more: judge all that is left, and a last line that has no newline."""
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
        """Forget what is held and take no more."""
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
        """Avoid looking twice at the same bytes: a long message may come in a million small pieces."""
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
        """Judge all whole lines up to the next frame at once."""
        # A line has no NUL in it, and looking for one byte is ten times faster than looking for two.
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
        """Judge a run of whole lines, of which only a run longer than the limit can hold a line that is too long."""
        events: list[ServerEvent] = []
        if len(lines) > self._limits.max_record_bytes:
            position = 0
            for match in self._long_line.finditer(lines):
                events.extend(validate(lines[position : match.start()], accept=self._accept))
                events.append(self._too_long())
                position = match.end()
            lines = lines[position:]
        events.extend(validate(lines, accept=self._accept))
        return events

    def _parse_unfinished_line(self, data: bytes, start: int, events: list[ServerEvent]) -> int:
        size = len(data) - start
        if _oversized_frame.match(data[start : start + LENGTH_BYTES + len(GZIP_MAGIC)]):
            self._break_oversized(events)
        elif size > self._limits.max_record_bytes:
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
        return self._judge_step()

    def _judge_step(self) -> list[ServerEvent]:
        """Judge whole lines of what a frame held: about JUDGE_STEP_BYTES, or one line if that is longer."""
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


@dataclass(frozen=True, slots=True)
class Acked:
    """The server's word that the next `lines` lines are stored."""

    lines: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not take the next line (or frame), for `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Confused:
    """The server sent something that is not an ack; nothing that follows can be trusted."""

    reason: str


ClientEvent = Acked | Refused | Confused


def cut_lines(payload: bytes, lines: int, limit: int | None) -> Iterator[bytes]:
    """Cut NDJSON of `lines` lines into pieces of at most `limit` lines; None sets no limit."""
    if limit is None or lines <= limit:
        return iter((payload,))
    if limit == 1:
        return (line + b"\n" for line in payload.split(b"\n")[:-1])  # half of what a match costs
    return (match.group() for match in re.finditer(rb"(?:[^\n]*+\n){1,%d}+" % limit, payload))


class ClientConnection:
    """The client's side: batches become bytes for the wire, bytes from the wire become acks.

    `lines_per_send` is BATCH_SIZE: no piece (one `send`, or one frame) holds more lines; None sets no limit.
    """

    def __init__(self, *, lines_per_send: int | None, compress_level: int | None) -> None:
        self._lines_per_send = lines_per_send
        self._compress_level = compress_level
        self._buffer = b""

    def pieces(self, payload: bytes, lines: int) -> Iterator[bytes]:
        """Cut NDJSON of `lines` lines into what goes to the network in one send each."""
        pieces = cut_lines(payload, lines, self._lines_per_send)
        level = self._compress_level
        return pieces if level is None else (self._frame(piece, level) for piece in pieces)

    def _frame(self, piece: bytes, level: int) -> bytes:
        """Return `piece` as a frame; a line that fits none goes as it is, and the server judges it."""
        try:
            return encode_frame(piece, level=level)
        except FrameError:
            return piece

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Take bytes from the socket; return acks in order, up to the first thing that is not one."""
        data = self._buffer + data
        whole = data.rfind(b"\n") + 1
        self._buffer = data[whole:]
        events = list(_read_acks(data[:whole]))
        if len(self._buffer) > MAX_ACK_BYTES:
            events.append(Confused(f"the server's answer has no end after {MAX_ACK_BYTES} bytes"))
        return events


_ok_run: Final = compile_pattern(rb"(?:" + re.escape(ACK_OK) + rb")*+")


def _read_acks(data: bytes) -> Iterator[ClientEvent]:
    """Read whole ack lines. Ours are all alike, so that a run of them is counted, not parsed."""
    position = 0
    while position < len(data):
        run = _ok_run.match(data, position)
        if run and run.end() > position:
            yield Acked((run.end() - position) // len(ACK_OK))
            position = run.end()
            continue
        end = data.index(b"\n", position) + 1
        line = data[position:end]
        ack = parse_ack(line)
        if ack is None:
            yield Confused(f"the server's answer is not an ack: {line[:80]!r}")
            return
        yield Acked(1) if ack.ok else Refused(ack.message)
        position = end
