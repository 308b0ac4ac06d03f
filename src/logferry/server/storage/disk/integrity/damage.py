"""Known damage: which extents have other bytes on the disk than the ledger records, until they are repaired.

Owns the ledger's tables `damage` and `checks`, which survive a restart, and the counters of what was found and
repaired. Scrub, reports and repairs add and remove damage, each in its own thread. Never reads or writes a segment.

Its transactions are not synced: after a power cut, damage that was found last is found again. So no writer ever waits
for a sync of this module.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from logferry.protocol.messages.repairs import DAMAGE_PAGE, DamagedExtent, DamagePage
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import DamageRow
from logferry.server.storage.store import OnDamage

# Sources that a client is notified of at a time; it asks again when it has repaired them.
_MAX_SOURCES: Final = 100

# Damaged sources whose client is known without reading the ledger; clients of others are notified after a restart.
_MAX_KNOWN: Final = 10_000


class Judged(NamedTuple):
    """Extents that were compared with the disk: those after `after` up to `last`, by source and start.

    `damaged` are those that differ. With a `segment`, only the extents in it were compared.
    """

    after: tuple[str, int]
    last: tuple[str, int]
    damaged: Sequence[DamageRow]
    segment: int | None = None


class DamageRegistry:
    """The damage that is known. Any thread may use it; a lock guards its connection to the ledger.

    The thread that holds the lock replaces `count`, `found` and `repaired`; any thread may read them.
    """

    def __init__(self, data_dir: Path, *, on_damage: OnDamage) -> None:
        """Raises StoreError or OSError."""
        self._ledger = Ledger(data_dir, durable=False)
        self._lock = threading.Lock()
        self._on_damage = on_damage
        self._clients: dict[str, str] = {}  # of damaged sources; replaced, never changed, for any thread to read
        self.count = 0  # extents that are damaged now
        self.found = 0  # since the start
        self.repaired = 0
        self.forget_what_is_gone()

    def close(self) -> None:
        """Close the connection to the ledger."""
        with self._lock:
            self._ledger.close()

    def note(self, judged: Judged) -> int:
        """Record which of the extents that were compared are damaged, and that the others are not.

        Notifies the clients of damage that was not known; returns how much of it there was. Raises OSError.
        """
        if not judged.damaged and not self.count:
            return 0
        with self._lock:
            known = set(self._ledger.damage_between(judged.after, judged.last, judged.segment))
            new, over = set(judged.damaged) - known, known.difference(judged.damaged)
            if new or over:
                with self._ledger.transaction():
                    self._ledger.add_damage(new)
                    self._ledger.drop_damage(over)
                self.found += len(new)
                self._refresh()
            sources = {row.source for row in new}
            found = _by_client({source: client for source, client in self._clients.items() if source in sources})
        if found:
            self._on_damage(found)
        return len(new)

    def is_repaired(self, source_id: str, start: int, *, now: bool) -> None:
        """Note that an extent is whole, and count it if it was repaired just `now`. Raises OSError."""
        with self._lock:
            self.repaired += now  # scrub may have seen it and dropped the damage already
            with self._ledger.transaction():
                self.count -= self._ledger.drop_damage((DamageRow(source_id, start, 0),))
            if not self._ledger.damage_of(source_id, after=0, limit=1):
                self._clients = {source: client for source, client in self._clients.items() if source != source_id}

    def is_sound(self, segment: int) -> None:
        """Note that a segment holds what the ledger records, or that it has expired. Raises OSError."""
        if self.count:
            with self._lock:
                with self._ledger.transaction():
                    self._ledger.drop_damage_in(segment)
                self._refresh()

    def forget_what_is_gone(self) -> None:
        """Forget damage of segments that retention has deleted, and of extents that are not recorded any more.

        Raises OSError.
        """
        with self._lock:
            with self._ledger.transaction():
                self._ledger.drop_damage_of_what_is_gone()
            self._refresh()

    def are_checked(self, checks: Mapping[int, float]) -> None:
        """Record when segments were checked. Raises OSError."""
        with self._lock, self._ledger.transaction():
            self._ledger.set_checked(checks)

    def page(self, source_id: str, after: int) -> DamagePage:
        """Return the damaged extents of a source from an offset on. Raises OSError."""
        with self._lock:
            rows = self._ledger.damage_of(source_id, after=after, limit=DAMAGE_PAGE + 1)
        extents = tuple(DamagedExtent(row.start, row.end, row.lines, row.crc32) for row in rows[:DAMAGE_PAGE])
        return DamagePage(source_id, extents, has_more=len(rows) > DAMAGE_PAGE)

    def sources_of(self, client: str) -> Sequence[str]:
        """Return damaged sources of a client, at most a hundred. Never waits."""
        return [source for source, owner in self._clients.items() if owner == client][:_MAX_SOURCES]

    def _refresh(self) -> None:
        self.count = self._ledger.count_damage()
        self._clients = self._ledger.damaged_sources(limit=_MAX_KNOWN) if self.count else {}


def _by_client(clients: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source, client in sorted(clients.items()):
        found.setdefault(client, []).append(source)
    return found
