"""The format of STATE_DIR/checkpoints.json, version 4: a journal (journal.py) of JSON objects, one per line.

    {"version":4,"client":"<id>","servers":["<host>:<port>"]}   the first line
    {"id":"<source>","path":"/var/log/app.log", ...}            a checkpoint, without fields that have their default
    {"forget":"<source>"}                                       the checkpoint of this source is forgotten
    {"client":"<id>","servers":["<host>:<port>"],"stores":{"<host>:<port>":"<id>"}}
                                                                all servers that speak the delivery extension, and the
                                                                store that each of them had when it last said so

The client's id is a secret (docs/security.md). It is in the first line, and in each line about servers: one damaged
line must not cost it, and with it all sources.
A line replaces earlier lines about the same source, or about the servers. Unknown members are ignored. The last member
of a checkpoint, `"sum"`, is the CRC-32 of the line without it and `seen_at`: a wrong digit could otherwise pass for
another offset.
Limits: the file is replaced by one without outdated lines when it has 1000 lines more than twice the checkpoints; a
file of more than 1 GiB is not read.
A crash during an append leaves some of its lines and perhaps an incomplete one, which does not count: the checkpoints
then lag behind the acks, which costs nothing. A crash during a replacement leaves the old file or the new one. So other
processes may read the file at any time.
A damaged file never stops the client. The client uses the readable lines, keeps the file as `.damaged`, and writes a
new one; a source whose line is lost becomes a new source and is shipped again. A file of a later version, or without a
single readable line, is set aside in the same way, as a whole. A file that the system refuses to read may be intact: it
is left as it is, and the client ends.
Version 1 was one JSON document with all checkpoints under "sources"; version 2 did not say which store has a source;
version 3 knew one store for each source. All are read, and replaced at the next save.

Must never interpret the lines further: checkpoint.py and checkpoints.py do.
"""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from logferry import checksum
from logferry.client.state.journal import Journal
from logferry.client.state.state_values import UNREADABLE, cannot_read, set_aside, shortly
from logferry.durable import replace_file
from logferry.errors import cause_of

logger = logging.getLogger(__name__)

VERSION: Final = 4
_READABLE_VERSIONS: Final = (2, 3, 4)

Entry = Mapping[str, Any]

# What precedes the checksum of a line. Quotes in a text are escaped, so no text contains it.
_SUM: Final = b',"sum":'

# The time of the last change is for people, and no position: it may be edited.
_SEEN_AT: Final = re.compile(rb'"seen_at":[^,}]*')

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class CheckpointFile:
    """Reads and writes the entries of a checkpoint file. For one thread."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self._read_only = read_only
        self._journal = Journal(path)
        self.is_outdated = False  # the file must be replaced even if nothing has changed

    def load(self, apply: Callable[[Any], None]) -> None:
        """Pass each entry to `apply`, which raises ValueError, KeyError or TypeError for one that it cannot accept.

        Damage is logged, never raised. Raises UnreadableState for a file that this user may not open, and, unless the
        file is only read, for one that the system cannot read: it may be intact, and would be replaced.
        """
        try:
            content = self._journal.read()
        except FileNotFoundError:
            if not self._read_only:
                logger.info("no checkpoints in %s: every file is taken as new", self.path.parent)
            return
        except OSError as error:
            if isinstance(error, PermissionError) or not self._read_only:
                raise cannot_read(self.path, error) from None
            self._set_aside(error)
            return
        except ValueError as error:
            self._set_aside(error)
            return
        old = _lines_of_version_1(content)
        lines = old or content.split(b"\n")[:-1]
        try:
            version = _readable_version(lines)
        except ValueError as error:
            self._set_aside(error)
            return
        damage = _apply_all(lines, apply)
        self.is_outdated = bool(old or damage or version != VERSION)
        if len(damage) == len(lines):
            self._set_aside(damage[0])
        elif damage:
            self._keep_copy(content, damage)

    def has_room_for(self, lines: int, *, most: int) -> bool:
        """Whether this many lines can be appended while the file stays within `most` lines."""
        return not self.is_outdated and self._journal.lines + lines <= most and self._journal.can_be_appended_to

    def append(self, entries: Iterable[Entry]) -> None:
        """Append entries; on return they are on disk. Only if the file `has_room_for` them. Raises OSError."""
        self._journal.append(_lines(entries))

    def replace(self, header: Entry, entries: Iterable[Entry]) -> None:
        """Replace the whole file. Raises OSError."""
        self._journal.replace(_lines([{"version": VERSION, **header}, *entries]))
        self.is_outdated = False

    def _keep_copy(self, content: bytes, damage: list[Exception]) -> None:
        logger.error(
            "cannot read all of the checkpoints in %s: %s (damaged lines: %d)", *(self.path, damage[0], len(damage))
        )
        if self._read_only:
            return
        with contextlib.suppress(OSError):
            replace_file(self._aside, content)
            logger.warning("the damaged file is kept as %s", self._aside)
        logger.warning("the checkpoints in those lines are lost: lines of their sources may be stored again")

    def _set_aside(self, error: Exception) -> None:
        reason = cause_of(error) if isinstance(error, OSError) else error
        logger.error("cannot read the checkpoints in %s: %s", self.path, reason)
        if self._read_only:
            return
        if (aside := set_aside(self.path)) is not None:
            logger.warning("they are kept as %s", aside)
        logger.warning("every file is taken as new: what was shipped of them before is shipped, and stored, again")

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged")


def _readable_version(lines: list[bytes]) -> int:
    """Return the version of the lines; an unreadable first line counts as the current version.

    Raises ValueError for a version that this program cannot read.
    """
    if not lines:
        raise ValueError("it does not contain a whole line")
    version = VERSION
    with contextlib.suppress(*UNREADABLE):
        version = json.loads(lines[0])["version"]
    if type(version) is not int or version not in _READABLE_VERSIONS:
        raise ValueError(f"its version is {shortly(version)}, this program knows {VERSION}")
    return version


def _apply_all(lines: Iterable[bytes], apply: Callable[[Any], None]) -> list[Exception]:
    """Apply the readable lines; return the errors of the others."""
    damage: list[Exception] = []
    for line in lines:
        try:
            apply(json.loads(_checked(line)))
        except UNREADABLE as error:
            damage.append(error)
    return damage


def _lines(entries: Iterable[Entry]) -> bytes:
    return b"".join(map(_line, entries))


def _line(entry: Entry) -> bytes:
    text = _encode(entry).encode()
    if "id" not in entry:
        return text + b"\n"
    return b"%b%b%d}\n" % (text[:-1], _SUM, _sum(text))


def _sum(text: bytes) -> int:
    return checksum.crc32(_SEEN_AT.sub(b"", text))


def _checked(line: bytes) -> bytes:
    """Return a line. Raises ValueError if its checksum does not match; lines of earlier versions have none."""
    end = line.rfind(_SUM)
    if end >= 0 and _sum(line[:end] + b"}") != int(line[end + len(_SUM) : -1]):
        raise ValueError("its checksum does not match")
    return line


def _lines_of_version_1(content: bytes) -> list[bytes]:
    """Return the content of a version 1 file as lines of version 2; an empty list for any other content."""
    with contextlib.suppress(*UNREADABLE):
        document = json.loads(content)
        if document["version"] == 1:
            header = {"version": VERSION, "client": document["client"], "servers": document["servers"]}
            return _lines([header, *document["sources"]]).split(b"\n")[:-1]
    return []
