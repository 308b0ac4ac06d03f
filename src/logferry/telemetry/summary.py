"""The last line that a client prints. Scripts read it, so its words must not change."""

from logferry.telemetry.metrics import Interval
from logferry.telemetry.table import CLIENT_COUNTERS, phrases


def summary(total: Interval) -> str:
    """Return the summary of a run; filtered and redacted lines appear only if there were any."""
    counters, seconds = total.counters, total.seconds
    lines_per_second = counters.lines_acked / max(seconds, 1e-9)
    parts = [
        f"logferry: {counters.lines_acked} lines acked",
        f"{counters.bytes_read} bytes read in {seconds:.2f} s ({lines_per_second:.0f} lines/s)",
        f"{counters.lines_rejected} rejected",
        f"{counters.lines_retried} retried",
        f"{counters.lines_blank} blank skipped",
        *phrases(CLIENT_COUNTERS, counters, "summary"),
    ]
    return ", ".join(parts)
