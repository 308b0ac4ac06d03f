"""The formats inside the lines of containers: `cri+json`, `docker+logfmt`, `cri+auto` (docs/protocol.md, rule F39).

The runtime's format finds what the container wrote, the inner format makes a record of that, and this module adds what
the runtime says: its time is the timestamp of a record that has none, and the field `time` of any other.

It must never lose a field of either: where the container uses the name of a field itself, `container_` comes before it.
"""

import re
from collections.abc import Iterable
from functools import partial
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import WHITE_SPACE, to_json
from logferry.rendering.engine.format import Format, Rendered, unknown_fields
from logferry.rendering.engine.levels import LEVEL_AHEAD, level_of_word
from logferry.rendering.engine.records import Texts
from logferry.rendering.formats.containers.runtime_fields import ContainerLine, Runtime
from logferry.rendering.formats.json.members import members_of
from logferry.rendering.partial_lines import PartSyntax

_STRING: Final = r'"(?:[^"\\\n]++|\\[^\n])*+"'

# A line that the inner format does not read: a level word at its beginning counts, as it does without an inner format.
_UNREAD: Final = compile_pattern(
    rf'(?P<begin>\n\{{"level": ")UNKNOWN(?P<middle>", "message": "){LEVEL_AHEAD}'
    r'(?=(?:[^"\\\n]++|\\[^\n])*+", "timestamp": null\}\n)'.encode()
)

# A record up to its timestamp, if that is null and precedes the fields of the line itself, and the rest of the record.
_RECORD: Final = compile_pattern(
    rf'\n(?:(\{{(?:"level": "[^"\\\n]*+", )?+(?:"message": {_STRING}, )?+"timestamp": )null)?+([^\n]++)'.encode()
)
_ADDED_KEYS: Final = (b'"stream"', b'"time"')


class NestedFormat(Format):
    """One format inside of another one."""

    def __init__(self, runtime: Runtime, inner: Format) -> None:
        self.name = f"{runtime.name}+{inner.name}"
        self._runtime: Final = runtime
        self._inner: Final = inner

    def part_syntax(self) -> PartSyntax:
        """See Runtime."""
        return self._runtime.part_syntax()

    def record_of(self, text: str) -> str:
        """See Format."""
        line = self._runtime.line_of(text)
        if line is None:
            return to_json(unknown_fields(text))
        return self._record_of(line)

    def recognises(self, text: str) -> bool:
        """See Format."""
        return self._runtime.line_of(text) is not None

    def with_levels(self, levels: tuple[str, ...]) -> Format:
        """See Format."""
        return NestedFormat(self._runtime, self._inner.with_levels(levels))

    def render(self, data: bytes, inner_newline: bytes) -> Rendered:
        """See Format."""
        otherwise = partial(self._one_by_one, inner_newline=inner_newline)
        return self._runtime.render_contents(data, inner_newline, self._records, otherwise)

    def _record_of(self, line: ContainerLine) -> str:
        is_blank = not line.content.strip(WHITE_SPACE)
        record = to_json(unknown_fields(line.content)) if is_blank else self._inner.record_of(line.content)
        time = to_json(line.timestamp)[1:-1].encode()
        (record,) = (each.decode() for each in _with_runtime(record.encode() + b"\n", [time], [line.stream.encode()]))
        return _with_fields(record, ((key, to_json(value)) for key, value in line.others.items()))

    def _records(self, contents: bytes, inner_newline: bytes, times: Texts, streams: Texts) -> list[bytes]:
        """See WriteRecords."""
        rendered = self._inner.render(contents, inner_newline)
        if rendered.lines != len(times):
            raise AssertionError(f"{self._inner.name} made {rendered.lines} records of {len(times)} lines")
        return _with_runtime(rendered.payload, times, streams)

    def _one_by_one(self, lines: bytes, inner_newline: bytes) -> Rendered:
        newline = inner_newline.decode()
        texts = [text.replace(newline, "\n") for text in lines.decode().split("\n")[:-1]]
        records = [self.record_of(text) + "\n" for text in texts if text.strip(WHITE_SPACE)]
        return Rendered("".join(records).encode(), len(records), len(texts) - len(records))


def _with_runtime(payload: bytes, times: Texts, streams: Texts) -> list[bytes]:
    """Return the records of a payload, without newlines, with the runtime's times and streams."""
    payload = _UNREAD.sub(_with_level, b"\n" + payload)[:-1]
    records = _RECORD.findall(payload)
    if any(key in payload for key in _ADDED_KEYS):
        return [_with_own_keys(*each) for each in zip(records, times, streams, strict=True)]
    return [
        b'%b"%b"%b, "stream": "%b"}' % (begin, time, rest[:-1], stream)
        if begin
        else b'%b, "stream": "%b", "time": "%b"}' % (rest[:-1], stream, time)
        for (begin, rest), time, stream in zip(records, times, streams, strict=True)
    ]


def _with_level(match: re.Match[bytes]) -> bytes:
    word = match["word"]
    return b"%b%b%b" % (match["begin"], level_of_word(word.decode() if word else None).encode(), match["middle"])


def _with_own_keys(record: tuple[bytes, bytes], time: bytes, stream: bytes) -> bytes:
    """Do the same for one record, whose line may use the names of the runtime's fields itself."""
    begin, rest = (part.decode() for part in record)
    fields = [("stream", f'"{stream.decode()}"')]
    if begin:
        rest = f'{begin}"{time.decode()}"{rest}'
    else:
        fields.append(("time", f'"{time.decode()}"'))
    return _with_fields(rest, fields).encode()


def _with_fields(record: str, fields: Iterable[tuple[str, str]]) -> str:
    """Return a record with fields at its end, given with their JSON, under names that the record does not have."""
    added = []
    for key, value in fields:
        own = {member.key for member in members_of(record) or ()} if f'"{key}"' in record else set()
        while key in own:
            key = f"container_{key}"
        added.append(f", {to_json(key)}: {value}")
    return f"{record[:-1]}{''.join(added)}}}"
