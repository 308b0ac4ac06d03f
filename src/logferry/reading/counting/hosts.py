"""Which hosts have lines in a store, and how many: from what the store knows of its logs; no line is read. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from logferry.reading.stored import Log, LogSize


@dataclass(slots=True)
class Host:
    """What is stored of a host. `last_received` is in milliseconds of Unix time; None if nobody knows.

    `client` is what its client last said about itself (client_states.py); empty if that is not known.
    """

    name: str
    files: int = 0
    segments: int = 0
    lines: int = 0
    bytes: int = 0
    first_received: int | None = None
    last_received: int | None = None
    client: Mapping[str, Any] = field(default_factory=dict)


def hosts_of(sizes: Iterable[tuple[Log, LogSize]], clients: Mapping[str, Mapping[str, Any]]) -> list[Host]:
    """Return the hosts by name, each with what its client said."""
    hosts: dict[str, Host] = {}
    for log, size in sizes:
        host = hosts.setdefault(log.host, Host(log.host, client=clients.get(log.host, {})))
        host.files += 1
        host.segments += size.segments
        host.lines += size.lines
        host.bytes += size.bytes
        host.first_received = _of_both(min, host.first_received, size.first_received)
        host.last_received = _of_both(max, host.last_received, size.last_received)
    return sorted(hosts.values(), key=lambda host: host.name)


def _of_both(choose: Callable[[list[int]], int], first: int | None, second: int | None) -> int | None:
    known = [time for time in (first, second) if time is not None]
    return choose(known) if known else None
