"""Opens the ledger of a data folder for a moment at a time: nobody who looks at lines keeps a server from ending.

A server that stops tidies its ledger only if nobody else has it open. Where a ledger can only be read from a copy (a
read-only file system, after a crash), the copy is kept until it is out of date.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from logferry.errors import StoreError
from logferry.printable import quoted
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger
from logferry.server.storage.disk.ledger.database.reading import ledger_for_reading

# A caller that asks again and again keeps it open, for at most this long.
_KEPT_S: Final = 0.5

Signature = tuple[tuple[int, int, int], ...]


class LedgerDoor:
    """The ledger of one data folder. Used by one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._files = [f"{data_dir}/{FILE_NAME}{suffix}" for suffix in ("", "-wal")]  # asked for again and again
        self._resources: ExitStack | None = None
        self._ledger: Ledger | None = None
        self._signature: Signature = ()
        self._until = 0.0

    @contextmanager
    def opened(self, *, kept: bool = False) -> Iterator[Ledger]:
        """Give the ledger for the length of a `with`. Raises StoreError and OSError.

        `kept` leaves it open for a moment: the caller will come again at once, and closes it with `close`.
        """
        if self._is_stale():
            self.close()
        if self._ledger is None:
            self._open()
        assert self._ledger
        try:
            yield self._ledger
        finally:
            if not kept and not self._is_copy:
                self.close()

    def close(self) -> None:
        """Close what is kept open."""
        if self._resources:
            self._resources.close()
        self._resources = None
        self._ledger = None

    def signature(self) -> Signature:
        """Return what changes when something is committed, and first what changes when the ledger is another file."""
        found = []
        for path in self._files:
            try:
                status = os.stat(path)
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)

    def _is_stale(self) -> bool:
        now = self.signature()
        if self._is_copy:
            return now != self._signature
        return time.monotonic() > self._until or now[0][0] != self._signature[0][0]

    @property
    def _is_copy(self) -> bool:
        return self._ledger is not None and self._ledger.path.parent != self._data_dir

    def _open(self) -> None:
        self._signature = self.signature()
        if not self._signature[0][0]:
            raise StoreError(self._missing())
        resources = ExitStack()
        self._ledger = resources.enter_context(ledger_for_reading(self._data_dir))
        self._resources = resources
        self._until = time.monotonic() + _KEPT_S

    def _missing(self) -> str:
        folder = quoted(str(self._data_dir))
        if not self._data_dir.is_dir():
            return f"there is no folder {folder}: --data-dir names the data folder of a server"
        return (
            f"the folder {folder} has no ledger ({FILE_NAME}): it is not the data folder of a server, or no server has "
            "started there yet"
        )
