r"""The cri and docker formats: what container runtimes write (docs/protocol.md, rules F26 and F27).

    2024-01-15T08:23:45.123456789Z stdout F message                                        cri: containerd, CRI-O
    {"log":"message\n","stream":"stdout","time":"2024-01-15T08:23:45.123456789Z"}          docker's json-file

A long line comes in parts: tag P instead of F, or a `log` that does not end with a newline. They are joined before
lines get here (`partial_lines`), so that a line of these formats is an event; one that is a part still is an event of
which the rest is missing, and marked `"partial": true`. A level word at the beginning of the message is taken for the
level. The timestamp is the runtime's.
"""

import json
from dataclasses import replace
from functools import partial
from typing import Any, Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.base import Format, Rendered, unknown_fields
from logferry.rendering.engine.escape import NEWLINE
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.engine.levels import LEVEL_AHEAD, level_of_message, level_of_word
from logferry.rendering.engine.line_kinds import (
    Field,
    LineFormat,
    LineKind,
    UsualLines,
    flag,
    of_each,
    one_by_one,
    text,
    to_json,
)
from logferry.rendering.partial_lines import Part, PartialLines

_TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]++)?+(?:Z|[+-][0-9]{2}:[0-9]{2})"
_STREAM: Final = r"(?P<stream>stdout|stderr)"

_FIELDS: Final[list[Field]] = [
    of_each("level", "word", level_of_word),
    text("message"),
    text("timestamp"),
    text("stream"),
]

# An empty message may come without the space before it.
_CRI: Final = LineKind(
    rf"(?P<timestamp>{_TIME}) {_STREAM} (?:F|(?P<partial>P))(?: |\Z){LEVEL_AHEAD}(?P<message>.*+)",
    rf"(?P<timestamp>{_TIME}) {_STREAM} (?:F|(?P<partial>P)) {LEVEL_AHEAD}(?P<message>[^\n]*+)",
    [*_FIELDS, flag("partial")],
)


class _CriParts:
    """The parts of lines as the Container Runtime Interface has them. A character may be cut in two between them."""

    candidate = compile_pattern(rb"std(?:out|err) P")
    _line: Final = compile_pattern(
        rf"(?P<begin>{_TIME} {_STREAM} )(?P<tag>[FP])(?: (?P<content>[^\n]*+)|\r?+)\n".encode()
    )

    def part_of(self, line: bytes) -> Part | None:
        """See Dialect."""
        match = self._line.fullmatch(line)
        if match is None:
            return None
        return Part(match["stream"], match["begin"], match["content"] or b"", b"", is_last=match["tag"] == b"F")

    def joined(self, parts: list[Part]) -> bytes:
        """See Dialect."""
        tag = b"F " if parts[-1].is_last else b"P "
        return b"".join([parts[0].begin, tag, *(part.content for part in parts), b"\n"])


class CriFormat(LineFormat):
    """Lines of the Container Runtime Interface."""

    def __init__(self) -> None:
        super().__init__("cri", [_CRI])

    def event_joiner(self, *, max_bytes: int) -> EventJoiner:
        """See Format."""
        return PartialLines(_CriParts(), max_bytes)


class _DockerParts:
    """The parts of lines in json-file logs. Only lines with the same attributes are joined."""

    # A `log` that does not end with `\n`, or perhaps does not: `\\n` is a backslash and a letter.
    candidate = compile_pattern(rb'","stream":"(?:(?<!\\n","stream":")|(?<=\\\\n","stream":"))')
    _line: Final = compile_pattern(
        rb'(?P<begin>\{"log":")(?P<content>(?:[^"\\\n]++|\\[^\n])*+)'
        rb'(?P<end>","stream":"(?P<stream>std(?:out|err)"(?:,"attrs":\{[^{}\n]*+\})?+),"time":"[^"\\\n]*+"\})\r?+\n'
    )

    def part_of(self, line: bytes) -> Part | None:
        """See Dialect."""
        match = self._line.fullmatch(line)
        if match is None:
            return None
        content = match["content"]
        is_last = content.replace(rb"\\", b"  ").endswith(rb"\n")
        return Part(match["stream"], match["begin"], content[:-2] if is_last else content, match["end"], is_last)

    def joined(self, parts: list[Part]) -> bytes:
        """See Dialect."""
        newline = rb"\n" if parts[-1].is_last else b""
        return b"".join([parts[0].begin, *(part.content for part in parts), newline, parts[0].end, b"\n"])


