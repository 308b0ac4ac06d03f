"""Known damage: which extents have other bytes on the disk than the ledger records, until they are repaired.

Owns the ledger's tables `damage` and `checks`, which survive a restart, and the counters of what was found and
repaired. Scrub, reports and repairs add and remove damage, each in its own thread. Never reads or writes a segment.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.protocol.delivery_repairs import DAMAGE_PAGE, DamagedExtent, DamagePage
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import DamageRow
from logferry.server.storage.store import OnDamage

logger = logging.getLogger(__name__)

# Sources that a client is notified of at a time; it asks again when it has repaired them.
_MAX_SOURCES: Final = 100


class DamageRegistry:
    """The damage that is known. Any thread may use it; a lock guards its connection to the ledger.

    The thread that holds the lock replaces `count`, `found` and `repaired`; any thread may read them.
    """

    def __init__(self, data_dir: Path, *, durable: bool, on_damage: OnDamage) -> None:
        """Raises StoreError or OSError."""
        self._ledger = Ledger(data_dir, durable=durable)
        self._lock = threading.Lock()
        self._on_damage = on_damage
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
            by_client = self._by_client({row.source for row in rows}) if new else {}
        if by_client:
            self._on_damage(by_client)
        return new

    def is_repaired(self, source_id: str, start: int) -> None:
        """Note that an extent is whole again. Raises OSError."""
        with self._lock:
            with self._ledger.transaction():
                self.repaired += self._ledger.drop_damage(source_id, start)
            self.count = self._ledger.count_damage()

    def is_sound(self, segment: int) -> None:
        """Note that a segment holds what the ledger records, or that it has expired. Raises OSError."""
        if self.count:
            with self._lock:
                with self._ledger.transaction():
                    self._ledger.drop_damage_in(segment)
                self.count = self._ledger.count_damage()

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
        """Return damaged sources of a client, at most a hundred. Raises OSError."""
        if not self.count:
            return ()
        with self._lock:
            return self._ledger.damaged_sources(client, limit=_MAX_SOURCES)

    def _by_client(self, sources: set[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for source in sorted(sources - {""}):
            client = self._ledger.client_of(source)
            if client is not None:
                found.setdefault(client, []).append(source)
        return found
