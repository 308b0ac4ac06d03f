"""The names under which lines are kept: made from what clients send, and safe whatever they send.

A log is `[<folder>/]<host>/<name>`, names of folders. The host is an IP address (plain protocol) or the name that a
client gave; the name is `plain`, or the last part of the path under which a source was first opened. So the lines of a
source stay in one log when its file is renamed, and files of the same name on one host share a log. The folder is that
of the client's identity, if it has one: what one identity sends can never come into the folders of another one.

Limits: each name has at most 109 characters of `A-Za-z0-9._-` and does not begin with a dot. A name that had to be
changed ends in eight digits of a hash of the original, so that different names stay different; a name that ends like
that by itself is changed, too.
"""

import hashlib
import os
import re
from typing import Final, NamedTuple

from logferry.addresses import ip_of

# File systems take 255 bytes a name; this leaves room for the hash that keeps shortened names apart.
MAX_NAME_CHARS: Final = 100

# The log of lines that arrive by the plain protocol, without a source.
PLAIN: Final = "plain"

# Not safe as it is: what looks like a changed name, because another name may change into it; and the name of a segment
# or of what lies beside one, because the folder would be in that file's place.
_CHANGED: Final = r".*-[0-9a-f]{8}\Z"
_SEGMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]+\.ndjson"
_is_safe_name: Final = re.compile(rf"(?!\.|{_CHANGED}|{_SEGMENT})[A-Za-z0-9._-]{{1,{MAX_NAME_CHARS}}}").fullmatch


class LogName(NamedTuple):
    """Where lines are kept together: its parts are names of folders, made safe by `safe_name` or `host_name`.

    `folder` is an identity's tree, "" for the common one.
    """

    host: str
    name: str
    folder: str = ""

    @property
    def path(self) -> str:
        """The log's place below `segments`, with slashes."""
        return "/".join((self.folder, self.host, self.name) if self.folder else (self.host, self.name))


def log_at(path: str) -> LogName:
    """Return the log whose place is `path`, which has two or three names. Raises ValueError for any other path."""
    *folder, host, name = path.split("/")
    if len(folder) > 1:
        raise ValueError(f"not the path of a log: {path!r}")
    return LogName(host, name, *folder)


def safe_name(text: str) -> str:
    """Return `text` as the name of one folder: no separators, no leading dot, at most 109 characters, never empty."""
    return text if _is_safe_name(text) else _changed(text)


def _changed(text: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:MAX_NAME_CHARS]
    safe = re.sub(r"^\.+", "_", safe) or "_"
    return f"{safe}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def host_name(address: str) -> str:
    """Return a peer's IP address as the name of a folder: `10.0.0.7`, `2001-db8--1`; no zone, no `::ffff:`."""
    ip = ip_of(address)
    return safe_name(address if ip is None else str(ip).replace(":", "-"))


def log_of_source(host: str, path: str, *, folder: str = "") -> LogName:
    """Return where the lines of a source are kept, from its host and the path under which it was first opened."""
    name = os.path.basename(path) or "unknown"
    # A client chooses host and path: no source may be among the lines of a peer that speaks the plain protocol.
    return LogName(safe_name(host or "unknown"), _changed(name) if name == PLAIN else safe_name(name), folder)