# A chunk of docker's lines is JSON already: what JSON and this format write in the same way can stay as it is. Where
# there are other escapes than newlines, bytes that no such line has stand for some of them meanwhile, so that a quote
# is always the beginning or the end of a string. Docker escapes <, > and & without need.
_OTHER_ESCAPE: Final = compile_pattern(rb"\\[^n]")
_MASKS: Final = (
    (rb"\\", b"\x02", rb"\\"),
    (rb"\"", b"\x01", rb"\""),
    (rb"\u003c", b"\x03", b"<"),
    (rb"\u003e", b"\x04", b">"),
    (rb"\u0026", b"\x05", b"&"),
)
# Any escape that json.dumps would not write. A line that has it is spoilt, and goes one by one.
_UNUSUAL_ESCAPE: Final = compile_pattern(rb"\\(?![bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))")
_SPOILT: Final = b'"\x06'
_CONTROL_BYTES: Final = bytes(code for code in range(0x20) if code != 0x0A)

_USUAL_DOCKER: Final = UsualLines(
    rf'\{{"log":"{LEVEL_AHEAD}(?P<message>[^"]*)(?:(?<!\\r)\\n|\\r\\n)","stream":"{_STREAM}"'
    r',"time":"(?P<timestamp>[^"]*+)"\}',
    _FIELDS,
)
_surrogate: Final = compile_pattern("[\ud800-\udfff]")  # half a character, which UTF-8 cannot have


class DockerFormat(Format):
    """Lines of docker's json-file log driver."""

    name = "docker"

    def event_joiner(self, *, max_bytes: int) -> EventJoiner:
        """See Format."""
        return PartialLines(_DockerParts(), max_bytes)

    def record_of(self, text: str) -> str:
        """See Format."""
        return to_json(self.fields_of(text)).decode()

    def fields_of(self, text: str) -> dict[str, object]:
        """Return what the text of one event becomes: the reference. Attributes follow the stream."""
        try:
            line = json.loads(text, object_pairs_hook=_without_repeats)
            message, stream, timestamp = (line.pop(key) for key in ("log", "stream", "time"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return unknown_fields(text)
        if not _is_docker(stream, line, message, timestamp):
            return unknown_fields(text)
        is_last = message.endswith("\n")
        if is_last:
            message = message[:-1].removesuffix("\r")
        level = level_of_message(message)
        fields = {"level": level, "message": message, "timestamp": timestamp, "stream": stream, **line}
        return fields if is_last else fields | {"partial": True}

    def render(self, data: bytes, joint: bytes) -> Rendered:
        """See Format."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if joint != NEWLINE or len(data.translate(None, _CONTROL_BYTES)) != len(data):
            return self._one_by_one(data, joint)
        if not _OTHER_ESCAPE.search(data):
            return _USUAL_DOCKER.render(data, partial(self._one_by_one, joint=joint))
        rendered = _USUAL_DOCKER.render(_masked(data), lambda lines: self._one_by_one(_unmasked(lines), joint))
        payload = rendered.payload
        for _, mask, rendering in _MASKS:
            payload = payload.replace(mask, rendering)
        return replace(rendered, payload=payload)

    def _one_by_one(self, data: bytes, joint: bytes) -> Rendered:
        texts = data.decode().split("\n")[:-1]
        return one_by_one((text.replace(joint.decode(), "\n") for text in texts), self.fields_of)


def _masked(data: bytes) -> bytes:
    """Return lines in which no escape but those that json.dumps would write is left."""
    for written, mask, _ in _MASKS if rb"\u" in data else _MASKS[:2]:
        data = data.replace(written, mask)
    return _UNUSUAL_ESCAPE.sub(_SPOILT, data)


def _unmasked(masked: bytes) -> bytes:
    """Return lines as they were before they were masked."""
    masked = masked.replace(_SPOILT, b"\\")
    for written, mask, _ in _MASKS:
        masked = masked.replace(mask, written)
    return masked


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises ValueError if it has a key twice: one of its values would be lost."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is repeated")
    return fields


def _is_docker(stream: object, others: dict[str, Any], *texts: object) -> bool:
    """Whether the values of a line are such as docker writes, and nothing that would not come out as it went in."""
    attributes = others.get("attrs", {})
    if stream not in ("stdout", "stderr") or others.keys() - {"attrs"} or not isinstance(attributes, dict):
        return False
    strings = [*texts, *attributes, *attributes.values()]
    return all(isinstance(string, str) and not _surrogate.search(string) for string in strings)


CRI: Final = CriFormat()
DOCKER: Final = DockerFormat()
