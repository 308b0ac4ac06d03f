"""The seam between a running client or server and its observers: health checks, exporters, status files.

Both ends have a `StatusSource`. It answers at any time, in any thread, and never waits for the disk or a peer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from logferry.telemetry.latency import LatencyHistogram


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a client or server is doing its work; if not, `reason` says why in one sentence."""

    is_ready: bool
    reason: str = ""

    @classmethod
    def ready(cls) -> "Verdict":
        """Return the verdict that all is well."""
        return cls(True)

    @classmethod
    def not_ready(cls, reason: str) -> "Verdict":
        """Return the verdict that the work is not being done, for this reason."""
        return cls(False, reason)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers at one moment. Counters count from the start of the process and never fall; gauges show the present.

    The keys are the names in the table of metrics, which also declares the units. `labelled` has the metrics with a
    label: a number for each value of the label.
    """

    verdict: Verdict
    counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    labelled: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    histograms: Mapping[str, LatencyHistogram] = field(default_factory=dict)


class StatusSource(Protocol):
    """A client or server that can report its state."""

    def snapshot(self) -> Snapshot:
        """Return the current state. Safe in any thread; never waits, never raises."""
