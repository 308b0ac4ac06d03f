r"""The docker format: what Docker's json-file log driver writes (docs/protocol.md, rules F26 and F27).

    {"log":"message\n","stream":"stdout","time":"2024-01-15T08:23:45.123456789Z"}

Docker splits a long line into parts: a `log` that does not end with a newline. `partial_lines` joins the parts before
lines get here, so each line is an event. A line that is still a part is an event whose rest is missing; its record is
marked `"partial": true`. A level word at the beginning of the message becomes the level. The timestamp is the
runtime's.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import NEWLINE, to_json, with_plain_newlines
from logferry.rendering.engine.fields import record_of
from logferry.rendering.engine.format import Format, Rendered, unknown_fields
from logferry.rendering.engine.levels import LEVEL_AHEAD, level_of_message
from logferry.rendering.engine.line_format import one_by_one
from logferry.rendering.engine.records import Columns, LinePattern, Texts, Written
from logferry.rendering.formats.containers.records import render_taken
from logferry.rendering.formats.containers.runtime_fields import (
    FIELDS,
    STREAM,
    TIME_CHARACTERS,
    ContainerLine,
    Taken,
    WriteRecords,
)
from logferry.rendering.formats.text.raw import RAW
from logferry.rendering.partial_lines import Part, PartSyntax


class _DockerParts:
    """The parts of lines in json-file logs. Only lines with the same attributes are joined."""

    # A `log` that does not end with `\n`, or only seems to: `\\n` is a backslash and a letter.
    candidate = compile_pattern(rb'","stream":"(?:(?<!\\n","stream":")|(?<=\\\\n","stream":"))')
    _line: Final = compile_pattern(
        rb'(?P<begin>\{"log":")(?P<content>(?:[^"\\\n]++|\\[^\n])*+)'
        rb'(?P<end>","stream":"(?P<stream>std(?:out|err)"(?:,"attrs":\{[^{}\n]*+\})?+),"time":"[^"\\\n]*+"\})\r?+\n'
    )

    def has_no_parts(self, data: bytes) -> bool:
        """See PartSyntax."""
        return speedups.compiled is not None and speedups.compiled.docker_are_whole(data)

    def part_of(self, line: bytes) -> Part | None:
        """See PartSyntax."""
        match = self._line.fullmatch(line)
        if match is None:
            return None
        content = match["content"]
        is_last = content.replace(rb"\\", b"  ").endswith(rb"\n")
        return Part(match["stream"], match["begin"], content[:-2] if is_last else content, match["end"], is_last)

    def joined(self, parts: list[Part]) -> bytes:
        """See PartSyntax."""
        newline = rb"\n" if parts[-1].is_last else b""
        return b"".join([parts[0].begin, *(part.content for part in parts), newline, parts[0].end, b"\n"])

    def text_of(self, content: bytes) -> str:
        """See PartSyntax. What is not JSON is as it is written."""
        text = content.decode("utf-8", "surrogateescape")
        try:
            return str(json.loads(f'"{text}"')) if "\\" in text else text
        except ValueError:
            return text

    def newline_within(self, data: bytes, candidates: bytes) -> tuple[bytes | None, bytes]:
        """See PartSyntax: an escape of JSON."""
        return NEWLINE, rb"\n"


# Docker's lines are JSON already: what Docker and `json.dumps` write in the same way stays as it is. If lines have
# escapes other than newlines, the pattern sees lines in which masks replace these escapes: bytes that do not occur in
# such lines. So a quote always begins or ends a string. Each entry has the escape that Docker writes, its mask, and
# what the record has instead: Docker escapes <, > and & without need.
_OTHER_ESCAPE: Final = compile_pattern(rb"\\[^n]")
_MASKS: Final = (
    (rb"\\", b"\x02", rb"\\"),
    (rb"\"", b"\x01", rb"\""),
    (rb"\u003c", b"\x03", b"<"),
    (rb"\u003e", b"\x04", b">"),
    (rb"\u0026", b"\x05", b"&"),
)
# Any escape that json.dumps would not write. It is replaced by bytes that the pattern does not match, so its line goes
# one by one; a single quote could stand for one that the line lacks.
_UNUSUAL_ESCAPE: Final = compile_pattern(rb"\\(?![bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))")
_NO_MATCH: Final = b'""\x06'
_CONTROL_BYTES: Final = bytes(code for code in range(0x20) if code != 0x0A)

_USUAL: Final = LinePattern(
    rf'\{{"log":"{LEVEL_AHEAD}(?P<message>[^"]*)(?:(?<!\\r)\\n|\\r\\n)","stream":"{STREAM}"'
    r',"time":"(?P<timestamp>[^"]*+)"\}',
    record_of(FIELDS),
)
_surrogate: Final = compile_pattern("[\ud800-\udfff]")  # half a character, which UTF-8 cannot encode


# The same for the formats inside, which see what the container wrote: the last column has that. A line with any other
# escape before its end goes one by one.
_CONTENT_MASKS: Final = (
    (rb"\\", b"\x02", b"\\"),
    (rb"\"", b"\x01", b'"'),
    (rb"\u003c", b"\x03", b"<"),
    (rb"\u003e", b"\x04", b">"),
    (rb"\u0026", b"\x05", b"&"),
    (rb"\t", b"\x06", b"\t"),
    (rb"\u001b", b"\x07", b"\x1b"),
)
_USUAL_CONTENT: Final = (
    r'\{"log":"(?P<content>(?=[ \x06]*+[^ \x06"\\\n])[^"\\\n]*+)(?:\\r)?+\\n","stream":"'
    rf'{STREAM}","time":"(?P<timestamp>{TIME_CHARACTERS})"\}}'
)


class DockerFormat(Format):
    """Lines of Docker's json-file log driver."""

    name = "docker"

    def part_syntax(self) -> PartSyntax:
        """See Runtime."""
        return _DockerParts()

    def recognises(self, text: str) -> bool:
        """See Format."""
        return self.line_of(text) is not None

    def record_of(self, text: str) -> str:
        """See Format."""
        return to_json(self.fields_of(text))

    def fields_of(self, text: str) -> dict[str, object]:
        """Return the fields of the text of one event: the reference. The attributes follow the stream."""
        line = self.line_of(text)
        if line is None:
            return unknown_fields(text)
        level = level_of_message(line.content)
        common = {"level": level, "message": line.content, "timestamp": line.timestamp, "stream": line.stream}
        return {**common, **line.others}

    def line_of(self, text: str) -> ContainerLine | None:
        """See Runtime."""
        try:
            line = json.loads(text, object_pairs_hook=_without_repeats)
            message, stream, timestamp = (line.pop(key) for key in ("log", "stream", "time"))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not _is_docker(stream, line, message, timestamp):
            return None
        if not message.endswith("\n"):
            return ContainerLine(message, timestamp, stream, {**line, "partial": True})
        return ContainerLine(message[:-1].removesuffix("\r"), timestamp, stream, line)

    def take_contents(self, compiled: Any, data: bytes, inner_newline: bytes) -> tuple[Taken, bytes]:
        """See Runtime. Lines with newlines inside are unusual."""
        return compiled.docker_contents(with_plain_newlines(data, inner_newline), inner_newline), NEWLINE

    def render_contents(
        self, data: bytes, inner_newline: bytes, write: WriteRecords, otherwise: Callable[[bytes], Rendered]
    ) -> Rendered:
        """See Runtime."""

        def written(contents: Texts, times: Texts, streams: Texts) -> Written:
            block = b"\n".join(contents) + b"\n"
            for _, mask, character in _CONTENT_MASKS:
                block = block.replace(mask, character)
            return Written(write(block, NEWLINE, times, streams))

        data = with_plain_newlines(data, inner_newline)
        if inner_newline != NEWLINE or len(data.translate(None, _CONTROL_BYTES)) != len(data):
            return otherwise(data)
        masked = data
        for escape, mask, _ in _CONTENT_MASKS:
            masked = masked.replace(escape, mask)
        record = (Columns(("content", "timestamp", "stream"), written), b"\n")
        pattern = LinePattern(_USUAL_CONTENT, record, is_one_line=True)
        return pattern.render(masked, lambda lines: otherwise(_content_unmasked(lines)))

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        if speedups.compiled:
            taken, newline_inside = self.take_contents(speedups.compiled, data, inner_newline)
            render = partial(RAW.render, inner_newline=newline_inside)
            otherwise = partial(self._one_by_one, inner_newline=inner_newline)
            return render_taken(speedups.compiled, taken, render, otherwise)
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        if inner_newline != NEWLINE or len(data.translate(None, _CONTROL_BYTES)) != len(data):
            return self._one_by_one(data, inner_newline)
        if not _OTHER_ESCAPE.search(data):
            return _USUAL.render(data, partial(self._one_by_one, inner_newline=inner_newline))
        rendered = _USUAL.render(_masked(data), lambda lines: self._one_by_one(_unmasked(lines), inner_newline))
        payload = rendered.payload
        for _, mask, rendering in _MASKS:
            payload = payload.replace(mask, rendering)
        return replace(rendered, payload=payload)

    def _one_by_one(self, data: bytes, inner_newline: bytes) -> Rendered:
        texts = data.decode().split("\n")[:-1]
        return one_by_one((text.replace(inner_newline.decode(), "\n") for text in texts), self.fields_of)


