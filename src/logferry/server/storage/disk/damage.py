"""Known damage: which extents have other bytes on the disk than the ledger records, until they are repaired.

Owns the ledger's tables `damage` and `checks`, which survive a restart, and the counters of what was found and
repaired. Scrub, reports and repairs add and remove damage, each in its own thread. Never reads or writes a segment.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from logferry.protocol.delivery_repairs import DAMAGE_PAGE, DamagedExtent, DamagePage
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import DamageRow
from logferry.server.storage.store import OnDamage

# Sources that a client is notified of at a time; it asks again when it has repaired them.
_MAX_SOURCES: Final = 100

# Damaged sources whose client is known without reading the ledger; clients of others are notified after a restart.
_MAX_KNOWN: Final = 10_000


class DamageRegistry:
    """The damage that is known. Any thread may use it; a lock guards its connection to the ledger.

    The thread that holds the lock replaces `count`, `found` and `repaired`; any thread may read them.
    """

    def __init__(self, data_dir: Path, *, durable: bool, on_damage: OnDamage) -> None:
        """Raises StoreError or OSError."""
        self._ledger = Ledger(data_dir, durable=durable)
        self._lock = threading.Lock()
        self._on_damage = on_damage
        with self._ledger.transaction():
            self._ledger.drop_damage_of_expired()
        self._clients = self._ledger.damaged_sources(limit=_MAX_KNOWN)  # of damaged sources; for any thread to read
        self.count = self._ledger.count_damage()  # extents that are damaged now
        self.found = 0  # since the start
        self.repaired = 0

    def close(self) -> None:
        """Close the connection to the ledger."""
        with self._lock:
            self._ledger.close()

    def note(self, rows: Sequence[DamageRow]) -> int:
        """Record damaged extents, and notify clients of those that were not known; return how many were not.

        Raises OSError.
        """
        with self._lock:
            with self._ledger.transaction():
                new = self._ledger.add_damage(rows)
            self.found += new
            self.count = self._ledger.count_damage()
            by_client = self._add_clients({row.source for row in rows}) if new else {}
        if by_client:
            self._on_damage(by_client)
        return new

    def is_repaired(self, source_id: str, start: int, *, now: bool) -> None:
        """Note that an extent is whole, and count it if it was repaired just `now`. Raises OSError."""
        with self._lock:
            self.repaired += now  # scrub may have seen it and dropped the damage already
            with self._ledger.transaction():
                self._ledger.drop_damage(source_id, start)
            self._forget_repaired((source_id,))

    def is_sound(self, segment: int) -> None:
        """Note that a segment holds what the ledger records, or that it has expired. Raises OSError."""
        if self.count:
            with self._lock:
                sources = self._ledger.damaged_in(segment)
                with self._ledger.transaction():
                    self._ledger.drop_damage_in(segment)
                self._forget_repaired(sources)

    def is_checked(self, segment: int, at: float) -> None:
        """Record when a segment was checked. Raises OSError."""
        with self._lock, self._ledger.transaction():
            self._ledger.set_checked(segment, at)

    def page(self, source_id: str, after: int) -> DamagePage:
        """Return the damaged extents of a source from an offset on. Raises OSError."""
        with self._lock:
            rows = self._ledger.damage_of(source_id, after=after, limit=DAMAGE_PAGE + 1)
        extents = tuple(DamagedExtent(row.start, row.end, row.lines, row.crc32) for row in rows[:DAMAGE_PAGE])
        return DamagePage(source_id, extents, has_more=len(rows) > DAMAGE_PAGE)

    def sources_of(self, client: str) -> Sequence[str]:
        """Return damaged sources of a client, at most a hundred. Never waits."""
        known = self._clients.copy()
        return [source for source, owner in known.items() if owner == client][:_MAX_SOURCES] if known else ()

    def _add_clients(self, sources: set[str]) -> dict[str, list[str]]:
        """Note whose sources these are; return the sources of each client."""
        found: dict[str, list[str]] = {}
        for source in sorted(sources - {""}):
            client = self._ledger.owner_of(source)
            if client is not None:
                found.setdefault(client, []).append(source)
                if len(self._clients) < _MAX_KNOWN:
                    self._clients[source] = client
        return found

    def _forget_repaired(self, sources: Iterable[str]) -> None:
        for source in sources:
            if not self._ledger.damage_of(source, after=0, limit=1):
                self._clients.pop(source, None)
        self.count = self._ledger.count_damage()
