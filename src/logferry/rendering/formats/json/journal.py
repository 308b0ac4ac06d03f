"""The journal format: what `journalctl -o export` and systemd-journal-remote write (docs/protocol.md, rule F61).

    __REALTIME_TIMESTAMP=1705307025123456
    PRIORITY=3
    MESSAGE=connection lost

An entry is a run of fields, up to a blank line. A field whose value has control characters is its name, a newline, the
length of the value in 8 bytes, and the value. Each entry becomes the object that `journalctl -o json` shows, which the
json format reads. Must never join lines that are not an entry: each of these is shipped as it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.events import EventJoiner, JoinedEvents
from logferry.rendering.formats.json.format import JsonFormat

# The name of a field; a value follows that has no control characters, or any in another form. Other lines are not
# part of an entry.
_field: Final = compile_pattern(rb"([A-Z_][A-Z0-9_]{0,63})(?:=([^\n]*+))?+\n")
_typical: Final = compile_pattern(
    r"(?:__(?:CURSOR|REALTIME_TIMESTAMP|MONOTONIC_TIMESTAMP|SEQNUM|SEQNUM_ID)|_[A-Z][A-Z0-9_]*+|MESSAGE|MESSAGE_ID|PRIORITY"
    r"|(?:SYSLOG|CODE)_[A-Z]++)="
)
_LENGTH_BYTES: Final = 8


@dataclass(slots=True)
class _Entry:
    """The lines from `start` to `end`: an entry with its blank line, or something else if it has no fields.

    `is_whole` says that no more lines can belong to it.
    """

    start: int
    end: int
    is_whole: bool
    fields: list[tuple[bytes, bytes]]
    blank: int = 0


class _Field(NamedTuple):
    """Where the value of a field begins, and where the newline after it ends."""

    name: bytes
    begin: int
    end: int
    is_binary: bool = False


class JournalEvents:
    """Finds the entries of an export (an `engine.events.EventJoiner`). A group is one entry."""

    def __init__(self, *, max_bytes: int) -> None:
        """A longer entry is several entries; a longer value in the other form is not one."""
        self._max_bytes: Final = max_bytes

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries."""
        end = 0
        for entry in self._entries(data):
            if not entry.is_whole:
                break
            end = entry.end
        return end

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries: the line may be inside of a value."""
        return False

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """See EventBoundaries."""
        ends = (entry.end for entry, _ in zip(self._entries(data), range(count), strict=False))
        return max(ends, default=0)

    def join(self, data: bytes) -> JoinedEvents:
        """See EventJoiner."""
        pieces, joined, blank = list[bytes](), 0, 0
        for entry in self._entries(data):
            if not entry.fields:
                pieces.append(data[entry.start : entry.end])
                continue
            pieces.append(_object_of(entry.fields))
            joined += data.count(b"\n", entry.start, entry.end) - entry.blank - 1
            blank += entry.blank
        return JoinedEvents(b"".join(pieces), joined, blank)

    def _entries(self, data: bytes) -> Iterator[_Entry]:
        start = 0
        while start < len(data):
            entry = self._entry_at(data, start)
            yield entry
            start = entry.end

    def _entry_at(self, data: bytes, start: int) -> _Entry:
        """Return the entry, or the line that is not part of one, that begins there."""
        position, fields = start, list[tuple[bytes, bytes]]()
        while position < len(data):
            if data.startswith(b"\n", position):
                return _Entry(start, position + 1, True, fields, blank=int(bool(fields)))
            found = _field_at(data, position)
            is_too_long = found is not None and found.end - (start if fields else position) > self._max_bytes
            if found is None or (is_too_long and (fields or found.is_binary)):
                end = position if fields else data.find(b"\n", position) + 1 or len(data)
                return _Entry(start, end, True, fields)
            if found.end > len(data):
                return _Entry(start, position if fields else len(data), False, fields)
            fields.append((found.name, data[found.begin : found.end - 1]))
            position = found.end
        return _Entry(start, position, False, fields)


def _field_at(data: bytes, position: int) -> _Field | None:
    """Return where the field ends that begins there, even if that is not there yet; None if it is not a field."""
    match = _field.match(data, position)
    if match is None:
        return None
    if match[2] is not None:
        return _Field(match[1], match.start(2), match.end())
    begin = match.end() + _LENGTH_BYTES
    if begin > len(data):
        return _Field(match[1], begin, len(data) + 1, is_binary=True)
    end = begin + int.from_bytes(data[match.end() : begin], "little") + 1
    is_field = end > len(data) or data[end - 1 : end] == b"\n"
    return _Field(match[1], begin, end, is_binary=True) if is_field else None


class JournalFormat(JsonFormat):
    """Entries of the journal of systemd, as JSON."""

    name = "journal"

    def event_joiner(self, *, max_lines: int, max_bytes: int) -> EventJoiner:
        """See JoiningFormat."""
        del max_lines  # a field is not a line for anybody
        return JournalEvents(max_bytes=max_bytes)

    def recognises(self, text: str) -> bool:
        """See Format: a single line of an entry."""
        return _typical.match(text) is not None


def _object_of(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return an object in one line. The values of a field that is there more than once are an array."""
    values = dict[str, list[str]]()
    for name, value in fields:
        values.setdefault(name.decode(), []).append(value.decode("utf-8", "surrogateescape"))
    members = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    return json.dumps(members, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


JOURNAL: Final = JournalFormat()