def _masked(data: bytes) -> bytes:
    """Return lines with masks instead of escapes, and without escapes that json.dumps would not write."""
    for written, mask, _ in _MASKS if rb"\u" in data else _MASKS[:2]:
        data = data.replace(written, mask)
    return _UNUSUAL_ESCAPE.sub(_NO_MATCH, data)


def _unmasked(masked: bytes) -> bytes:
    """Return masked lines as they were."""
    masked = masked.replace(_NO_MATCH, b"\\")
    for written, mask, _ in _MASKS:
        masked = masked.replace(mask, written)
    return masked


def _content_unmasked(masked: bytes) -> bytes:
    for escape, mask, _ in _CONTENT_MASKS:
        masked = masked.replace(mask, escape)
    return masked


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises ValueError if a key is repeated, because one of its values would be lost."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is repeated")
    return fields


def _is_docker(stream: object, others: dict[str, Any], *texts: object) -> bool:
    """Whether the values of a line are as Docker writes them, and survive being written again unchanged."""
    attributes = others.get("attrs", {})
    if stream not in ("stdout", "stderr") or others.keys() - {"attrs"} or not isinstance(attributes, dict):
        return False
    strings = [*texts, *attributes, *attributes.values()]
    return all(isinstance(string, str) and not _surrogate.search(string) for string in strings)


DOCKER: Final = DockerFormat()
