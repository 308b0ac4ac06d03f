"""Adds what a container's runtime says to the records of what the container wrote.

The runtime's time is the timestamp of a record that has none, and the field `time` of any other. Must never lose a
field of either: where the container uses the name of a field itself, `container_` comes before it. The compiled part
does the same for whole chunks, and leaves records to Python that may use the names of these fields.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import to_json
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.gaps import with_gaps_filled
from logferry.rendering.engine.levels import LEVEL_AHEAD, level_of_word
from logferry.rendering.engine.records import Texts
from logferry.rendering.formats.containers.runtime_fields import Taken
from logferry.rendering.formats.json.members import members_of

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


def render_taken(
    compiled: Any,
    taken: Taken,
    render: Callable[[bytes], Rendered],
    otherwise: Callable[[bytes], Rendered],
) -> Rendered:
    """Render contents that the compiled part has taken with `render`, and lines that it has left with `otherwise`."""
    contents, marks, left, blank = taken
    rendered = render(contents) if contents else Rendered(b"", 0)
    payload, gaps = compiled.with_runtime(rendered.payload, marks, _with_one_runtime)
    if not left:
        return Rendered(payload, rendered.lines, blank)
    rest = otherwise(left)
    return Rendered(with_gaps_filled(payload, rest.payload, gaps), rendered.lines + rest.lines, blank + rest.blank)


def with_runtime(payload: bytes, times: Texts, streams: Texts) -> list[bytes]:
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


def _with_one_runtime(record: bytes, time: bytes, stream: bytes) -> bytes:
    (added,) = with_runtime(record + b"\n", [time], [stream])
    return added


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
    return with_fields(rest, fields).encode()


def with_fields(record: str, fields: Iterable[tuple[str, str]]) -> str:
    """Return a record with fields at its end, given with their JSON, under names that the record does not have."""
    added = []
    for key, value in fields:
        own = {member.key for member in members_of(record) or ()} if f'"{key}"' in record else set()
        while key in own:
            key = f"container_{key}"
        added.append(f", {to_json(key)}: {value}")
    return f"{record[:-1]}{''.join(added)}}}"
