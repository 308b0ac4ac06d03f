"""The messages of a source, and how their headers are written and read.

Each message of a subject of lines covers the bytes `[start, end)` of its source and says how far the source is stored
with it: the totals of lines, bytes of NDJSON and their CRC-32. So the messages of a source are a chain, in which a gap
or a repeat shows. Owns the format, version 1:

    Lf-V: 1    Lf-Kind: batch | skip | mark    Lf-Start, Lf-End    Lf-Lines, Lf-Crc: of the payload, which is NDJSON
    Lf-Total-Lines, Lf-Total-Bytes, Lf-Total-Crc: with this message; Lf-Prior-Crc: without it
    Lf-Split: 1, if it does not begin where an event does
    Lf-Host, Lf-Path, Lf-Client: JSON; all three are missing if they are long: the record of the source has them
    Lf-Reason, Lf-Lost: JSON, of a skip

A `mark` has no payload: retention leaves it for a source whose messages are deleted. Headers are hostile until they are
checked: anybody with the servers' credentials may have written them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from logferry import checksum
from logferry.protocol.messages.writing import MAX_NAME_CHARS, MAX_OFFSET, MAX_PATH_CHARS
from logferry.protocol.plain.acks import MAX_REASON_CHARS

VERSION: Final = 1

# Headers count as part of a message, whose size the servers limit: lines get the limit minus this.
ROOM_FOR_HEADERS: Final = 4096
_MOST_NAMES: Final = 2048

Kind = Literal["batch", "skip", "mark"]
_KINDS: Final[Mapping[str, Kind]] = {"batch": "batch", "skip": "skip", "mark": "mark"}

_NUMBER: Final = re.compile(r"[0-9]{1,19}")
_MAX_CRC: Final = 2**32 - 1
_MAX_LINES: Final = MAX_OFFSET


class MalformedMessage(Exception):
    """A message has not the headers of a message of lines. The text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Totals:
    """How far a source is stored: up to the byte `committed`, as `lines` lines and `bytes` bytes with `crc32`."""

    committed: int = 0
    lines: int = 0
    bytes: int = 0
    crc32: int = 0

    def extended(self, end: int, lines: int, size: int, crc32: int) -> "Totals":
        """Return the totals with what follows: up to `end`, and `size` bytes of NDJSON."""
        return Totals(
            end, self.lines + lines, self.bytes + size, checksum.joined(self.crc32, crc32, size) if size else self.crc32
        )


@dataclass(frozen=True, slots=True)
class Names:
    """Where a source comes from and whose it is."""

    host: str
    path: str
    owner: str


@dataclass(frozen=True, slots=True)
class Link:
    """One message of a source, without its payload of `size` bytes. `names` is None if the record has them."""

    kind: Kind
    start: int
    lines: int
    size: int
    crc32: int
    totals: Totals  # with this message
    prior_crc32: int  # of the totals without it
    names: Names | None = None
    split: bool = False
    reason: str = ""
    lost: bool = True

    @property
    def end(self) -> int:
        """Where the next message begins."""
        return self.totals.committed

    @property
    def prior(self) -> Totals:
        """The totals before this message."""
        totals = self.totals
        return Totals(self.start, totals.lines - self.lines, totals.bytes - self.size, self.prior_crc32)


def written(link: Link) -> dict[str, str]:
    """Return the headers of a message."""
    totals = link.totals
    headers = {
        "Lf-V": "1",
        "Lf-Kind": link.kind,
        "Lf-Start": str(link.start),
        "Lf-End": str(totals.committed),
        "Lf-Lines": str(link.lines),
        "Lf-Crc": str(link.crc32),
        "Lf-Total-Lines": str(totals.lines),
        "Lf-Total-Bytes": str(totals.bytes),
        "Lf-Total-Crc": str(totals.crc32),
        "Lf-Prior-Crc": str(link.prior_crc32),
    }
    if link.split:
        headers["Lf-Split"] = "1"
    if link.kind == "skip":
        headers["Lf-Reason"] = json.dumps(link.reason)
        headers["Lf-Lost"] = json.dumps(link.lost)
    if link.names:
        headers |= written_names(link.names)
    return headers


def written_names(names: Names) -> dict[str, str]:
    """Return the headers with the names, or nothing if they are too long for headers."""
    headers = {
        "Lf-Host": json.dumps(names.host),
        "Lf-Path": json.dumps(names.path),
        "Lf-Client": json.dumps(names.owner),
    }
    return headers if sum(map(len, headers.values())) <= _MOST_NAMES else {}


def read(headers: Mapping[str, str] | None, size: int) -> Link:
    """Return the message with these headers and a payload of `size` bytes. Raises MalformedMessage."""
    if not headers or headers.get("Lf-V") != str(VERSION):
        found = (headers or {}).get("Lf-V", "")
        raise MalformedMessage(f"has version {found[:20]!r} of the headers, not {VERSION}")
    kind = _KINDS.get(headers.get("Lf-Kind", ""))
    if kind is None:
        raise MalformedMessage("is of an unknown kind")
    start = _number(headers, "Lf-Start", MAX_OFFSET)
    totals = Totals(
        _number(headers, "Lf-End", MAX_OFFSET),
        _number(headers, "Lf-Total-Lines", _MAX_LINES),
        _number(headers, "Lf-Total-Bytes", MAX_OFFSET),
        _number(headers, "Lf-Total-Crc", _MAX_CRC),
    )
    lines, crc32 = _number(headers, "Lf-Lines", _MAX_LINES), _number(headers, "Lf-Crc", _MAX_CRC)
    prior = _number(headers, "Lf-Prior-Crc", _MAX_CRC)
    link = Link(kind, start, lines, size, crc32, totals, prior, read_names(headers), split="Lf-Split" in headers)
    if kind == "skip":
        reason, lost = _text(headers, "Lf-Reason", MAX_REASON_CHARS), headers.get("Lf-Lost") != "false"
        link = replace(link, reason=reason, lost=lost)
    _check(link)
    return link


def read_names(headers: Mapping[str, str]) -> Names | None:
    """Return the names in headers, None if there are none. Raises MalformedMessage."""
    if "Lf-Path" not in headers:
        return None
    return Names(
        _text(headers, "Lf-Host", MAX_NAME_CHARS),
        _text(headers, "Lf-Path", MAX_PATH_CHARS),
        _text(headers, "Lf-Client", 2 * MAX_NAME_CHARS),
    )


def _check(link: Link) -> None:
    if link.start > link.end or (link.kind != "mark" and link.start == link.end):
        raise MalformedMessage("ends where it begins, or before")
    if link.lines > link.totals.lines or link.size > link.totals.bytes:
        raise MalformedMessage("has more lines than its source")
    if link.kind != "batch" and (link.size or link.lines):
        raise MalformedMessage("has lines, but is not a batch")
    if link.prior.extended(link.end, link.lines, link.size, link.crc32) != link.totals:
        raise MalformedMessage("has a Lf-Total-Crc that does not follow from Lf-Prior-Crc and Lf-Crc")


def _number(headers: Mapping[str, str], key: str, most: int) -> int:
    text = headers.get(key, "")
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise MalformedMessage(f"has no valid {key}")
    return int(text)


def _text(headers: Mapping[str, str], key: str, most: int) -> str:
    try:
        value = json.loads(headers.get(key, ""))
    except ValueError:
        value = None
    if not isinstance(value, str) or len(value) > most:
        raise MalformedMessage(f"has no valid {key}")
    return value
