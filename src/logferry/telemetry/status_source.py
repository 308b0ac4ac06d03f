"""The seam between what runs and whoever wants to know how it does: health checks, exporters, status files.

Both ends have a `StatusSource`. It answers at any moment, from any thread, without waiting for the disk or a peer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a client or server does its work now; if not, `reason` says why in one sentence."""

    is_ready: bool
    reason: str = ""

    @classmethod
    def ready(cls) -> "Verdict":
        """All is well."""
        return cls(True)

    @classmethod
    def not_ready(cls, reason: str) -> "Verdict":
        """It does not do its work, for this reason."""
        return cls(False, reason)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment. Counters count from the start of the process and never fall; gauges are as they are now.

    Both are keyed by the names that the table of metrics declares; units are those of the table.
    """

    verdict: Verdict
    counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)


class StatusSource(Protocol):
    """What can be asked how it does."""

    def snapshot(self) -> Snapshot:
        """Return this moment. Safe in any thread; never waits, never raises."""
