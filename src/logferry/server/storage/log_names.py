"""The names under which lines are kept: made from what clients send, and safe whatever they send.

A log is `<host>/<name>`, two names of folders. The host is an IP address (plain protocol) or the name that a client
gave; the name is `plain`, or the last part of the path under which a source was first opened. So the lines of a source
stay in one log when its file is renamed, and files of the same name on one host share a log.

Limits: each name has at most 109 characters of `A-Za-z0-9._-` and does not begin with a dot. A name that had to be
changed ends in eight digits of a hash of the original, so that different names stay different.
"""

import hashlib
import ipaddress
import os
import re
from typing import Final, NamedTuple

# File systems take 255 bytes a name; this leaves room for the hash that keeps shortened names apart.
MAX_NAME_CHARS: Final = 100

# The log of lines that arrive by the plain protocol, without a source.
PLAIN: Final = "plain"

_is_safe_name: Final = re.compile(rf"(?!\.)[A-Za-z0-9._-]{{1,{MAX_NAME_CHARS}}}").fullmatch


class LogName(NamedTuple):
    """Where lines are kept together: both parts are names of folders, made safe by `safe_name` or `host_name`."""

    host: str
    name: str


def safe_name(text: str) -> str:
    """Return `text` as the name of one folder: no separators, no leading dot, at most 109 characters, never empty."""
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
    """Return where the lines of a source are kept, from its host and the path under which it was first opened."""
    return LogName(safe_name(host or "unknown"), safe_name(os.path.basename(path) or "unknown"))
