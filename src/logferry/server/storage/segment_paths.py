"""The names of folders and files in which lines are kept: made from what clients say, and safe whatever they say."""

import hashlib
import ipaddress
import os
import re
from typing import Final, NamedTuple

# File systems take 255 bytes a name; this leaves room for the hash that keeps cut names apart.
MAX_NAME_CHARS: Final = 100

_segment_name: Final = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{1,9})\.ndjson", re.ASCII)
_is_safe_name: Final = re.compile(rf"(?!\.)[A-Za-z0-9._-]{{1,{MAX_NAME_CHARS}}}").fullmatch


class LogName(NamedTuple):
    """Whose lines: both parts are names of folders, made safe by `safe_name` or `host_name`."""

    host: str
    name: str


class SegmentName(NamedTuple):
    """A segment's place in its folder: its UTC day as an ISO date, and which one of that day; later is greater."""

    day: str
    number: int

    def __str__(self) -> str:
        return f"{self.day}-{self.number}.ndjson"


def segment_name(file_name: str) -> SegmentName | None:
    """Read the name of a segment file; None for any other file."""
    match = _segment_name.fullmatch(file_name)
    return SegmentName(match[1], int(match[2])) if match else None


def safe_name(text: str) -> str:
    """Return `text` as the name of one folder: no separators, no leading dot, at most 109 characters, never empty.

    A name that had to be changed ends in a hash of the original, so that different texts stay different folders.
    """
    if _is_safe_name(text):
        return text
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:MAX_NAME_CHARS]
    safe = re.sub(r"^\.+", "_", safe) or "_"
    return f"{safe}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def host_name(address: str) -> str:
    """Return a peer's IP address as the name of a folder: `10.0.0.7`, `2001-db8--1`; no zone, no `::ffff:`."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return safe_name(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return safe_name(str(mapped or ip).replace(":", "-"))


def log_of_source(host: str, path: str) -> LogName:
    """Return where the lines of a source are kept, from its host's name and its path when it was first opened."""
    return LogName(safe_name(host or "unknown"), safe_name(os.path.basename(path) or "unknown"))
