"""What tests of reading share: small stores with lines of several hosts, and what a search finds in them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.log_names import LogName
from tests.support.running import wait_until
from tests.support.stores import Stored, delivery, opened


def line(message: str, time: str = "", level: str = "INFO", **fields: str) -> bytes:
    """Return a stored line, as clients write it."""
    members = [
        f'"level": "{level}"',
        f'"message": "{message}"',
        *(f'"{key}": "{value}"' for key, value in fields.items()),
    ]
    if time:
        members.append(f'"timestamp": "{time}"')
    return f"{{{', '.join(members)}}}\n".encode()


def clock(seconds: int) -> str:
    """Return the timestamp of a second of the day, in UTC."""
    return f"2024-01-15T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}Z"


def store_lines(store: DiskStore, host: str, *lines: bytes) -> None:
    """Store lines of a host, each in a delivery of its own, and wait until they are committed."""
    stored = Stored()
    for each in lines:
        store.submit(delivery(each, log=LogName(host, "")), stored)
    wait_until(lambda: len(stored.deliveries) == len(lines), "the lines are stored")


@contextmanager
def looking(data_dir: Path) -> Iterator[DiskLogs]:
    """Look at a store for the length of a `with`."""
    logs = DiskLogs(data_dir)
    try:
        yield logs
    finally:
        logs.close()


@contextmanager
def three_hosts(data_dir: Path, *, lines: int = 30, **changes: Any) -> Iterator[DiskStore]:
    """Run a store with lines m0, m1 ... a second apart, of the hosts a, b and c in turn; each seventh is an error."""
    with opened(data_dir, **changes) as store:
        for number, host in enumerate("abc"):
            numbers = range(number, lines, 3)
            store_lines(
                store, host, *(line(f"m{each}", clock(each), "INFO" if each % 7 else "ERROR") for each in numbers)
            )
        yield store


def found(logs: DiskLogs, selection: Selection | None = None, **options: Any) -> Sequence[str]:
    """Return the messages that a search finds."""
    return [each.record.message for each in search(logs, selection or Selection(), **options)]
