"""The names under which lines are kept: made from what clients send, and safe whatever they send.

A log is what a host has at a path, or what a peer sends by the plain protocol. Its folder below `segments` is

    [<identity's folder>/]<host>/<each name of the path>        or        [<identity's folder>/]<address>/plain

This module proposes folders; the ledger decides, so that no two logs share one (log_folders.py). Only names: never
reads or writes a file.

Limits: safe_names.py has those of a name. A path has at most 23 names, and with its host at most 1,000 bytes; what lies
between the first names and the last one is left out beyond that, and the last one gets a hash of the whole path.
"""

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

from logferry.addresses import ip_of
from logferry.server.storage.safe_names import hashed_name, safe_name

# The log of lines that arrive by the plain protocol, without a source. No name that a client gives becomes this one.
PLAIN: Final = "plain"

# Of a folder, without that of an identity.
MAX_NAMES: Final = 24
MAX_BYTES: Final = 1000

_MOST_OF_LAST: Final = 220  # bytes of a name with two hashes


class LogName(NamedTuple):
    """Which lines are kept together: those of a path on a host, as the client gave both.

    `path` is "" for lines of the plain protocol. `identity` is the folder of an identity's tree, "" for the common one.
    """

    host: str
    path: str
    identity: str = ""


# For a delivery whose log the store finds out.
NO_LOG: Final = LogName("", "")


def plain_log(address: str, *, identity: str = "") -> LogName:
    """Return the log of what a peer sends by the plain protocol."""
    return LogName(host_name(address), "", identity)


def log_of_source(host: str, path: str, *, identity: str = "") -> LogName:
    """Return the log of a source, from its host and the path under which it was first opened."""
    return LogName(host, path or "/", identity)


def most_folders(log: LogName) -> int:
    """Return how many folders a log has at most, one in the other; without that of an identity."""
    return min(MAX_NAMES, 1 + max(1, log.path.count("/")))


def host_name(address: str) -> str:
    """Return a peer's IP address as the name of a folder: `10.0.0.7`, `2001-db8--1`; no zone, no `::ffff:`."""
    ip = ip_of(address)
    return safe_name(address if ip is None else str(ip).replace(":", "-"))


def proposed_folders(log: LogName) -> Iterator[str]:
    """Yield folders for a log, without end, the best first: if others have it, the last name gets a hash of the log."""
    *first, last = _names_of(log)
    for number in itertools.count():
        name = hashed_name(last, "\0".join((*log, str(number)))) if number else last
        yield "/".join((*((log.identity,) if log.identity else ()), *first, name))


def _names_of(log: LogName) -> list[str]:
    host = _client_name(log.host or "unknown")
    if not log.path:
        return [host, PLAIN]
    names = [name for name in log.path.split("/") if name]
    if not names:
        return [host, hashed_name("", log.path)]
    return [host, *_within_limits(log.path, names, MAX_BYTES - len(host.encode()))]


def _client_name(text: str) -> str:
    return hashed_name(text, text) if text == PLAIN else safe_name(text)


def _within_limits(path: str, names: list[str], most: int) -> list[str]:
    """Return the names of a path as those of folders; not all are looked at, because a path may have thousands."""
    *between, last = names
    kept: list[str] = []
    room = most - _MOST_OF_LAST
    for name in between[: MAX_NAMES - 2]:
        safe = _client_name(name)
        room -= len(safe.encode()) + 1
        if room < 0:
            break
        kept.append(safe)
    return [*kept, _client_name(last) if len(kept) == len(between) else hashed_name(last, path)]
